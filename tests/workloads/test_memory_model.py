"""The published totals, one test each, under the conventions of the paper; and what `honest` adds to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import memory_model, recipes
from workloads.errors import UnknownNameError, UnsupportedError
from workloads.models import binarynet, bireal18, cnv, mlp, resnete18

MIB, GIB = 1 << 20, 1 << 30
NETWORKS = {"mlp": mlp.specification(), "cnv": cnv.specification(), "binarynet": binarynet.specification()}
RESIDUAL = {"resnete18": resnete18.specification(), "bireal18": bireal18.specification()}
ALL = NETWORKS | RESIDUAL


def total_mib(network, trainer, optimizer="adam", batch=100, convention="paper"):
    return model(network, trainer, optimizer, batch, convention).total_bytes / MIB


def model(network, trainer, optimizer="adam", batch=100, convention="honest"):
    kind = recipes.optimizer(optimizer)
    return memory_model.model(ALL[network], recipes.recipe(trainer), kind, batch, convention)


PUBLISHED = [
    # network, trainer, optimizer, MiB; Wang et al., Tables 2, 4 and 5
    ("binarynet", "standard", "adam", 512.81),
    ("binarynet", "lowmem", "adam", 138.15),
    ("binarynet", "standard", "sgd", 459.32),
    ("binarynet", "lowmem", "sgd", 111.40),
    ("binarynet", "standard", "bop", 405.83),
    ("binarynet", "lowmem", "bop", 84.66),
    ("binarynet", "float16", "adam", 256.41),
    ("binarynet", "float16-booldw", "adam", 231.33),
    ("binarynet", "float16-booldw-l1", "adam", 231.33),
    ("mlp", "standard", "adam", 7.41),
    ("mlp", "lowmem", "adam", 2.66),
    ("cnv", "standard", "adam", 134.07),
    ("cnv", "lowmem", "adam", 32.17),
]
EARLIER = [
    # trainer, optimizer, MiB of BinaryNet; the earlier version, with powers of two and without masks
    ("standard", "adam", 425.31),
    ("standard", "sgd", 371.82),
    ("standard", "bop", 318.33),
    ("lowmem-po2", "adam", 118.21),
    ("lowmem-po2", "sgd", 91.46),
    ("lowmem-po2", "bop", 64.72),
]


@pytest.mark.parametrize(("network", "trainer", "optimizer", "published_mib"), PUBLISHED)
def test_published_totals(network, trainer, optimizer, published_mib):
    assert total_mib(network, trainer, optimizer) == pytest.approx(published_mib, abs=0.05)


@pytest.mark.parametrize(("network", "ratio"), [("binarynet", 3.71), ("mlp", 2.78), ("cnv", 4.17)])
def test_published_ratios(network, ratio):
    assert round(total_mib(network, "standard") / total_mib(network, "lowmem"), 2) == ratio


@pytest.mark.parametrize(("trainer", "optimizer", "published_mib"), EARLIER)
def test_the_earlier_version_s_totals(trainer, optimizer, published_mib):
    counted = total_mib("binarynet", trainer, optimizer, convention="paper-2021")
    assert counted == pytest.approx(published_mib, abs=0.05)


def test_the_earlier_version_s_ratio():
    standard, po2 = (
        total_mib("binarynet", each, convention="paper-2021") for each in ("standard", "lowmem-po2")
    )
    assert round(standard / po2, 2) == 3.60


def test_powers_of_two_have_their_masks_where_all_have_them():
    lowmem, po2 = (
        model("binarynet", each, convention="paper").by_variable() for each in ("lowmem", "lowmem-po2")
    )
    assert po2["masks"] == lowmem["masks"] > 0


@pytest.mark.parametrize(
    ("batch", "standard_mib", "lowmem_mib"), [(40, 333.6, 104.4), (100, 512.8, 138.15), (1000, 3202, 644)]
)
def test_published_batch_sizes(batch, standard_mib, lowmem_mib):
    assert total_mib("binarynet", "standard", batch=batch) == pytest.approx(standard_mib, rel=1e-3)
    assert total_mib("binarynet", "lowmem", batch=batch) == pytest.approx(lowmem_mib, rel=1e-3)


def test_published_variables_of_binarynet():
    """The rows of the paper's Table 2, in MiB."""
    published = {
        "standard": {"X": 111.33, "dX_Y": 50, "mu_psi": 0.03, "dY": 50, "W": 53.49, "dW": 53.49, "beta": 0.03,
                     "momenta": 106.98, "masks": 87.50},
        "lowmem": {"X": 3.48, "dX_Y": 25, "mu_psi": 0.01, "dY": 25, "W": 26.74, "dW": 1.67, "beta": 0.01,
                   "momenta": 53.49, "masks": 2.73},
    }  # fmt: skip
    for trainer, rows in published.items():
        counted = model("binarynet", trainer, convention="paper").by_variable()
        for variable, mib in rows.items():
            assert counted[variable] / MIB == pytest.approx(mib, abs=0.006), (trainer, variable)


def test_honest_counts_what_the_paper_leaves_out():
    """The image as pixels, the straight-through masks, ω, the moving averages, the momenta of β, the ten outputs."""
    paper = model("binarynet", "lowmem", convention="paper").by_variable()
    honest = model("binarynet", "lowmem").by_variable()
    pixels, inputs = 100 * 3 * 32 * 32, 100 * (291_840 - 3072)
    channels = NETWORKS["binarynet"].channels
    assert honest["input"] == pixels
    assert (
        paper["X"] - honest["X"] == pixels // 8 - 100 * 10 * 2
    )  # the image's bits less the outputs in float16
    assert honest["masks"] - paper["masks"] == inputs // 8
    assert honest["mu_psi"] - paper["mu_psi"] == channels * (2 + 8) - 10 * 2  # (no ω of the outputs)
    assert honest["momenta"] - paper["momenta"] == 2 * channels * 2
    assert honest["W"] == paper["W"]


