"""ResNetE-18 for ImageNet (Bethge, Yang, Bornstein and Meinel, "Back to Simplicity", 2019, arXiv 1906.08637)."""

from workloads.models.residual import residual_network
from workloads.specification import Specification


def specification() -> Specification:
    """Return the network of 224×224 images and 1,000 classes.

    Gradients pass its signs where |X| ≤ 1.3, as in the authors' code.
    """
    return residual_network("resnete18", "clip", clip_at=1.3)
