"""`harness run --plans`: a plan's trials as files, which harness-train runs without Python."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import folders, plan
from harness.errors import UsageError
from results.files import write_whole

# What a plan for harness-train cannot say; run by hand, it would wait for the trigger's answer for ever. What holds a
# worker to a ceiling, and what its allocator does, is the harness's part, which is not there.
_NOT_IN_PLANS = {
    "--ab": "other_python",
    "--json": "json_path",
    "--synchronise": "synchronise",
    "--meter": "meters",
    "--captures": "captures_dir",
    "--ceiling": "ceiling_bytes",
    "--mechanism": "mechanism",
    "--emulate": "emulate",
    "--allocator": "allocator",
    "--trigger-pin": "trigger_pin",
    "--accelerator": "accelerator",
}
_AS_IF_NOT_GIVEN = {"mechanism": "auto", "allocator": "stock"}


def write(folder: Path, given: Mapping[str, Any]) -> Iterator[Path]:
    """Write one job document a trial and yield where; `given` are the options of the command line.

    Raises UsageError for an option that no plan can hold, and for a folder that cannot be made; DocumentWriteError for
    a file that cannot be written.
    """
    options = dict(given)
    for option, name in _NOT_IN_PLANS.items():
        asked = options.pop(name, False)
        if asked is not False and asked != _AS_IF_NOT_GIVEN.get(name):  # a trigger pin may be 0
            raise UsageError(f"--plans runs nothing and does not know {option}; leave one of the two out")
    chosen = plan.build(plan.Options(**options | {"worker": "program"}))
    folders.make(folder, "--plans")
    for trial in chosen.trials:
        path = folder / f"{trial.workload.name}-{trial.recipe.name}-seed-{trial.seed}.json"
        write_whole(path, json.dumps(trial.job(), indent=1).encode())
        yield path
