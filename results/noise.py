"""When a run was disturbed by others: one rule for the notes of a run, for `check` and for `baseline update`."""

from collections.abc import Iterable

from results import format as fmt
from results.schema import ProcessorUse, Trial

BUSY_SHARE = 0.10
"""Part of all processors that others may take in a stretch before its times and energies are not the program's own."""


def disturbed(use: ProcessorUse) -> bool:
    """Tell whether others took more than they may, and surely so: less the resolution of the kernel's accounts."""
    return use.others_s - use.resolution_s > BUSY_SHARE * use.cores * use.duration_s


def disturbance(trials: Iterable[Trial]) -> str | None:
    """Return in words the most that others took of any measured window; None where none was disturbed."""
    windows = [trial.validity.others_window for trial in trials]
    busy = [use for use in windows if use and disturbed(use)]
    if not busy:
        return None
    worst = max(busy, key=lambda use: use.others_s / (use.cores * use.duration_s))
    taken, stolen = worst.others_s / worst.duration_s, worst.stolen_s / worst.duration_s
    theft = f", of which {stolen:.1f} stolen by the hypervisor" if stolen >= 0.05 else ""
    return f"others took {taken:.1f} of {fmt.counted(worst.cores, 'processor')} in the measured window{theft}"
