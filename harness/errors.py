"""Errors of the harness, and the one place where errors become exit codes."""

from enum import IntEnum

from power.errors import PowerError, UnknownMeterError
from results.errors import (
    BaselineMissingError,
    BaselineRequestError,
    DocumentMissingError,
    FolderMissingError,
    NoisyRunError,
    NotComparableError,
    ReportError,
    ResultError,
)
from workloads.errors import (
    ExtraMissingError,
    OutOfMemoryError,
    UnknownNameError,
    UnsupportedError,
    WorkloadError,
)


class ExitCode(IntEnum):
    """Exit codes of the command line; stable names of the contract."""

    OK = 0
    ERROR = 1
    USAGE = 2
    OUT_OF_MEMORY = 3
    REGRESSED = 4
    NOT_COMPARABLE = 5
    INVALID_RUN = 6
    IMPROVED = 7


class HarnessError(Exception):
    """Root of every error this package raises."""


class UsageError(HarnessError, ValueError):
    """Options that make no sense together or on this machine."""


class NotThatDeviceError(UsageError):
    """A device was asked for by name, and this machine is not one."""


class TriggerUnavailableError(UsageError, OSError):
    """A trigger pin was asked for that this machine or installation cannot drive."""

    def __init__(self, pin: int, reason: str, hint: str | None = None) -> None:
        super().__init__(f"trigger pin {pin} is not usable: {reason}" + (f"; try: {hint}" if hint else ""))
        self.pin, self.reason, self.hint = pin, reason, hint


class WorkerError(HarnessError):
    """A worker that could not be started at all (a failing trial is an outcome, not an error)."""


class TrialFailedError(HarnessError):
    """A trial that had to succeed, or at least run out of memory, failed in another way."""


class LimitUnavailableError(HarnessError, OSError):
    """A ceiling was asked for that nothing on this machine can enforce."""


KNOWN_ERRORS = (HarnessError, WorkloadError, PowerError, ResultError)

_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (UsageError, ExitCode.USAGE),
    (UnknownNameError, ExitCode.USAGE),
    (UnknownMeterError, ExitCode.USAGE),
    (UnsupportedError, ExitCode.USAGE),
    # What was asked for is not in this installation, or not there: nothing has been tried.
    (ExtraMissingError, ExitCode.USAGE),
    (ReportError, ExitCode.USAGE),
    (BaselineRequestError, ExitCode.USAGE),
    (DocumentMissingError, ExitCode.USAGE),
    (FolderMissingError, ExitCode.USAGE),
    (OutOfMemoryError, ExitCode.OUT_OF_MEMORY),
    (NotComparableError, ExitCode.NOT_COMPARABLE),
    (BaselineMissingError, ExitCode.NOT_COMPARABLE),
    (NoisyRunError, ExitCode.INVALID_RUN),
)


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code of the contract for an error of any of the four packages."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.ERROR
