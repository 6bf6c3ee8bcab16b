"""A training that does not fit its ceiling is refused before it starts, with what is missing and what would fit."""

import re

import pytest

from harness import ceilings, fit, refusal, runner
from harness import plan as planning
from harness.display import Quiet
from harness.errors import LimitUnavailableError
from harness.messages import Peak
from results import store
from workloads.engines.native import fitting, limits, location, program

pytestmark = pytest.mark.skipif(
    (location.missing() or program.missing()) is not None, reason=str(location.missing() or program.missing())
)

MIB = 1 << 20
REFUSED = re.compile(
    r"the training needs (\d+) bytes and (\d+) are left: (\d+) are missing; "
    r"the largest batch that fits is (\d+): take --batch-size (\d+), or another --trainer"
)


def plan_of(**options):
    given = {"steps": 2, "warmup": 1, "repeats": 1, "meters": ("none",), "engine": "native", "threads": 1}
    given |= {"workloads": ("cnv-cifar10",), "synthetic": True, "allocator": "pinned", "test_items": 300}
    return planning.build(planning.Options(**(given | options)))


def run(**options):
    """Run the plan's one trial; the document that was kept must be readable whatever happened."""
    kept = []
    runner.run(plan_of(**options), Quiet(), lambda document: kept.append(store.dumps(document)))
    (trial,) = store.loads(kept[-1]).trials
    return trial


def require(mechanism):
    try:
        ceilings.choose(60 * MIB, mechanism).close()
    except LimitUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("mechanism", ["cgroup-v2", "cgroup-v1", "watchdog"])
@pytest.mark.parametrize("worker", ["python", "program"])
def test_the_refusal_names_what_is_missing_and_a_batch_that_trains(worker, mechanism):
    require(mechanism)
    given = {"trainers": ("lean8",), "worker": worker, "mechanism": mechanism, "ceiling_bytes": 32 * MIB}
    refused = run(batch_size=1000, **given)
    assert refused.outcome == "out_of_memory"
    needed, left, missing, batch, taken = map(int, REFUSED.fullmatch(refused.reason).groups())
    assert (missing, taken) == (needed - left, batch)
    assert 32 * MIB - 20 * MIB < left < 32 * MIB
    # No peak of a set-up that was refused is reported; where the parent looked in it, nothing was held yet.
    assert refused.memory.by_phase.get("setup", 0) < 20 * MIB
    assert refused.memory.baseline_rss_bytes is not None
    assert refused.memory.ledger_by_variable == {}
    assert run(batch_size=batch, **given).outcome == "ok"
    assert run(batch_size=batch + batch // 4 + 4, **given).outcome == "out_of_memory"


@pytest.mark.parametrize("worker", ["python", "program"])
def test_where_not_even_one_item_fits_it_is_said(worker):
    trial = run(trainers=("standard",), worker=worker, ceiling_bytes=24 * MIB, mechanism="watchdog")
    assert trial.outcome == "out_of_memory"
    assert trial.reason.endswith(
        "are missing, and not even a batch of 1 fits; another --trainer may need less"
    )


def test_the_batch_is_not_allocated_before_the_refusal():
    """50 000 images of CIFAR-10 would take 147 MiB."""
    trial = run(trainers=("lean8",), batch_size=50_000, ceiling_bytes=32 * MIB, mechanism="watchdog")
    assert REFUSED.fullmatch(trial.reason)
    assert trial.memory.peak_rss_bytes < 24 * MIB


def test_the_command_line_ends_with_the_code_of_memory(harness_main):
    arguments = ["--workload", "binarynet-cifar10", "--trainer", "standard", "--steps", "2", "--repeats", "1"]
    limits_ = ["--ceiling", "100MiB", "--mechanism", "watchdog", "--meter", "none", "--json", "-"]
    ended = harness_main("run", "--engine", "native", "--synthetic", *arguments, *limits_)
    assert ended.status == 3, ended.err
    assert "are missing, and not even a batch of 1 fits" in " ".join(ended.err.split())


def test_fit_goes_on_below_a_first_run_that_was_refused():
    question = fit.question(
        workload="cnv-cifar10",
        engine="native",
        synthetic=True,
        threads=1,
        device="host",
        trainers=("standard",),
        ceiling_bytes=47 * MIB,
        mechanism="watchdog",
    )
    (fitted,) = fit.answer(question, lambda line: None).trainers
    assert 1 <= fitted.batch_size < 8
    first = fitted.attempts[0]
    assert (first.batch_size, first.outcome) == (8, "out_of_memory")
    assert REFUSED.fullmatch(first.reason)


def test_the_room_is_the_ceiling_less_what_is_resident():
    without = limits.available_bytes()
    room = limits.available_bytes(1 << 30)
    assert 0 < room < 1 << 30
    assert limits.available_bytes(1 << 50) == pytest.approx(without, rel=0.2)
    assert limits.available_bytes(1) == 0


@pytest.mark.parametrize(
    ("own", "above", "room"),
    [
        # memory.max, memory.current, inactive_file
        (("1000", "900", "0"), ("max", "5000", "0"), 100),
        (("1000", "900", "600"), ("max", "5000", "0"), 700),
        (("1000", "1200", "0"), ("max", "5000", "0"), 0),
        (("max", "900", "0"), ("2000", "1500", "100"), 600),
        (("1000", "100", "0"), ("2000", "1500", "100"), 600),
        (("max", "900", "0"), ("max", "5000", "0"), None),
    ],
)
def test_control_groups_leave_the_least_of_all_and_count_unused_pages_of_files_as_left(
    monkeypatch, tmp_path, own, above, room
):
    for group, (most, current, inactive) in {"slice/own": own, "slice": above}.items():
        folder = tmp_path / "groups" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{current}\n")
        (folder / "memory.stat").write_text(f"anon 7\nfile 8\ninactive_anon 9\ninactive_file {inactive}\n")
    (tmp_path / "cgroup").write_text("4:memory:/older\n0::/slice/own\n")
    monkeypatch.setattr(limits, "_PROC", str(tmp_path))
    monkeypatch.setattr(limits, "_CGROUPS", str(tmp_path / "groups"))
    assert limits._group_room() == room


def test_the_largest_batch_needs_no_more_than_there_is_and_the_next_more():
    job = plan_of(trainers=("lowmem",)).trials[0].engine_job()
    for room in (30 * MIB, 33 * MIB):
        batch = fitting.largest_batch(job, room)
        assert 0 < batch < 100
        assert fitting._process_bytes(job, batch) <= room < fitting._process_bytes(job, batch + 1)
    assert fitting.largest_batch(job, 1 << 40) == 100  # up to the job's own


def test_only_the_program_is_judged_by_its_parent_and_only_where_its_memory_is_known():
    ceiling = ceilings.Watchdog(32 * MIB)
    (of_program,) = plan_of(trainers=("standard",), worker="program").trials
    (of_python,) = plan_of(trainers=("standard",)).trials
    held = Peak("library", 0, 2 * MIB, 2 * MIB, MIB, MIB)
    unknown = Peak("library", 0, None, None, None, None, "emulated")
    assert "are missing" in refusal.judge(of_program, ceiling)(held)
    assert refusal.judge(of_program, ceiling)(unknown) is None
    assert refusal.judge(of_program, ceilings.Watchdog(1 << 40))(held) is None
    assert refusal.judge(of_program, None)(held) is None
    assert refusal.judge(of_python, ceiling)(held) is None
