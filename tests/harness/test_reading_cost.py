"""`harness energy overhead`: what reading a meter costs, for people and as a document."""

import json

import pytest
from rich.console import Console

from harness import reading_cost
from power.overhead import OverheadReport


def test_a_meter_named_is_read_and_told_of(harness_main):
    ended = harness_main(
        "energy", "overhead", "--meter", "mock:10W,counter", "--seconds", "0.3", "--rate", "50"
    )
    assert ended.status == 0
    (row,) = [line for line in ended.out.splitlines() if line.startswith("mock")]
    # Its 10 W do not depend on being read.
    assert "too little to tell from none" in row
    assert "reading mock:10W,counter for 0.3 s" in ended.err


def test_the_document_has_every_meter_in_turn(harness_main):
    meters = ("--meter", "mock:10W,counter", "--meter", "mock:5W")
    ended = harness_main("energy", "overhead", *meters, "--seconds", "0.2", "--json", "-")
    counting, sampling = json.loads(ended.out)
    assert counting["extra_w"] == pytest.approx(0.0, abs=0.01)
    assert (counting["reason"], sampling["extra_w"]) == (None, None)
    assert "must be read to measure" in sampling["reason"]
    assert counting["share"] > 0.0 and sampling["share"] > 0.0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--meter", "nosuch"), 2, "unknown meter 'nosuch'"),
        (("--meter", "none"), 2, "none reads nothing"),
        (("--meter", "mock:10W", "--seconds", "0"), 2, "'--seconds'"),
        (("--meter", "tc66:/nowhere"), 1, "/nowhere"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(harness_main, arguments, status, said):
    ended = harness_main("energy", "overhead", *arguments)
    assert ended.status == status
    assert said in ended.err
    assert ended.out == ""


def test_a_place_that_cannot_be_written_is_said_before_a_meter_is_read(harness_main, monkeypatch):
    monkeypatch.setattr(reading_cost, "measure", None)  # would fail if it were called
    ended = harness_main("energy", "overhead", "--meter", "mock:5W", "--json", "/proc/nowhere/costs.json")
    assert ended.status == 1
    assert "cannot write '/proc/nowhere/costs.json'" in ended.err
    assert ended.err.count("\n") == 1


def test_without_a_meter_the_nearest_one_is_named(harness_main, monkeypatch):
    monkeypatch.setattr(reading_cost.registry, "automatic", lambda: None)
    ended = harness_main("energy", "overhead")
    assert ended.status == 2
    assert "or name one with --meter" in ended.err


def test_the_machines_own_meter_is_taken(harness_main, monkeypatch):
    monkeypatch.setattr(reading_cost.registry, "automatic", lambda: "mock")
    assert harness_main("energy", "overhead", "--seconds", "0.1").out.splitlines()[3].startswith("mock")


@pytest.mark.parametrize(
    ("extra_w", "error_w", "shown"),
    [(0.1234, 0.034, "0.12 ±0.03"), (-0.2, 4.0, " 0 ±4"), (1.0, 0.2, "1.0 ±0.2")],
)
def test_a_power_is_shown_as_far_as_it_is_known(extra_w, error_w, shown):
    report = OverheadReport("powercap", "native", 100.0, 0.004, 4e-5, extra_w, error_w, None)
    console = Console(width=80, record=True)
    console.print(reading_cost.table([report]))
    text = console.export_text()
    assert shown in text
    assert ("too little to tell" in text) is (abs(extra_w) <= error_w)
