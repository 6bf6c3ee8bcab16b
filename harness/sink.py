"""Where a run's document goes, written after every trial so that nothing measured is lost."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from harness import folders, output
from results import store
from results.errors import DocumentWriteError
from results.schema import Document

RUNS = Path("runs")


class Sink:
    """Keeps the growing document in one file.

    The first write happens before the first trial: a folder that cannot be written to is an error then, not after an
    hour. An earlier document in that file stays until there is a trial to replace it: a run that measured nothing
    takes nothing away. If a later write fails (the disk is full), the document goes to the temporary folder and
    `trouble` says why, and where.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.trouble: str | None = None
        self.written = False
        self._begun = False

    def keep(self, document: Document) -> None:
        """Write the document. Raises DocumentWriteError if the first write fails, or if no place takes a later one."""
        if self.path is None:
            self.path = store.default_path(RUNS, document.created)
        if not document.trials and not self.written and self.path.exists():
            folders.try_file(self.path)
            self._begun = True
            return
        try:
            store.write(document, self.path)
        except DocumentWriteError as error:
            if not self._begun:
                raise
            self.path = Path(tempfile.mkdtemp(prefix="harness-")) / self.path.name
            store.write(document, self.path)
            self.trouble = f"{error}; the document is in {self.path}"
        self._begun = self.written = True


class Stream:
    """Keeps the document for standard output, a pipe or an open file, which gets it whole when the block ends.

    An error takes nothing with it: the trials before it are written. What cannot be written goes to the temporary
    folder, and `trouble` says where.
    """

    path: Path | None = None
    written = False

    def __init__(self, target: str) -> None:
        """Raises DocumentWriteError where nothing can be written there."""
        folders.try_target(target)
        self._target = target
        self._kept: Document | None = None
        self.trouble: str | None = None

    def keep(self, document: Document) -> None:
        """Remember it."""
        self._kept = document

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is None or (error and not self._kept.trials):
            return
        try:
            output.write_or_keep(store.dumps(self._kept), self._target, "run.json")
        except DocumentWriteError as failure:
            self.trouble = str(failure)
