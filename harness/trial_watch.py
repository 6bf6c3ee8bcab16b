"""Everything that looks on while one worker runs: what it says, what it holds, what others and the device do."""

from harness import throttling
from harness.collector import Collector
from harness.energy import EnergyWatch
from harness.memory import Residency
from harness.messages import AnyMessage
from harness.others import LOOK_S, OthersWatch
from harness.run_options import Options
from harness.traces import ResidencyTrace
from harness.window import WindowEdges
from results import schema


class TrialWatch:
    """What one trial is watched with, from the idle time before it to the worker's end.

    Making it reads the meters and the processors' accounts while nothing runs; `hear` and `see` are the supervisor's.
    """

    def __init__(
        self, options: Options, meters: EnergyWatch, edges: WindowEdges, governor_of_run: str | None
    ) -> None:
        self.collector, self.looks = Collector(), ResidencyTrace()
        self._edges = edges
        self._others = OthersWatch(LOOK_S if options.idle_s is None or options.idle_s > 0 else 0.0)
        with self._others.idle():
            meters.before_trial()
        self._throttling = throttling.Watch(governor_of_run)

    def hear(self, message: AnyMessage, pid: int) -> None:
        """Pass on what the worker said; what must be read at an edge of its window comes first."""
        self._edges.hear(message)
        self._others.hear(message, pid)
        self.collector.take(message)

    def see(self, residency: Residency) -> None:
        """Pass on what the worker holds just now."""
        self._throttling.look()
        self.looks.look(residency)

    def end(self) -> schema.Validity:
        """Return what may have spoilt the trial, the worker having just ended."""
        return self._others.judge(self._throttling.end())
