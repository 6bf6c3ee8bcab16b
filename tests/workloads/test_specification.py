import itertools
import json

import pytest

from workloads.models import binarynet, cnv, mlp
from workloads.specification import Sequence, Specification

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


@pytest.mark.parametrize("name", MODELS)
def test_a_specification_survives_json(name):
    specification = MODELS[name].specification()
    assert Specification.from_json(json.loads(json.dumps(specification.to_json()))) == specification


def test_an_odd_map_loses_its_last_row_and_column_in_pooling():
    stage = Sequence("odd", (1, 5, 7)).conv(2, padding=1, pool="before_norm").build().stages[0]
    assert (stage.outputs, stage.pooled_outputs, stage.normalised) == (70, 12, 12)
