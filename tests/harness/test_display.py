"""What a run shows while it runs, on a terminal and in a pipe."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness import runner
from harness.display import Board, Lines, Quiet, display
from harness.messages import PhaseBegun, Progress
from harness.output import error_console


def console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system=None)


def shown(console):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


@pytest.mark.parametrize(
    ("terminal", "quiet", "kind"), [(True, False, Board), (False, False, Lines), (True, True, Quiet)]
)
def test_the_display_suits_where_it_goes(make_plan, terminal, quiet, kind):
    assert type(display(console(terminal=terminal), make_plan(), quiet=quiet)) is kind


def test_a_terminal_follows_trial_phase_step_loss_memory_and_time_left(make_plan):
    # The parent looks at the worker's memory every 50 ms: a trial without work may be over before.
    work = {"step_s": 0.02}
    plan = make_plan({"fail_at": "evaluate", "fail_how": "raise"}, settings=work, steps=12)
    screen = console(terminal=True)
    with display(screen, plan, quiet=False) as observer:
        observer._live.auto_refresh = False  # every change is drawn, however fast the trial
        hear, look = observer.message, observer.residency
        observer.message = lambda message, pid: (hear(message, pid), observer._live.refresh())
        observer.residency = lambda residency: (look(residency), observer._live.refresh())
        runner.run(plan, observer, lambda document: None)
    text = shown(screen)
    assert "[1/2]" in text
    assert "[2/2]" in text
    assert "mlp-mnist lowmem" in text
    assert "14/14" in text
    assert "loss 2.500" in text
    assert "MiB" in text
    assert re.search(r"~\d+ s left", text)
    assert "~-" not in text
    assert max(map(len, re.split(r"[\r\n]", text))) <= 80
    assert "mlp-mnist lowmem: RuntimeError: deliberate" in text  # a failure stays


def test_an_outcome_is_in_words(make_plan):
    screen = console(terminal=False)
    Lines(screen, make_plan()).trial_ended(SimpleNamespace(outcome="out_of_memory", reason="at 1.0 KiB"))
    assert "      out of memory: at 1.0 KiB (" in shown(screen)


def test_a_sign_of_life_from_an_evaluation_is_no_training(make_plan):
    board = Board(console(terminal=True), make_plan(steps=12))
    for message, phase in (
        (Progress(3, 14, 2.5), "train"),
        (PhaseBegun("evaluate", 0), "evaluate"),
        (Progress(4, 14, None), "evaluate"),
        (Progress(5, 14, 2.5), "train"),
    ):
        board.message(message, 1)
        assert board._phase == phase


class Gone(io.StringIO):
    """Nobody reads it any more."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_that_nobody_can_see_ends_no_measurement(make_plan, monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", Gone())
    nobody, plan = error_console(), make_plan()
    nobody._force_terminal = terminal
    with display(nobody, plan, quiet=False) as observer:
        document = runner.run(plan, observer, lambda document: None)
    assert [trial.outcome for trial in document.trials] == ["ok", "ok"]


def test_a_pipe_gets_a_line_when_a_trial_begins_and_one_when_it_ends(make_plan):
    pipe, plan = console(terminal=False), make_plan({"fail_at": "setup", "fail_how": "raise"})
    with display(pipe, plan, quiet=False) as observer:
        runner.run(plan, observer, lambda document: None)
    lines = shown(pipe).splitlines()
    assert lines[0] == "[1/2] mlp-mnist standard (torch, repeat 1)"
    assert re.fullmatch(r"      ok \(.* m?s\)", lines[1])
    assert lines[3].startswith("      error: RuntimeError: deliberate")
    assert len(lines) == 4
