"""What goes wrong in harness-train is said as the Python worker says it, and leaves a valid document."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness import ceilings, messages, runner
from harness import plan as planning
from harness.display import Quiet
from harness.supervisor import Supervisor
from results import store
from workloads.engines.native import library, location, program

pytestmark = pytest.mark.skipif(
    (location.missing() or program.missing()) is not None, reason=str(location.missing() or program.missing())
)

MIB = 1 << 20


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Some of these damage the unpacked data, which other tests share."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def plan_of(worker="program", **options):
    given = {"steps": 4, "warmup": 2, "repeats": 1, "meters": ("none",), "engine": "native", "threads": 1}
    given |= {"trainers": ("lowmem",), "silence_s": 30.0, "test_items": 100}
    return planning.build(planning.Options(worker=worker, **(given | options)))


def run(plan, observer=None):
    """Run the plan; the document that was kept must be readable whatever happened."""
    kept = []
    runner.run(plan, observer or Quiet(), lambda document: kept.append(store.dumps(document)))
    (trial,) = store.loads(kept[-1]).trials
    return trial


def images_of(plan):
    return plan.trials[0].dataset.train.images.segments[0].path


def cut(plan):
    os.truncate(images_of(plan), 1000)


def remove(plan):
    Path(images_of(plan)).unlink()


def damage_labels(plan):
    segment = plan.trials[0].dataset.train.labels.segments[0]
    with Path(segment.path).open("r+b") as file:
        file.seek(segment.offset)
        file.write(b"\xc8" * segment.count)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "it was truncated"),
        (remove, "is not there any more"),
        (damage_labels, "has label 200, but there are 10 classes"),
    ],
)
def test_bad_data_is_said_in_the_same_words(spoil, said):
    reasons = []
    for worker in ("python", "program"):
        plan = plan_of(worker)
        spoil(plan)
        trial = run(plan)
        assert (trial.outcome, trial.quality.test_accuracy) == ("error", None)
        reasons.append(trial.reason)
    assert said in reasons[0]
    assert reasons[0] == reasons[1]


def test_data_cut_in_the_middle_of_a_training():
    plan = plan_of(steps=100_000)

    class Cutter(Quiet):
        def message(self, message, pid):
            if isinstance(message, messages.WindowEdge):
                os.truncate(images_of(plan), 20_000)

    trial = run(plan, Cutter())
    assert trial.outcome == "error"
    assert "it was cut while being read" in trial.reason


def test_an_unknown_instruction_set(monkeypatch):
    monkeypatch.setenv("HARNESS_ISA", "sse9")
    trial = run(plan_of())
    assert trial.outcome == "error"
    assert trial.reason.startswith("HARNESS_ISA=sse9 is not available here; there is: generic")


def test_a_document_is_written_where_no_instruction_set_can_be_had(tmp_path):
    target = tmp_path / "run.json"
    command = [
        "run",
        "--trainer",
        "lowmem",
        "--steps",
        "1",
        "--warmup",
        "0",
        "--repeats",
        "1",
        "--meter",
        "none",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *command, "--engine", "native", "--json", str(target)],
        env=os.environ | {"HARNESS_ISA": "sse9"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    document = store.loads(target.read_bytes())
    assert document.harness.native is None
    assert "HARNESS_ISA=sse9" in document.trials[0].reason


def test_a_ceiling_above_the_arena_and_below_the_need_is_an_outcome():
    # The arena of 13.2 MiB fits beside the program's 1.6; with the batch, of 3.7, it does not.
    trial = run(plan_of(batch_size=5000, ceiling_bytes=16 * MIB, mechanism="watchdog"))
    assert trial.outcome == "out_of_memory"
    assert "ceiling of 16.0 MiB (watchdog)" in trial.reason


def test_a_ceiling_above_the_need_takes_no_notice_of_the_launcher():
    trial = run(plan_of(ceiling_bytes=6 * MIB, mechanism="watchdog"))
    assert trial.outcome == "ok", trial.reason


@pytest.mark.parametrize("limit_bytes", [600 << 10, 1 << 20, 2 << 20, 3 << 20])
def test_refused_memory_is_said_at_any_limit(limit_bytes):
    """RLIMIT_DATA counts what is asked for: somewhere from the plan to the arena the kernel says no."""
    ending = Supervisor(
        runner.program_command(),
        plan_of().trials[0].job(),
        {},
        launch_settings={"data_limit_bytes": limit_bytes},
    ).run()
    # The launcher's own Python may not fit either; then the program never began.
    assert ending.outcome == "out_of_memory" or "ended early" in ending.reason
    if limit_bytes == 3 << 20:
        assert "are missing" in ending.reason


def test_a_limit_names_the_bytes_that_are_missing(monkeypatch):
    monkeypatch.setattr(ceilings, "_RESERVATION_SLACK_BYTES", -3 * MIB)
    trial = run(plan_of(ceiling_bytes=6 * MIB, mechanism="watchdog"))
    assert trial.outcome == "out_of_memory"
    assert "bytes are left" in trial.reason or "are missing" in trial.reason


@pytest.mark.parametrize("after", [1, 2, 3, 5, 7, 8, 9, 11, 13, 14, 15])
def test_a_kill_after_any_message(after):
    class Killer(Quiet):
        heard = 0

        def message(self, message, pid):
            self.heard += 1
            if self.heard == after:
                os.kill(pid, signal.SIGKILL)

    trial = run(plan_of(steps=300), Killer())
    assert trial.outcome == "error"
    assert trial.reason.startswith("the worker was ended by SIGKILL: by hand, or by the kernel")
    assert trial.memory.ledger_by_variable == {} or after > 12


def run_alone(text, *arguments, limit_s=20):
    """Run the program on a text; its status and messages, each of which the parent knows."""
    environment = {name: value for name, value in os.environ.items() if name == "ASAN_OPTIONS"}
    done = subprocess.run(
        [str(program.find()), *arguments],
        input=text,
        capture_output=True,
        timeout=limit_s,
        env=environment,
        check=False,
    )
    return done.returncode, [messages.decode(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "the plan is no JSON: a name must be a string, at byte 1"),
        (b"[]\n", "'plan' is no object"),
        (b'{"schema": "harness.result"}\n', "this is no plan of a trial: its schema is 'harness.result'"),
        (b'{"schema": "harness.job"}\n', "'plan' has no 'program'"),
        (b'{"schema": "\\ud83d\\ude00\\udcff\\n"}\n', "its schema is '\U0001f600\ufffd\n'"),
    ],
)
def test_what_is_no_plan(text, said):
    status, (failure,) = run_alone(text)
    assert (status, failure.outcome) == (1, "error")
    assert said in failure.reason


def test_no_plan_at_all():
    assert run_alone(b"") == (1, [])
    status, (failure,) = run_alone(b"", "/nowhere/plan.json")
    assert status == 1
    assert failure.reason == "/nowhere/plan.json cannot be opened: No such file or directory"


def test_a_parent_that_is_gone_ends_it():
    job = plan_of(steps=1_000_000).trials[0].job()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [str(program.find())],
        stdin=subprocess.PIPE,
        pass_fds=(write_end,),
        env={"HARNESS_MESSAGES_FD": str(write_end)},
    )
    os.close(write_end)
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    os.read(read_end, 1)
    os.close(read_end)
    assert process.wait(timeout=20) == 1
    process.stdin.close()


def job_to_damage(**options):
    """The job of one step on noise, as harness-train reads it; a copy, of which nothing is the plan's."""
    plan = plan_of(steps=1, warmup=0, synthetic=True, batch_size=2, **options)
    return json.loads(json.dumps(plan.trials[0].job()))


