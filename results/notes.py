"""The lines below a table: one for each distinct reason, so that no dash stays unexplained."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence

from results import format as fmt
from results.schema import Document, Energy, PhaseEnergy, Trial
from results.summary import REFERENCE, memory_reason, repeated_uncertainty, training_peak_bytes
from results.whole_energy import measured_energy

_STEPS = re.compile(r"--steps (\d+)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

OUTCOME_WORDS = {"out_of_memory": "out of memory", "error": "failed", "invalid": "invalid"}


def notes_of(document: Document) -> list[str]:
    """Return the notes of a document, each once, in the order in which a reader wonders."""
    finished = [trial for trial in document.trials if trial.outcome == "ok"]
    return [
        *_emulation(document),
        *_meaning(document),
        *_beside_the_allocator(document),
        *_grouped(document.trials, _outcome),
        *_grouped(finished, _missing),
        *_grouped(finished, _energy),
        *_energy_by_phase(finished),
        *_grouped(document.trials, _validity),
    ]


def _grouped(trials: Sequence[Trial], lines_of: Callable[[Trial], list[str]]) -> list[str]:
    """Return each distinct line once, after the names of the trainers it holds for where not for all."""
    trainers: dict[str, dict[str, None]] = {}
    for trial in trials:
        for line in lines_of(trial):
            trainers.setdefault(line, {})[trial.trainer] = None
    everyone = {trial.trainer for trial in trials}
    return [
        line if set(names) == everyone else f"{', '.join(names)}: {line}"
        for line, names in _longest(trainers).items()
    ]


def _longest(trainers: Mapping[str, dict[str, None]]) -> dict[str, dict[str, None]]:
    """Make one of the lines that ask for more steps and differ in numbers alone: the most steps will do for all."""
    asking: dict[str, str] = {}
    for line in sorted(trainers, key=_steps_asked):
        if _steps_asked(line):
            asking[_NUMBER.sub("0", line)] = line
    merged: dict[str, dict[str, None]] = {}
    for line, names in trainers.items():
        merged.setdefault(asking.get(_NUMBER.sub("0", line), line), {}).update(names)
    return merged


def _steps_asked(line: str) -> int:
    """Return how many steps a line asks for; 0 where it asks for none."""
    found = _STEPS.search(line)
    return int(found[1]) if found else 0


def _emulation(document: Document) -> list[str]:
    """Say that figures of an emulated device are not the device's."""
    device = document.device
    if not device.emulated:
        return []
    limit = "" if device.memory_limit_bytes is None else f" with its {fmt.size(device.memory_limit_bytes)}"
    return [
        f"{device.profile} is emulated{limit} on {document.host.cpu}: times and energy are this machine's"
    ]


def _meaning(document: Document) -> list[str]:
    """Say what the memory columns hold, where there is any memory."""
    known = [trial for trial in document.trials if training_peak_bytes(trial) is not None]
    trainers = {trial.trainer for trial in document.trials}
    smaller = f"; smaller: {REFERENCE}'s peak ÷ this one" if REFERENCE in trainers else ""
    return [line + smaller for line in dict.fromkeys(_peak(trial) for trial in known)]


def _peak(trial: Trial) -> str:
    """Say what the peak of a trial is a peak of."""
    if trial.accelerator is None:
        return "peak: the most memory resident while training, over what it was before the set-up"
    return (
        f"peak: of {trial.accelerator.name}'s memory, the most that torch's allocator had handed out while training, "
        "over what it had before the set-up"
    )


def _beside_the_allocator(document: Document) -> list[str]:
    """Say how much of each accelerator was in use that its allocator does not see, as the largest of the trials."""
    used: dict[str, int] = {}
    for trial in document.trials:
        there = trial.memory.accelerator
        if trial.accelerator and there and there.device_used_before_bytes is not None:
            name = trial.accelerator.name
            used[name] = max(used.get(name, 0), there.device_used_before_bytes)
    return [
        f"{name}: {fmt.size(size)} were in use before the set-up, by the driver's context, libraries and other programs"
        for name, size in used.items()
    ]


