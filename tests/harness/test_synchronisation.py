"""A foreign trace, its clock off and drifting, brought into a run: the truth is covered; the doubtful is refused."""

import random
from datetime import UTC, datetime

import msgspec
import pytest

from harness import runner, synchronisation
from harness.display import Quiet
from harness.errors import UsageError
from power.errors import SynchronisationError
from power.synchronise import Pattern
from power.trace_csv import read_trace
from results import schema, store

S = 1_000_000_000
PATTERN = Pattern(chip_s=0.5, guard_s=1.0)
BEGINS_S = (1003.0, 1063.0)  # by the host's clock
IDLE_BEFORE, MEASURED, IDLE_AFTER = (1012.0, 1022.0), (1025.0, 1040.0), (1045.0, 1055.0)
EVALUATIONS = ((1029.0, 1032.0), (1035.0, 1036.0))  # in the measured window
IDLE_W = 4.0
BURSTS = PATTERN.bursts()  # once: a trace asks for them at each of its thousands of samples


def power_w(t_s, load_w, evaluating_w=None):
    """The truth: idle, the two patterns at 9 W, and a load from import to evaluation; another while it evaluates."""
    if evaluating_w is not None and any(a <= t_s < b for a, b in EVALUATIONS):
        return evaluating_w
    for begin_s in BEGINS_S:
        if any(a <= t_s - begin_s < b for a, b in BURSTS):
            return 9.0
    return load_w if 1023.0 <= t_s < 1043.0 else IDLE_W


def trace_csv(path, seed, *, patterns=True, rate_hz=50.0, evaluating_w=None):
    """Write what a meter that nobody told the time shows; return the true net energy of the measured window, in J."""
    rng = random.Random(seed)
    load_w, gain = rng.uniform(5.0, 12.0), 1.0 + rng.uniform(-0.01, 0.01)
    offset_s, drift = rng.uniform(-5000.0, 5000.0), 1.0 + rng.uniform(-3e-4, 3e-4)
    t_s, lines = 1000.0 + rng.random(), ["Time(s),Voltage(V),Current(A)"]
    while t_s < 1075.0:
        watt = power_w(t_s, load_w, evaluating_w) if patterns else IDLE_W
        watt = gain * watt + rng.gauss(0.0, 0.15)
        lines.append(f"{offset_s + t_s * drift:.4f},5.0,{watt / 5.0:.6f}")
        t_s += rng.uniform(0.5, 1.5) / rate_hz
    path.write_text("\n".join(lines) + "\n")
    evaluated_s = sum(b - a for a, b in EVALUATIONS) if evaluating_w is not None else 0.0
    return (load_w - IDLE_W) * (MEASURED[1] - MEASURED[0] - evaluated_s)


def ns(span_s):
    return tuple(round(t * S) for t in span_s)


KEPT = []  # the run below as a file has it, once it has been made


@pytest.fixture
def document(make_plan):
    """A run without meters whose windows lie where the traces have theirs; a copy of its own for each test."""
    if not KEPT:
        plan = make_plan(trainers=("standard",))
        KEPT.append(store.dumps(runner.run(plan, Quiet(), lambda document: None)))
    document = store.loads(KEPT[0])
    document.created = datetime(2026, 1, 1, tzinfo=UTC)
    document.trials[0].windows = schema.Windows(
        measured_ns=ns(MEASURED), idle_before_ns=ns(IDLE_BEFORE), idle_after_ns=ns(IDLE_AFTER)
    )
    document.synchronisation = schema.Synchronisation(
        code=list(PATTERN.code), chip_s=PATTERN.chip_s, guard_s=PATTERN.guard_s, begins_ns=list(ns(BEGINS_S))
    )
    return document


