"""Meters behind optional libraries: stand-ins that behave as the libraries do, faults included."""

import logging
import sys
import threading
import types
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from power.errors import MeterReadError, MeterUnavailableError
from power.meters.joulescope import JoulescopeMeter
from power.meters.nvml import NvmlMeter
from power.meters.pyrapl import PyRaplMeter
from power.recorder import Recorder


class NvmlError(Exception):
    pass


class FakeNvml(types.ModuleType):
    """Two GPUs: one counts energy, the older one has power only."""

    NVMLError = NvmlError

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.running = 0
        self.lost = False

    def nvmlInit(self) -> None:  # noqa: N802
        self.running += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.running -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:  # noqa: N802
        return "New Card" if handle == 0 else b"Old Card"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if handle == 1 or self.lost:
            raise NvmlError("Not Supported")
        return 123_456

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 75_500


def test_nvml_counts_where_it_can_and_reads_power_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with NvmlMeter() as meter:
        assert [(d.name, d.kind) for d in meter.domains] == [("gpu-0", "energy"), ("gpu-1", "power")]
        assert [sample.value for sample in meter.read()] == pytest.approx([123.456, 75.5])
        assert meter.domains[1].covers == "the board of Old Card"
        fake.lost = True
        with pytest.raises(MeterReadError, match="Not Supported"):
            meter.read()
    assert fake.running == 0


def test_nvml_without_library_or_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "edge-harness[meters]" in str(NvmlMeter().probe().hint)
    fake = FakeNvml()

    def refuse() -> None:
        raise NvmlError("Driver Not Loaded")

    monkeypatch.setattr(fake, "nvmlInit", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert "Driver Not Loaded" in str(NvmlMeter().probe().reason)


class Device(IntEnum):
    PKG = 0
    DRAM = 1


def pyrapl(
    energies: dict[Device, list[list[float | None]]], error: Exception | None = None
) -> types.ModuleType:
    """A pyRAPL whose sensors give one row of readings (µJ a socket) after the other; the last one stays.

    As the real one (0.2.3.1, `sensor.py`) a sensor gives both devices of every socket in turn, -1 for the one that it
    was not made for.
    """
    module = types.ModuleType("pyRAPL")

    class Sensor:
        def __init__(self, devices: list[Device]) -> None:
            if error is not None:
                raise error
            (self.device,) = devices
            if self.device not in energies:
                raise RuntimeError("no such device")
            self.rows = energies[self.device]

        def energy(self) -> list[float | None]:
            row = self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]
            given: list[float | None] = [-1] * (2 * len(row))
            given[self.device :: 2] = row
            return given

    module.Device = Device  # type: ignore[attr-defined]
    module.Sensor = Sensor  # type: ignore[attr-defined]
    return module


def test_pyrapl_is_read_raw_and_its_wrap_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[float | None]] = [[99.0e6, 5.0e6], [99.0e6, 5.0e6], [99.0e6, 5.5e6], [1.0e6, 6.0e6]]
    monkeypatch.setitem(sys.modules, "pyRAPL", pyrapl({Device.PKG: rows, Device.DRAM: [[-1, None]]}))
    monkeypatch.setattr(PyRaplMeter, "_ranges_j", lambda self: {"package-0": 100.0, "package-1": 100.0})
    with Recorder([PyRaplMeter()], period_s=0.01) as recorder:
        threading.Event().wait(0.2)
        first, second = recorder.series("pyrapl", "package-0"), recorder.series("pyrapl", "package-1")
        assert len(recorder.all_series()[0][1]) == 2  # no memory here: -1 and None are no domains
    assert first.values[-1] == pytest.approx(2.0)  # 99 → 1 of 100 J
    assert second.values[-1] == pytest.approx(1.0)
    assert first.resets == []


def test_pyrapl_gives_both_devices_of_every_socket_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    energies: dict[Device, list[list[float | None]]] = {Device.PKG: [[1e6, 2e6]], Device.DRAM: [[3e6, 4e6]]}
    monkeypatch.setitem(sys.modules, "pyRAPL", pyrapl(energies))
    ranges = {"package-0": 10.0, "package-1": 11.0, "dram-0": 12.0, "dram-1": 13.0}
    monkeypatch.setattr(PyRaplMeter, "_ranges_j", lambda self: ranges)
    with PyRaplMeter() as meter:
        assert {domain.name: domain.wrap_j for domain in meter.domains} == ranges
        read = {sample.domain: sample.value for sample in meter.read()}
    assert read == pytest.approx({"package-0": 1.0, "package-1": 2.0, "dram-0": 3.0, "dram-1": 4.0})


