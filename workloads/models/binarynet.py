"""BinaryNet for 32×32 images (Courbariaux and Bengio, 2016): padded 3×3 convolutions, pooling before the norm."""

from workloads.specification import Sequence, Specification


def specification() -> Specification:
    """Return 128-128-pool-256-256-pool-512-512-pool-1024-1024-10."""
    network = Sequence("binarynet", (3, 32, 32))
    for channels in (128, 256, 512):
        network.conv(channels, padding=1).conv(channels, padding=1, pool="before_norm")
    return network.dense(1024).dense(1024).dense(10).build()
