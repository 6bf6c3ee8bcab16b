"""What `harness-train` needs of a job beside what every worker reads: the network as the core takes it.

The memory model and the recipes stay here, in one place: the program gets the configuration of the core, the list of
variables with their bytes, and the ledger. It asks its own core for the scratch, whose size depends on the instruction
set of the device it runs on, and lays the arena out as `plan.py` does. Importing this loads no library.
"""

import ctypes
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from workloads import memory_model
from workloads.engines.base import Job
from workloads.engines.native import library, location, plan, scratch
from workloads.engines.native.rehearsal import networks

NAME = "harness-train"
# Names the program outright: for a build folder, another compiler's, a wrapper that emulates another machine.
VARIABLE = "HARNESS_TRAIN_PROGRAM"


def describe(job: Job) -> dict[str, Any]:
    """Return the job's network, and the tiny ones that bring the core's code into memory before it.

    Raises UnsupportedError for what the core does not train.
    """
    rehearsals = [
        job._replace(specification=network, batch_size=2, seed=0, settings={}) for network in networks()
    ]
    return {"network": _network(job), "rehearsals": [_network(each) for each in rehearsals]}


def find() -> Path | None:
    """Return the program: the one HARNESS_TRAIN_PROGRAM names, the one beside this interpreter, or one on the PATH."""
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(os.path.abspath(named))  # a bare name is a file here, not one on the PATH
    else:
        folders = (Path(sys.executable).parent, sysconfig.get_path("scripts"), *os.get_exec_path())
        found = shutil.which(NAME, path=os.pathsep.join(map(str, folders)))
    return Path(found) if found else None


def missing() -> str | None:
    """Return why there is no program to run and what to do, or None."""
    if find() is not None:
        return None
    return location.why_missing(NAME, VARIABLE, "which is no program", "one")


def _network(job: Job) -> dict[str, Any]:
    config = scratch.describe(job)
    model = memory_model.model(job.specification, job.recipe, job.optimizer, job.batch_size, "honest")
    variables = plan.listed(job.specification, model)
    ledger = dict.fromkeys(memory_model.CLASSES, 0)
    for each in variables:
        ledger[each.variable.kind] += each.variable.bytes
    return {
        "abi": library.ABI,
        "config": _fields(config),
        "stages": [_fields(config.stages[index]) for index in range(config.stage_count)],
        "variables": [
            {"role": library.ROLES.index(each.role), "stage": each.stage, "bytes": each.bytes}
            for each in variables
        ],
        "ledger": ledger,
    }


def _fields(struct: ctypes.Structure) -> dict[str, int | float]:
    """Return the numbers of a struct of the C interface by name."""
    values = {field[0]: getattr(struct, field[0]) for field in struct._fields_}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
