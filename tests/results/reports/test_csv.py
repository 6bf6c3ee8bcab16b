import csv
import io
from collections.abc import Callable
from typing import Any

from results.reports.csv import documents_csv

Make = Callable[..., Any]


def test_csv_has_one_row_a_trial(document: Make, trial: Make, failed: Make) -> None:
    text = documents_csv([document(), document([failed(reason='=cmd("x"),\n2')])])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 7
    assert float(rows[0]["step_s"]) == 0.010
    assert int(rows[1]["training_peak_bytes"]) == 40 * 2**20
    assert rows[0]["ledger_X_bytes"] == "400000"
    assert rows[6]["step_s"] == rows[6]["test_accuracy"] == "", "not measured is empty, never 0"
    assert rows[6]["reason"] == '\'=cmd("x"),\n2'
    assert documents_csv([]) == "created\n"


def test_csv_tells_batches_from_micro_batches(document: Make, trial: Make) -> None:
    trials = [trial(), trial(settings={"steps": 60, "accumulate": 4})]
    rows = list(csv.DictReader(io.StringIO(documents_csv([document(trials)]))))
    assert [row["accumulate"] for row in rows] == ["1", "4"]
