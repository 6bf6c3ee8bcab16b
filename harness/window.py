"""What the parent does at the edges of a measured window: has the meters read, and drives the trigger pin."""

from harness.energy import EnergyWatch
from harness.messages import AnyMessage, Repeated, WindowEdge
from harness.run_options import Options
from harness.trigger import Trigger
from results import schema


class WindowEdges:
    """Acts when a worker reports an edge. The worker waits meanwhile if there is a pin, so that the pin is exact."""

    def __init__(self, meters: EnergyWatch, trigger: Trigger | None) -> None:
        self._meters, self._trigger = meters, trigger

    def hear(self, message: AnyMessage) -> None:
        """Act on an edge; everything else passes by."""
        if not isinstance(message, WindowEdge | Repeated):
            return
        self._meters.mark()
        if self._trigger and isinstance(message, WindowEdge) and message.event in ("ready", "end"):
            self._trigger.set(message.event == "ready")

    def end_trial(self) -> schema.Trigger | None:
        """Leave the pin inactive, whatever became of the worker, and return what it marked of this trial."""
        if self._trigger is None:
            return None
        edges, self._trigger.edges = self._trigger.edges, []
        if len(edges) % 2:
            self._trigger.set(False)  # the worker died inside its window
            self._trigger.edges = []
            return None
        if not edges:
            return None
        rise, fall = edges
        return schema.Trigger(
            pin=self._trigger.pin,
            active_high=self._trigger.active_high,
            active_s=(fall.t_ns - rise.t_ns) * 1e-9,
            edge_s=max(edge.after_ns - edge.before_ns for edge in edges) * 1e-9,
        )


def open_trigger(options: Options) -> Trigger | None:
    """Return the pin that was asked for, or None. Raises TriggerUnavailableError naming what is missing."""
    if options.trigger_pin is None:
        return None
    return Trigger(options.trigger_pin, active_high=not options.trigger_active_low)
