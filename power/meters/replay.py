"""`replay:FILE`: plays a recorded capture as if the meter were here; see `power.capture` for the file."""

from pathlib import Path

from power.base import Domain, Meter, Probe, Sample, Setting, now_ns
from power.capture import Capture, read_capture
from power.errors import CaptureError, MeterReadError, MeterUnavailableError, cause_of


class ReplayMeter(Meter):
    """Delivers the samples of a capture at the pace of their recording, from the moment it is opened.

    The time stamps are moved so that the first sample lies at the opening. After the last one the meter
    fails as an unplugged one would: what lies beyond the recording is unavailable.
    """

    name = "replay"

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._capture: Capture | None = None
        self._shift_ns = 0
        self._next = 0

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains the capture was recorded with."""
        return () if self._capture is None else self._capture.domains

    def probe(self) -> Probe:
        """Say usable with a readable capture; without one, say how to name it."""
        if not self.argument:
            return Probe(self.name, False, "no capture was named", "--meter replay:FILE")
        try:
            return Probe(self.name, True, domains=read_capture(Path(self.argument)).domains)
        except (OSError, CaptureError) as error:
            return Probe(self.name, False, self._unread(error))

    def open(self) -> None:
        """Read the capture and start its clock. Raises `MeterUnavailableError` for what is no capture."""
        if self._capture is not None:
            return
        if not self.argument:
            raise MeterUnavailableError(self.name, "no capture was named", "--meter replay:FILE")
        try:
            self._capture = read_capture(Path(self.argument))
        except (OSError, CaptureError) as error:
            raise MeterUnavailableError(self.name, self._unread(error)) from error
        self.provenance = self._capture.provenance
        self._shift_ns = now_ns() - self._capture.samples[0].t_ns
        self._next = 0

    def _unread(self, error: Exception) -> str:
        """Return why the capture cannot be read; what is in it names it already."""
        return str(error) if isinstance(error, CaptureError) else f"'{self.argument}': {cause_of(error)}"

    def read(self) -> list[Sample]:
        """Return the samples that have become due since the last read."""
        if self._capture is None:
            raise MeterReadError("meter 'replay' is not open")
        samples, start, due_ns = self._capture.samples, self._next, now_ns() - self._shift_ns
        while self._next < len(samples) and samples[self._next].t_ns <= due_ns:
            self._next += 1
        if self._next == start == len(samples):
            raise MeterReadError(f"meter 'replay': the capture {self.argument} is over")
        return [self._moved(sample) for sample in samples[start : self._next]]

    def close(self) -> None:
        """Keep the place in the capture: a reopened replay goes on, it does not start again."""

    def settings(self) -> dict[str, Setting]:
        """Return the file and the meter it was recorded from."""
        recorded = {} if self._capture is None else {"recorded_meter": self._capture.meter}
        return {"capture": self.argument, **recorded}

    def _moved(self, sample: Sample) -> Sample:
        return Sample(sample.t_ns + self._shift_ns, sample.domain, sample.energy_j, sample.power_w)