def _outcome(trial: Trial) -> list[str]:
    """Say why a trial did not finish."""
    if trial.outcome == "ok":
        return []
    return [f"{OUTCOME_WORDS[trial.outcome]}: {trial.reason}"]


def _missing(trial: Trial) -> list[str]:
    """Say why time, memory or accuracy have a dash; what a failed trial lacks, its outcome explains."""
    reasons = (
        ("time", trial.time.reason),
        ("memory", memory_reason(trial)),
        ("accuracy", trial.quality.reason),
    )
    return [f"{what}: {reason}" for what, reason in reasons if reason]


def _energy(trial: Trial) -> list[str]:
    """Say which meter the energy is from, or for each meter why there is none."""
    shown = measured_energy(trial)
    if shown is not None:
        return [measured_by(shown) + (f"; {shown.reason}" if shown.reason else "")]
    if not trial.energy:
        return ["energy: no meter was asked for"]
    return [no_energy(row) for row in trial.energy]


def _energy_by_phase(trials: Sequence[Trial]) -> list[str]:
    """Say for each trainer what the phases of a step cost, as medians over its trials, by the first domain."""
    lines = []
    for trainer in dict.fromkeys(trial.trainer for trial in trials):
        rows = [
            row
            for trial in trials
            if trial.trainer == trainer
            for row in trial.energy_by_phase
            if (row.meter, row.domain) == (trial.energy_by_phase[0].meter, trial.energy_by_phase[0].domain)
        ]
        reasons = {row.reason for row in rows}
        if len(reasons) == 1 and all(row.net_j_per_step is None for row in rows):
            lines.append(f"{trainer}: no energy by phase ({rows[0].reason})")
            continue
        parts = [_phase(phase, rows) for phase in dict.fromkeys(row.phase for row in rows)]
        if parts:
            lines.append(f"{trainer}: energy by phase, a step: {', '.join(parts)}")
    return lines


def _phase(name: str, rows: Sequence[PhaseEnergy]) -> str:
    here = [row for row in rows if row.phase == name]
    known_j = [row.net_j_per_step for row in here if row.net_j_per_step is not None]
    if not known_j:
        return f"{name} {fmt.DASH} ({here[0].reason})"
    modelled = " (modelled)" if here[0].provenance == "modelled" else ""
    own_j = (row.uncertainty_j_per_step for row in here if row.net_j_per_step is not None)
    uncertainty_j = repeated_uncertainty(known_j, own_j)
    return f"{name} {fmt.joules(statistics.median(known_j), uncertainty_j)}{modelled}"


def measured_by(row: Energy) -> str:
    """Say which meter an energy is from, what that covers, and the shunt that its readings were corrected for."""
    parts = [f"energy: net of idle, measured by {row.meter} ({row.domain})"]
    parts += [f"it covers {row.covers}"] if row.covers else []
    shunt_ohm, factor = row.settings.get("shunt_ohm"), row.settings.get("shunt_correction")
    if shunt_ohm is not None:
        times = f", readings × {factor:g}" if isinstance(factor, float) else ""
        parts.append(f"shunt {shunt_ohm} Ω{times}")
    return "; ".join(parts)


def no_energy(row: Energy) -> str:
    """Say why a meter's row is not in the energy column."""
    if row.provenance == "modelled":
        return f"energy by {row.meter} is modelled, not measured: it stands in the document only"
    who = "" if row.meter == "none" else f" from {row.meter}"
    doctor = "" if "harness doctor" in (row.reason or "") else "; see `harness doctor`"
    return f"no energy{who}: {row.reason}{doctor}"


def _validity(trial: Trial) -> list[str]:
    """Return what may spoil a trial's figures."""
    lines = [f"validity: {note}" for note in trial.validity.notes]
    return [*lines, "validity: the device throttled"] if trial.validity.throttled else lines
