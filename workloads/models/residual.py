"""What the two binary ResNet-18s have in common: every binary 3×3 convolution has a shortcut of its own around it.

A full-precision 7×7 convolution of stride 2 with its norm and a 3×3 max-pool, four groups of binary convolutions,
global averaging, a full-precision dense layer. The first convolution of groups 2 to 4 halves the map and doubles the
channels; there the shortcut is averaged over 2×2, and goes through a full-precision 1×1 convolution and a norm of its
own.

Norms have a bias and no scale (Wang et al. 2023), so that each convolution adds a term of unit spread to its
shortcut. The weights' scaling factors of XNOR-Net and Bi-Real Net are left out: a positive factor a channel is divided
out again by the norm that follows it, and Bethge et al. found them not crucial. No rectifier stands before
the first binary convolution or the averaging: a sign would read +1 everywhere.
"""

from itertools import pairwise

from workloads.errors import UnsupportedError
from workloads.specification import Specification, Stage, StraightThrough


def residual_network(
    name: str,
    straight_through: StraightThrough,
    *,
    clip_at: float = 1.0,
    image_shape: tuple[int, int, int] = (3, 224, 224),
    widths: tuple[int, ...] = (64, 128, 256, 512),
    convolutions: int = 4,
    classes: int = 1000,
) -> Specification:
    """Return the network with `convolutions` binary convolutions in each of the groups that `widths` gives channels.

    Raises UnsupportedError for an image that cannot be halved that often.
    """
    _, height, width = image_shape
    multiple = 1 << (len(widths) + 1)
    if height % multiple or width % multiple:
        raise UnsupportedError(
            f"'{name}' halves an image {len(widths) + 1} times: {height}×{width} is not a multiple of {multiple}"
        )
    estimator = Stage("", "conv", 0, 0, 0, 0, 0, 0, straight_through=straight_through, clip_at=clip_at)
    stages = [_first(estimator, image_shape, widths[0])]
    height, width = height // 4, width // 4
    sizes = ((widths[0], height, width), *((w, height >> k, width >> k) for k, w in enumerate(widths)))
    for group, (before, after) in enumerate(pairwise(sizes), start=2):
        stages += _group(estimator, group, before, after, convolutions)
    return Specification(name, image_shape, (*stages, _last(estimator, sizes[-1], classes)), classes)


def _first(estimator: Stage, image_shape: tuple[int, int, int], channels: int) -> Stage:
    in_channels, height, width = image_shape
    return estimator._replace(
        name="conv1", in_channels=in_channels, in_height=height, in_width=width, out_channels=channels,
        out_height=height // 2, out_width=width // 2, kernel=7, stride=2, padding=3, pool="max3",
        real_input=True, binary=False,
    )  # fmt: skip


def _group(
    estimator: Stage, group: int, before: tuple[int, int, int], after: tuple[int, int, int], convolutions: int
) -> list[Stage]:
    """Return the binary convolutions of one group; one that changes the shape has its projection in front of it."""
    stages = []
    (in_channels, height, width), (channels, out_height, out_width) = before, after
    if before != after:
        projection = estimator._replace(
            name=f"down{group}", in_channels=in_channels, in_height=out_height, in_width=out_width,
            out_channels=channels, out_height=out_height, out_width=out_width, average=height // out_height,
            binary=False, side=True,
        )  # fmt: skip
        stages.append(projection)
    for index in range(1, convolutions + 1):
        convolution = estimator._replace(
            name=f"conv{group}_{index}", in_channels=in_channels, in_height=height, in_width=width,
            out_channels=channels, out_height=out_height, out_width=out_width, kernel=3,
            stride=height // out_height, padding=1,
            shortcut="identity" if (in_channels, height, width) == after else "projection",
        )  # fmt: skip
        stages.append(convolution)
        in_channels, height, width = after
    return stages


def _last(estimator: Stage, size: tuple[int, int, int], classes: int) -> Stage:
    """Return the dense layer, which reads the mean of each channel. The maps must be square to have one window."""
    channels, height, width = size
    if height != width:
        raise UnsupportedError(f"global averaging takes square maps, not {height}×{width}")
    return estimator._replace(
        name="fc", kind="dense", in_channels=channels, in_height=1, in_width=1, out_channels=classes,
        out_height=1, out_width=1, average=height, binary=False, norm=False,
    )  # fmt: skip
