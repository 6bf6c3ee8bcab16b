from collections.abc import Callable
from typing import Any

from results.doctor_table import doctor_table, screen

Make = Callable[..., Any]
POWERCAP = {"name": "powercap", "usable": False, "reason": "permission denied", "hint": "sudo chmod a+r FILE"}
MOCK = {"name": "mock", "usable": True, "reason": "", "hint": None, "domains": ["cpu", "dram"]}
BARE = {"name": "bare", "usable": True, "reason": None, "hint": None}


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_every_finding_in_full(shown: Make) -> None:
    text = shown(doctor_table("meters", [POWERCAP, MOCK, BARE]))
    assert row(text, "powercap") == ["powercap", "no", "permission", "denied"]
    assert "try: sudo chmod a+r FILE" in text
    assert row(text, "mock") == ["mock", "yes", "domains:", "cpu,", "dram"]
    assert row(text, "bare") == ["bare", "yes", "–"]


def test_one_screen_has_what_works_what_a_command_mends_and_the_rest_by_name(shown: Make) -> None:
    watchdog = BARE | {"name": "watchdog", "reason": "looks every 2 ms"}
    left_out = MOCK | {"name": "hwmon", "reason": "left out: in1 (switched off)"}
    works = {"engines": [BARE, watchdog], "meters": [MOCK, left_out], "pins": []}
    text = shown(screen(works, [POWERCAP], ["tc66:/dev/ttyACM0"], ["perf", "nvml"]))
    assert row(text, "engines") == ["engines", "bare,", "watchdog"]
    assert row(text, "meters") == ["meters", "mock:", "cpu,", "dram"]
    assert "hwmon: cpu, dram; left out: in1 (switched off)" in text
    assert row(text, "pins") == ["pins", "–"]
    assert "try: sudo chmod a+r FILE" in text
    assert "need a place, named with --meter: tc66:/dev/ttyACM0" in text
    assert "not here: perf, nvml" in text
    assert "harness doctor --all" in text
    assert max(map(len, text.splitlines())) <= 80


def test_where_everything_works_nothing_else_is_said(shown: Make) -> None:
    text = shown(screen({"engines": [BARE]}, [], [], []))
    assert not [words for words in ("does not", "need", "not here") if words in text]
