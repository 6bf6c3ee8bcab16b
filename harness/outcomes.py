"""What a run's trials say as an exit code, and in words where no table is shown."""

from collections import Counter
from collections.abc import Iterator

from harness.errors import ExitCode
from results.schema import Document

SEVERITY = (ExitCode.OK, ExitCode.INVALID_RUN, ExitCode.OUT_OF_MEMORY, ExitCode.ERROR)


def verdict(document: Document) -> ExitCode:
    """Return the exit code for the worst outcome: an error before a broken ceiling before an invalid run."""
    outcomes = {trial.outcome for trial in document.trials}
    for outcome, code in (
        ("error", ExitCode.ERROR),
        ("out_of_memory", ExitCode.OUT_OF_MEMORY),
        ("invalid", ExitCode.INVALID_RUN),
    ):
        if outcome in outcomes:
            return code
    return ExitCode.OK


def failures(document: Document) -> Iterator[str]:
    """Yield a line on each distinct way in which trials did not end well, and how many did."""
    counted = Counter(
        (trial.workload, trial.trainer, trial.outcome, trial.reason)
        for trial in document.trials
        if trial.outcome != "ok"
    )
    for (workload, trainer, outcome, reason), times in counted.items():
        times_said = f" ({times} trials)" if times > 1 else ""
        yield f"{workload} {trainer}: {outcome.replace('_', ' ')}: {reason}{times_said}"
