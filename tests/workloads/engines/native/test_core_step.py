"""One step of every recipe against the float64 oracle: statistics, signs, masks, gradients, on odd sizes."""

import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

import native_support as support  # noqa: E402
import oracle_steps as oracle  # noqa: E402

from workloads import recipes  # noqa: E402
from workloads.engines.native import location  # noqa: E402
from workloads.engines.native.scratch import SUPPORTED  # noqa: E402

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

BATCH = 37
NEAR = 3e-3  # what rounding Y of the first stage and μ, ψ to float16 may move X⁺ by
CASES = [
    *((trainer, name) for trainer in SUPPORTED for name in support.NETWORKS),
    *(
        (trainer, name, "none")
        for trainer in ("lowmem", "lowmem-centred", "lean")
        for name in support.NETWORKS
    ),
    *(("standard", name) for name in support.WIDE),
]


class Compared:
    """A training after forward and backward (no update), and the oracle's records of the same step."""

    def __init__(self, trainer: str, name: str, ste_mask: str = "") -> None:
        changed = {"ste_mask": ste_mask} if ste_mask else {}
        self.recipe = recipes.recipe(trainer)._replace(**changed)
        self.network = (support.NETWORKS | support.WIDE)[name]()
        self.training = support.make(trainer, self.network, BATCH, threads=2, **changed)
        self.weights = support.weights_of(self.training, self.network, self.recipe.weight)
        self.betas = [self._draw_beta(i) for i in range(len(self.network.stages))]
        pixels, labels = support.batch_of(self.network, BATCH)
        self.loss = self.training.step(*support.views(pixels, labels), 0.0, lambda phase: None)
        self.oracle_loss, self.records = oracle.step(
            self.network, pixels, labels, self.weights, self.betas, self.recipe.norm, self.signs, self.masks,
            clip=self.recipe.ste_mask != "none",
        )  # fmt: skip

    def _draw_beta(self, stage: int) -> Any:
        view = support.values(self.training, "beta", stage, self.recipe.statistic)
        channels = self.network.stages[stage].out_channels
        view[:channels] = np.random.default_rng(stage).uniform(-0.5, 0.5, channels)
        return view[:channels].astype(np.float64)

    def signs(self, index: int, x_plus: Any) -> Any:
        """Give X⁺ the engine's sign where it is within rounding of 0; anywhere else the signs must agree."""
        stage = self.network.stages[index]
        if self.recipe.activation != "bit":
            return x_plus
        if stage.pool == "after_sign":
            role, at = "X.prepool", index
        elif index + 1 < len(self.network.stages):
            role, at = "X", index + 1
        else:
            return self._logits(index, x_plus)
        bits = support.unpack(self.training, role, at, self._row(role, at)).reshape(x_plus.shape)
        near = np.abs(x_plus) < NEAR
        assert (bits == (x_plus >= 0))[~near].all()
        assert near.mean() < 0.1  # Y is an integer: many items share a value
        return np.where(near, np.where(bits, 1e-12, -1e-12), x_plus)

    def _logits(self, index: int, x_plus: Any) -> Any:
        """Give x̃ = X⁺ − β the sign of the engine's, which retains X⁺ in float16, where it is within rounding of 0."""
        logits = (
            support.values(self.training, "X.logits", index, "float16")
            .astype(np.float64)
            .reshape(x_plus.shape)
        )
        np.testing.assert_allclose(logits, x_plus, atol=NEAR, rtol=2e-3)
        beta = self.betas[index]
        near = np.abs(x_plus - beta) < NEAR
        assert ((logits >= beta) == (x_plus >= beta))[~near].all()
        return np.where(near, beta + np.where(logits >= beta, 1e-12, -1e-12), x_plus)

    def masks(self, index: int, out: Any) -> Any:
        """The same for the clip mask of what goes to the next stage."""
        if self.recipe.ste_mask != "kept" or index + 1 == len(self.network.stages):
            return out
        bits = support.unpack(self.training, "masks.ste", index + 1, self._row("X", index + 1)).reshape(
            out.shape
        )
        near = np.abs(np.abs(out) - 1) < NEAR
        assert (bits == (np.abs(out) <= 1))[~near].all()
        return np.where(near, np.sign(out) * np.where(bits, 1 - 1e-12, 1 + 1e-12), out)

    def _row(self, role: str, stage: int) -> int:
        row = self.network.stages[stage]
        return row.in_channels if role == "X" else row.out_channels

    def statistics(self, stage: int) -> Any:
        channels = self.network.stages[stage].out_channels
        view = support.values(self.training, "mu_psi", stage, self.recipe.statistic)
        return view.astype(np.float64).reshape(-1, channels)

    def dbeta(self, stage: int) -> Any:
        channels = self.network.stages[stage].out_channels
        return support.values(self.training, "beta", stage, self.recipe.statistic)[channels:].astype(
            np.float64
        )


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def compared(request: pytest.FixtureRequest) -> Any:
    case = Compared(*request.param)
    yield case
    case.training.close()


