"""What the torch engine's tests share: the oracle, scratch, and a training built on a small network."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

sys.path.insert(0, str(Path(__file__).parent))  # for `tests_support`, plain functions that fixtures cannot be

from tests_support import Build, oracle_module, recipe_of  # noqa: E402

from workloads.engines.base import Job  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.recipes import optimizer  # noqa: E402
from workloads.specification import Specification  # noqa: E402


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """The float64 oracle of `tests/oracle`."""
    return oracle_module("float64_oracle")


@pytest.fixture(params=[None, 512], ids=["one block", "many blocks"])
def block_bytes(request: pytest.FixtureRequest) -> int | None:
    """What a view of scratch may take: as much as ever, or so little that everything is done in many blocks."""
    return request.param


@pytest.fixture
def scratch() -> Scratch:
    return Scratch(torch.device("cpu"))


@pytest.fixture
def tiny_scratch() -> Scratch:
    """So small that everything is done in many blocks."""
    return Scratch(torch.device("cpu"), block_bytes=512)


@pytest.fixture
def build() -> Build:
    """Return a function that sets up a training on a small network."""

    def make(
        trainer: str,
        network: Specification,
        batch: int,
        *,
        seed: int = 0,
        method: str = "adam",
        **settings: Any,
    ) -> TorchTraining:
        job = Job(network, recipe_of(trainer), optimizer(method), batch, 1, seed, settings)
        training = TorchTraining(job)
        training.set_up()
        return training

    return make
