from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import baselines
from results.errors import BaselineInvalidError, BaselineMissingError
from results.metrics import Key

Make = Callable[..., Any]
MIB = 2**20
LOWMEM = Key("mlp-mnist", "lowmem", "torch", 100)


GOOD = """
schema = "harness.baselines"
schema_version = 1
[environments.abc]
cpu = "x"
[baselines.mlp-mnist.lowmem.torch.batch-100]
environment = "abc"
[baselines.mlp-mnist.lowmem.torch.batch-100.metrics.training_peak_bytes]
value = 1
tolerance = 0.1
ceiling = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ceiling = 2", "cieling = 2", "unknown field `cieling`"),
        ("ceiling = 2", "floor = 2", "cannot have a floor: lower is better"),
        ("training_peak_bytes", "peak", "unknown metric 'peak'; there is: training_peak_bytes"),
        ("batch-100", "100", "'100' is not of the form 'batch-100'"),
        ("tolerance = 0.1", "", "value without a tolerance"),
        ('environment = "abc"', "", "environment 'None' is not there"),
        ("schema_version = 1", "schema_version = 9", "schema_version 9, this program reads 1"),
        (
            "value = 1",
            "value = nan",
            r"host\.toml.*lowmem.*training_peak_bytes has value = nan; it must be a finite",
        ),
        ("ceiling = 2", "ceiling = nan", "has ceiling = nan"),
        ("tolerance = 0.1", "tolerance = inf", "has tolerance = inf"),
        ("ceiling = 2", "ceiling = -2", "has ceiling = -2"),
        ("[environments.abc]", "[environments.abc", "cannot be read as TOML: Expected ']'"),
        ("value = 1", 'value = "1"', r"Expected `float \| null`, got `str` - at `\$\.baselines"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "host.toml"
    path.write_text(GOOD)
    assert baselines.read(path).baselines
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(BaselineInvalidError, match=words):
        baselines.read(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineMissingError, match="`harness baseline update FILE --reason TEXT` writes one"):
        baselines.read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(BaselineInvalidError, match="cannot be read"):
        baselines.read(tmp_path / "latin.toml")


def test_one_file_a_device(document: Make) -> None:
    assert baselines.path_for(Path("baselines"), document()) == Path("baselines/host.toml")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(alphabet=GOOD, max_size=60), st.integers(0, len(GOOD)))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, at: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(GOOD[:at] + text + GOOD[at:])
    try:
        file = baselines.read(path)
    except BaselineInvalidError as error:
        assert "fuzz.toml" in str(error)
    else:
        assert file.schema_version == 1