@pytest.mark.parametrize("value", [7, 2147483647])
@pytest.mark.parametrize(
    "name",
    [
        "activation", "gradient", "output_gradient", "weight", "weight_gradient", "momentum", "statistic",
        "pool_mask", "image", "norm", "ste_mask", "border", "optimizer",
    ],
)  # fmt: skip
def test_a_choice_that_nobody_knows_is_refused_by_name(name, value):
    job = job_to_damage()
    job["program"]["network"]["config"][name] = value
    status, said = run_alone(json.dumps(job).encode() + b"\n")
    assert status == 1
    assert said[-1].reason.startswith(f"{name} is {value}; 0 to ")


@pytest.mark.parametrize(
    ("trainer", "name", "value"),
    [
        ("lowmem-q6", "output_gradient", "int8"),
        ("lowmem-q6", "gradient", "int8"),
        ("lowmem", "norm", 0),
        ("lean8", "weight", "uint8"),
        ("lean", "gradient", "uint8"),
        ("lean", "pool_mask", "bit"),
        ("standard", "weight", "float16"),
        ("standard", "single_buffer", 1),
        ("standard", "optimizer", 2),
    ],
)
def test_a_type_that_is_known_and_does_not_go_with_the_others_is_refused(trainer, name, value):
    """One as wide as the right one passes every check of sizes, and would be read as what it is not."""
    job = job_to_damage(trainers=(trainer,))
    job["program"]["network"]["config"][name] = library.DTYPES.get(value, value)
    status, said = run_alone(json.dumps(job).encode() + b"\n")
    assert status == 1
    assert re.search("goe?s? with activation", said[-1].reason)


