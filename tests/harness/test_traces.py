"""Series for the report: bounded however long the trial, never above what was seen, means that keep the energy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import opening, runner
from harness.display import Quiet
from harness.memory import Residency
from harness.traces import ResidencyTrace, power_trace
from power.base import Domain
from power.series import Series
from results import store

MIB = 1 << 20
SECOND = 1_000_000_000


def residency(rss_bytes):
    return Residency(rss_bytes, rss_bytes, rss_bytes, 0)


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 1 << 30)), min_size=1, max_size=300),
    st.integers(2, 20),
)
def test_any_looks_stay_few_and_keep_the_highest(steps, most):
    looks, t_ns = ResidencyTrace(most), 0
    for milliseconds, rss_bytes in steps:
        t_ns += milliseconds * 1_000_000
        looks.look(residency(rss_bytes), t_ns)
    trace = looks.trace(0)
    assert len(trace.values) <= most
    assert max(trace.values) == max(rss_bytes for _, rss_bytes in steps)
    assert trace.t_s == sorted(trace.t_s)
    assert trace.t_s[-1] <= t_ns * 1e-9 + 1e-4


def test_looks_before_the_workers_first_word_are_not_its_own():
    looks = ResidencyTrace()
    looks.look(residency(9 * MIB), 1 * SECOND)
    assert looks.trace(2 * SECOND) is None
    looks.look(residency(5 * MIB), 3 * SECOND)
    trace = looks.trace(2 * SECOND, 0.001, {2 * SECOND: 4 * MIB})
    assert (trace.t_s, trace.values) == ([0.0, 1.0], [4.0 * MIB, 5.0 * MIB])
    assert (trace.quantity, trace.source, trace.reader_cpu_share) == ("rss_bytes", "kernel", 0.001)


def test_a_real_worker_is_seen_through_its_phases(make_plan):
    trial = list(runner.trials(make_plan({"hold_bytes": 64 * MIB, "step_s": 0.1}), Quiet()))[1]
    (trace,) = trial.traces
    assert max(trace.values) <= trial.memory.peak_rss_bytes
    assert max(trace.values) - trace.values[0] > 50 * MIB
    assert 0.0 <= trace.t_s[0] <= trace.t_s[-1] <= trial.phases[-1].end_s + 1.0
    assert len(trace.t_s) > 5
    assert 0.0 < trace.reader_cpu_share < 0.05


def make_series(kind, times_ns, values):
    series = Series(Domain("all", kind, "everything"))
    for t_ns, value in zip(times_ns, values, strict=True):
        series.add(t_ns, value)
    return series


WINDOWS = {
    "idle": (0, 2 * SECOND),
    "measured": (3 * SECOND, 8 * SECOND),
    "idle after": (9 * SECOND, 10 * SECOND),
}


def energy_j(trace, end_s):
    """The area under a trace whose points are the middles of equal stretches."""
    return sum(trace.values) / len(trace.values) * end_s


@pytest.mark.parametrize("most", [7, 40, 400])
def test_fewer_points_keep_the_energy_of_a_counter(most):
    times = [i * SECOND // 100 for i in range(1001)]
    joules = [0.05 * i + (0.02 * (i - 500) if i > 500 else 0.0) for i in range(1001)]
    trace = power_trace(make_series("energy", times, joules), "rapl", 0, WINDOWS, most)
    assert len(trace.values) == most
    assert energy_j(trace, 10.0) == pytest.approx(joules[-1], rel=0.02)
    assert trace.source == "rapl/all"


def test_a_sampled_power_keeps_its_mean_and_its_windows():
    times = [i * SECOND // 100 for i in range(1001)]
    watts = [5.0 if i < 400 else 15.0 for i in range(1001)]
    trace = power_trace(make_series("power", times, watts), "plug", 4 * SECOND, WINDOWS, 50)
    assert set(trace.values[:19]) == {5.0}
    assert set(trace.values[21:]) == {15.0}
    assert trace.t_s[0] == pytest.approx(-3.9)
    assert [(each.name, each.start_s, each.end_s) for each in trace.windows] == [
        ("idle", -4.0, -2.0), ("measured", -1.0, 4.0), ("idle after", 5.0, 6.0),
    ]  # fmt: skip


def test_what_lies_outside_the_windows_is_left_out():
    times = [i * SECOND for i in range(101)]
    trace = power_trace(make_series("power", times, [1.0] * 101), "plug", 0, WINDOWS)
    assert trace.t_s[-1] <= 10.0
    assert power_trace(make_series("power", times[50:], [1.0] * 51), "plug", 0, WINDOWS) is None


def test_a_metered_run_keeps_its_power_beside_idle(make_plan):
    plan = make_plan({"step_s": 0.1}, meters=("mock:7W",), idle_s=0.3, steps=6)
    trial = list(runner.trials(plan, Quiet()))[1]
    power = [trace for trace in trial.traces if trace.quantity == "power_w"]
    assert power
    assert all(value == pytest.approx(7.0, rel=0.2) for trace in power for value in trace.values)
    names = [window.name for window in power[0].windows]
    assert names == ["idle", "measured", "idle after"]
    assert power[0].windows[0].end_s <= 0.0
    assert store.loads(store.dumps(opening.empty_document(plan)))


def test_a_worker_that_never_spoke_has_no_series(make_plan, monkeypatch):
    monkeypatch.setattr(runner, "worker_command", lambda *_: ["/bin/false"])
    (trial, _) = runner.trials(make_plan(), Quiet())
    assert trial.outcome == "error"
    assert trial.traces == []
