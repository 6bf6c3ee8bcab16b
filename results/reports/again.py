"""The command lines that measure a document's trials again."""

import shlex

from results.schema import Document, Setting, Trial
from results.summary import setup_of, summarize


def commands(document: Document) -> list[str]:
    """Return the command lines that measure the document's trials again, one a workload and setup."""
    lines: dict[str, None] = {}
    for setup, rows in summarize(document).items():
        words = ["harness", "run", "--workload", setup.workload]
        for row in rows:
            words += ["--trainer", row.trainer]
        words += [
            "--engine",
            setup.engine,
            "--optimizer",
            setup.optimizer,
            "--batch-size",
            str(setup.batch_size),
        ]
        words += ["--threads", str(setup.threads), "--repeats", str(max(len(row.trials) for row in rows))]
        words += _options(rows[0].trials[0], document)
        lines[shlex.join(words)] = None
    return [f"pip install edge-harness=={document.harness.version}", *lines]


def _options(trial: Trial, document: Document) -> list[str]:
    """Return the options that only some runs have."""
    words = ["--seed", str(trial.seed)]
    for name, value in _length(trial).items():
        words += [f"--{name}", str(value)]
    if setup_of(trial).accumulate > 1:
        words += ["--accumulate", str(setup_of(trial).accumulate)]
    for setting in filter(None, str(trial.settings.get("given") or "").split("; ")):
        words += ["--setting", setting]
    for name in ("evaluate_every", "test_items"):
        if trial.settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(trial.settings[name])]
    if trial.accelerator is not None:
        words += ["--accelerator", trial.accelerator.device]
    if trial.worker != "python":
        words += ["--worker", trial.worker]
    words += _energy(trial, document)
    if trial.memory.allocator != "stock":
        words += ["--allocator", trial.memory.allocator]
    if trial.dataset_variant == "synthetic":
        words.append("--synthetic")
    ceiling = trial.memory.ceiling
    if ceiling is not None:  # of an emulated device too: it may have been another than the profile's memory
        words += ["--ceiling", str(ceiling.limit_bytes)]
    if document.device.requested != "auto":
        words += ["--device", document.device.requested]
    return [*words, *(["--emulate"] if document.device.emulated else [])]


def _energy(trial: Trial, document: Document) -> list[str]:
    """Return the options of the meters: which were read, or that none was; a trace brought in later is none of them."""
    names = dict.fromkeys(row.meter for row in trial.energy if row.meter != "none" and row.domain != "trace")
    words = [word for name in names or ["none"] for word in ("--meter", name)]
    words += ["--energy-phases"] if trial.energy_by_phase else []
    words += ["--synchronise"] if document.synchronisation else []
    if trial.trigger is None:
        return words
    words += ["--trigger-pin", str(trial.trigger.pin)]
    return words if trial.trigger.active_high else [*words, "--trigger-active-low"]


def _length(trial: Trial) -> dict[str, Setting]:
    """Return the options that say how long was trained; `steps` of the settings counts the warm-up too."""
    epochs, steps, warmup = (trial.settings.get(name) for name in ("epochs", "steps", "warmup"))
    if epochs is None and isinstance(steps, int) and isinstance(warmup, int):
        steps -= warmup
    length = {"epochs": epochs, "steps": None if epochs else steps, "warmup": warmup}
    return {name: value for name, value in length.items() if value is not None}
