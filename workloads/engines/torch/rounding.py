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
_FOUR_LANES = 0x1FFF1FFF1FFF1FFF
# A uniform int16 times this is uniform in ±2^-25: half a step of float16's subnormals.
_SUBNORMAL_STEP = 2.0**-40


class Dither:
    """A seeded stream of noise for stochastic rounding."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self._lanes = torch.tensor(_FOUR_LANES, device=generator.device)
        self._keep = torch.tensor(~_DROPPED, dtype=torch.int32, device=generator.device)

    def apply_(self, values: Tensor, scratch: Scratch) -> Tensor:
        """Change `values` (float32, ... × count, magnitudes below 65472) so that rounding them to nearest float16 is
        stochastic rounding of what they were; return them. Rows share their noise: each is unbiased by itself.

        Two steps. The 13 fraction bits that float16 lacks are cleared after a uniform integer below 2^13 was added:
        unbiased, and exact where the result is a normal float16. Then a uniform dither of half a subnormal step is
        added: below 2^-13 float16's grid has that one spacing, so nearest is stochastic there (to 2^-16 of a step);
        anywhere else the value already lies on a grid as wide or wider, and nearest brings it back.
        """
        count = values.shape[-1]
        # One 64-bit word serves four elements.
        words = scratch.take((count // 4 + 1,), torch.int64)
        words.random_(-(1 << 63), None, generator=self.generator)
        masked = torch.bitwise_and(words, self._lanes, out=scratch.take(tuple(words.shape), torch.int64))
        noise = scratch.take((count,), torch.int32)
        noise.copy_(masked.view(torch.int16)[:count])
        values.view(torch.int32).add_(noise).bitwise_and_(self._keep)
        # An element's dither is its neighbour's word, so that its own two random numbers are independent.
        dither = noise.view(torch.float32).copy_(words.view(torch.int16)[1 : count + 1])
        return values.add_(dither, alpha=_SUBNORMAL_STEP)


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


def round_to_float16(value: Tensor, dither: Dither, out: Tensor, scratch: Scratch) -> None:
    """Round flat `value` (float32, destroyed) stochastically into `out` (float16)."""
    with scratch:
        out.copy_(dither.apply_(value, scratch))
