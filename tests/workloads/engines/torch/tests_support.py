"""Small networks and batches for the torch engine's tests."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from workloads.engines.torch.trainer import TorchTraining
from workloads.specification import Sequence, Specification

TESTS = Path(__file__).parents[3]
GOLDEN = TESTS / "data" / "golden"
Build = Callable[..., TorchTraining]


def odd_network(*widths: int) -> Specification:
    """A perceptron of those widths: inputs, hidden, classes."""
    network = Sequence("odd", (1, 1, widths[0]))
    for width in widths[1:]:
        network.dense(width)
    return network.build()


def pixels_and_labels(network: Specification, batch: int, seed: int) -> tuple[memoryview, memoryview]:
    """Return a random batch as the worker hands it over."""
    generator = torch.Generator().manual_seed(seed)
    features = network.stages[0].inputs
    images = torch.randint(0, 256, (batch * features,), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, network.classes, (batch,), dtype=torch.uint8, generator=generator)
    return memoryview(bytearray(images.numpy().tobytes())), memoryview(bytearray(labels.numpy().tobytes()))


def golden_module() -> ModuleType:
    """The maker of the golden curves, with the task's weights and data."""
    spec = importlib.util.spec_from_file_location("golden", TESTS / "oracle" / "golden.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
