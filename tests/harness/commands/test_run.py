"""`harness run`: options that exclude each other, and what an error leaves on standard output."""

import sys

import pytest

from harness import ceilings, runner
from harness.errors import WorkerError
from results import store

SMALL = ("--repeats", 1, "--steps", 2, "--warmup", 1, "--meter", "none", "--idle", 0, "--test-items", 10)


def test_an_error_in_a_later_trial_leaves_the_first_on_standard_output(make_plan, harness_main, monkeypatch):
    commands = iter([runner.worker_command()])

    def once(*_):
        try:
            return next(commands)
        except StopIteration:
            raise WorkerError("the worker is gone") from None

    monkeypatch.setattr(runner, "worker_command", once)
    ended = harness_main("run", *SMALL, "--json", "-")
    assert (ended.status, "the worker is gone" in ended.err) == (1, True)
    assert [trial.trainer for trial in store.loads(ended.out).trials] == ["standard"]


def test_an_error_before_any_trial_leaves_standard_output_empty(make_plan, harness_main, monkeypatch):
    monkeypatch.setattr(runner, "worker_command", lambda *_: sys.exit("not reached"))
    ended = harness_main("run", *SMALL, "--trigger-pin", 1000, "--json", "-")
    assert (ended.status, ended.out) == (2, "")


def test_a_run_that_measured_nothing_leaves_the_earlier_document(make_plan, harness_main, tmp_path):
    (tmp_path / "kept.json").write_text("an earlier document")
    ended = harness_main("run", *SMALL, "--trigger-pin", 1000, "--json", tmp_path / "kept.json")
    assert (ended.status, (tmp_path / "kept.json").read_text()) == (2, "an earlier document")
    ended = harness_main("run", *SMALL, "--trainer", "lowmem", "--json", tmp_path / "kept.json")
    assert (ended.status, len(store.read(tmp_path / "kept.json").trials)) == (0, 1), ended.err


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--meter", "rapll"), 2),
        (("--meter", "replay:nowhere.csv"), 1),
        (("--trigger-pin", 1000), 2),
        (("--ceiling", "1GiB", "--mechanism", "cgroup-v2"), 1),
    ],
)
def test_what_cannot_be_measured_with_leaves_no_document(
    make_plan, harness_main, tmp_path, monkeypatch, options, status
):
    monkeypatch.setattr(ceilings, "memory_groups", lambda: iter(()))
    ended = harness_main("run", *SMALL, *options, "--json", tmp_path / "a.json")
    assert (ended.status, (tmp_path / "a.json").exists()) == (status, False), ended.err


def test_quiet_says_why_the_exit_code_is_not_0(make_plan, harness_main, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "worker_command", lambda *_: ["/bin/false"])
    options = (*SMALL, "--repeats", 2, "--quiet", "--json", tmp_path / "a.json")
    ended = harness_main("run", *options)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        f"harness: mlp-mnist {trainer}: error: the worker ended early with status 1: it printed nothing (2 trials); "
        f"the document is {tmp_path / 'a.json'}"
        for trainer in ("standard", "lowmem")
    ]
