"""What flows from stage to stage, and what the recipe retains of it."""

from typing import NamedTuple

from torch import Tensor

from workloads.engines.torch.layer import Layer
from workloads.engines.torch.sources import ImageSource, PackedSource, RealSource, Source


class Activations(NamedTuple):
    """What flows from stage to stage. `real` is X⁺ (batch × features), or the image's pixels (uint8).

    Of X, `bits` and `mask` are the packed signs and straight-through mask where the recipe retains those; of an
    image, `bits` is the retained real image where the recipe keeps one. `branch` is the result of a projection that the
    next stage adds to its own (see `residual`).
    """

    real: Tensor
    bits: Tensor | None = None
    mask: Tensor | None = None
    branch: Tensor | None = None


def source_of(layer: Layer, x: Activations) -> Source:
    """Return the view of a stage's input that its products read."""
    if layer.stage.real_input:
        return ImageSource(x.real, x.bits)
    if layer.recipe.activation == "bit":
        assert x.bits is not None
        return PackedSource(x.bits, x.mask, layer.stage.inputs)
    return RealSource(x.real, None if layer.recipe.ste_mask == "none" else 1.0)


def retains_signs(layer: Layer) -> bool:
    """Tell whether of a stage's output the signs are retained, for the next stage and for its own norm."""
    return layer.recipe.activation == "bit" and not layer.is_last


def keeps_mask(layer: Layer) -> bool:
    """Tell whether |X⁺| ≤ 1 is retained of a stage's output, and ∂X⁺ clipped by it."""
    return layer.recipe.ste_mask == "kept" and not layer.is_last
