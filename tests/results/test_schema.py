import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import results
from results.schema import (
    Ceiling,
    Document,
    Energy,
    Memory,
    Quality,
    Time,
    Trial,
    json_schema,
)

Make = Callable[..., Any]
PUBLISHED = Path(results.__file__).with_name("result.schema.json")


def validate(value: Any) -> None:
    jsonschema.validate(
        value,
        json.loads(PUBLISHED.read_text()),
        cls=jsonschema.Draft202012Validator,
        format_checker=jsonschema.FormatChecker(),
    )


def plain(document: Document) -> Any:
    return json.loads(msgspec.json.encode(document))


def test_the_published_schema_is_in_step_with_the_code() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json_schema(), (
        "the schema changed: python -m results.schema > results/result.schema.json"
    )


def test_the_published_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))


def test_example_documents_validate(document: Make, trial: Make) -> None:
    failed = trial(
        outcome="out_of_memory",
        reason="killed at the ceiling of 64 MiB",
        time=Time.unavailable("no step was finished"),
        memory=Memory.unavailable("killed before the first mark", allocator="pinned"),
        quality=Quality(train_loss=[], test_accuracy=None, test_items=0, reason="not trained"),
    )
    validate(plain(document()))
    validate(plain(document([failed])))
    validate(plain(document([])))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), "other"),
        (("schema_version",), 2),
        (("trials", 0, "batch_size"), 0),
        (("trials", 0, "batch_size"), "100"),
        (("trials", 0, "outcome"), "fine"),
        (("trials", 0, "memory", "peak_rss_bytes"), -1),
        (("trials", 0, "quality", "test_accuracy"), 97.0),
        (("trials", 0, "energy", 0, "provenance"), "guessed"),
        (("host", "cores"), None),
    ],
)
def test_schema_and_types_refuse_the_same(document: Make, place: tuple[Any, ...], value: Any) -> None:
    broken = plain(document())
    part = broken
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(broken, Document)


@pytest.mark.parametrize(
    "place",
    [
        ("schema",),
        ("created",),
        ("trials", 0, "memory", "ledger_by_variable"),
        ("trials", 0, "time", "data_s"),
        ("trials", 0, "energy", 0, "reason"),
    ],
)
def test_a_missing_name_of_the_contract_is_refused_by_the_schema(
    document: Make, place: tuple[Any, ...]
) -> None:
    broken = plain(document())
    part = broken
    for step in place[:-1]:
        part = part[step]
    del part[place[-1]]
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


def test_later_additions_are_read(document: Make) -> None:
    newer = plain(document())
    newer["later"] = {"x": 1}
    newer["trials"][0]["memory"]["swap_bytes"] = 5
    validate(newer)
    assert msgspec.convert(newer, Document).trials[0].memory.allocator == "pinned"


def test_an_energy_from_before_it_told_how_it_was_read_is_read(document: Make) -> None:
    older = plain(document())
    for name in (
        "covers",
        "fresh_samples",
        "longest_gap_s",
        "gross_uncertainty_j",
        "terms_j",
        "settings",
    ):
        del older["trials"][0]["energy"][0][name]
    validate(older)
    row = msgspec.convert(older, Document).trials[0].energy[0]
    assert (row.covers, row.fresh_samples, row.terms_j, row.settings) == (None, None, {}, {})


def test_a_null_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="time is null without a reason"):
        Time(step_s=None, forward_s=None, backward_s=None, update_s=None, data_s=None)
    with pytest.raises(ValueError, match="memory is null without a reason"):
        Memory.unavailable("")
    with pytest.raises(ValueError, match="test_accuracy is null without a reason"):
        Quality(train_loss=[], test_accuracy=None, test_items=0)
    with pytest.raises(ValueError, match="mechanism is null without a reason"):
        Ceiling(limit_bytes=2**20, mechanism=None)
    with pytest.raises(ValueError, match="energy of rapl/dram is null without a reason"):
        Energy.unavailable("rapl", "dram", "")


def test_an_outcome_other_than_ok_needs_a_reason(trial: Make) -> None:
    with pytest.raises(ValueError, match="outcome 'error' is null without a reason"):
        trial(outcome="error")


def test_an_unavailable_energy_holds_no_value() -> None:
    with pytest.raises(ValueError, match="has a value but is 'unavailable'"):
        Energy(
            meter="rapl",
            domain="package-0",
            gross_j=0.0,
            idle_j=None,
            net_j=None,
            net_j_per_step=None,
            uncertainty_j=None,
            rate_hz=None,
            provenance="unavailable",
            reason="no counter",
        )


def test_reading_refuses_a_null_without_a_reason(document: Make) -> None:
    broken = plain(document())
    broken["trials"][1]["memory"]["training_peak_bytes"] = None
    with pytest.raises(msgspec.ValidationError, match=r"memory is null.*trials\[1\]\.memory"):
        msgspec.convert(broken, Document)


def test_created_is_utc(document: Make) -> None:
    with pytest.raises(ValueError, match="UTC"):
        document(created=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))


def test_a_diverged_loss_survives(document: Make, trial: Make) -> None:
    quality = Quality(train_loss=[2.3, float("nan"), float("inf")], test_accuracy=0.1, test_items=10)
    again = msgspec.json.decode(msgspec.json.encode(document([trial(quality=quality)])), type=Document)
    assert again.trials[0].quality.train_loss == [2.3, None, None]


CONTRACT = """workload model dataset dataset_variant trainer engine optimizer batch_size threads seed
repeat outcome reason time memory energy quality validity wall_s settings"""


def test_fields_are_those_of_the_contract() -> None:
    head = [field.name for field in msgspec.structs.fields(Document)]
    assert head == [
        "schema",
        "schema_version",
        "created",
        "harness",
        "host",
        "device",
        "trials",
        "synchronisation",
    ]
    assert [field.name for field in msgspec.structs.fields(Trial)][:20] == CONTRACT.split()


def test_the_schema_imports_no_table() -> None:
    code = "import sys, results.schema, results.store; print({'rich', 'plotly'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
