from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from results import curves
from results.charts import charts_view
from results.reports.markdown import document_markdown
from results.schema import Evaluation, Quality
from results.summary import summarize
from results.tables import document_view

Make = Callable[..., Any]


def quality(*points: tuple[int, float]) -> Quality:
    evaluations = [
        Evaluation(step=step, epoch=step / 10, test_accuracy=accuracy, duration_s=0.1)
        for step, accuracy in points
    ]
    return Quality(train_loss=[1.0], test_accuracy=points[-1][1], test_items=10, evaluations=evaluations)


def rows_of(document: Any) -> Any:
    (rows,) = summarize(document).values()
    return rows


def test_a_curve_is_the_mean_over_repeats_where_all_were_evaluated(
    document: Make, trial: Make, failed: Make
) -> None:
    trials = [
        trial(quality=quality((10, 0.5), (20, 0.7), (30, 0.8))),
        trial(repeat=1, quality=quality((10, 0.6), (30, 0.9))),
        failed("standard", 2),
    ]
    (row,) = [row for row in rows_of(document(trials)) if row.trainer == "standard"]
    assert curves.curve(row) == [(1.0, pytest.approx(0.55)), (3.0, pytest.approx(0.85))]


def test_a_table_has_room_for_a_few_epochs_the_last_among_them(document: Make, trial: Make) -> None:
    long = quality(*((10 * epoch, epoch / 100) for epoch in range(1, 41)))
    trials = [trial(quality=long), trial("lowmem", quality=quality((400, 0.3)))]
    found = curves.table(rows_of(document(trials)))
    assert found is not None
    heads, lines = found
    assert heads == ["epoch", "1", "9", "17", "24", "32", "40"]
    assert lines[0] == ["standard", "1.0 %", "9.0 %", "17.0 %", "24.0 %", "32.0 %", "40.0 %"]
    assert lines[1] == ["lowmem", "–", "–", "–", "–", "–", "30.0 %"]


def test_without_evaluations_there_is_no_table(document: Make, trial: Make) -> None:
    assert curves.table(rows_of(document([trial()]))) is None
    assert curves.loss_epochs(trial()) is None


def test_every_text_shows_the_curve(document: Make, trial: Make, shown: Callable[..., str]) -> None:
    found = document([trial(quality=quality((10, 0.5), (20, 0.75)))])
    assert "| standard | 50.0 % | 75.0 % |" in document_markdown(found)
    table = shown(document_view(found))
    assert "accuracy while training" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    chart = next(line for line in shown(charts_view(found)).splitlines() if "accuracy" in line)
    assert "▁█" in chart
    assert "75.0 %" in chart


def test_the_losses_of_a_long_training_are_of_equal_stretches_of_it(trial: Make) -> None:
    """250 steps make 84 stretches of 3: the last has one."""
    told = quality((250, 0.5))
    told = msgspec.structs.replace(told, train_loss=[1.0] * 84)
    epochs = curves.loss_epochs(trial(settings={"steps": 250}, quality=told))
    assert epochs is not None
    assert epochs[:2] == pytest.approx([0.3, 0.6])
    assert epochs[-2:] == pytest.approx([24.9, 25.0])
