"""Signs and masks, one bit an element.

The one meaning of a bit: bit j of byte i is element 8i + j of the flat tensor; set means +1 (sgn(0) = +1) or, in a
mask, "passes". The bits after the last element are zero. Packing is flat, whatever the shape, so n elements take
exactly ceil(n / 8) bytes.
"""

from functools import cache

import torch
from torch import Tensor

from workloads.engines.torch.scratch import Scratch

# Eight bytes of 0 or 1, read as a little-endian word and multiplied by this, have their bits gathered in the top byte:
# byte j goes to bit 56 + j through the term 2^(56 − 7j), and no two terms meet.
_GATHER = 0x0102040810204080


def packed_bytes(elements: int) -> int:
    """Return the bytes that `elements` bits take."""
    return (elements + 7) // 8


_tables: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}


def _table(low: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return 256 × 8: the elements of every byte, `low` where a bit is clear and 1 where it is set."""
    key = (low, dtype, device)
    if key not in _tables:
        byte = torch.arange(256, device=device).unsqueeze(1)
        bit = (byte >> torch.arange(8, device=device)) & 1
        _tables[key] = (bit * (1 - low) + low).to(dtype)
    return _tables[key]


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the gathering factor and the shift as tensors: Python numbers would be converted at every call."""
    return torch.tensor(_GATHER, device=device), torch.tensor(56, device=device)


def table_bytes() -> int:
    """Return the bytes of the tables that unpacking has built so far (8 KiB a kind for float32, 2 for int8)."""
    return sum(table.nbytes for table in _tables.values())


def pack_flags_(flags: Tensor, out: Tensor, scratch: Scratch) -> None:
    """Pack `flags` (bool or int8 of 0 and 1, contiguous, destroyed) into `out` (uint8, ceil(n / 8) bytes)."""
    flat = flags.view(-1)
    whole = flat.numel() // 8
    if whole:
        with scratch:
            part = flat[: whole * 8]
            if part.storage_offset() % 8:
                part = scratch.take((whole * 8,), torch.int8).copy_(part)
            words = part.view(torch.int64)
            gather, top = _constants(flags.device)
            out[:whole].copy_(words.mul_(gather).bitwise_right_shift_(top))
    if flat.numel() % 8:
        tail = flat[whole * 8 :].tolist()
        out[whole] = sum(int(flag) << j for j, flag in enumerate(tail))


def unpack_into(bits: Tensor, out: Tensor, scratch: Scratch, low: int = -1) -> Tensor:
    """Fill `out` (float32 or int8, contiguous, n elements) from the first n bits of `bits`; return `out`.

    A clear bit becomes `low`: −1 for signs, 0 for masks. `bits` may be any view of uint8 with ceil(n / 8) elements.
    """
    flat = out.view(-1)
    count = flat.numel()
    whole = count // 8
    table = _table(low, out.dtype, out.device)
    with scratch:
        index = scratch.take(tuple(bits.shape), torch.int32).copy_(bits).view(-1)
        if whole:
            torch.index_select(table, 0, index[:whole], out=flat[: whole * 8].view(-1, 8))
        if count % 8:
            flat[whole * 8 :] = table[int(index[whole])][: count % 8]
    return out


def pack(flags: Tensor) -> Tensor:
    """Return the packed bits of a bool tensor; for tests and for code outside the hot path."""
    out = torch.empty(packed_bytes(flags.numel()), dtype=torch.uint8, device=flags.device)
    pack_flags_(flags.to(torch.bool).flatten().clone(), out, Scratch(flags.device))
    return out


def unpack(bits: Tensor, count: int, dtype: torch.dtype = torch.float32, low: int = -1) -> Tensor:
    """Return `count` elements of `low` and 1; for tests and for code outside the hot path."""
    out = torch.empty(count, dtype=dtype, device=bits.device)
    return unpack_into(bits[: packed_bytes(count)], out, Scratch(bits.device), low)
