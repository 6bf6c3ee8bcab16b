import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import baselines, ratchet
from results.gate import Status, Verdict, check, exit_code, grown, judge
from results.gate_table import gate_view, summary_line
from results.metrics import METRICS, Key
from results.schema import Memory, Quality, Time, Validity

Make = Callable[..., Any]
MIB = 2**20
HEAD = 'schema = "harness.baselines"\nschema_version = 1\n'
ENTRY = "[baselines.mlp-mnist.{}.torch.batch-100.metrics]\n"


@pytest.fixture
def recorded(document: Make, tmp_path: Path) -> baselines.Baselines:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document()], "first recorded")
    return baselines.read(path)


def promised(tmp_path: Path, line: str, trainer: str = "lowmem") -> baselines.Baselines:
    path = tmp_path / "promises.toml"
    path.write_text(HEAD + ENTRY.format(trainer) + line + "\n")
    return baselines.read(path)


PROMISES = [
    (f"binarynet-{data}", trainer, 100, mebibytes)
    for data in ("cifar10", "svhn")
    for trainer, mebibytes in (("lowmem", 150), ("lean", 85), ("lean8", 55))
]


@pytest.mark.parametrize(
    ("workload", "trainer", "batch_size", "mebibytes"),
    [*PROMISES, ("binarynet-cifar10", "lowmem", 40, 115)],
)
def test_this_project_s_own_gate_fails_one_page_above_what_is_promised(
    document: Make, trial: Make, workload: str, trainer: str, batch_size: int, mebibytes: int
) -> None:
    own = baselines.read(Path(__file__).parents[2] / "baselines" / "ci.toml")
    given = {"workload": workload, "engine": "native", "batch_size": batch_size}
    for peak, status in (
        (mebibytes * MIB, Status.OK),
        (mebibytes * MIB + 4096, Status.CEILING_BROKEN),
    ):
        verdicts = check(document([trial(trainer, 0, 0.01, peak, **given)]), own)
        assert (
            of([v for v in verdicts if v.key.workload == workload], "training_peak_bytes", trainer).status
            is status
        )


def lowmem(trial: Make, n: int = 3, **changes: Any) -> list[Any]:
    """Three repeats of lowmem with standard beside them."""
    return [
        t
        for i in range(n)
        for t in (trial("standard", i, 0.0101), trial("lowmem", i, 0.0121, **({"peak": 40 * MIB} | changes)))
    ]


def of(verdicts: list[Verdict], metric: str, trainer: str = "lowmem") -> Verdict:
    (found,) = [v for v in verdicts if v.metric == metric and v.key.trainer == trainer]
    return found


def test_the_same_run_passes(document: Make, recorded: baselines.Baselines) -> None:
    verdicts = check(document(), recorded)
    assert {verdict.status for verdict in verdicts} == {Status.OK}
    assert {verdict.metric for verdict in verdicts} == {
        "training_peak_bytes",
        "modelled_bytes",
        "time_ratio",
        "test_accuracy",
    }
    assert exit_code(verdicts, strict=True) == 0


