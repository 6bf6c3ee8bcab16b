"""A network as data: its stages and shapes. Engines, memory model and tables all read the same one.

A stage is what the training algorithms repeat: a product (dense or convolution) with binary weights, an
optional 2×2 max-pool, a batch normalisation, and the sign that the next stage takes. A residual network adds
what surrounds its binary convolutions: shortcuts, and a few stages that are not binary. Shapes are for one
item; the batch comes in where bytes are counted.
"""

from workloads.light_typing import Any, Literal, NamedTuple

Kind = Literal["dense", "conv"]
Pool = Literal["none", "before_norm", "after_sign", "max3"]
Shortcut = Literal["none", "identity", "projection"]
StraightThrough = Literal["clip", "polynomial"]


class Stage(NamedTuple):
    """One product with its pooling and normalisation.

    A dense stage has height and width 1. `out_height` and `out_width` are those of the product, before
    any pooling. `real_input` marks the stage that takes the unbinarised image. `pool` says where the 2×2
    max-pool stands: before the batch normalisation (BinaryNet) or after the sign, on bits (CNV); `max3` is a 3×3
    max-pool of stride 2 and padding 1 after the normalisation, on real values (He et al. 2016).

    What residual networks need. `binary` is False where weights and input are used as they are. `shortcut` says what is
    added to the normalised output: the stage's own real input, or the result of the stage before it, a `projection`.
    That stage is a `side` stage: it reads what the next one reads, and hands it on. `average`: the input is first
    averaged over windows of that size, which do not overlap; `in_height` and `in_width` are those after it. Without
    `norm` the result is Y + β: a last dense layer with its bias.

    `straight_through` is the derivative that stands for that of the sign at the stage's input: `clip`, 1[|X| ≤ clip_at]
    (Courbariaux and Bengio 2016), or `polynomial`, 2 + 2X on [−1, 0) and 2 − 2X on [0, 1), else 0 (Liu et al. 2018).
    A recipe that keeps a bit an element in place of X cannot evaluate the polynomial: there 1[|X| ≤ 1] stands for
    it, which has the same integral. One network has one estimator, so that every stage knows its reader's.
    """

    name: str
    kind: Kind
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    pool: Pool = "none"
    real_input: bool = False
    binary: bool = True
    shortcut: Shortcut = "none"
    side: bool = False
    average: int = 1
    norm: bool = True
    straight_through: StraightThrough = "clip"
    clip_at: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Tell whether this stage is a link of a chain of binary products, as MLP, CNV and BinaryNet are."""
        plain = Stage._field_defaults
        return self.pool != "max3" and all(getattr(self, name) == plain[name] for name in _RESIDUAL_FIELDS)

    @property
    def fan_in(self) -> int:
        """N of the paper: how many products are summed into one output."""
        return self.kernel * self.kernel * self.in_channels

    @property
    def weights(self) -> int:
        """Elements of the weight tensor."""
        return self.fan_in * self.out_channels

    @property
    def inputs(self) -> int:
        """Elements of X for one item."""
        return self.in_channels * self.in_height * self.in_width

    @property
    def arriving(self) -> int:
        """Elements that arrive for one item, before they are averaged."""
        return self.inputs * self.average * self.average

    @property
    def outputs(self) -> int:
        """Elements of Y for one item, before pooling."""
        return self.out_channels * self.out_height * self.out_width

    @property
    def pooled_outputs(self) -> int:
        """Elements of the stage's result for one item, after its pooling if it has one."""
        if self.pool == "none":
            return self.outputs
        if self.pool == "max3":
            return self.out_channels * ((self.out_height + 1) // 2) * ((self.out_width + 1) // 2)
        return self.out_channels * (self.out_height // 2) * (self.out_width // 2)

    @property
    def normalised(self) -> int:
        """Elements that the batch normalisation sees for one item."""
        return self.pooled_outputs if self.pool == "before_norm" else self.outputs


_RESIDUAL_FIELDS = ("binary", "shortcut", "side", "average", "norm", "straight_through", "clip_at")


class Specification(NamedTuple):
    """A network: the image it takes (channels, height, width), its stages in order, its classes."""

    name: str
    image_shape: tuple[int, int, int]
    stages: tuple[Stage, ...]
    classes: int

    @property
    def weights(self) -> int:
        """Elements of all weight tensors."""
        return sum(stage.weights for stage in self.stages)

    @property
    def channels(self) -> int:
        """Normalised channels of all stages: the length of β, μ and ψ taken together."""
        return sum(stage.out_channels for stage in self.stages)

    @property
    def parameters(self) -> int:
        """All that is trained: weights, and β of each channel."""
        return self.weights + self.channels

    @property
    def has_shortcuts(self) -> bool:
        """Tell whether this is a residual network, and not a chain of stages."""
        return not all(stage.is_plain for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, for the job document."""
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "stages": [stage._asdict() for stage in self.stages],
            "classes": self.classes,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Specification":
        """Read what `to_json` gave."""
        channels, height, width = document["image_shape"]
        stages = tuple(Stage(**stage) for stage in document["stages"])
        return cls(document["name"], (channels, height, width), stages, document["classes"])


class Sequence:
    """Builds a specification stage by stage, keeping the shapes in step.

    >>> Sequence("tiny", (1, 4, 4)).conv(8, padding=1, pool="before_norm").dense(2).build().weights
    136
    """

    def __init__(self, name: str, image_shape: tuple[int, int, int]) -> None:
        self._name = name
        self._image_shape = image_shape
        self._shape = image_shape
        self._stages: list[Stage] = []

    def conv(self, channels: int, *, kernel: int = 3, padding: int = 0, pool: Pool = "none") -> "Sequence":
        """Append a convolution of stride 1, and the 2×2 max-pool that follows it, if any."""
        in_channels, height, width = self._shape
        out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
        name = f"conv{1 + sum(stage.kind == 'conv' for stage in self._stages)}"
        stage = Stage(
            name, "conv", in_channels, height, width, channels, out_height, out_width,
            kernel=kernel, padding=padding, pool=pool, real_input=not self._stages,
        )  # fmt: skip
        self._stages.append(stage)
        halved = 1 if pool == "none" else 2
        self._shape = (channels, out_height // halved, out_width // halved)
        return self

    def dense(self, channels: int) -> "Sequence":
        """Append a dense stage; what comes before it is taken as one flat vector."""
        in_channels, height, width = self._shape
        name = f"fc{1 + sum(stage.kind == 'dense' for stage in self._stages)}"
        flat = in_channels * height * width
        self._stages.append(Stage(name, "dense", flat, 1, 1, channels, 1, 1, real_input=not self._stages))
        self._shape = (channels, 1, 1)
        return self

    def build(self) -> Specification:
        """Return the specification; the last stage's channels are the classes."""
        return Specification(self._name, self._image_shape, tuple(self._stages), self._shape[0])
