"""Faults found in other tools that measure whole programs, each a test of ours; those of meters are in tests/power."""

import io
import selectors
import time

import msgspec
import pytest
from rich.console import Console

from harness import runner, supervisor
from harness.display import Board, Quiet
from harness.messages import WindowEdge
from results import metrics, tables

MIB = 1 << 20


@pytest.fixture
def large_then_small(make_plan):
    """A document of two trials: one that holds 64 MiB, 32 more for a moment in each backward pass, and a bare one."""
    plan = make_plan({"hold_bytes": 64 * MIB, "burst_bytes": 32 * MIB}, allocator="pinned")
    bare, loaded = plan.trials
    return runner.run(msgspec.structs.replace(plan, trials=(loaded, bare)), Quiet(), lambda document: None)


def test_optimum_benchmark_one_peak_is_copied_to_all_phases(large_then_small):
    by_phase = large_then_small.trials[0].memory.by_phase
    assert by_phase["backward"] - by_phase["forward"] > 30 * MIB
    assert by_phase["forward"] - by_phase["import"] > 60 * MIB


def test_hyperfine_the_childrens_maximum_leaks_into_the_next_command(large_then_small):
    loaded, bare = large_then_small.trials
    assert loaded.memory.peak_rss_bytes - bare.memory.peak_rss_bytes > 90 * MIB


def test_optimum_benchmark_no_energy_gives_an_efficiency_of_0(large_then_small):
    for trial in large_then_small.trials:
        (row,) = trial.energy
        assert (row.net_j, row.net_j_per_step, row.provenance) == (None, None, "unavailable")
        assert row.reason
    measured = metrics.measure([large_then_small])
    assert all(
        "energy_per_step" not in each.values or not each.values["energy_per_step"]
        for each in measured.values()
    )
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(tables.document_view(large_then_small))
    assert "0 J" not in console.export_text()


class Selector(selectors.DefaultSelector):
    """Counts how often the loop that waits for a worker goes round."""

    rounds = 0

    def select(self, timeout=None):
        Selector.rounds += 1
        return super().select(timeout)


class ClockedBoard(Board):
    """The live display, with what the parent has spent when the measured window begins and when it ends."""

    def __init__(self, plan):
        super().__init__(Console(file=io.StringIO(), force_terminal=True, width=80), plan)
        self.heard, self.spent = 0, {}

    def message(self, message, pid):
        super().message(message, pid)
        self.heard += 1
        if isinstance(message, WindowEdge):
            self.spent[message.event] = (
                time.process_time(),
                time.monotonic(),
                Selector.rounds,
                self.heard,
            )


def test_optimum_benchmark_the_parent_busy_waits_while_measuring(make_plan, monkeypatch):
    """Over a worker that sleeps, with the live display and a meter read 50 times a second.

    Nothing here fails because the machine is busy: that makes rounds fewer, and takes no time of this process.
    """
    monkeypatch.setattr(supervisor.selectors, "DefaultSelector", Selector)
    options = {"steps": 2, "warmup": 1, "meters": ("mock:10W",), "trainers": ("lowmem",)}
    plan = make_plan(settings={"step_s": 0.5}, **options)
    with ClockedBoard(plan) as board:
        (trial,) = runner.run(plan, board, lambda document: None).trials
    assert trial.outcome == "ok", trial.reason
    begin, end = (board.spent[event] for event in ("begin", "end"))
    cpu_s, wall_s, rounds, heard = (after - before for before, after in zip(begin, end, strict=True))
    assert wall_s >= 1.0
    assert cpu_s < 0.2 * wall_s
    assert rounds <= wall_s / supervisor._LOOK_S + heard + 1
