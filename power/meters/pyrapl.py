"""`pyrapl`: RAPL as read by the pyRAPL library, behind this package's own wraparound correction.

pyRAPL (0.2.3.1, the last release, 2019) reads the powercap files. Its own measurements do not survive a
wrap of the counter (they give None or a hugely negative value), so only its raw readings are taken:
`Sensor(devices=[...]).energy()` in µJ for each socket, -1 or None where a socket has none. Importing it adds
handlers to the root logger, which are taken off again. The counters' ranges come from powercap itself.
"""

import logging
from typing import Any

from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import powercap

HINT_INSTALL = "pip install 'edge-harness[meters]'"


def _import_pyrapl() -> Any:
    """Return the library, with the root logger as it was before. Raises `ImportError`."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        import pyRAPL
    finally:
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
    return pyRAPL


class PyRaplMeter(Meter):
    """Packages and their memory by pyRAPL, one domain a socket and device."""

    name = "pyrapl"
    period_s = 0.05

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._sensors: list[tuple[Any, tuple[Domain | None, ...]]] = []

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain a socket and device that gave a value."""
        return tuple(domain for _, row in self._sensors for domain in row if domain is not None)

    def open(self) -> None:
        """Make the sensors. Raises `MeterUnavailableError`: no library, no counter, no permission."""
        if self._sensors:
            return
        try:
            library = _import_pyrapl()
        except ImportError as error:
            raise MeterUnavailableError(
                self.name, f"pyRAPL is not installed ({error})", HINT_INSTALL
            ) from error
        ranges = self._ranges_j()
        for device, kind in ((library.Device.PKG, "package"), (library.Device.DRAM, "dram")):
            sensor = self._sensor(library, device)
            if sensor is not None:
                values = sensor.energy()
                row = tuple(self._domain(kind, i, v, ranges) for i, v in enumerate(values))
                self._sensors.append((sensor, row))
        if not self.domains:
            self._sensors = []
            raise MeterUnavailableError(self.name, "pyRAPL finds no counter", powercap.HINT_MODULE)

    def read(self) -> list[Sample]:
        """Return one sample a domain, straight from the raw counters."""
        try:
            return [sample for sensor, row in self._sensors for sample in self._samples(sensor, row)]
        except Exception as error:  # the library raises plain OSError, ValueError and its own kinds
            raise MeterReadError(f"meter '{self.name}': {error}") from error

    def close(self) -> None:
        """Let go of the sensors."""
        self._sensors = []

    def _sensor(self, library: Any, device: Any) -> Any:
        try:
            return library.Sensor(devices=[device])
        except PermissionError as error:
            raise MeterUnavailableError(
                self.name, "energy_uj is readable by root only", powercap.HINT_READ
            ) from error
        except Exception as error:  # absent devices raise kinds of the library's own
            if "PKG" in str(device):
                raise MeterUnavailableError(self.name, f"pyRAPL refuses this machine: {error}") from error
            return None

    def _ranges_j(self) -> dict[str, float | None]:
        try:
            return {zone.domain.name: zone.domain.wrap_j for zone in powercap.find_zones()}
        except (OSError, ValueError):
            return {}

    def _domain(
        self, kind: str, socket: int, value: float | None, ranges: dict[str, float | None]
    ) -> Domain | None:
        if value is None or value < 0:
            return None
        return Domain(
            name=f"{kind}-{socket}",
            kind="energy",
            covers=powercap.covers(kind),
            update_s=powercap.UPDATE_S,
            resolution_j=powercap.STEP_J,
            gain_limit=powercap.GAIN,
            wrap_j=ranges.get(f"{kind}-{socket}"),
            max_power_w=powercap.MAX_PACKAGE_W,
        )

    def _samples(self, sensor: Any, row: tuple[Domain | None, ...]) -> list[Sample]:
        before_ns = now_ns()
        values = sensor.energy()
        t_ns = (before_ns + now_ns()) // 2
        pairs = [(domain, value) for domain, value in zip(row, values, strict=True) if domain is not None]
        if any(value is None or value < 0 for _, value in pairs):
            raise MeterReadError("a counter gave no value")
        return [Sample(t_ns, domain.name, energy_j=value * 1e-6) for domain, value in pairs]
