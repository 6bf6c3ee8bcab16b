"""The layers that `kernels.py` times: their inputs, the kernels' calls, and torch's operators beside them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d, linear

from workloads.engines.native.kernel_table import ConvShape, Gradient, KernelTable, Output, Range

# Row name → (torch operator, floor where one is known, call).
Calls = dict[str, tuple[str, str | None, Callable[[], None]]]


def layers(batch: int) -> dict[str, ConvShape]:
    """The layers of binary inputs; fc1 always takes 100 samples."""
    return {
        "conv2": ConvShape(batch, 32, 32, 128, 128, 3, 1, 1),
        "conv4": ConvShape(batch, 16, 16, 256, 256, 3, 1, 1),
        "conv6": ConvShape(batch, 8, 8, 512, 512, 3, 1, 1),
        "fc1": ConvShape.dense(100, 8192, 1024),
    }


def first_layers(batch: int) -> dict[str, ConvShape]:
    """The layers of real inputs; mlp1 always takes 100 samples."""
    return {"conv1": ConvShape(batch, 32, 32, 3, 128, 3, 1, 1), "mlp1": ConvShape.dense(100, 784, 256)}


def aligned(size: int) -> np.ndarray:
    """`size` bytes that start at a multiple of 64."""
    block = np.zeros(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]


class NativeLayer:
    """One layer's inputs and calls for one instruction set. Weights are prepared inside each call."""

    def __init__(self, table: KernelTable, shape: ConvShape) -> None:
        self.table, self.s = table, shape
        rng = np.random.default_rng(1)
        self.pixels = shape.images * shape.height * shape.width
        words = -(-shape.in_channels // 64)
        self.x = rng.integers(0, 2**64, (self.pixels, words), np.uint64)
        self.w = rng.integers(0, 2**64, (shape.out_channels * shape.kernel**2, words), np.uint64)
        self.y = np.zeros((self.pixels, shape.out_channels), np.int16)
        self.dx = np.zeros((self.pixels, shape.in_channels), np.float16)
        self.dw = np.zeros_like(self.w)
        self.outputs, self.inputs = Range(0, shape.out_channels), Range(0, shape.in_channels)

    @property
    def macs(self) -> int:
        """Multiply-adds of one product; padded taps count."""
        return int(self.w.shape[0] * self.s.in_channels * self.pixels)

    def calls(self) -> Calls:
        """Row name → (torch operator, floor, call)."""
        calls: Calls = {"forward": ("forward", "forward", self.forward())}
        for bits in (7, 6, 5, 16):
            calls[f"grad_input {bits} bit"] = ("grad_input", str(bits), self.grad_input(bits))
            calls[f"grad_weight {bits} bit"] = ("grad_weight", str(bits), self.grad_weight(bits))
        return calls

    def gradient(self, bits: int) -> tuple[np.ndarray, Gradient]:
        """Random rows of ∂Y of a format, and their description."""
        rng = np.random.default_rng(2)
        held: Any
        if bits == 16:
            held = rng.standard_normal(self.y.shape, np.float32).astype(np.float16)
            return held, Gradient(held.ctypes.data, 16, 4000.0 / float(abs(held).max()))
        limit = 2 ** (bits - 1) - 1
        held = rng.integers(-limit, limit + 1, self.y.shape, np.int8)
        return held, Gradient(held.ctypes.data, bits, 0.0)

    def forward(self) -> Callable[[], None]:
        """Y = X̂ ∗ Ŵ."""
        prepared = aligned(self.table.forward_prepared_bytes(self.s, self.outputs))
        scratch = aligned(self.table.forward_scratch_bytes(self.s))

        def call() -> None:
            self.table.forward_prepare(self.s, self.w.ctypes.data, self.outputs, prepared.ctypes.data)
            self.table.forward(
                self.s,
                self.x.ctypes.data,
                prepared.ctypes.data,
                self.outputs,
                self.y.ctypes.data,
                scratch.ctypes.data,
            )

        return call

    def grad_input(self, bits: int) -> Callable[[], None]:
        """∂X in float16."""
        prepared = aligned(self.table.grad_input_prepared_bytes(self.s, self.inputs))
        scratch = aligned(self.table.grad_input_scratch_bytes(self.s, bits))
        held, dy = self.gradient(bits)
        out = Output(self.dx.ctypes.data, 2, 1 / 1024)

        def call(_keep: np.ndarray = held) -> None:
            self.table.grad_input_prepare(self.s, self.w.ctypes.data, self.inputs, prepared.ctypes.data)
            self.table.grad_input(self.s, dy, prepared.ctypes.data, self.inputs, out, scratch.ctypes.data)

        return call

    def grad_weight(self, bits: int) -> Callable[[], None]:
        """The signs of ∂W."""
        scratch = aligned(self.table.grad_weight_scratch_bytes(self.s, bits))
        units = Range(0, self.table.grad_weight_units(self.s))
        held, dy = self.gradient(bits)

        def call(_keep: np.ndarray = held) -> None:
            self.table.grad_weight(
                self.s, self.x.ctypes.data, dy, units, self.dw.ctypes.data, None, scratch.ctypes.data
            )

        return call


class FirstLayer(NativeLayer):
    """The same for a layer that takes pixels, uint8."""

    def __init__(self, table: KernelTable, shape: ConvShape) -> None:
        super().__init__(table, shape)
        self.image = np.random.default_rng(3).integers(0, 256, (self.pixels, shape.in_channels), np.uint8)
        # Bits past the last channel are 0 in every row of weights.
        self.w[:, -1] &= np.uint64(2 ** (shape.in_channels % 64 or 64) - 1)

    def calls(self) -> Calls:
        """Row name → (torch operator, no floor, call); nothing asks for the gradient of the image."""
        calls: Calls = {"pixels_forward": ("forward", None, self.forward())}
        for bits in (7, 6, 5, 16):
            calls[f"pixels_grad_weight {bits} bit"] = ("grad_weight", None, self.grad_weight(bits))
        return calls

    def forward(self) -> Callable[[], None]:
        """Y in float16, as `lowmem` keeps it."""
        prepared = aligned(self.table.pixels_forward_prepared_bytes(self.s, self.outputs))
        scratch = aligned(self.table.pixels_forward_scratch_bytes(self.s))
        y = np.zeros((self.pixels, self.s.out_channels), np.float16)

        def call() -> None:
            out = Output(y.ctypes.data, 2, 1 / 255)
            self.table.pixels_forward_prepare(self.s, self.w.ctypes.data, self.outputs, prepared.ctypes.data)
            self.table.pixels_forward(
                self.s,
                self.image.ctypes.data,
                prepared.ctypes.data,
                self.outputs,
                out,
                scratch.ctypes.data,
            )

        return call

    def grad_weight(self, bits: int) -> Callable[[], None]:
        """The signs of ∂W."""
        scratch = aligned(self.table.pixels_grad_weight_scratch_bytes(self.s, bits))
        units = Range(0, self.table.pixels_grad_weight_units(self.s))
        held, dy = self.gradient(bits)

        def call(_keep: np.ndarray = held) -> None:
            self.table.pixels_grad_weight(
                self.s, self.image.ctypes.data, dy, units, self.dw.ctypes.data, None, scratch.ctypes.data
            )

        return call


def torch_calls(s: ConvShape) -> dict[str, Callable[[], Any]]:
    """The float32 operators autograd would run: channels-last convolutions, or matrix products."""
    if s.height == 1:
        x, w = torch.randn(s.images, s.in_channels), torch.randn(s.out_channels, s.in_channels)
        dy = torch.randn(s.images, s.out_channels)
        return {
            "forward": lambda: linear(x, w),
            "grad_input": lambda: dy @ w,
            "grad_weight": lambda: dy.t() @ x,
        }
    last = torch.channels_last
    x = torch.randn(s.images, s.in_channels, s.height, s.width).to(memory_format=last)
    w = torch.randn(s.out_channels, s.in_channels, s.kernel, s.kernel).to(memory_format=last)
    dy = torch.randn(s.images, s.out_channels, s.height, s.width).to(memory_format=last)

    def backward(mask: list[bool]) -> Any:
        ones, zeros = [1, 1], [0, 0]
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, ones, [s.pad] * 2, ones, False, zeros, 1, mask
        )

    return {
        "forward": lambda: conv2d(x, w, padding=s.pad),
        "grad_input": lambda: backward([True, False, False]),
        "grad_weight": lambda: backward([False, True, False]),
    }
