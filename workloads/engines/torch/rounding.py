"""float32 → storage: saturating and stochastic rounding to float16.

float16 keeps 10 fraction bits, so at |w| in [0.5, 1) its half-ulp is 2.4e-4: rounding to nearest loses every smaller
update. Stochastic rounding goes up with probability (distance to the lower neighbour) / ulp, so its mean is the value.
"""

import torch
from torch import Tensor

from workloads.engines.torch.scratch import Scratch

FLOAT16_MAX = 65504.0
# A float16 has 13 fraction bits fewer than a float32.
_DROPPED = (1 << 13) - 1
# A dither drawn as an int32 times this is uniform in ±2^-25, half the spacing of float16's subnormals.
_SUBNORMAL_HALF_STEP = 2.0**-56


class Dither:
    """A seeded stream of random words for stochastic rounding."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def words(self, count: int, scratch: Scratch) -> Tensor:
        """Return `count` uniform int32 words, in scratch."""
        # Drawn as 64-bit words: a quarter of the time of int32's own path in torch.
        pairs = scratch.take(((count + 1) // 2,), torch.int64)
        pairs.random_(-(1 << 63), None, generator=self.generator)
        return pairs.view(torch.int32)[:count]


def stochastic_round_(
    value: Tensor, words: Tensor, out: Tensor, scratch: Scratch, *, upper: bool = False
) -> None:
    """Round `value` (float32, |value| < 65472, destroyed) into `out` (float16), unbiased in the whole range.

    `words` holds a uniform int32 an element and is left as it is. With `upper` the word's halves swap their parts, so
    that two tensors rounded with the same words do not share their random bits.

    Two steps. The 13 fraction bits that float16 lacks are cleared after a uniform integer below 2^13 was added:
    unbiased, and exact where the result is a normal float16. Then a uniform dither of half a subnormal step is
    added and the sum rounded to nearest: below 2^-13 float16's grid has that one spacing, so this is stochastic
    rounding there; anywhere else the value already lies on a wider grid, and nearest brings it back.
    """
    words = words.view(value.shape)
    with scratch:
        noise = scratch.take(tuple(value.shape), torch.int32)
        dither = scratch.take(tuple(value.shape), torch.float32)
        if upper:
            dither.copy_(torch.bitwise_left_shift(words, 16, out=noise))
            torch.bitwise_right_shift(words, 16, out=noise).bitwise_and_(_DROPPED)
        else:
            dither.copy_(words)
            torch.bitwise_and(words, _DROPPED, out=noise)
        value.view(torch.int32).add_(noise).bitwise_and_(~_DROPPED)
        out.copy_(value.add_(dither, alpha=_SUBNORMAL_HALF_STEP))


def saturate_into(out: Tensor, value: Tensor) -> int:
    """Store float32 `value` (clamped in place where it must be) in `out`; return how many elements saturated.

    A float16 overflow would become inf and poison the step; a clamped one is counted, and a healthy training counts
    none. NaN passes through, and is seen in the loss.
    """
    saturated = 0
    if out.dtype == torch.float16:
        low, high = torch.aminmax(value)
        if float(low) < -FLOAT16_MAX or float(high) > FLOAT16_MAX:
            saturated = int((value.abs() > FLOAT16_MAX).sum())
            value.clamp_(-FLOAT16_MAX, FLOAT16_MAX)
    out.copy_(value)
    return saturated


def round_to_float16(value: Tensor, generator: torch.Generator) -> Tensor:
    """Return `value` (float32) stochastically rounded to float16; for initial values and tests."""
    scratch = Scratch(value.device)
    out = torch.empty_like(value, dtype=torch.float16)
    with scratch:
        words = Dither(generator).words(value.numel(), scratch)
        stochastic_round_(value.clone(), words, out, scratch)
    return out
