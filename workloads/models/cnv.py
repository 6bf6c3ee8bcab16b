"""CNV for 32×32 images (Umuroglu et al., FINN, 2017): valid 3×3 convolutions, pooling after the sign."""

from workloads.specification import Sequence, Specification


def specification() -> Specification:
    """Return 64-64-pool-128-128-pool-256-256-512-512-10."""
    network = Sequence("cnv", (3, 32, 32))
    network.conv(64).conv(64, pool="after_sign")
    network.conv(128).conv(128, pool="after_sign")
    network.conv(256).conv(256)
    return network.dense(512).dense(512).dense(10).build()