def test_pyrapl_gives_none_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[float | None]] = [[1.0], [None]]
    monkeypatch.setitem(sys.modules, "pyRAPL", pyrapl({Device.PKG: rows}))
    meter = PyRaplMeter()
    meter.open()
    with pytest.raises(MeterReadError, match="no value"):
        meter.read()


def test_pyrapl_absent_forbidden_and_refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyRAPL", None)
    assert "edge-harness[meters]" in str(PyRaplMeter().probe().hint)
    monkeypatch.setitem(sys.modules, "pyRAPL", pyrapl({}, PermissionError(13, "Permission denied")))
    assert "sudo chmod" in str(PyRaplMeter().probe().hint)
    monkeypatch.setitem(sys.modules, "pyRAPL", pyrapl({}))
    with pytest.raises(MeterUnavailableError, match=r"refuses this machine: .*no such device"):
        PyRaplMeter().open()


def test_importing_pyrapl_says_nothing_and_leaves_the_root_logger_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    noisy = "import logging\nlogging.getLogger().addHandler(logging.StreamHandler())\n"
    noisy += "logging.warning('imports error')\n"
    empty = "class Device:\n    PKG, DRAM = 0, 1\ndef Sensor(devices):\n    raise RuntimeError('none')\n"
    (tmp_path / "pyRAPL.py").write_text(noisy + empty)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyRAPL", None)  # whatever is imported now is forgotten afterwards
    monkeypatch.delitem(sys.modules, "pyRAPL")
    before = list(logging.getLogger().handlers)
    assert not PyRaplMeter().probe().usable
    assert logging.getLogger().handlers == before
    assert caplog.records == []
    logging.warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


class FakeDriver:
    """The maker's driver with some instruments; statistics are published by a thread of its own."""

    paths: tuple[str, ...] = ("u/js220/000123",)
    last: "FakeDriver"

    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []
        self.finalized = False
        self.topic, self.callback = "", None
        FakeDriver.last = self

    def device_paths(self) -> list[str]:
        return list(self.paths)

    def open(self, path: str) -> None:
        self.published.append(("open", path))

    def publish(self, topic: str, value: Any) -> None:
        self.published.append((topic, value))

    def subscribe(self, topic: str, flags: str, callback: Any) -> None:
        self.topic, self.callback = topic, callback

    def statistics(self, energy_j: float) -> None:
        value = {"accumulators": {"energy": {"value": energy_j, "units": "J"}}}
        threading.Thread(target=self.callback, args=(self.topic, value)).start()  # type: ignore[arg-type]

    def finalize(self) -> None:
        self.finalized = True


@pytest.fixture
def joulescopes(monkeypatch: pytest.MonkeyPatch) -> type[FakeDriver]:
    module = types.ModuleType("pyjoulescope_driver")
    driver = type("Driver", (FakeDriver,), {})
    module.Driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", module)
    return driver


def test_a_js220_counts_energy(joulescopes: type[FakeDriver]) -> None:
    with JoulescopeMeter() as meter:
        FakeDriver.last.statistics(1.25)
        (sample,) = meter.read()
        assert sample.energy_j == 1.25
        assert ("u/js220/000123/s/stats/ctrl", 1) in FakeDriver.last.published
        assert FakeDriver.last.topic == "u/js220/000123/s/stats/value"
        assert meter.settings() == {"instrument": "u/js220/000123"}
    assert FakeDriver.last.finalized


def test_a_js110_publishes_by_itself(joulescopes: type[FakeDriver]) -> None:
    joulescopes.paths = ("u/js110/007",)
    with JoulescopeMeter() as meter:
        assert FakeDriver.last.topic == "u/js110/007/s/sstats/value"
        assert meter.domains[0].update_s == 0.5


def test_several_or_no_joulescopes(joulescopes: type[FakeDriver], monkeypatch: pytest.MonkeyPatch) -> None:
    joulescopes.paths = ("u/js220/1", "u/js220/2")
    assert "2 instruments" in str(JoulescopeMeter().probe().reason)
    assert JoulescopeMeter("u/js220/2").probe().usable
    joulescopes.paths = ()
    assert "no Joulescope" in str(JoulescopeMeter().probe().reason)
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", None)
    assert "edge-harness[joulescope]" in str(JoulescopeMeter().probe().hint)


def test_a_joulescope_driver_built_for_another_numpy_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyjoulescope_driver.py").write_text("raise ValueError('numpy.dtype size changed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyjoulescope_driver", raising=False)
    probe = JoulescopeMeter().probe()
    assert "cannot be loaded (numpy.dtype size changed)" in str(probe.reason)
    assert probe.hint == "pip install --upgrade pyjoulescope-driver"
