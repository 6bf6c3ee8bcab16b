import re
from collections.abc import Callable
from typing import Any

import pytest

from results import tables
from results.compare import compare, comparison_view
from results.schema import Evaluation, Quality

Make = Callable[..., Any]
LONG = ["standard", "lowmem", "float16-booldw-l1"]


@pytest.fixture
def wide(document: Make, trial: Make, energy: Make) -> Any:
    """A document whose tables are as wide as they get."""
    curve = [
        Evaluation(step=10 * i, epoch=float(i), test_accuracy=0.1 + i / 100, duration_s=1.0)
        for i in range(1, 7)
    ]
    quality = Quality(train_loss=[], test_accuracy=0.503, test_items=1000, evaluations=curve)
    changes = {"step_s": 0.0123, "peak": 12345 * 2**20, "energy": [energy(12.3)], "quality": quality}
    return document([trial(name, **changes) for name in LONG])


FIGURES = ("12.3 ms", "12,345.00", "9.56", "4.60", "1.00×", "12.3 J", "50.3 %", "11.0 %", "16.0 %")


@pytest.mark.parametrize("width", [40, 50, 64, 70, 72, 79, 80])
def test_no_figure_is_cut_at_any_width(wide: Any, shown: Make, width: int) -> None:
    lines = shown(tables.main_table(wide), width=width).splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for figure in FIGURES:
        assert figure in text, figure
    assert text.count("50.3 %") == len(LONG)
    others = re.sub("|".join(map(re.escape, FIGURES)) + r"|1[1-6]\.0 %", "", text)
    assert not re.search(r"\d\.", others), "a figure without its end"


def test_what_fits_is_one_table_and_what_does_not_names_its_rows_again(wide: Any, shown: Make) -> None:
    assert shown(tables.main_table(wide), width=80).count("trainer ") == 1
    assert shown(tables.main_table(wide), width=60).count("trainer ") == 2


def test_a_row_that_two_columns_name_has_both_in_each_part(wide: Any, shown: Make) -> None:
    text = shown(comparison_view(compare(wide, wide), "a.json", "b.json"), width=44)
    assert text.count("lowmem      ") == text.count("standard    ")
    assert text.count("step time") == 3 * text.count("trainer ")
    narrow = shown(comparison_view(compare(wide, wide), "a.json", "b.json"), width=30)
    assert "energy a step" in narrow
    assert narrow.count("12.1 GiB") == 6


def test_colours_and_outcomes_stay(document: Make, trial: Make, failed: Make, shown: Make) -> None:
    text = shown(tables.main_table(document([trial(), failed()])), width=40)
    assert text.count("  out of memory") == 3