def test_bop_holds_bits_in_place_of_latent_weights():
    honest = model("mlp", "lowmem", "bop").by_variable()
    assert honest["W"] == NETWORKS["mlp"].weights // 8


@given(
    st.sampled_from(list(ALL)),
    st.sampled_from([name for name, row in recipes.RECIPES.items() if not row.single_buffer]),
    st.sampled_from(list(recipes.OPTIMIZERS)),
    st.integers(1, 5000),
    st.sampled_from(memory_model.CONVENTIONS),
)
def test_every_model_is_the_sum_of_named_variables(network, trainer, optimizer, batch, convention):
    check_sum(network, trainer, optimizer, batch, convention)


@given(
    st.sampled_from(list(NETWORKS)),
    st.sampled_from([name for name, row in recipes.RECIPES.items() if row.single_buffer]),
    st.integers(1, 5000),
)
def test_so_is_every_model_of_one_buffer(network, trainer, batch):
    check_sum(network, trainer, "adam", batch, "honest")


def check_sum(network, trainer, optimizer, batch, convention):
    counted = model(network, trainer, optimizer, batch, convention)
    by_variable = counted.by_variable()
    assert tuple(by_variable) == memory_model.CLASSES
    assert counted.total_bytes == sum(by_variable.values())
    larger = model(network, trainer, optimizer, batch + 1, convention)
    assert larger.total_bytes > counted.total_bytes
    names = [variable.name for variable in counted.variables if variable.lifetime == "persistent"]
    assert len(names) == len(set(names))


def test_an_unknown_convention_names_those_there_are():
    with pytest.raises(UnknownNameError, match="honest, paper"):
        model("mlp", "lowmem", convention="generous")


@pytest.mark.parametrize("network", RESIDUAL)
class TestImageNet:
    """Wang et al., ImageNet, batch 4096: 70.1 → 18.54 GiB, 3.78×; the earlier version without masks 57.85, 3.12×."""

    def test_the_published_totals(self, network):
        assert total_mib(network, "standard", batch=4096) / 1024 == pytest.approx(70.1, abs=0.01)
        assert total_mib(network, "lowmem", batch=4096) / 1024 == pytest.approx(18.54, abs=0.01)

    def test_the_published_ratio(self, network):
        ratio = total_mib(network, "standard", batch=4096) / total_mib(network, "lowmem", batch=4096)
        assert round(ratio, 2) == 3.78

    def test_the_mask_stands_on_the_standard_side_only(self, network):
        standard, lowmem = (
            model(network, trainer, batch=4096, convention="paper").by_variable()
            for trainer in ("standard", "lowmem")
        )
        assert standard["masks"] / GIB == 12.25
        assert lowmem["masks"] == 0

    def test_the_earlier_version_has_no_mask(self, network):
        standard, lowmem = (
            total_mib(network, trainer, batch=4096, convention="paper-2021")
            for trainer in ("standard", "lowmem")
        )
        assert standard / 1024 == pytest.approx(57.85, abs=0.01)
        assert round(standard / lowmem, 2) == 3.12

    def test_honest_counts_the_norms_signs_and_the_estimators_masks(self, network):
        """By hand, in units of 25,088 elements, an item of the last map."""
        by_name = {each.name: each for each in model(network, "lowmem", batch=8).variables}
        bits = 8 * 25_088 // 8
        signs = [each.bytes for name, each in by_name.items() if name.startswith("X.conv") and "_" in name]
        # What the 16 binary convolutions read (5·8 + 4·4 + 4·2 + 3·1) and their norms' outputs (4·8 + 4·4 + 4·2 + 4·1).
        assert sum(signs) == (67 + 60) * bits
        masks = [each.bytes for name, each in by_name.items() if name.endswith(".ste")]
        assert sum(masks) == 67 * bits
        assert by_name["X.conv1.prepool"].bytes == 32 * bits
        assert by_name["masks.conv1.pool"].bytes == 8 * 4 * bits
        # The projections read averages in float16 and keep their norms' signs.
        assert by_name["X.down3"].bytes == 2 * 16 * bits
        assert by_name["X.down3.norm"].bytes == 4 * bits
        assert by_name["X.fc"].bytes == 8 * 512 * 2

    def test_honest_holds_every_sum_of_real_activations_once(self, network):
        by_name = {each.name: each for each in model(network, "standard", batch=1).variables}
        sums = [each.elements for name, each in by_name.items() if name.startswith("X.conv") and "_" in name]
        assert sum(sums) == 67 * 25_088
        assert by_name["X.sum"].elements == 25_088
        assert by_name["X.down5.norm"].elements == 25_088

    def test_full_precision_weights_keep_real_gradients(self, network):
        by_name = {each.name: each for each in model(network, "lowmem", "bop", batch=1).variables}
        assert by_name["dW.fc"].dtype == by_name["dW.conv1"].dtype == by_name["dW.down4"].dtype == "float16"
        assert by_name["dW.conv5_4"].dtype == by_name["W.conv5_4"].dtype == "bit"
        assert by_name["W.fc"].dtype == "float16"
        assert by_name["momenta.fc"].elements == 2 * 512_000
        assert by_name["momenta.conv5_4"].elements == 512 * 512 * 9

    def test_a_recipe_of_one_buffer_says_why_not(self, network):
        with pytest.raises(UnsupportedError, match="shortcut"):
            model(network, "lean")
