"""The commands of the CI example are ones that this command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from harness.commands import check, run

EXAMPLE = Path(__file__).parents[3] / "examples" / "ci" / "memory.yml"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not in the installed package")
def test_the_ci_example_parses():
    text = re.sub(r"\n {10}", " ", EXAMPLE.read_text())  # folded lines are one command
    commands = [shlex.split(line) for line in re.findall(r"\bharness (?:run|check) .*", text)]
    assert [words[1] for words in commands] == ["run", "check"]
    for words, verb in zip(commands, (run, check), strict=True):
        with verb.command.make_context(words[1], words[2:]) as context:
            assert context.params
    assert "pip install edge-harness\n" not in text, "there is no release to install by that name"
