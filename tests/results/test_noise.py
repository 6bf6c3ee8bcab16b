"""Whether others disturbed a run: the one rule that notes, gates and baselines share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import baselines, ratchet
from results.errors import NoisyRunError
from results.gate import Status, Verdict, check, exit_code
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
    ratchet.update(path, [document()], "first recorded")
    verdicts = check(document(slower(trial, busy(0.9), whose)), baselines.read(path))
    (verdict,) = [each for each in verdicts if each.metric == "time_ratio" and each.key.trainer == "lowmem"]
    assert verdict.status is Status.INVALID
    assert "but others took 0.9 of 2 processors in the measured window; run again" in verdict.detail
    assert exit_code(verdicts) == 6


def test_slower_on_a_quiet_machine_is_a_regression_whatever_the_load_average(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document()], "first recorded")
    verdicts = check(document(slower(trial, busy(0.0), "lowmem")), baselines.read(path))
    assert exit_code(verdicts) == 4


def test_memory_is_judged_beside_others_too(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document()], "first recorded")
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
        ratchet.update(path, [disturbed_run], "too early")
    assert not path.exists()
    assert ratchet.update(path, [disturbed_run], "memory", ["training_peak_bytes"])


STEPS_S = [("standard", 0.0101), ("lowmem", 0.0121)]


def repeats(trial: Make, slowed: dict[tuple[str, int], float]) -> list[Any]:
    """Five repeats of both trainers; `slowed` multiplies the step time of (trainer, repeat)."""
    return [
        trial(trainer, i, s * slowed.get((trainer, i), 1.0), (40 if trainer == "lowmem" else 90) << 20)
        for i in range(5)
        for trainer, s in STEPS_S
    ]


def time_ratio(verdicts: list[Verdict]) -> Verdict:
    (found,) = [each for each in verdicts if each.metric == "time_ratio"]
    return found


@pytest.mark.parametrize(
    "slowed",
    [
        {("standard", 1): 1.5},
        {("lowmem", 1): 1.5},
        {
            ("standard", 0): 1.5,
            ("standard", 1): 1.4,
            ("lowmem", 2): 1.6,
            ("lowmem", 3): 1.3,
            ("lowmem", 4): 2.0,
        },
    ],
)
def test_repeats_that_a_neighbour_slowed_fail_no_gate(
    document: Make, trial: Make, tmp_path: Path, slowed: dict[tuple[str, int], float]
) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document(repeats(trial, {}))], "first recorded")
    assert time_ratio(check(document(repeats(trial, slowed)), baselines.read(path))).status is Status.OK


def test_a_slower_program_shows_in_spite_of_a_slowed_reference(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document(repeats(trial, {}))], "first recorded")
    slower_program = {("lowmem", i): 1.2 for i in range(5)} | {("standard", 3): 1.3}
    verdict = time_ratio(check(document(repeats(trial, slower_program)), baselines.read(path)))
    assert verdict.status is Status.REGRESSED
    assert verdict.detail == "+20.0 %, tolerance 15.0 %"


def test_a_change_within_what_the_repeats_differ_by_is_noise(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document(repeats(trial, {}))], "first recorded")
    slowed = {("lowmem", i): factor for i, factor in enumerate((1.2, 1.2, 2.0, 1.3, 1.9))}
    verdict = time_ratio(check(document(repeats(trial, slowed)), baselines.read(path)))
    assert verdict.status is Status.INVALID
    assert "but the repeats themselves differ by ±30.8 %; run again" in verdict.detail


def test_the_tolerance_of_a_time_covers_the_range_of_its_repeats(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path = tmp_path / "host.toml"
    noisy = {("lowmem", 1): 1.3, ("lowmem", 2): 1.2}
    ratchet.update(path, [document(repeats(trial, noisy))], "on a noisy machine")
    (entry,) = [entry for key, entry in baselines.read(path).entries() if key.trainer == "lowmem"]
    assert entry.metrics["time_ratio"].tolerance == pytest.approx(0.3)


def test_a_time_that_only_one_repeat_reached_is_not_recorded(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    once = {("lowmem", i): 1.5 for i in range(4)}
    with pytest.raises(NoisyRunError, match="time_ratio spreads"):
        ratchet.update(tmp_path / "host.toml", [document(repeats(trial, once))], "too noisy")