@pytest.mark.parametrize(
    ("seeds", "least"),
    [(40, 36), pytest.param(1000, 930, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_the_truth_is_covered_whatever_the_clock(document, tmp_path, seeds, least):
    path, covered, intervals, errors = tmp_path / "trace.csv", 0, [], []
    for seed in range(seeds):
        true_j = trace_csv(path, seed)
        synchronisation.bring_in(document, path, meter="fnirsi-app", gain_limit=0.01)
        (row,) = document.trials[0].energy
        assert (row.meter, row.provenance) == ("fnirsi-app", "measured")
        covered += abs(row.net_j - true_j) <= row.uncertainty_j
        errors.append(abs(row.net_j - true_j) / true_j)
        intervals.append(row.uncertainty_j / true_j)
    errors, intervals = sorted(errors), sorted(intervals)
    print(
        f"{covered} of {seeds} covered; median interval ± {intervals[seeds // 2]:.2%}, error {errors[seeds // 2]:.2%}, "
        f"95th percentile {errors[seeds * 95 // 100]:.2%}"
    )
    assert covered >= least, covered
    assert intervals[seeds // 2] < 0.05  # an interval that covers all because it is wide says nothing


def test_evaluations_are_cut_out(document, tmp_path):
    document.trials[0].windows.evaluations_ns = [ns(span) for span in EVALUATIONS]
    covered = 0
    for seed in range(20):
        true_j = trace_csv(tmp_path / "trace.csv", seed, evaluating_w=25.0)
        synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.01)
        (row,) = document.trials[0].energy
        assert row.window_s == pytest.approx(11.0)
        covered += abs(row.net_j - true_j) <= row.uncertainty_j
        assert row.uncertainty_j < 0.1 * true_j
    assert covered >= 18, covered


def test_a_stretch_between_evaluations_that_is_too_short_says_so(document, tmp_path):
    trace_csv(tmp_path / "trace.csv", seed=1)
    document.trials[0].windows.evaluations_ns = [ns((1025.5, 1026.0))]
    synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)
    (row,) = document.trials[0].energy
    assert row.net_j is None
    assert "stretch 1 of 2 between evaluations" in row.reason
    assert "evaluate less often" in row.reason


def test_the_drift_is_told_and_the_document_keeps_it(document, tmp_path):
    trace_csv(tmp_path / "trace.csv", seed=1)
    joined = synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)
    rng = random.Random(1)
    drift_ppm = [rng.uniform(*span) for span in ((5, 12), (-0.01, 0.01), (-5000, 5000), (-300, 300))][3]
    assert (1 / joined.clocks.rate - 1) * 1e6 == pytest.approx(drift_ppm, abs=300)
    (row,) = store.loads(store.dumps(document)).trials[0].energy
    assert "cut from trace.csv: its clock is" in row.reason
    assert row.net_j_per_step == pytest.approx(row.net_j / 3)


def test_a_gain_limit_that_nobody_stated_is_missed_in_the_row(document, tmp_path):
    path = tmp_path / "trace.csv"
    trace_csv(path, seed=1)
    synchronisation.bring_in(document, path, meter="app", gain_limit=None)
    (row,) = document.trials[0].energy
    assert row.reason.endswith(
        "no gain limit was given, so the meter's own error is not in the ±: --gain-limit"
    )
    assert "gain_j" not in row.terms_j
    assert row.settings == {"trace": "trace.csv", "gain_limit": None}
    for given in (0.0, 0.01):
        synchronisation.bring_in(document, path, meter="app", gain_limit=given)
        (row,) = document.trials[0].energy
        assert "gain limit" not in row.reason
        assert row.terms_j["gain_j"] == pytest.approx(given * row.net_j / 3**0.5)
        assert row.settings["gain_limit"] == given
    assert row.terms_j["place_j"] > 0.0
    assert row.gross_uncertainty_j > row.terms_j["gain_j"]


def test_an_energy_that_is_missing_has_its_own_reason_alone(document, tmp_path):
    trace_csv(tmp_path / "trace.csv", seed=1)
    document.trials[0].windows = None
    synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=None)
    (row,) = document.trials[0].energy
    assert row.reason == "the trial ended before its measured window did"


def resumed(step):
    return schema.Checkpoint(
        path="x", every_steps=1, resumed_at_step=step, last_step=5, written=1, bytes=1, write_s=0.0
    )


def test_a_resumed_trial_counts_its_own_steps(document, tmp_path):
    trace_csv(tmp_path / "trace.csv", seed=1)
    (trial,) = document.trials  # 5 steps, of which 2 warm up
    trial.checkpoint = resumed(2)
    synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)
    (row,) = trial.energy
    assert row.net_j_per_step == pytest.approx(row.net_j / 1)
    trial.checkpoint = resumed(4)
    synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)
    (row,) = trial.energy
    assert (row.net_j, row.reason) == (None, "no step was measured")


