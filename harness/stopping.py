"""A request to stop (`timeout`, a cancelled job, `docker stop`, a closed terminal) ends the program as Ctrl-C does.

Both signals become KeyboardInterrupt, so that the worker is ended, the control group removed and what was measured
kept; the exit status is then 128 + the signal's number, as a shell gives it.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Listens while the block runs; `status` is the exit status that a signal asks for, 0 where none came."""

    def __init__(self) -> None:
        self.status = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may. What is ignored stays so: `nohup` asks for it.
        if threading.current_thread() is threading.main_thread():
            for each in _SIGNALS:
                if signal.getsignal(each) is signal.SIG_DFL:
                    self._before[each] = signal.signal(each, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Interrupt once: a closing terminal sends several, and the later ones would fall into the tidying up."""
        if not self.status:
            self.status = 128 + number
            raise KeyboardInterrupt
