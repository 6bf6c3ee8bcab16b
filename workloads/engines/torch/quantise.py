"""∂Y in 5 or 6 bits an element, as bit planes: plane p holds bit p of every element's code, packed flat.

`po2` is that of the earlier version of Wang et al. (ICLR 2021 submission): a sign and a 4-bit exponent, no zero code.
`int6` is a sign and 5-bit magnitude: round to nearest of ∂Y · 31 / max|∂Y|. Both scale a whole tensor by its largest
element.
"""

import math

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, packed_bytes, unpack_into
from workloads.engines.torch.norm import blocks
from workloads.engines.torch.scratch import Scratch
from workloads.recipes import BITS, DType

_INT6_LEVELS = 31
# Exponents of po2 run from −8 to 7; codes are exponent + 8.
_PO2_LEAST, _PO2_MOST = -8, 7


class QuantisedGradient:
    """∂Y (batch × outputs) in `kind`'s codes, read back as float32 blocks of batch rows."""

    def __init__(self, gradient: Tensor, kind: DType, scratch: Scratch) -> None:
        self.kind = kind
        self._outputs = gradient.shape[1]
        planes, count = BITS[kind], gradient.numel()
        self.planes = torch.empty(planes, packed_bytes(count), dtype=torch.uint8, device=gradient.device)
        self.nbytes: int = self.planes.nbytes
        low, high = torch.aminmax(gradient)
        self._peak = max(-float(low), float(high))
        for rows, block in blocks(gradient.unsqueeze(2), scratch):
            self._encode_(block, rows, scratch)

    def _part(self, rows: slice) -> slice:
        return slice(rows.start * self._outputs // 8, (rows.stop * self._outputs + 7) // 8)

    def _encode_(self, block: Tensor, rows: slice, scratch: Scratch) -> None:
        """Write the codes of one block (float32, destroyed): magnitude planes from below, the sign on top."""
        part = self._part(rows)
        flags = scratch.take(tuple(block.shape), torch.int8)
        real = scratch.take(tuple(block.shape), torch.float32)
        pack_flags_(flags.copy_(torch.ge(block, 0, out=real)), self.planes[-1, part], scratch)
        codes = scratch.take(tuple(block.shape), torch.int32).copy_(self._magnitude_(block.abs_()))
        bit = scratch.take(tuple(block.shape), torch.int32)
        for plane in range(len(self.planes) - 1):
            torch.bitwise_right_shift(codes, plane, out=bit)
            pack_flags_(flags.copy_(bit.bitwise_and_(1)), self.planes[plane, part], scratch)

    def _magnitude_(self, magnitude: Tensor) -> Tensor:
        """Turn |∂Y| into the code without its sign, as whole float32 numbers."""
        if self.kind == "int6":
            return magnitude.mul_(_INT6_LEVELS / self._peak if self._peak else 0.0).round_()
        return magnitude.log2_().add_(self._bias).round_().clamp_(_PO2_LEAST, _PO2_MOST).sub_(_PO2_LEAST)

    @property
    def _bias(self) -> int:
        """b = 8 − round(log₂ max|∂Y|)."""
        return 8 - round(math.log2(self._peak)) if self._peak else 0

    def rows(self, rows: slice, scratch: Scratch) -> Tensor:
        """Return those rows, decoded, in scratch."""
        part, shape = self._part(rows), (rows.stop - rows.start, self._outputs)
        value = scratch.take(shape, torch.float32).zero_()
        plane = scratch.take(shape, torch.float32)
        for index in range(len(self.planes) - 1):
            value.add_(unpack_into(self.planes[index, part], plane, scratch, low=0), alpha=2.0**index)
        if self.kind == "int6":
            value.mul_(self._peak / _INT6_LEVELS)
        else:
            value.add_(_PO2_LEAST - self._bias).exp2_()
        return value.mul_(unpack_into(self.planes[-1, part], plane, scratch))