def test_a_planted_regression_names_the_variable(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    # One activation tensor kept in float32 instead of a bit an element: 12,500 bytes become 400,000.
    trials = lowmem(trial, peak=44 * MIB)
    for grown_trial in trials:
        if grown_trial.trainer == "lowmem":
            grown_trial.memory.ledger_by_variable["X"] = 400_000
    verdicts = check(document(trials), recorded)
    verdict = of(verdicts, "training_peak_bytes")
    assert verdict.status is Status.REGRESSED
    assert verdict.detail == "+10.0 %, tolerance 1.0 %; X grew most, from 12.2 KiB to 390.6 KiB"
    assert exit_code(verdicts) == 4


def test_what_spares_a_repeat_is_no_regression_but_an_invalid_run(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    trials = lowmem(trial)
    for index, other in enumerate(each for each in trials if each.trainer == "lowmem"):
        other.memory.training_peak_bytes = (40 if index == 0 else 41) * MIB
    verdict = of(check(document(trials), recorded), "training_peak_bytes")
    assert verdict.status is Status.INVALID
    assert verdict.detail == "+2.5 %, tolerance 1.0 %, but +0.0 % in the best repeat; run again"
    assert exit_code([verdict]) == 6


def test_noise_within_the_tolerance_never_fails(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    rng = random.Random(7)
    for _ in range(50):
        trials = [
            t
            for i in range(3)
            for t in (
                trial(
                    "standard",
                    i,
                    0.0101 * rng.uniform(0.97, 1.03),
                    90 * MIB + rng.randrange(-128, 128) * 1024,
                ),
                trial(
                    "lowmem", i, 0.0121 * rng.uniform(0.97, 1.03), 40 * MIB + rng.randrange(-128, 128) * 1024
                ),
            )
        ]
        assert exit_code(check(document(trials), recorded), strict=True) == 0


def test_a_broken_ceiling(document: Make, trial: Make, tmp_path: Path) -> None:
    file = promised(tmp_path, f"training_peak_bytes.ceiling = {39 * MIB}")
    verdicts = check(document(lowmem(trial)), file)
    verdict = of(verdicts, "training_peak_bytes")
    assert (verdict.status, verdict.detail) == (Status.CEILING_BROKEN, "1.0 MiB over the ceiling")
    assert exit_code(verdicts) == 3


def test_every_repeat_must_keep_a_promise(document: Make, trial: Make, tmp_path: Path) -> None:
    file = promised(tmp_path, f"training_peak_bytes.ceiling = {41 * MIB}")
    trials = [trial("lowmem", i, peak=p * MIB) for i, p in enumerate((40, 40, 42))]
    assert of(check(document(trials), file), "training_peak_bytes").value == 42 * MIB
    assert exit_code(check(document(trials), file)) == 3
    assert exit_code(check(document(trials[:2]), file)) == 0


def test_a_floor_of_accuracy(document: Make, trial: Make, tmp_path: Path) -> None:
    file = promised(tmp_path, "test_accuracy.floor = 0.975", "standard")
    verdict = of(check(document([trial()]), file), "test_accuracy", "standard")
    assert (verdict.status, verdict.detail) == (Status.CEILING_BROKEN, "0.5 % under the floor")


def test_a_ceiling_holds_on_every_machine(document: Make, trial: Make, host: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document()], "x")
    text = path.read_text().replace("value = 41943040\n", f"value = 41943040\nceiling = {39 * MIB}\n")
    path.write_text(text)
    verdicts = check(document(lowmem(trial), host=host(cores=64)), baselines.read(path))
    assert of(verdicts, "training_peak_bytes").status is Status.CEILING_BROKEN
    assert of(verdicts, "trial").status is Status.NOT_COMPARABLE
    assert exit_code(verdicts) == 3


def test_a_promise_that_cannot_be_measured_is_no_pass(document: Make, trial: Make, tmp_path: Path) -> None:
    file = promised(tmp_path, "training_peak_bytes.ceiling = 1", "standard")
    blind = trial(memory=Memory.unavailable("no /proc here", allocator="pinned"))
    verdicts = check(document([blind]), file)
    assert of(verdicts, "training_peak_bytes", "standard").detail.endswith("no /proc here")
    assert exit_code(verdicts) == 5


def test_running_out_of_memory(
    document: Make, trial: Make, failed: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document([trial(), failed()]), recorded)
    assert of(verdicts, "trial").status is Status.OUT_OF_MEMORY
    assert exit_code(verdicts) == 3


def test_a_killed_trial_may_break_a_ceiling_too(
    document: Make, trial: Make, failed: Make, tmp_path: Path
) -> None:
    file = promised(tmp_path, f"training_peak_bytes.ceiling = {39 * MIB}")
    killed = failed(outcome="error", reason="crashed", memory=trial(peak=60 * MIB).memory)
    assert of(check(document([killed]), file), "training_peak_bytes").status is Status.CEILING_BROKEN


def test_an_error_in_a_trial(
    document: Make, failed: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document([trial(), failed(outcome="error", reason="crashed")]), recorded)
    assert exit_code(verdicts) == 1


def test_another_machine(document: Make, host: Make, recorded: baselines.Baselines) -> None:
    verdicts = check(document(host=host(cpu="Cortex-A53")), recorded)
    assert {verdict.status for verdict in verdicts} == {Status.NOT_COMPARABLE}
    assert "cpu: Test CPU @ 2.0 GHz → Cortex-A53" in verdicts[0].detail
    assert exit_code(verdicts) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threads": 1}, "threads: 2 → 1"),
        ({"optimizer": "sgd"}, "optimizer: adam → sgd"),
        ({"dataset_variant": "full"}, "dataset_variant: sample → full"),
        ({"settings": {"accumulate": 4}}, "accumulate: 1 → 4"),
    ],
)
def test_another_setup(
    document: Make, trial: Make, recorded: baselines.Baselines, changes: Any, words: str
) -> None:
    verdicts = check(document([trial("lowmem", i, **changes) for i in range(3)]), recorded)
    assert words in of(verdicts, "trial").detail
    assert exit_code(verdicts) == 5


def test_an_unknown_configuration_has_no_baseline(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document([trial("lean")]), recorded)
    assert of(verdicts, "trial", "lean").status is Status.NO_BASELINE
    assert exit_code(verdicts) == 5


