"""∂Y in fewer bits than a float16: 5-bit powers of two, 6-bit whole numbers; a tensor has one scale.

`po2` is that of the earlier version of Wang et al. (ICLR 2021 submission): a sign and a 4-bit exponent, no zero code,
kept as five bit planes. `int6` is round to nearest of ∂Y · 31 / r, at most 31, each in a byte, as table-lookup
products read it; r is max|∂Y|, or eight times the root of its mean square, if that is less: a few items that are not
learned yet have by far the largest ∂Y, for whose sake that of all others would be below a step.
"""

import math

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, packed_bytes, unpack_into
from workloads.engines.torch.gradients import OutputGradient
from workloads.engines.torch.norm import blocks
from workloads.engines.torch.scratch import Scratch
from workloads.recipes import DType

_INT6_LEVELS = 31
_INT6_DEVIATIONS = 8
_PO2_PLANES = 5
# Exponents of po2 run from −8 to 7; codes are exponent + 8.
_PO2_LEAST, _PO2_MOST = -8, 7


def quantise(gradient: Tensor, kind: DType, scratch: Scratch, elements: int | None = None) -> OutputGradient:
    """Return ∂Y (batch × outputs) in the codes of `kind`: `po2` or `int6`.

    `elements`: how many a pooling has selected, if there is one: the others are 0, or next to it.
    """
    if kind == "int6":
        return Int6Gradient(gradient, scratch, elements or gradient.numel())
    return PowerOfTwoGradient(gradient, scratch)


def _peak(gradient: Tensor) -> float:
    low, high = torch.aminmax(gradient)
    return max(-float(low), float(high))


class Int6Gradient:
    """Whole numbers in ±31, one a byte, and one scale."""

    def __init__(self, gradient: Tensor, scratch: Scratch, elements: int) -> None:
        squares = sum(float(block.square_().sum()) for _, block in blocks(gradient.unsqueeze(2), scratch))
        most = _INT6_DEVIATIONS * math.sqrt(squares / elements)
        self._range = min(_peak(gradient), most) if most else _peak(gradient)
        self.codes = torch.empty(gradient.shape, dtype=torch.int8, device=gradient.device)
        self.nbytes: int = self.codes.nbytes
        for rows, block in blocks(gradient.unsqueeze(2), scratch):
            block.mul_(_INT6_LEVELS / self._range if self._range else 0.0).round_()
            block.clamp_(-_INT6_LEVELS, _INT6_LEVELS)
            self.codes[rows].copy_(block.squeeze(2))

    def rows(self, rows: slice, scratch: Scratch) -> Tensor:
        """Return those rows, decoded, in scratch."""
        codes = self.codes[rows]
        value = scratch.take(tuple(codes.shape), torch.float32)
        return value.copy_(codes).mul_(self._range / _INT6_LEVELS)


class PowerOfTwoGradient:
    """Signs and exponents; plane p holds bit p of every element's code, packed flat, the sign in the last."""

    def __init__(self, gradient: Tensor, scratch: Scratch) -> None:
        self._outputs = gradient.shape[1]
        peak = _peak(gradient)
        # b of the paper
        self._bias = 8 - round(math.log2(peak)) if peak else 0
        size = packed_bytes(gradient.numel())
        self.planes = torch.empty(_PO2_PLANES, size, dtype=torch.uint8, device=gradient.device)
        self.nbytes: int = self.planes.nbytes
        for rows, block in blocks(gradient.unsqueeze(2), scratch):
            self._encode_(block, rows, scratch)

    def _part(self, rows: slice) -> slice:
        return slice(rows.start * self._outputs // 8, (rows.stop * self._outputs + 7) // 8)

    def _encode_(self, block: Tensor, rows: slice, scratch: Scratch) -> None:
        """Write the codes of one block (float32, destroyed)."""
        part, shape = self._part(rows), tuple(block.shape)
        flags, bit = scratch.take(shape, torch.int8), scratch.take(shape, torch.int32)
        real = scratch.take(shape, torch.float32)
        pack_flags_(flags.copy_(torch.ge(block, 0, out=real)), self.planes[-1, part], scratch)
        exponent = block.abs_().log2_().add_(self._bias).round_().clamp_(_PO2_LEAST, _PO2_MOST)
        codes = scratch.take(shape, torch.int32).copy_(exponent.sub_(_PO2_LEAST))
        for plane in range(_PO2_PLANES - 1):
            torch.bitwise_right_shift(codes, plane, out=bit)
            pack_flags_(flags.copy_(bit.bitwise_and_(1)), self.planes[plane, part], scratch)

    def rows(self, rows: slice, scratch: Scratch) -> Tensor:
        """Return those rows, decoded, in scratch."""
        part, shape = self._part(rows), (rows.stop - rows.start, self._outputs)
        value = scratch.take(shape, torch.float32).zero_()
        plane = scratch.take(shape, torch.float32)
        for index in range(_PO2_PLANES - 1):
            value.add_(unpack_into(self.planes[index, part], plane, scratch, low=0), alpha=2.0**index)
        value.add_(_PO2_LEAST - self._bias).exp2_()
        return value.mul_(unpack_into(self.planes[-1, part], plane, scratch))