def test_a_plan_s_variables_are_no_scratch():
    """The program asks its own core for that; more of it than there is would be counted beyond the end of a list."""
    job = job_to_damage()
    scratch = {"role": library.ROLES.index("scratch.signs"), "stage": -1, "bytes": 64}
    job["program"]["network"]["variables"] += [scratch] * 200
    status, said = run_alone(json.dumps(job).encode() + b"\n")
    assert status == 1
    assert "'role'" in said[-1].reason


@pytest.mark.parametrize(
    ("environment", "output", "status", "complaint"),
    [
        ({}, "/dev/full", 1, "the messages cannot be written: No space left on device"),
        (
            {"HARNESS_MESSAGES_FD": "abc"},
            os.devnull,
            2,
            "HARNESS_MESSAGES_FD is 'abc', which is no descriptor",
        ),
    ],
)
def test_messages_that_cannot_be_written_are_said(environment, output, status, complaint):
    job = job_to_damage()
    with Path(output).open("wb") as file:
        done = subprocess.run(
            [program.find()], input=json.dumps(job).encode() + b"\n", stdout=file, stderr=subprocess.PIPE,
            env=environment, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == status
    assert complaint in done.stderr.decode()


def test_damaged_plans_end_in_words():
    """Any value of the plan replaced or removed: trained or refused with a reason, and never killed by a signal."""
    plan = plan_of(steps=1, warmup=0, synthetic=True, batch_size=2)
    trial = msgspec.structs.replace(plan.trials[0])
    rng = random.Random(1)
    endless = {"steps", "test_items"}  # a large one is a long training, and no fault
    refused = 0
    for _ in range(250):
        job = json.loads(json.dumps(trial.job()))
        where = job
        while True:
            keys = [k for k in (where if isinstance(where, dict) else range(len(where))) if k not in endless]
            key = rng.choice(keys) if keys else None
            if (
                key is None
                or not isinstance(where[key], dict | list)
                or not where[key]
                or rng.random() < 0.15
            ):
                break
            where = where[key]
        if key is None:
            continue
        if rng.random() < 0.2:
            del where[key]
        else:
            where[key] = rng.choice(
                [None, True, -1, 0, 1, 3, 65, 1 << 31, 1 << 63, 10**30, 0.5, "", "x", [], {}, 1e300]
            )
        status, said = run_alone(json.dumps(job).encode() + b"\n")
        assert status in (0, 1, 3), (status, key)
        if status:
            assert said, key
            assert isinstance(said[-1], messages.Failure), key
            assert said[-1].reason
            refused += 1
        else:
            assert isinstance(said[-1], messages.Done)
    assert refused > 100