def test_a_throttled_run_is_invalid(document: Make, trial: Make, recorded: baselines.Baselines) -> None:
    hot = lowmem(trial, peak=80 * MIB, validity=Validity(throttled=True, load=0.0))
    verdicts = check(document(hot), recorded)
    assert of(verdicts, "trial").status is Status.INVALID
    assert exit_code(verdicts) == 6, "a spoilt run is not judged"


def test_a_noisy_run_is_invalid(document: Make, trial: Make, recorded: baselines.Baselines) -> None:
    noisy = [
        t
        for i, s in enumerate((0.01, 0.02, 0.03))
        for t in (trial("standard", i), trial("lowmem", i, s, 40 * MIB))
    ]
    verdicts = check(document(noisy), recorded)
    assert of(verdicts, "time_ratio").status is Status.INVALID
    assert exit_code(verdicts) == 6


def test_a_metric_that_was_not_measured_this_time(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    blind = lowmem(trial, time=Time.unavailable("no clock"))
    verdict = of(check(document(blind), recorded), "time_ratio")
    assert (verdict.status, verdict.detail) == (Status.NOT_COMPARABLE, "no clock")


def test_accuracy_after_another_number_of_steps_is_not_compared(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    low = Quality(train_loss=[], test_accuracy=0.5, test_items=10)
    short = lowmem(trial, settings={"steps": 6}, quality=low)
    verdicts = check(document(short), recorded)
    assert of(verdicts, "test_accuracy").detail == "trained for 6 steps, the baseline for 60 steps"
    assert of(verdicts, "training_peak_bytes").status is Status.OK
    worse = check(document(lowmem(trial, quality=low)), recorded)
    assert of(worse, "test_accuracy").status is Status.REGRESSED
    assert exit_code(worse) == 4


def test_an_improvement_is_stale_under_strict(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document(lowmem(trial, peak=30 * MIB)), recorded)
    assert of(verdicts, "training_peak_bytes").status is Status.IMPROVED
    assert (exit_code(verdicts), exit_code(verdicts, strict=True)) == (0, 7)


def test_what_was_not_run_is_said_and_fails_under_strict(
    document: Make, trial: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document([trial("standard", i) for i in range(3)]), recorded)
    assert of(verdicts, "trial").status is Status.NOT_RUN
    assert (exit_code(verdicts), exit_code(verdicts, strict=True)) == (0, 5)


def verdict(status: Status) -> Verdict:
    return Verdict(Key("w", "t", "e", 1), "trial", status, None, None, "")


def test_only_absences_are_nothing_checked() -> None:
    absence = Verdict(Key("mlp-mnist", "lowmem", "torch", 100), "trial", Status.NOT_RUN, None, None, "")
    assert exit_code([absence]) == exit_code([]) == 5


def test_the_order_of_exit_codes() -> None:
    worst_first = [
        (Status.OUT_OF_MEMORY, 3),
        (Status.ERROR, 1),
        (Status.INVALID, 6),
        (Status.NO_BASELINE, 5),
        (Status.REGRESSED, 4),
        (Status.IMPROVED, 7),
        (Status.OK, 0),
    ]
    for index, (_, code) in enumerate(worst_first):
        assert exit_code([verdict(status) for status, _ in worst_first[index:]], strict=True) == code
    assert exit_code([verdict(Status.IMPROVED)]) == 0


def test_judge_at_the_edge_of_the_tolerance() -> None:
    lower, higher = METRICS["step_s"], METRICS["test_accuracy"]
    assert judge(lower, 110.0, 100.0, 0.1) is Status.OK
    assert judge(lower, 110.1, 100.0, 0.1) is Status.REGRESSED
    assert judge(lower, 89.9, 100.0, 0.1) is Status.IMPROVED
    assert judge(higher, 0.94, 0.97, 0.01) is Status.REGRESSED
    assert judge(higher, 0.99, 0.97, 0.01) is Status.IMPROVED


def test_the_variable_that_grew_most() -> None:
    assert grown({"X": 10, "W": 5}, {"X": 12, "W": 5, "masks": 100}) == ("masks", 0, 100)
    assert grown({"X": 10}, {"X": 9}) is None
    assert grown({}, {}) is None


def test_the_table_puts_the_worst_first(
    document: Make, trial: Make, failed: Make, shown: Make, recorded: baselines.Baselines
) -> None:
    verdicts = check(document([trial("standard", i, peak=99 * MIB) for i in range(3)] + [failed()]), recorded)
    text = shown(gate_view(verdicts))
    assert max(map(len, text.splitlines())) <= 80
    assert text.index("out of memory") < text.index("regressed") < text.index(" ok")
    assert "· mlp-mnist standard torch batch 100, training_peak_bytes: regressed: +10.0 %" in text
    assert "failed: 2 ok, 1 out of memory, 1 regressed (exit code 3)" in text
    assert summary_line([]) == "failed: nothing checked (exit code 5)"