def test_loss(compared: Compared) -> None:
    tolerance = 1e-5 if compared.recipe.name == "standard" else 2e-3
    assert compared.loss == pytest.approx(compared.oracle_loss, rel=tolerance)


def test_statistics(compared: Compared) -> None:
    rel = 1e-5 if compared.recipe.name == "standard" else 2e-3
    for index, record in enumerate(compared.records):
        mean, scale, *omega = compared.statistics(index)
        np.testing.assert_allclose(mean, record.mean, rtol=rel, atol=rel)
        np.testing.assert_allclose(scale, record.scale, rtol=rel)
        if omega:
            np.testing.assert_allclose(omega[0], record.omega, rtol=rel)
        moving = support.values(compared.training, "mu_psi.moving", index, "float32").astype(np.float64)
        np.testing.assert_allclose(moving, np.concatenate([record.mean, record.spread]), rtol=rel, atol=rel)


def test_retained_activations(compared: Compared) -> None:
    """(Signs and masks were compared on the way: `Compared.signs`, `Compared.masks`.)"""
    for index, stage in enumerate(compared.network.stages[1:], start=1):
        x = compared.records[index].x.reshape(-1, stage.in_channels)
        if compared.recipe.activation == "bit":
            signs = support.unpack(compared.training, "X", index, stage.in_channels)
            assert (signs == (x >= 0)).all()
        else:
            real = support.values(compared.training, "X", index, "float32").reshape(x.shape)
            np.testing.assert_allclose(real, x, rtol=1e-4, atol=1e-4)


# How far a sum of gradients may be off, in roots of the sum of its terms' squares. float16 rounds each term to 2^-11 of
# itself; its two digits round ∂Y to 1/8000 of its maximum, the same way wherever it has the same small value, as it
# has off the maxima of a pool after the sign. Six bits round to 1/31 of the maximum, stochastically.
NOISE = {
    "standard": 1e-4, "lowmem": 0.2, "lowmem-centred": 0.2, "lowmem-q6": 1.5, "lean": 1.5,
    "lean-centred": 1.5, "lean8": 1.5,
}  # fmt: skip


def test_beta_gradients(compared: Compared) -> None:
    """∂β: the engine's is of the mean loss in float32, of the summed loss otherwise."""
    for index, record in enumerate(compared.records):
        share = BATCH if compared.recipe.gradient == "float32" else 1
        noise = np.sqrt((record.g**2).sum(axis=(0, 1, 2)))
        error = np.abs(compared.dbeta(index) * share - record.dbeta)
        assert (error <= NOISE[compared.recipe.name] * noise + 1e-3 * np.abs(record.dbeta)).all(), (
            f"stage {index}"
        )


