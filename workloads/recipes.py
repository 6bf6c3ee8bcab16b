"""Training recipes: a trainer is data. The type and lifetime of each variable, the batch norm, the update.

Every engine and the memory model obey these rows; nothing else tells one trainer from another. The names are
those of `algorithms.md`'s sources: Courbariaux and Bengio 2016 (`standard`), Wang et al. 2023 (`lowmem`) and
the rungs of that paper's ablation between the two.
"""

from workloads.errors import UnknownNameError
from workloads.light_typing import Any, Literal, NamedTuple

DType = Literal["float32", "float16", "int8", "uint8", "code2", "code4", "po2", "int6", "bit"]

# Bits of one stored element. `code2` is the place of a 2×2 maximum, `code4` of a 3×3 one; `po2` a sign and a 4-bit
# exponent; `int6` a value of 6 bits, which takes a byte: the table-lookup products read bytes.
BITS: dict[str, int] = {
    "float32": 32, "float16": 16, "int8": 8, "uint8": 8, "code2": 2, "code4": 4, "po2": 5, "int6": 8, "bit": 1,
}  # fmt: skip


class Recipe(NamedTuple):
    """The type of each variable of one training algorithm.

    `activation` is what is retained of X between forward and backward. `ste_mask` says where the clip of the
    straight-through estimator 1[|X| ≤ 1] comes from: `derived` from a retained real X, `kept` as a bit an
    element, or `none`. `norm` is the batch normalisation: `l2`, `l1`, `l1_sign`, whose backward pass puts the
    retained sign times a mean magnitude ω in place of the normalised output, or `l1_sign_centred`, which comes as
    near to `l1` as signs can: less the sign's mean and less β. ω is that of the elements that get a gradient at all:
    0.48 behind a clip, the retained mean of all where there is none, as in the paper. Of the last stage nobody retains
    signs, and its output is at hand as real numbers: there both are `l1`. `gradient` is
    the type of Y and ∂X, `output_gradient` that of ∂Y as the products read it. `pool_mask` is kept at the pooling
    inputs, except `code2`, which is kept at the pooled outputs. `image` is how the retained first input is held.

    `border` is what becomes of a latent weight that has reached |W| = 1: with `cancel` it gets no gradient any more, as
    Wang et al. have it, and so it never comes back; with `clip` it is kept in [−1, 1] and may, as Courbariaux and
    Bengio have it.

    Full-precision stages (`Stage.binary` False) have no signs to be content with: their input is retained, and their
    ∂W kept, as real numbers (`real`), their weights are neither clipped nor cancelled, and under Bop they and their
    two momenta are Adam's. A shortcut's sum is real under every recipe; what of it is *retained* is `activation`. The
    places of overlapping 3×3 maxima cannot be a mask at the inputs: they are numbers of type `overlap_mask` at the
    outputs.

    Beyond the paper: without `second_moment`, Adam keeps none for W, since a gradient of ±1/√N has v = 1/N exactly
    (and so `border` is `clip`: a gradient that is cancelled has another magnitude). With `single_buffer`, Y, ∂X, ∂Y
    and ∂W share one buffer, ∂Y stays at pooled resolution, and ∂W of one stage at a time is applied within the backward
    pass.
    """

    name: str
    summary: str
    activation: DType
    ste_mask: Literal["derived", "kept", "none"]
    norm: Literal["l2", "l1", "l1_sign", "l1_sign_centred"]
    gradient: DType
    output_gradient: DType
    weight: DType
    weight_gradient: DType
    momentum: DType
    statistic: DType
    pool_mask: DType
    image: DType
    border: Literal["cancel", "clip"] = "clip"
    second_moment: bool = True
    single_buffer: bool = False

    @property
    def real(self) -> DType:
        """Type of what has to be retained as a real number: that of Y and ∂X."""
        return self.gradient

    @property
    def by_sign(self) -> bool:
        """Whether signs, and with them ω, stand for the normalised output on the way back through the norm."""
        return self.norm in ("l1_sign", "l1_sign_centred")

    @property
    def logits(self) -> DType:
        """Type of the retained output of the last stage: what its own norm's backward pass reads, real in any case."""
        return "float16" if self.activation == "bit" else self.activation

    @property
    def overlap_mask(self) -> DType:
        """Type of the places of 3×3 maxima, at the pooled outputs: a real number where `pool_mask` is one."""
        return self.pool_mask if self.pool_mask in ("float32", "float16") else "code4"

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary for the job document."""
        return self._asdict()

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Recipe":
        """Read what `to_json` gave."""
        return cls(**document)


STANDARD = Recipe(
    name="standard",
    summary="Courbariaux & Bengio: everything float32",
    activation="float32",
    ste_mask="derived",
    norm="l2",
    gradient="float32",
    output_gradient="float32",
    weight="float32",
    weight_gradient="float32",
    momentum="float32",
    statistic="float32",
    pool_mask="float32",
    image="float32",
)
FLOAT16 = STANDARD._replace(
    name="float16",
    summary="standard, stored in float16",
    activation="float16",
    gradient="float16",
    output_gradient="float16",
    weight="float16",
    weight_gradient="float16",
    momentum="float16",
    statistic="float16",
    pool_mask="float16",
    image="float16",
)
FLOAT16_BOOLDW = FLOAT16._replace(
    name="float16-booldw",
    summary="float16 with 1-bit weight gradients",
    weight_gradient="bit",
    border="cancel",
)
FLOAT16_BOOLDW_L1 = FLOAT16_BOOLDW._replace(
    name="float16-booldw-l1", summary="float16-booldw with l1 batch normalisation", norm="l1"
)
LOWMEM = FLOAT16_BOOLDW_L1._replace(
    name="lowmem",
    summary="Wang et al.: only signs of activations are kept",
    activation="bit",
    ste_mask="kept",
    norm="l1_sign",
    pool_mask="bit",
    image="uint8",
)
LOWMEM_PO2 = LOWMEM._replace(
    name="lowmem-po2", summary="lowmem with ∂Y as 5-bit powers of two", output_gradient="po2"
)
LOWMEM_CENTRED = LOWMEM._replace(
    name="lowmem-centred",
    summary="lowmem with the l1 norm's gradient as near as signs tell it",
    norm="l1_sign_centred",
)
# Under 6-bit ∂Y, the weights that `cancel` holds at ±1 for good cost CNV half a point more: see benchmarks/README.md.
LOWMEM_Q6 = LOWMEM._replace(
    name="lowmem-q6", summary="lowmem with 6-bit ∂Y, weights clipped", output_gradient="int6", border="clip"
)

LEAN = LOWMEM_Q6._replace(
    name="lean",
    summary="lowmem-q6 with one gradient buffer, no second moment, the update fused",
    gradient="int8",
    pool_mask="code2",
    second_moment=False,
    single_buffer=True,
)
LEAN_CENTRED = LEAN._replace(
    name="lean-centred",
    summary="lean with the l1 norm's gradient as near as signs tell it",
    norm=LOWMEM_CENTRED.norm,
)
LEAN8 = LEAN._replace(
    name="lean8", summary="lean with weights and momentum in 8 bits", weight="int8", momentum="int8"
)

_ROWS = (
    STANDARD, FLOAT16, FLOAT16_BOOLDW, FLOAT16_BOOLDW_L1,
    LOWMEM, LOWMEM_PO2, LOWMEM_CENTRED, LOWMEM_Q6, LEAN, LEAN_CENTRED, LEAN8,
)  # fmt: skip
RECIPES: dict[str, Recipe] = {row.name: row for row in _ROWS}


class Optimizer(NamedTuple):
    """What an optimizer keeps (how many momenta an element, and whether latent weights exist at all) and its rates.

    A workload's learning rate is Adam's, whose step has no unit. The factors on it are `rate` for binary weights with a
    real gradient, `sign_rate` for those with one of one bit, ±1/√N, which is far larger, `real_rate` for weights of
    full-precision stages, and `beta_rate` for β. Adam divides by the gradient's spread, so that its `sign_rate` is only
    what taking the sign loses: of a normal gradient with mean m and a far larger spread s, Adam moves a weight by m/s a
    step, and by √(2/π) m/s of its sign. Bop's are γ, which so follows the schedule; it flips a weight where
    the running mean of its gradients is beyond τ: `threshold`, or, of a mean of ±1, `sign_threshold`. What has no sign
    to flip, Bop leaves to Adam.
    """

    name: str
    summary: str
    momenta: int
    latent_weights: bool
    rate: float = 1.0
    sign_rate: float = 1.0
    real_rate: float = 1.0
    beta_rate: float = 1.0
    threshold: float = 0.0
    sign_threshold: float = 0.0


# 1.2533 is √(π/2): what the sign of a normal gradient moves a weight less by.
_ADAM = Optimizer("adam", "Adam (Kingma & Ba 2015)", momenta=2, latent_weights=True, sign_rate=1.2533)
_SGD = Optimizer(
    "sgd",
    "stochastic gradient descent with momentum",
    momenta=1,
    latent_weights=True,
    rate=1e4,
    sign_rate=30.0,
    real_rate=100.0,
    beta_rate=1e3,
)
_BOP = Optimizer(
    "bop",
    "Bop (Helwegen et al. 2019): flips bits, no latent weights",
    momenta=1,
    latent_weights=False,
    rate=0.1,
    sign_rate=10.0,
    threshold=1e-8,
    sign_threshold=0.1,
)
OPTIMIZERS: dict[str, Optimizer] = {row.name: row for row in (_ADAM, _SGD, _BOP)}


def features(recipe: Recipe, optimizer: Optimizer) -> tuple[str, ...]:
    """Return what of this pair an engine may lack (`registry.Engine.lacks`): Bop by real gradients."""
    return ("bop of real gradients",) if optimizer.name == "bop" and recipe.weight_gradient != "bit" else ()


def recipe(name: str) -> Recipe:
    """Return the recipe of that name; raises UnknownNameError naming those there are."""
    if name not in RECIPES:
        raise UnknownNameError("trainer", name, list(RECIPES))
    return RECIPES[name]


def optimizer(name: str) -> Optimizer:
    """Return the optimizer of that name; raises UnknownNameError naming those there are."""
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, list(OPTIMIZERS))
    return OPTIMIZERS[name]
