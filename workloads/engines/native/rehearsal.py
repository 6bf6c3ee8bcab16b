"""The tiny networks that a worker trains before its own, so that the pages of the core's code are held by then."""

from workloads.specification import Sequence, Specification


def networks() -> tuple[Specification, ...]:
    """Return one network of dense stages and one of convolutions: together they run every product."""
    return (
        Sequence("dense", (1, 8, 8)).dense(64).dense(2).build(),
        Sequence("conv", (3, 6, 6))
        .conv(64, padding=1)
        .conv(64, padding=1, pool="before_norm")
        .dense(2)
        .build(),
    )