def test_weight_gradients(compared: Compared) -> None:
    """Signs must agree wherever the oracle's sum is not within the rounding of its terms."""
    for index, (record, stage) in enumerate(zip(compared.records, compared.network.stages, strict=True)):
        if compared.recipe.single_buffer:
            pytest.skip("∂W is applied as it is made: see test_applied_weight_gradients")
        expected = record.dw.reshape(-1, stage.in_channels)
        if compared.recipe.weight_gradient == "float32":
            real = support.values(compared.training, "dW", index, "float32").reshape(expected.shape)
            largest = np.abs(expected).max()
            np.testing.assert_allclose(real * BATCH, expected, rtol=1e-3, atol=1e-4 * largest)
            continue
        signs = support.unpack(compared.training, "dW", index, stage.in_channels)
        agreement = (np.where(signs, 1, -1) * expected).sum() / np.abs(expected).sum()
        two_digits = compared.recipe.output_gradient == "float16"
        assert agreement > (0.995 if two_digits else 0.5), f"stage {index}"
        if two_digits:
            noise = np.sqrt((record.dy**2).sum(axis=(0, 1, 2))).repeat(stage.kernel**2)[:, None]
            sure = np.abs(expected) > NOISE["lowmem"] * noise
            assert sure.mean() > 0.5
            assert (signs == (expected >= 0))[sure].all(), f"stage {index}"


def test_first_weight_gradient_is_the_sum_of_its_own_terms(compared: Compared) -> None:
    """∂Y of the first stage is still in the arena: with it, ∂W has no rounding left but its own."""
    stage, recipe = compared.network.stages[0], compared.recipe
    if recipe.single_buffer:
        pytest.skip("∂Y has no place of its own")
    dtype = {"int6": "int8"}.get(recipe.output_gradient, recipe.output_gradient)
    shape = (BATCH, stage.out_height, stage.out_width, stage.out_channels)
    count = int(np.prod(shape))
    dy = support.values(compared.training, "dY", -1, dtype)[:count].astype(np.float64).reshape(shape)
    pixels = (
        2.0
        * support.values_u8(compared.training, "input", 0).reshape(BATCH, stage.in_height, stage.in_width, -1)
        - 255
    )
    cols = oracle.columns(pixels, stage)
    expected = np.einsum("byxn,byxtc->ntc", dy, cols).reshape(-1, stage.in_channels)
    if recipe.weight_gradient == "float32":
        real = support.values(compared.training, "dW", 0, "float32").reshape(expected.shape)
        np.testing.assert_allclose(real, expected / 255, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
        return
    signs = support.unpack(compared.training, "dW", 0, stage.in_channels)
    # Two digits: each term is off by at most max|∂Y| / 8000. Six bits are exact.
    terms = np.einsum("byxtc->tc", np.abs(cols)).repeat(1, axis=0)
    bound = np.tile(terms, (stage.out_channels, 1)) * np.abs(dy).max() / 8000 if dtype == "float16" else 0.0
    sure = np.abs(expected) > bound if dtype == "float16" else np.full(expected.shape, True)
    assert (signs == (expected >= 0))[sure].all()


def test_six_bits_reach_to_the_maximum_or_to_eight_deviations(compared: Compared) -> None:
    if compared.recipe.output_gradient != "int6" or compared.recipe.single_buffer:
        pytest.skip("∂Y is not in six bits, or has no place of its own")
    record = compared.records[0]
    codes = support.values(compared.training, "dY", -1, "int8")[: record.dy.size].astype(np.float64)
    expected = record.dy.reshape(-1)
    selected = record.dy.size if record.select is None else record.select.sum()
    reach = min(np.abs(expected).max(), 8 * np.sqrt((expected**2).sum() / selected))
    assert (codes * expected).sum() / (expected**2).sum() == pytest.approx(31 / reach, rel=0.1)


def test_applied_weight_gradients(compared: Compared) -> None:
    """Where ∂W has no place of its own: the first momentum is a tenth of it, 0.1·sgn(∂W)."""
    if not compared.recipe.single_buffer:
        pytest.skip("∂W has a place of its own: see test_weight_gradients")
    for index, (record, stage) in enumerate(zip(compared.records, compared.network.stages, strict=True)):
        expected = record.dw.reshape(-1)
        first = support.values(compared.training, "momenta", index, compared.recipe.momentum)[: expected.size]
        unit = 127.0 if compared.recipe.name == "lean8" else 1.0
        np.testing.assert_allclose(np.abs(first.astype(np.float64)) / unit, 0.1, atol=0.006)
        agreement = (np.sign(first.astype(np.float64)) * expected).sum() / np.abs(expected).sum()
        assert agreement > 0.5, f"{stage.name}"
