"""Errors of `workloads`: each names the thing, the cause and the next step."""


class WorkloadError(Exception):
    """Root of every error this package raises."""


class UnknownNameError(WorkloadError, ValueError):
    """A workload, trainer, data set, optimizer or engine that no registry row names."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {kind} '{name}'; there is: {', '.join(known)}")


class UnsupportedError(WorkloadError, NotImplementedError):
    """A known combination that this engine cannot run; the message says which one can."""


class DataError(WorkloadError):
    """Root of what can be wrong with data files."""


class DataMissingError(DataError, FileNotFoundError):
    """A data file that is not where it should be."""


class DataCorruptError(DataError, ValueError):
    """A data file that is truncated, foreign, or fails its checksum."""


class DataCacheError(DataError, OSError):
    """The unpacked copy of a data set could not be written; nothing that was there before is lost."""


class DataFetchError(DataError, OSError):
    """A data file that could not be fetched: no network, not there, or not the published bytes."""


class ExtraMissingError(DataError, ImportError):
    """A library that one file format needs and the base install has not; names the extra."""


class OutOfMemoryError(WorkloadError, MemoryError):
    """An allocation that the ceiling or the machine refused; an outcome, not a crash."""


class CheckpointError(WorkloadError):
    """A checkpoint that cannot be written or read, is damaged, or is of another training."""


class UnconvertedWarning(UserWarning):
    """`convert` leaves a layer as it is, with what it retains; the message says which and why."""
