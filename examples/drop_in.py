"""Make an ordinary binary network low-memory in one call, and see what autograd keeps before and after.

    python examples/drop_in.py

The network is written as one writes them: float32 weights and activations, straight-through signs. `convert` replaces
its layers by those that retain bits; a layer that computes something else than x · sgn(W)ᵀ + b, one of full precision
say, it refuses until it is named in `keep`. Both networks learn the packaged MNIST sample for three epochs.
"""

import torch
from torch import nn

from workloads.datasets import mnist
from workloads.datasets.cache import Cache
from workloads.datasets.reader import BatchReader
from workloads.engines.torch import convert

BATCH = 100


class StraightThroughSign(nn.Module):
    """The user's own binary activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return sgn(x); the gradient passes where |x| ≤ 1."""
        hard = x.clamp(-1, 1)
        return hard + (torch.where(x >= 0, 1.0, -1.0) - hard).detach()


class StraightThroughLinear(nn.Linear):
    """The user's own dense layer of binary weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x · sgn(W)ᵀ + b."""
        signs = self.weight + (torch.where(self.weight >= 0, 1.0, -1.0) - self.weight).detach()
        return nn.functional.linear(x, signs, self.bias)


class StraightThroughConv2d(nn.Conv2d):
    """The user's own convolution of binary weights, for networks that have one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x ∗ sgn(W) + b."""
        signs = self.weight + (torch.where(self.weight >= 0, 1.0, -1.0) - self.weight).detach()
        return nn.functional.conv2d(x, signs, self.bias, self.stride, self.padding)


def perceptron() -> nn.Sequential:
    """Return 784-256-256-10."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((784, 256), (256, 256), (256, 10)):
        layers += [
            StraightThroughLinear(inputs, outputs, bias=False),
            nn.BatchNorm1d(outputs),
            StraightThroughSign(),
        ]
    return nn.Sequential(*layers[:-1])


def retained_bytes(model: nn.Module, x: torch.Tensor) -> int:
    """Return the bytes that autograd keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return sum(size for address, size in kept.items() if address not in own)


def learn(model: nn.Module, epochs: int) -> float:
    """Train on the packaged sample; return the mean loss of the last epoch."""
    split = mnist.prepare("mnist", None, Cache()).train
    images, labels = bytearray(BATCH * split.image_bytes), bytearray(BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    with BatchReader(split, BATCH, seed=0) as reader:
        for _ in range(epochs * reader.batches_per_epoch):
            reader.read_into(images, labels)
            x = torch.frombuffer(images, dtype=torch.uint8).view(BATCH, -1) / 127.5 - 1
            target = torch.frombuffer(labels, dtype=torch.uint8).long()
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    last = losses[-reader.batches_per_epoch :]
    return sum(last) / len(last)


def main() -> None:
    """Compare the network with its converted self."""
    x = torch.rand(BATCH, 784) * 2 - 1
    for name, model in (
        ("straight-through float32", perceptron()),
        ("converted", convert(perceptron(), sign=StraightThroughSign)),
    ):
        kept = retained_bytes(model, x)
        print(f"{name:25} retained {kept:9,} bytes   loss after 3 epochs {learn(model, 3):.3f}")


if __name__ == "__main__":
    main()
