"""`joulescope`: JS110 and JS220 analyzers by their maker's driver (`pyjoulescope-driver`, an extra).

The instrument integrates a million samples and more a second itself; only its running statistics are taken:
`accumulators.energy` in J, published 20 times a second by a JS220 (topic `s/stats/value`, `s/stats/scnt`
samples each) and twice a second by a JS110 (`s/sstats/value`). So nothing runs at a high rate on the host.
GPI0, wired to the trigger pin, marks the window in recordings made beside this with the maker's own program.

    joulescope                     the only one that is plugged in
    joulescope:u/js220/000123      this one
"""

from queue import Empty, SimpleQueue
from typing import Any

from power.base import Domain, Meter, Probe, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError

HINT_INSTALL = "pip install 'edge-harness[joulescope]'"
HINT_UPGRADE = "pip install --upgrade pyjoulescope-driver"
#: JS220: samples of a statistics block at 1 MSa/s.
_BLOCK = 50_000


class JoulescopeMeter(Meter):
    """One Joulescope; its energy accumulator."""

    name = "joulescope"
    streams = True
    period_s = 0.05

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._driver: Any = None
        self._path = ""
        self._queue: SimpleQueue[tuple[int, float]] = SimpleQueue()

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain; the error depends on the range: 0.5 % is assumed for all of them."""
        update_s = 0.5 if "js110" in self._path else _BLOCK * 1e-6
        covered = "what is fed through the instrument's current input"
        return (Domain("supply", "energy", covered, update_s=update_s, resolution_j=1e-9, gain_limit=0.005),)

    def probe(self) -> Probe:
        """Load the driver and look for instruments; none is opened."""
        try:
            self._release(self._connect())
        except MeterUnavailableError as error:
            return Probe(self.name, False, error.reason, error.hint)
        return Probe(self.name, True, domains=self.domains)

    def open(self) -> None:
        """Open the instrument and start its statistics. Raises `MeterUnavailableError`."""
        if self._driver is not None:
            return
        driver = self._connect()
        try:
            driver.open(self._path)
            topic = f"{self._path}/s/sstats/value"
            if "js110" not in self._path:
                topic = f"{self._path}/s/stats/value"
                driver.publish(f"{self._path}/s/i/range/mode", "auto")
                driver.publish(f"{self._path}/s/stats/scnt", _BLOCK)
                driver.publish(f"{self._path}/s/stats/ctrl", 1)
            driver.subscribe(topic, "pub", self._on_statistics)
        except Exception as error:  # the driver raises RuntimeError and kinds of its own
            self._release(driver)
            raise MeterUnavailableError(self.name, f"{self._path} cannot be started: {error}") from error
        self._driver = driver

    def read(self) -> list[Sample]:
        """Return the statistics that have arrived, waiting at most a second for the first."""
        if self._driver is None:
            raise MeterReadError(f"meter '{self.name}' is not open")
        try:
            rows = [self._queue.get(timeout=1.0)]
        except Empty:
            raise MeterReadError(f"meter '{self.name}': {self._path} sends nothing") from None
        while not self._queue.empty():
            rows.append(self._queue.get())
        return [Sample(t_ns, "supply", energy_j=energy_j) for t_ns, energy_j in rows]

    def close(self) -> None:
        """Stop and let go of the driver."""
        driver, self._driver = self._driver, None
        if driver is not None:
            self._release(driver)

    def settings(self) -> dict[str, Setting]:
        """Return the instrument's path."""
        return {"instrument": self._path}

    def _on_statistics(self, topic: str, value: Any) -> None:
        """Keep one statistics block (called by the driver's own thread)."""
        del topic
        self._queue.put((now_ns(), float(value["accumulators"]["energy"]["value"])))

    def _connect(self) -> Any:
        """Return the driver with `_path` set to the instrument. Raises `MeterUnavailableError`."""
        try:
            from pyjoulescope_driver import Driver
        except ImportError as error:
            reason = f"pyjoulescope-driver is not installed ({error})"
            raise MeterUnavailableError(self.name, reason, HINT_INSTALL) from error
        except ValueError as error:  # what a build for another numpy raises: 1.4 beside numpy 2
            reason = f"pyjoulescope-driver cannot be loaded ({error})"
            raise MeterUnavailableError(self.name, reason, HINT_UPGRADE) from error
        driver = Driver()
        paths = [path for path in driver.device_paths() if self.argument in ("", path)]
        if len(paths) != 1:
            self._release(driver)
            reason = f"{len(paths)} instruments are plugged in" if paths else "no Joulescope is plugged in"
            raise MeterUnavailableError(
                self.name, reason, "--meter joulescope:u/js220/SERIAL" if paths else None
            )
        self._path = paths[0]
        return driver

    def _release(self, driver: Any) -> None:
        driver.finalize()
