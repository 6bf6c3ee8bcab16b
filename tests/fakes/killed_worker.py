"""Runs whole trials of the worker, each in a fork that is killed at a given moment, and says whether it mattered.

    python killed_worker.py FOLDER TRAINER:OPTIMIZER...

For each: one training without interruption, and one that is killed four times, resumed after each. Every kill is the
process's own SIGKILL at an exact place: in the middle of a step, in the middle of writing a checkpoint, before the new
file takes its name, and right after. Prints, as JSON, what differed. torch is imported once, before the forks.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch  # noqa: F401

from harness import plan, worker
from harness.protocol import Channel
from workloads import checkpoint
from workloads.engines.torch.trainer import TorchTraining

STEPS, EVERY = 12, 4


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_step():
    """Between the passes of the second step after a checkpoint."""
    step = TorchTraining.step

    def killed(self, images, labels, rate, mark):
        late = self.updates[0].steps_taken > EVERY
        return step(self, images, labels, rate, die if late else mark)

    TorchTraining.step = killed


def in_a_write():
    """Half-way through the file."""
    write, written = checkpoint._write, []

    def killed(file, data):
        written.append(data)
        if len(written) < 4:
            write(file, data)
        else:
            write(file, data[: len(data) // 2])
            die()

    checkpoint._write = killed


def before_its_name():
    os.replace = die


def after_its_name():
    checkpoint._sync_folder = die


def never():
    pass


def run(trainer, optimizer, folder, moment, resume):
    """Run one trial in a fork; return how it ended and the path of what it said."""
    said = folder.with_suffix(".said")
    child = os.fork()
    if child == 0:
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        options = plan.Options(
            trainers=(trainer,), optimizer=optimizer, engine="torch", threads=1, repeats=1,
            steps=STEPS - 2, warmup=2, test_items=100, checkpoint=folder, checkpoint_every=EVERY, resume=resume,
        )  # fmt: skip
        job = plan.build(options).trials[0].job()
        moment()
        try:
            worker.Trial(json.loads(json.dumps(job)), Channel(descriptor)).run()
        finally:
            os._exit(0 if said.read_text().rstrip().endswith('{"type":"done"}') else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder):
    """Return the last checkpoint's bytes, and losses and test result as the worker said them."""
    (path,) = folder.iterdir()
    lines = [json.loads(line) for line in folder.with_suffix(".said").read_text().splitlines()]
    return path.read_bytes(), next(line for line in lines if line["type"] == "quality")


def main():
    root, report = Path(sys.argv[1]), {}
    for case in sys.argv[2:]:
        trainer, optimizer = case.split(":")
        whole, killed = root / f"{case}-whole", root / f"{case}-killed"
        endings = [run(trainer, optimizer, whole, never, False)]
        kills = []
        for moment in (in_a_step, in_a_write, before_its_name, after_its_name, never):
            there = killed.exists() and any(killed.glob(f"*{checkpoint.SUFFIX}"))
            ending = run(trainer, optimizer, killed, moment, there)
            (kills if moment is not never else endings).append(ending)
            steps = [checkpoint.read_head(path)["step"] for path in killed.glob(f"*{checkpoint.SUFFIX}")]
            report.setdefault(case, {}).setdefault("steps", []).extend(steps or [None])
        one, other = outcome(whole), outcome(killed)
        report[case] |= {
            "endings": endings, "kills": kills, "same_file": one[0] == other[0], "same_quality": one[1] == other[1]
        }  # fmt: skip
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
