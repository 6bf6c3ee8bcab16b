"""Faults of other tools' meters and peaks, met where a user would meet them: in the document of a whole run, its table
and its curves. A processor's counters run meanwhile through wraps, steps of the load and reads that fail.
"""

import io
import mmap

import psutil
import pytest
from rich.console import Console

from harness import runner
from harness.display import Quiet
from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError
from power.meters.mock import Profile
from results import tables
from results.whole_energy import measured_energy

MIB = 1 << 20
#: What each domain draws: steps every tenth of a second. psys contains the others and what lies beside them.
LOADS_W = {"psys": (30.0, 60.0), "package-0": (5.0, 25.0), "package-1": (4.0, 8.0), "dram-0": (2.0, 3.0)}
PROFILES = {name: Profile(tuple((watt, 0.1) for watt in watts)) for name, watts in LOADS_W.items()}
#: Every counter wraps every 2 s; the measured window is longer. A machine that stands still for 1 s spoils nothing.
RANGES_J = {name: 2.0 * sum(watts) / 2 for name, watts in LOADS_W.items()}


class Counters(Meter):
    """RAPL of two sockets; every 15th read fails."""

    name = "rapl"
    period_s = 0.01

    def __init__(self):
        super().__init__()
        self.begin_ns, self.reads, self.children, self.failed = now_ns(), 0, set(), 0

    @property
    def domains(self):
        return tuple(
            Domain(
                name, "energy", "a counter", parent=None if name == "psys" else "psys", update_s=1e-3,
                wrap_j=RANGES_J[name], max_power_w=1.02 * high_w,
            )
            for name, (_, high_w) in LOADS_W.items()
        )  # fmt: skip

    def open(self):
        pass

    def energy_j(self, name, t_ns):
        return PROFILES[name].energy_j((t_ns - self.begin_ns) * 1e-9)

    def read(self):
        self.reads += 1
        self.children.add(len(psutil.Process().children(recursive=True)))
        if self.reads % 15 == 0:
            self.failed += 1
            raise MeterReadError("a read that failed")
        t_ns = now_ns()
        return [Sample(t_ns, name, energy_j=self.energy_j(name, t_ns) % RANGES_J[name]) for name in LOADS_W]

    def close(self):
        pass


KEPT = []  # the run below, once it has been made


@pytest.fixture
def run(make_plan, monkeypatch):
    """A run of one trainer over wraps of the counters, its one trial, and the meter it was read by."""
    if not KEPT:
        meter = Counters()
        monkeypatch.setattr("harness.energy.registry.make", lambda name: meter)
        options = {"meters": ("rapl",), "trainers": ("lowmem",), "steps": 12, "warmup": 1, "idle_s": 0.5}
        plan = make_plan(settings={"step_s": 0.2}, **options)
        document = runner.run(plan, Quiet(), lambda document: None)
        KEPT.append((document, document.trials[0], meter))
    return KEPT[0]


def test_a_wrap_a_failed_read_and_a_step_leave_every_energy_as_it_was(run):
    """pyRAPL, pyJoules, EnergiBridge: no wrap; Zeus: −261,843 J; perun: 40 J became 262,183, and 170 became 150."""
    _, trial, meter = run
    assert trial.outcome == "ok", trial.reason
    assert meter.failed >= 2
    begin_ns, end_ns = trial.windows.measured_ns
    assert {row.domain for row in trial.energy} == LOADS_W.keys()
    for row in trial.energy:
        true_j = meter.energy_j(row.domain, end_ns) - meter.energy_j(row.domain, begin_ns)
        assert true_j > RANGES_J[row.domain], "so it wrapped"
        # A read that failed at a mark leaves a tenth of a second to interpolate over.
        assert row.gross_j == pytest.approx(true_j, rel=0.1), row.reason


def test_carbontracker_a_wrap_becomes_0_w_in_the_curve(run):
    _, trial, _ = run
    curves = {trace.source: trace.values for trace in trial.traces if trace.quantity == "power_w"}
    assert curves.keys() == {f"rapl/{name}" for name in LOADS_W}
    for name, (low_w, high_w) in LOADS_W.items():
        assert min(curves[f"rapl/{name}"]) >= 0.99 * low_w
        assert max(curves[f"rapl/{name}"]) <= 1.01 * high_w


def test_zeus_psys_is_counted_as_a_cpu_in_the_table(run):
    document, trial, _ = run
    (psys,) = [row for row in trial.energy if row.domain == "psys"]
    whole = measured_energy(trial)
    assert (whole.domain, whole.net_j) == ("psys", psys.net_j)
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(tables.document_view(document))
    assert "rapl (psys)" in " ".join(console.export_text().split())


def test_zeus_one_process_a_zone_beside_the_worker(run):
    _, _, meter = run
    assert max(meter.children) == 1  # the worker, while there is one


def test_pyperf_the_parents_peak_is_reported_of_a_small_child(make_plan):
    with mmap.mmap(-1, 300 * MIB) as held:
        for position in range(0, len(held), 4096):
            held[position] = 1
        plan = make_plan(trainers=("lowmem",))
        (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
    assert trial.outcome == "ok", trial.reason
    assert MIB < trial.memory.peak_rss_bytes < 100 * MIB
