import itertools
import json

import pytest

from workloads.errors import UnsupportedError
from workloads.models import binarynet, bireal18, cnv, mlp, resnete18
from workloads.models.residual import residual_network
from workloads.specification import Sequence, Specification

RESIDUAL = {"resnete18": resnete18, "bireal18": bireal18}
MODELS = {"mlp": mlp, "cnv": cnv, "binarynet": binarynet}


@pytest.mark.parametrize(
    ("name", "weights"), [("mlp", 399_872), ("cnv", 1_542_848), ("binarynet", 14_022_016)]
)
def test_the_papers_networks_have_their_weights(name, weights):
    assert MODELS[name].specification().weights == weights


def test_the_mlp_s_shapes():
    stages = mlp.specification().stages
    assert [(stage.in_channels, stage.out_channels) for stage in stages] == [
        (784, 256), (256, 256), (256, 256), (256, 256), (256, 10),
    ]  # fmt: skip


def test_binarynet_s_shapes():
    stages = binarynet.specification().stages
    assert [stage.name for stage in stages] == [
        "conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc1", "fc2", "fc3",
    ]  # fmt: skip
    assert [stage.outputs for stage in stages] == [
        131_072, 131_072, 65_536, 65_536, 32_768, 32_768, 1024, 1024, 10,
    ]  # fmt: skip
    assert [stage.pool for stage in stages[:6]] == ["none", "before_norm"] * 3
    assert stages[6].in_channels == 8192


def test_cnv_s_shapes():
    stages = cnv.specification().stages
    assert [stage.out_height for stage in stages] == [30, 28, 12, 10, 3, 1, 1, 1, 1]
    assert [stage.pool for stage in stages[:4]] == ["none", "after_sign"] * 2
    assert stages[6].in_channels == 256


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_takes_what_the_one_before_gives(name):
    stages = MODELS[name].specification().stages
    assert stages[0].real_input
    for before, after in itertools.pairwise(stages):
        assert before.pooled_outputs == after.inputs
        assert not after.real_input


@pytest.mark.parametrize("name", [*MODELS, *RESIDUAL])
def test_a_specification_survives_json(name):
    specification = (MODELS | RESIDUAL)[name].specification()
    assert Specification.from_json(json.loads(json.dumps(specification.to_json()))) == specification


def test_an_odd_map_loses_its_last_row_and_column_in_pooling():
    stage = Sequence("odd", (1, 5, 7)).conv(2, padding=1, pool="before_norm").build().stages[0]
    assert (stage.outputs, stage.pooled_outputs, stage.normalised) == (70, 12, 12)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_residual_networks_layer_shapes(name):
    """He et al. 2016, Table 1, 18 layers; Bethge et al. and Liu et al. put a shortcut around every 3×3 convolution."""
    stages = RESIDUAL[name].specification().stages
    binary = [stage for stage in stages if stage.binary]
    assert [(s.in_channels, s.out_channels, s.out_height, s.stride) for s in binary] == [
        *[(64, 64, 56, 1)] * 4,
        (64, 128, 28, 2), *[(128, 128, 28, 1)] * 3,
        (128, 256, 14, 2), *[(256, 256, 14, 1)] * 3,
        (256, 512, 7, 2), *[(512, 512, 7, 1)] * 3,
    ]  # fmt: skip
    assert {(stage.kernel, stage.padding) for stage in binary} == {(3, 1)}
    assert [s.shortcut for s in binary] == [*["identity"] * 4, *["projection", *["identity"] * 3] * 3]
    first, *_, last = stages
    assert (first.kernel, first.stride, first.out_height, first.pool) == (7, 2, 112, "max3")
    assert first.pooled_outputs == 64 * 56 * 56
    assert (last.inputs, last.arriving, last.outputs, last.norm) == (512, 512 * 49, 1000, False)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_residual_networks_projections(name):
    """2×2 averages, a full-precision 1×1 convolution, a norm; each reads what the next stage reads."""
    stages = RESIDUAL[name].specification().stages
    sides = [(side, main) for side, main in itertools.pairwise(stages) if side.side]
    assert [side.name for side, _ in sides] == ["down3", "down4", "down5"]
    for side, main in sides:
        assert main.shortcut == "projection"
        assert not side.binary
        assert (side.kernel, side.average, side.norm) == (1, 2, True)
        assert (side.arriving, side.outputs) == (main.inputs, main.outputs)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_residual_networks_parameters(name):
    """ResNet-18 has 11,689,512 (torchvision's model card; "11.7 M" in Liu et al.), 4,800 of them norm scales."""
    specification = RESIDUAL[name].specification()
    scales = sum(stage.out_channels for stage in specification.stages if stage.norm)
    assert specification.weights == 11_678_912
    assert scales == 4800
    assert specification.parameters + scales == 11_689_512


def test_each_residual_network_has_its_own_estimator():
    said = {
        name: {(s.straight_through, s.clip_at) for s in module.specification().stages}
        for name, module in RESIDUAL.items()
    }
    assert said == {"resnete18": {("clip", 1.3)}, "bireal18": {("polynomial", 1.0)}}


def test_only_residual_networks_have_shortcuts():
    assert all(module.specification().has_shortcuts for module in RESIDUAL.values())
    assert not any(module.specification().has_shortcuts for module in MODELS.values())


@pytest.mark.parametrize("shape", [(3, 224, 208), (3, 100, 100)])
def test_an_image_that_cannot_be_halved_is_refused(shape):
    with pytest.raises(UnsupportedError, match=r"halves|square"):
        residual_network("odd", "clip", image_shape=shape)
