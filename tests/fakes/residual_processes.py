"""The program of several processes with ResNetE-18 in miniature, on noise of the size of CIFAR-10's images.

python -m torch.distributed.run --standalone --nproc-per-node 2 residual_processes.py --synthetic ...
"""

from workloads import registry
from workloads.engines.torch import distributed
from workloads.models import resnete18
from workloads.models.residual import residual_network
from workloads.specification import Specification

NAME = "resnete18-imagenet"


def network() -> Specification:
    """Both kinds of shortcut, the overlapping pooling, the full-precision stages."""
    return residual_network("tiny", "clip", clip_at=1.3, image_shape=(3, 32, 32), widths=(6, 8), classes=10)


if __name__ == "__main__":
    resnete18.specification = network
    registry.WORKLOADS[NAME] = registry.WORKLOADS[NAME]._replace(dataset="cifar10", augmentation="none")
    distributed.main()