def test_the_energy_of_a_throttled_trial_is_invalid(document, tmp_path):
    trace_csv(tmp_path / "trace.csv", seed=1)
    document.trials[0].validity = schema.Validity(throttled=True, load=0.0, notes=["throttled"])
    synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)
    (row,) = document.trials[0].energy
    assert row.net_j is not None
    assert row.reason.startswith("invalid: the device slowed itself down")


def test_a_trace_without_the_pattern_or_with_half_of_it_is_refused(document, tmp_path):
    path = tmp_path / "trace.csv"
    trace_csv(path, seed=2, patterns=False)
    before = msgspec.to_builtins(document)
    with pytest.raises(SynchronisationError, match="not in the trace twice"):
        synchronisation.bring_in(document, path, meter="app", gain_limit=0.0)
    trace_csv(path, seed=2)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    with pytest.raises(SynchronisationError, match="not in the trace twice"):
        synchronisation.bring_in(document, path, meter="app", gain_limit=0.0)
    assert msgspec.to_builtins(document) == before
    # An interrupted run played the first pattern alone: the offset is found, the drift is taken for none.
    document.synchronisation.begins_ns.pop()
    joined = synchronisation.join(read_trace(path), document.synchronisation)
    assert joined.clocks.rate == 1.0


def test_a_run_that_played_nothing_says_how_to(document, tmp_path):
    document.synchronisation = None
    with pytest.raises(UsageError, match="--synchronise"):
        synchronisation.bring_in(document, tmp_path / "trace.csv", meter="app", gain_limit=0.0)


def test_a_run_plays_the_pattern_at_both_ends_and_keeps_its_windows(make_plan, monkeypatch):
    monkeypatch.setattr(synchronisation, "PATTERN", Pattern(chip_s=0.02, guard_s=0.02))
    document = runner.run(make_plan(synchronise=True, idle_s=0.1), Quiet(), lambda document: None)
    assert document.synchronisation.chip_s == 0.02
    first_ns, last_ns = document.synchronisation.begins_ns
    spans = []
    for trial in document.trials:
        windows = trial.windows
        spans += [windows.idle_before_ns, windows.measured_ns, windows.idle_after_ns]
    edges = [first_ns, *(edge for span in spans for edge in span), last_ns]
    assert edges == sorted(edges)
    assert store.loads(store.dumps(document)) == document


def test_the_command_says_that_no_gain_limit_was_given(document, tmp_path, harness_main):
    run, trace = tmp_path / "run.json", tmp_path / "trace.csv"
    store.write(document, run)
    trace_csv(trace, seed=3)
    ended = harness_main("energy", "import", trace, run)
    assert ended.status == 0, ended.err
    assert "--gain-limit" in ended.out
    assert synchronisation.NO_GAIN_LIMIT in store.read(run).trials[0].energy[0].reason


def test_the_command_writes_the_document(document, tmp_path, harness_main):
    run, trace = tmp_path / "run.json", tmp_path / "trace.csv"
    store.write(document, run)
    trace_csv(trace, seed=3)
    ended = harness_main("energy", "import", trace, run, "--meter", "fnb58-app", "--gain-limit", "0.01")
    assert ended.status == 0, ended.err
    assert "ppm fast" in ended.out
    (row,) = store.read(run).trials[0].energy
    assert (row.meter, row.domain) == ("fnb58-app", "trace")
    before = run.read_bytes()
    apart = harness_main("energy", "import", trace, run, "--json", "-")
    (row,) = store.loads(apart.out).trials[0].energy[1:]
    assert (row.meter, "ppm fast" in apart.err, run.read_bytes() == before) == ("trace", True, True)
    none = harness_main("energy", "import", tmp_path / "none.csv", run)
    assert none.err == (
        f"harness: error: the trace '{tmp_path / 'none.csv'}' cannot be read: No such file or directory; "
        "name the CSV that the meter's program exported\n"
    )
    assert none.status == 2
    trace.write_text("nothing\n")
    refused = harness_main("energy", "import", trace, run)
    assert refused.status == 1
    assert "no line that names a time and a power" in refused.err
