"""`pyrapl`: RAPL as read by the pyRAPL library, behind this package's own wraparound correction.

pyRAPL (0.2.3.1, the last release, 2019) reads the powercap files. Its own measurements do not survive a
wrap of the counter (they give None or a hugely negative value), so only its raw readings are taken:
`Sensor(devices=[...]).energy()` in µJ. It is one list of all sockets and both devices, whichever were asked for
(`sensor.py`): package of socket 0, memory of socket 0, package of socket 1, and so on; -1 or None where there is none
or it was not asked for. A device's own values are every second one, from the device's number on (`Device` is an
`IntEnum`: PKG 0, DRAM 1), and the place among them is the socket's id.

Importing it warns on the root logger of databases it could write to, and so adds a handler there: the one is kept quiet
meanwhile, the other taken off again. The counters' ranges come from powercap itself.
"""

import logging
from typing import Any

from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import powercap

HINT_INSTALL = "pip install 'edge-harness[meters]'"
#: Devices a socket in what a sensor gives: package and memory.
_DEVICES = 2


def _import_pyrapl() -> Any:
    """Return the library; the root logger says nothing meanwhile and is as before then. Raises `ImportError`."""
    root = logging.getLogger()
    before, disabled = list(root.handlers), root.disabled
    root.disabled = True  # what other loggers say goes its way: only the root's own messages stop here
    try:
        import pyRAPL
    finally:
        root.disabled = disabled
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
    return pyRAPL


class PyRaplMeter(Meter):
    """Packages and their memory by pyRAPL, one domain a socket and device."""

    name = "pyrapl"
    period_s = 0.05

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        # A sensor, the place of its device in what it gives, and one domain a socket that has the device.
        self._sensors: list[tuple[Any, int, tuple[Domain | None, ...]]] = []

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain a socket and device that gave a value."""
        return tuple(domain for _, _, row in self._sensors for domain in row if domain is not None)

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
            sensor = self._sensor(library, device, kind)
            if sensor is not None:
                values = sensor.energy()[device::_DEVICES]
                row = tuple(self._domain(kind, socket, v, ranges) for socket, v in enumerate(values))
                self._sensors.append((sensor, device, row))
        if not self.domains:
            self._sensors = []
            raise MeterUnavailableError(self.name, "pyRAPL finds no counter", powercap.HINT_MODULE)

    def read(self) -> list[Sample]:
        """Return one sample a domain, straight from the raw counters."""
        try:
            return [sample for each in self._sensors for sample in self._samples(*each)]
        except Exception as error:  # the library raises plain OSError, ValueError and its own kinds
            raise MeterReadError(f"meter '{self.name}': {error}") from error

    def close(self) -> None:
        """Let go of the sensors."""
        self._sensors = []

    def _sensor(self, library: Any, device: int, kind: str) -> Any:
        try:
            return library.Sensor(devices=[device])
        except PermissionError as error:
            raise MeterUnavailableError(
                self.name, "energy_uj is readable by root only", powercap.HINT_READ
            ) from error
        except Exception as error:  # absent devices raise kinds of the library's own
            if kind == "package":  # its exceptions carry no words, only their names
                reason = f"pyRAPL refuses this machine: {error!r}"
                raise MeterUnavailableError(self.name, reason, powercap.HINT_MODULE) from error
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

    def _samples(self, sensor: Any, device: int, row: tuple[Domain | None, ...]) -> list[Sample]:
        before_ns = now_ns()
        values = sensor.energy()[device::_DEVICES]
        t_ns = (before_ns + now_ns()) // 2
        pairs = [(domain, value) for domain, value in zip(row, values, strict=True) if domain is not None]
        if any(value is None or value < 0 for _, value in pairs):
            raise MeterReadError("a counter gave no value")
        return [Sample(t_ns, domain.name, energy_j=value * 1e-6) for domain, value in pairs]
