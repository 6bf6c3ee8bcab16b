"""Errors of `results`: each names the document, the cause and the next step."""


class ResultError(Exception):
    """Root of every error this package raises."""


class DocumentMissingError(ResultError, FileNotFoundError):
    """A result document that is not there."""


class DocumentInvalidError(ResultError, ValueError):
    """A file that is not a result document of a version this program reads."""


class DocumentWriteError(ResultError, OSError):
    """A result document that could not be written; nothing that was there before is lost."""


class NotComparableError(ResultError, ValueError):
    """Two documents, or a document and a baseline, whose figures may not be put side by side."""


class BaselineMissingError(ResultError, FileNotFoundError):
    """A baseline file that is not there."""


class BaselineInvalidError(ResultError, ValueError):
    """A baseline file that cannot be read, or an update that may not be made."""


class BaselineRequestError(BaselineInvalidError):
    """An update asked for without a reason, or of a metric that no baseline records."""


class NoisyRunError(ResultError, ValueError):
    """A run too noisy, too short or spoilt to set or judge a baseline by."""


class HistoryError(ResultError, OSError):
    """A folder or database of documents that cannot be used."""


class FolderMissingError(HistoryError, FileNotFoundError):
    """A folder of documents that is not there."""


class ReportError(ResultError, OSError):
    """A page that cannot be made, mostly for want of the `report` extra."""
