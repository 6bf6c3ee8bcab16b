"""One counter-based generator for everything random about data: order, augmentation, synthetic items.

A draw is a pure function of its words, so a position can be resumed, computed in any order and
reproduced in another language without carrying a generator's state. All arithmetic is on unsigned
64-bit integers, modulo 2^64:

    mix64(z):  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
               z = (z ^ (z >> 27)) * 0x94D049BB133111EB
               return z ^ (z >> 31)
    draw(w0, w1, ...):  s = 0;  for each w:  s = mix64((s ^ w) + 0x9E3779B97F4A7C15);  return s

`mix64` is the finaliser of SplitMix64 (Steele, Lea, Flood 2014; constants of Stafford's mix 13).
It is a bijection, so two draws that differ in their last word only never collide.
"""

from workloads.light_typing import Final

MASK64: Final = (1 << 64) - 1
GOLDEN: Final = 0x9E3779B97F4A7C15

# The first word of every draw: streams that share a seed stay independent of each other.
STREAM_SHUFFLE: Final = 1
STREAM_AUGMENT: Final = 2
STREAM_NOISE: Final = 3
STREAM_NOISE_ITEM: Final = 4


def mix64(z: int) -> int:
    """Scramble an unsigned 64-bit integer; a bijection of [0, 2^64)."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def draw(*words: int) -> int:
    """Return 64 uniform bits that depend on the words alone (each is taken modulo 2^64)."""
    state = 0
    for word in words:
        state = mix64(((state ^ (word & MASK64)) + GOLDEN) & MASK64)
    return state
