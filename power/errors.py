"""Errors of `power`: each names the meter, the cause and the command that mends it."""

import errno
import os


class PowerError(Exception):
    """Root of every error this package raises."""


class UnknownMeterError(PowerError, ValueError):
    """A meter that no registry row names."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"unknown meter '{name}'; there is: {', '.join(known)}")


class MeterUnavailableError(PowerError, OSError):
    """A named meter that cannot be read on this machine; `hint` is the command that mends it.

    A hint is a line for a shell, and what else there is to say of it in brackets behind it: `COMMAND (remark)`; or
    `--meter NAME:ARGUMENT`; or, where no command mends it, advice.
    """

    def __init__(self, meter: str, reason: str, hint: str | None = None) -> None:
        super().__init__(f"meter '{meter}' is not usable: {reason}" + (f"; try: {hint}" if hint else ""))
        self.meter, self.reason, self.hint = meter, reason, hint

    @property
    def refused(self) -> bool:
        """Whether the meter is there and this user may not read it (raised from an error that says so)."""
        return getattr(self.__cause__, "errno", None) in (errno.EACCES, errno.EPERM)


class MeterReadError(PowerError, OSError):
    """A reading that failed in the middle of a run; the energy of that window is unavailable."""


class SynchronisationError(PowerError, ValueError):
    """A pattern of load that cannot be found, or not for certain, in a trace."""


class CaptureError(PowerError, ValueError):
    """A recorded capture that cannot be read back."""


def cause_of(error: Exception) -> str:
    """Return the system's words for an error, without its number and what the message names already.

    A library wraps the system's error in its own words (pyserial), or in an error of its own (urllib: `reason`).
    """
    within = getattr(error, "reason", None)
    error = within if isinstance(within, OSError) else error
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    # What a name server answers has negative numbers and words of its own.
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
