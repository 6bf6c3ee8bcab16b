"""The same networks as a PyTorch user writes them: what `steps.py` compares the engines with.

An ordinary `nn.Module` in float32: convolutions and dense layers whose weights and inputs go through a straight-through
sign, `nn.BatchNorm`, `nn.MaxPool2d`, `torch.optim.Adam`, weights clamped to [−1, 1] after the step (Courbariaux and
Bengio 2016). Nothing of this package is in a step. Run as a script it trains on noise, eagerly or under
`torch.compile`, and prints one line of JSON: the median step after warming up (compilation is done by then), and the
peak RSS of those steps, less what was resident before the set-up.

    python benchmarks/plain_torch.py mlp-mnist --mode compiled [--batch-size 100] [--steps 20] [--threads 2]
"""

import argparse
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads import registry
from workloads.specification import Specification, Stage


def sign(x: Tensor) -> Tensor:
    """Return ±1, sgn(0) = +1; the gradient passes where |x| ≤ 1."""
    hard = x.clamp(-1, 1)
    return hard + (torch.where(x >= 0, 1.0, -1.0) - hard).detach()


class BinaryLinear(nn.Linear):
    """A dense layer of binary weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x · sgn(W)ᵀ; x: batch × features."""
        return functional.linear(x, sign(self.weight))


class BinaryConv2d(nn.Conv2d):
    """A convolution of binary weights, padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x ∗ sgn(W); x: batch × channels × height × width."""
        return functional.conv2d(x, sign(self.weight), None, self.stride, self.padding)


class Sign(nn.Module):
    """The binary activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sign of every element."""
        return sign(x)


def layers_of(stage: Stage) -> list[nn.Module]:
    """Return one stage: product, pooling, normalisation, sign."""
    if stage.kind == "dense":
        dense = BinaryLinear(stage.in_channels, stage.out_channels, bias=False)
        return [dense, nn.BatchNorm1d(stage.out_channels), Sign()]
    conv = BinaryConv2d(
        stage.in_channels, stage.out_channels, stage.kernel, stage.stride, stage.padding, bias=False
    )
    norm = nn.BatchNorm2d(stage.out_channels)
    if stage.pool == "before_norm":
        return [conv, nn.MaxPool2d(2), norm, Sign()]
    return [conv, norm, Sign(), *([nn.MaxPool2d(2)] if stage.pool == "after_sign" else [])]


def network_of(specification: Specification) -> nn.Sequential:
    """Return the network; no sign follows the last normalisation."""
    stages = specification.stages
    layers: list[nn.Module] = [nn.Flatten()] if stages[0].kind == "dense" else []
    for stage, following in pairwise([*stages, None]):
        assert stage is not None
        layers += layers_of(stage)
        if stage.kind == "conv" and following is not None and following.kind == "dense":
            layers.append(nn.Flatten())
    return nn.Sequential(*layers[:-1])


class Training:
    """A module, its optimizer and a batch of noise."""

    def __init__(self, specification: Specification, batch_size: int, mode: str) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (batch_size, *specification.image_shape)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        self.labels = torch.randint(0, specification.classes, (batch_size,), generator=generator)
        self.module = network_of(specification)
        self.model = torch.compile(self.module) if mode == "compiled" else self.module
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-3)
        binary = (BinaryLinear, BinaryConv2d)
        self.latent = [layer.weight for layer in self.module if isinstance(layer, binary)]

    def step(self) -> float:
        """Train on the batch; return the loss."""
        self.optimizer.zero_grad()
        images = self.images.float() * (2 / 255) - 1
        loss = functional.cross_entropy(self.model(images), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for weight in self.latent:
                weight.clamp_(-1, 1)
        return loss.item()


def residency(name: str) -> int:
    """Return VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}: the peak cannot be read here")


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Train; return the median step and the peak of the measured steps."""
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    before = residency("VmRSS")
    training = Training(registry.workload(given.workload).specification(), given.batch_size, given.mode)
    for _ in range(given.warmup):
        training.step()
    Path("/proc/self/clear_refs").write_bytes(b"5")  # the peak starts anew
    times = [time.perf_counter()]
    for _ in range(given.steps):
        training.step()
        times.append(time.perf_counter())
    peak = residency("VmHWM")
    step_s = statistics.median(later - earlier for earlier, later in pairwise(times))
    return {"step_s": step_s, "training_peak_bytes": peak - before, "peak_rss_bytes": peak}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload")
    parser.add_argument("--mode", choices=["eager", "compiled"], default="eager")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
