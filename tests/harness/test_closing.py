"""What is said when a run has ended."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness import closing
from harness.opening import empty_document
from harness.runner import trials


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80)


@pytest.fixture
def measured(make_plan):
    from harness.display import Quiet

    plan = make_plan(trainers=("lowmem",))
    document = empty_document(plan)
    document.trials.extend(trials(plan, Quiet()))
    return document


def test_an_interruption_says_what_is_kept_and_where(make_plan, measured, console):
    written, stream = (
        SimpleNamespace(written=True, path="[a].json"),
        SimpleNamespace(written=False, path=None),
    )
    for sides in (
        [(empty_document(make_plan()), written)],
        [(measured, stream)],
        [(measured, written), (measured, SimpleNamespace(written=True, path="b.json"))],
    ):
        assert closing.say_interrupted(sides, console) == 1
    assert console.file.getvalue().splitlines() == [
        "interrupted",
        "interrupted; 1 ended trial kept",
        "interrupted; 1 ended trial kept in [a].json; 1 ended trial kept in b.json",
    ]
