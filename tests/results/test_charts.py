from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.charts import WIDTH, bar, charts_view

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("value", "drawn"), [(8.0, "████"), (4.0, "██"), (1.0, "▌"), (0.001, "▏"), (0.0, ""), (-1.0, "")]
)
def test_bar(value: float, drawn: str) -> None:
    assert bar(value, 8.0, width=4) == drawn


@given(st.floats(0, 1e12), st.floats(1e-3, 1e12))
def test_a_bar_never_exceeds_its_width(value: float, more: float) -> None:
    assert len(bar(value, value + more)) <= WIDTH


def test_the_charts_fit_and_are_on_one_scale(document: Make, failed: Make, shown: Make) -> None:
    text = shown(charts_view(document([*document().trials, failed("lean")])))
    assert max(map(len, text.splitlines())) <= 80
    bars = {line.split()[0]: line.count("█") for line in text.splitlines() if " peak " in line}
    assert bars == {"standard": WIDTH, "lowmem": WIDTH * 40 // 90}
    assert "lean" not in text
    assert text.count(" loss ") == 2
    assert "holds no trial" in shown(charts_view(document([])))
