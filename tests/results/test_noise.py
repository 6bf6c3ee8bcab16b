"""Whether others disturbed a run: the one rule that notes, gates and baselines share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import baselines
from results.errors import NoisyRunError
from results.gate import Status, check, exit_code
from results.noise import disturbance, disturbed
from results.schema import ProcessorUse, Validity

Make = Callable[..., Any]


def use(others_s: float, *, duration_s: float = 1.0, stolen_s: float = 0.0) -> ProcessorUse:
    return ProcessorUse(
        duration_s=duration_s,
        cores=2,
        own_s=0.5,
        others_s=others_s,
        stolen_s=stolen_s,
        resolution_s=0.02,
    )


def busy(others_s: float, **changes: Any) -> Validity:
    return Validity(throttled=False, load=9.0, others_window=use(others_s, **changes))


@pytest.mark.parametrize(("others_s", "expected"), [(0.0, False), (0.2, False), (0.22, False), (0.23, True)])
def test_a_tenth_of_the_processors_beyond_the_resolution(others_s: float, expected: bool) -> None:
    assert disturbed(use(others_s)) is expected


def test_what_cannot_be_resolved_is_not_held_against_anybody() -> None:
    assert not disturbed(use(0.02, duration_s=0.01))


def test_the_worst_window_is_named(trial: Make) -> None:
    trials = [trial(validity=each) for each in (busy(0.1), busy(0.8), busy(0.5, stolen_s=0.5))]
    assert disturbance(trials) == "others took 0.8 of 2 processors in the measured window"
    assert disturbance(trials[2:]) is not None
    assert "0.5 stolen by the hypervisor" in str(disturbance(trials[2:]))
    assert disturbance(trials[:1]) is None
    assert disturbance([trial()]) is None  # a document of before the figure was kept


def slower(trial: Make, validity: Validity, whose: str) -> list[Any]:
    """lowmem a third slower than recorded, beside standard; `whose` trials were disturbed."""
    quiet = busy(0.0)
    return [
        made
        for i in range(3)
        for made in (
            trial("standard", i, 0.0101, validity=validity if whose == "standard" else quiet),
            trial("lowmem", i, 0.0160, peak=40 << 20, validity=validity if whose == "lowmem" else quiet),
        )
    ]


@pytest.mark.parametrize("whose", ["lowmem", "standard"])
def test_slower_beside_others_is_invalid_and_says_how_much_they_took(
    document: Make, trial: Make, tmp_path: Path, whose: str
) -> None:
    path = tmp_path / "host.toml"
    baselines.update(path, [document()], "first recorded")
    verdicts = check(document(slower(trial, busy(0.9), whose)), baselines.read(path))
    (verdict,) = [each for each in verdicts if each.metric == "time_ratio" and each.key.trainer == "lowmem"]
    assert verdict.status is Status.INVALID
    assert "but others took 0.9 of 2 processors in the measured window; run again" in verdict.detail
    assert exit_code(verdicts) == 6


def test_slower_on_a_quiet_machine_is_a_regression_whatever_the_load_average(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    baselines.update(path, [document()], "first recorded")
    verdicts = check(document(slower(trial, busy(0.0), "lowmem")), baselines.read(path))
    assert exit_code(verdicts) == 4


def test_memory_is_judged_beside_others_too(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    baselines.update(path, [document()], "first recorded")
    trials = slower(trial, busy(0.9), "lowmem")
    for each in trials:
        each.memory.training_peak_bytes *= 2
    verdicts = check(document(trials), baselines.read(path))
    assert {each.status for each in verdicts if each.metric == "training_peak_bytes"} == {Status.REGRESSED}


def test_a_disturbed_time_is_not_recorded_but_its_memory_is(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    disturbed_run = document(slower(trial, busy(0.9), "lowmem"))
    with pytest.raises(
        NoisyRunError, match=r"others took 0\.9 of 2 processors.*--metric training_peak_bytes"
    ):
        baselines.update(path, [disturbed_run], "too early")
    assert not path.exists()
    assert baselines.update(path, [disturbed_run], "memory", ["training_peak_bytes"])
