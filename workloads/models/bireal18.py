"""Bi-Real Net of 18 layers for ImageNet (Liu, Wu, Luo, Yang, Liu and Cheng, ECCV 2018, arXiv 1808.00278)."""

from workloads.models.residual import residual_network
from workloads.specification import Specification


def specification() -> Specification:
    """Return the network of 224×224 images and 1,000 classes, with the paper's own derivative of the sign."""
    return residual_network("bireal18", "polynomial")
