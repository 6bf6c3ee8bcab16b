"""The libraries themselves, where they are installed, without their hardware: what stand-ins cannot tell.

pyRAPL reads counters of ours; the Joulescope driver finds no instrument, and what we ask of it is what its maker does.
"""

import inspect
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from operator import sub
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO
from unittest import mock

import pytest

from power.meters import powercap
from power.meters.joulescope import JoulescopeMeter
from power.meters.pyrapl import PyRaplMeter
from power.meters.pyrapl import _import_pyrapl as import_pyrapl
from power.recorder import Recorder

RANGE_J = 262_143.328850


class Sockets:
    """Counters of two sockets in a folder laid out as sysfs, which stand some joules before their end."""

    before_end_j = (5.0, 1.0)

    def __init__(self, root: Path) -> None:
        self.root, self.zones, self.counters = root, root / "sys/class/powercap/intel-rapl", list[int]()
        for socket in range(2):
            self._file(f"{self.zones}/intel-rapl:{socket}/name", f"package-{socket}\n")
            self._file(f"{self.zones}/intel-rapl:{socket}/max_energy_range_uj", f"{round(1e6 * RANGE_J)}\n")
            counter = self._file(f"{self.zones}/intel-rapl:{socket}/energy_uj", "0\n")
            self.counters.append(os.open(counter, os.O_WRONLY))
            cpu = f"{root}/sys/devices/system/cpu/cpu{socket}"
            self._file(f"{cpu}/topology/physical_package_id", f"{socket}\n")
        self._file(f"{root}/sys/devices/system/cpu/present", "0-1\n")
        self.count((0.0, 0.0))

    @staticmethod
    def _file(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def count(self, energies_j: tuple[float, float]) -> None:
        """Have the counters stand where so much energy since the beginning brings them."""
        for counter, before_j, energy_j in zip(self.counters, self.before_end_j, energies_j, strict=True):
            energy_uj = round(1e6 * ((RANGE_J - before_j + energy_j) % RANGE_J))
            os.pwrite(counter, f"{energy_uj:020d}\n".encode(), 0)

    def open(self, path: str, mode: str = "r") -> TextIO:
        """Open a file of this folder in place of the kernel's."""
        file: TextIO = (self.root / path[1:]).open(mode)  # type: ignore[assignment]
        return file

    def exists(self, path: str) -> bool:
        """Whether there is one."""
        return (self.root / path[1:]).exists()


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Sockets]:
    made = Sockets(tmp_path)
    yield made
    for counter in made.counters:
        os.close(counter)


@pytest.fixture
def pyrapl(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, reading these counters."""
    if find_spec("pyRAPL") is None:
        pytest.skip("pyRAPL (the meters extra) is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # its own, where it is compiled anew
        library, device_api = import_pyrapl(), import_module("pyRAPL.device_api")
    monkeypatch.setattr(device_api, "open", sockets.open, raising=False)
    monkeypatch.setattr(device_api, "os", SimpleNamespace(path=sockets))
    monkeypatch.setattr(library, "_sensor", None)
    monkeypatch.setattr(powercap, "find_zones", partial(powercap.find_zones, sockets.zones))
    return library


def await_that(happened: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.002)


def test_pyrapl_itself_loses_a_wrap_and_behind_our_reader_it_does_not(sockets: Sockets, pyrapl: Any) -> None:
    pyrapl.setup(devices=[pyrapl.Device.PKG])
    its_own = pyrapl.Measurement("40 and 24 J")
    its_own.begin()
    with Recorder([PyRaplMeter()], period_s=0.01) as recorder:
        first, second = (recorder.series("pyrapl", f"package-{socket}") for socket in range(2))
        for i in range(9):
            sockets.count((5.0 * i, 3.0 * i))
            recorder.mark()
            await_that(lambda: len(second) > 0 and second.values[-1] == pytest.approx(3.0 * i))  # noqa: B023
    its_own.end()
    assert its_own.result.pkg is None, "which is what makes a correction of ours necessary"
    assert (first.values[-1], second.values[-1]) == pytest.approx((40.0, 24.0))
    assert min(map(sub, first.values[1:], first.values)) >= 0.0
    assert first.resets == second.resets == []


@pytest.fixture
def joulescope() -> Any:
    """The maker's package."""
    return pytest.importorskip(
        "pyjoulescope_driver", reason="pyjoulescope-driver (the joulescope extra) is not installed"
    )


def test_the_joulescope_driver_itself_finds_what_is_plugged_in(joulescope: Any) -> None:
    del joulescope
    probe = JoulescopeMeter().probe()
    assert probe.usable or "plugged in" in str(probe.reason)
    assert "no Joulescope is plugged in" in str(JoulescopeMeter("u/js220/none").probe().reason)


def test_the_joulescope_driver_itself_takes_our_subscription(joulescope: Any) -> None:
    """It raises `KeyError` for flags that it does not know; no instrument is needed to ask for its topics."""
    driver = joulescope.Driver()
    try:
        driver.subscribe("u/js220/none/s/stats/value", "pub", JoulescopeMeter()._on_statistics)
    finally:
        driver.finalize()


def asked(path: str, joulescope: Any, monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> list[Any]:
    """What is asked of the driver, with one instrument at a path: names and arguments, which its methods take."""
    driver = mock.create_autospec(joulescope.Driver, instance=True)
    driver.device_paths.return_value = [path]
    driver.__enter__.return_value = driver
    made = mock.Mock(return_value=driver)
    with monkeypatch.context() as patched:
        patched.setattr(joulescope, "Driver", made)
        patched.setattr("pyjoulescope_driver.entry_points.statistics.Driver", made)
        run()
    for name, arguments, named in driver.mock_calls:
        # What is compiled tells its signature, but the mock does not hold calls to it.
        inspect.signature(getattr(joulescope.Driver, name)).bind(driver, *arguments, **named)
    return [(name, arguments) for name, arguments, _ in driver.mock_calls]


@pytest.mark.parametrize("path", ["u/js220/000123", "u/js110/007"])
def test_what_we_ask_of_the_joulescope_driver_is_what_its_makers_program_asks(
    path: str, joulescope: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = import_module("pyjoulescope_driver.entry_points.statistics")
    about = {
        "device_path": [],
        "js110_host": False,
        "frequency": 20.0,
        "duration": 0.0,
        "jsdrv_log_level": "off",
    }
    theirs = asked(path, joulescope, monkeypatch, lambda: program.on_cmd(SimpleNamespace(**about)))

    def measure() -> None:
        with JoulescopeMeter():
            pass

    ours = asked(path, joulescope, monkeypatch, measure)
    assert [name for name, _ in ours if name not in ("publish", "subscribe")] == [
        "device_paths", "open", "finalize"
    ]  # fmt: skip
    steps = ("open", "publish", "subscribe")
    said, known = ([(name, a[:2]) for name, a in calls if name in steps] for calls in (ours, theirs))
    as_it_was = ("publish", (f"{path}/s/i/range/select", "auto"))  # of a JS110: its default
    assert said == [each for each in known if each != as_it_was]
