"""One training over several processes, on one machine or many. torchrun starts them:

    torchrun --nproc-per-node 2 -m workloads.engines.torch.distributed --trainer lowmem --exchange signs --steps 200

Every process has the whole network and its own part of each batch (`--batch-size` items of it), and all end with the
same weights. The first prints what came of it as JSON. Memory and energy are not measured here: `harness run` does.
"""

import argparse
import json
import os
import sys
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from workloads import registry
from workloads.engines.torch import processes
from workloads.engines.torch.exchange import EXCHANGES, Group
from workloads.engines.torch.parallel import Distributed, file_of
from workloads.errors import CheckpointError, UnsupportedError, WorkloadError
from workloads.recipes import optimizer, recipe

# The others wait this long while one unpacks the data set or evaluates. One that dies closes its connection: no wait.
_PATIENCE = timedelta(days=1)
# What torchrun tells every process.
_MEETING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def main() -> None:
    """Train; whatever goes wrong is one line on standard error, and exit status 1."""
    options = _parser().parse_args()
    try:
        report = run(options)
    except WorkloadError as error:
        sys.exit(f"error: {error}")
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        sys.exit(
            f"error: process {os.environ.get('RANK')}: {cause}; if another process has ended, its own line says why"
        )
    if report is not None:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")


def run(options: argparse.Namespace) -> dict[str, Any] | None:
    """Join the other processes, train and evaluate; the first process returns the report.

    Raises UnsupportedError for what cannot be trained so, CheckpointError, and every error of the data.
    """
    _check(options)
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        group = Group(options.exchange)
        with processes.joined(group):
            return Distributed(options, group).run()
    finally:
        dist.destroy_process_group()


def _check(options: argparse.Namespace) -> None:
    """Raise UnsupportedError for what cannot be trained so, before the processes meet."""
    if options.exchange == "signs" and recipe(options.trainer).weight_gradient != "bit":
        raise UnsupportedError(
            f"--exchange signs: '{options.trainer}' has real weight gradients; "
            "take --exchange sums, or --trainer lowmem"
        )
    registry.engine_for(registry.workload(options.workload), options.trainer, "torch")
    optimizer(options.optimizer)
    if options.resume and not options.checkpoint:
        raise UnsupportedError("--resume needs --checkpoint FOLDER: where the checkpoint is")
    if absent := [name for name in _MEETING if name not in os.environ]:
        raise UnsupportedError(
            f"{', '.join(absent)} not set: "
            "start it with: torchrun --nproc-per-node 2 -m workloads.engines.torch.distributed ..."
        )
    path = file_of(options, int(os.environ["WORLD_SIZE"]))
    if path and path.exists() and not options.resume:
        raise CheckpointError(f"'{path}' exists; add --resume to continue it, or name another folder")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _parser() -> argparse.ArgumentParser:
    summary = "One training over several processes, which torchrun starts."
    parser = argparse.ArgumentParser(prog="workloads.engines.torch.distributed", description=summary)
    add = parser.add_argument
    add("--workload", default="mlp-mnist")
    add("--trainer", default="standard")
    add("--optimizer", default="adam")
    add(
        "--exchange",
        default="sums",
        choices=EXCHANGES,
        help="what is sent of ∂W: real numbers, or one bit a weight",
    )
    add("--batch-size", type=_positive, default=50, help="items of each process and micro-batch")
    add("--accumulate", type=_positive, default=1, help="micro-batches an update")
    add("--steps", type=_positive, default=100)
    add("--learning-rate", type=float, help="at the start; default: the workload's")
    add("--seed", type=int, default=0)
    add("--threads", type=_positive, help="of each process; default: an equal share of the processors")
    add("--data-dir", default=os.environ.get("HARNESS_DATA"))
    add("--synthetic", action="store_true", help="noise in the data's shape")
    add("--test-items", type=_positive, help="evaluate on the first so many; default: all")
    add("--checkpoint", metavar="FOLDER")
    add("--checkpoint-every", type=_positive, default=100, metavar="STEPS")
    add("--resume", action="store_true")
    return parser


if __name__ == "__main__":
    main()
