"""Every registered meter with a stand-in for its hardware, so that the contract is tested everywhere."""

import http.server
import json
import os
import struct
import sys
import threading
import time
import tty
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path

import pytest

from power.base import Domain, Meter, Sample, now_ns
from power.capture import capture_text
from power.meters import fnirsi, tc66
from power.meters.hwmon import HwmonMeter
from power.meters.perf import PerfMeter, perf_event_open
from power.meters.pi5_pmic import Pi5PmicMeter
from power.meters.powercap import PowercapMeter
from power.native import sampler
from power.registry import make
from power.sampled import SampledMeter
from power.series import Series
from power.sysfs import SysfsMeter

PMIC = Path(__file__).parents[1] / "data" / "power" / "pmic_read_adc.txt"


def files(folder: Path, **contents: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".").replace("_IS_", "-")).write_text(f"{content}\n")
    return folder


class BySampler(Meter):
    """A sysfs meter read by the native sampler: the contract's suite runs over that way too."""

    def __init__(self, meter: SysfsMeter) -> None:
        super().__init__(meter.argument)
        self.inner = meter
        self.name = meter.name
        self.rounds = SampledMeter(meter, 0.005, seed=1)

    @property
    def domains(self) -> tuple[Domain, ...]:
        return self.inner.domains

    def open(self) -> None:
        self.inner.open()

    def read(self) -> list[Sample]:
        blocks = [block for blocks in self.rounds.batch() for block in blocks]
        kinds = {domain.name: domain.kind for domain in self.domains}
        return [
            Sample(t_ns, block.domain, **{f"{kinds[block.domain]}_{unit}": value})
            for block in blocks
            for t_ns, value in zip(block.t_ns, block.values, strict=True)
            for unit in ("j" if kinds[block.domain] == "energy" else "w")
        ]

    def close(self) -> None:
        self.rounds.close()
        self.inner.close()


class Bench:
    """Sets up stand-ins; everything is taken down again by `stack`."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self.tmp_path, self.monkeypatch, self.stack = tmp_path, monkeypatch, stack

    def meter(self, name: str) -> Meter:
        builder: Callable[[], Meter] = getattr(self, name.replace("-", "_"), lambda: make(name))
        return builder()

    def sampled(self, name: str) -> Meter:
        """The stand-in of a sysfs meter, read by the native sampler."""
        if reason := sampler.missing():
            pytest.skip(reason)
        meter = self.meter(name)
        assert isinstance(meter, SysfsMeter)
        self.monkeypatch.setattr("power.sampled._BATCH_S", 0.1)  # a batch is all that this reads at a time
        return BySampler(meter)

    def powercap(self) -> Meter:
        zone = {"energy_uj": 5_000_000, "max_energy_range_uj": 262_143_328_850}
        files(self.tmp_path / "intel-rapl:0", name="package-0", **zone)
        files(self.tmp_path / "intel-rapl:0:0", name="dram", **zone)
        return PowercapMeter(root=self.tmp_path)

    def hwmon(self) -> Meter:
        files(self.tmp_path / "hwmon0", name="ina226", power1_input=2_500_000, shunt_resistor=10_000)
        return HwmonMeter(root=self.tmp_path)

    def perf(self) -> Meter:
        try:
            os.close(perf_event_open(1, 0, 0))
        except OSError as error:
            pytest.skip(f"this user may not count whole-machine events here: {error}")
        files(self.tmp_path, type=1, cpumask=0)
        files(self.tmp_path / "events", energy_IS_pkg="event=0x0", energy_IS_pkg__scale="1e-8")
        files(self.tmp_path / "events", energy_IS_pkg__unit="Joules")
        return PerfMeter(pmu=self.tmp_path)

    def pi5_pmic(self) -> Meter:
        program = self.tmp_path / "vcgencmd"
        program.write_text(f"#!/bin/sh\ncat {PMIC}\n")
        program.chmod(0o755)
        self.monkeypatch.setenv("PATH", f"{self.tmp_path}:/usr/bin:/bin")
        return Pi5PmicMeter(devices=())

    def replay(self) -> Meter:
        series = Series(Domain("usb", "power", "the USB supply"))
        for i in range(500):
            series.add(i * 10_000_000, 5.0)
        (self.tmp_path / "capture.jsonl").write_text(capture_text("fnirsi", [series]))
        return make(f"replay:{self.tmp_path / 'capture.jsonl'}")

    def fnirsi(self) -> Meter:
        sample = struct.pack("<IIHHBH", 500_000, 200_000, 600, 600, 1, 251)
        body = (b"\x04" + 4 * sample).ljust(62, b"\0")
        report = b"\xaa" + body + bytes([fnirsi.crc8(body)])

        def stream(far: int) -> None:
            while True:
                time.sleep(0.04)
                os.write(far, report)

        return make(f"fnirsi:{self.line(stream)}")

    def rdtech(self) -> Meter:
        answer = struct.pack(">HHHI", 0x09C9, 5000, 20000, 10000).ljust(130, b"\0")
        return make(f"um25c:{self.line(answering(answer))}")

    def tc66(self) -> Meter:
        ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers")
        first = b"pac1TC661.14".ljust(48, b"\0") + struct.pack("<3I", 50_000, 200_000, 100_000)
        blocks = [block.ljust(60, b"\0") for block in (first, b"pac2", b"pac3")]
        plain = b"".join(block + struct.pack("<I", tc66.crc16_modbus(block)) for block in blocks)
        encryptor = ciphers.Cipher(ciphers.algorithms.AES(tc66.KEY), ciphers.modes.ECB()).encryptor()
        return make(f"tc66:{self.line(answering(encryptor.update(plain)))}")

    def shelly(self) -> Meter:
        return make(f"shelly:{self.web({'apower': 9.5, 'aenergy': {'total': 12.5}})}")

    def tasmota(self) -> Meter:
        return make(f"tasmota:{self.web({'StatusSNS': {'ENERGY': {'Power': 9, 'Total': 1.25}}})}")

    def nvml(self) -> Meter:
        module = types.ModuleType("pynvml")
        calls = {
            "NVMLError": type("NVMLError", (Exception,), {}),
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: "Card",
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: now_ns() // 10**5,
        }
        module.__dict__.update(calls)
        self.monkeypatch.setitem(sys.modules, "pynvml", module)
        return make("nvml")

    def pyrapl(self) -> Meter:
        module = types.ModuleType("pyRAPL")
        # As the real one: package, then memory of the socket, -1 for what was not asked for.
        given = ((now_ns, lambda: -1), (lambda: -1, now_ns))

        def sensor(devices: list[int]) -> types.SimpleNamespace:
            return types.SimpleNamespace(energy=lambda: [call() for call in given[devices[0]]])

        module.__dict__.update(Device=IntEnum("Device", {"PKG": 0, "DRAM": 1}), Sensor=sensor)
        self.monkeypatch.setitem(sys.modules, "pyRAPL", module)
        return make("pyrapl")

    def joulescope(self) -> Meter:
        class Driver:
            def device_paths(self) -> list[str]:
                return ["u/js220/1"]

            def open(self, path: str) -> None:
                pass

            def publish(self, topic: str, value: object) -> None:
                pass

            def subscribe(self, topic: str, flags: str, callback: Callable[[str, object], None]) -> None:
                value = {"accumulators": {"energy": {"value": 1.5}}}
                for i in range(10):
                    timer = threading.Timer(0.02 * i, callback, (topic, value))
                    timer.daemon = True
                    timer.start()

            def finalize(self) -> None:
                pass

        module = types.ModuleType("pyjoulescope_driver")
        module.__dict__["Driver"] = Driver
        self.monkeypatch.setitem(sys.modules, "pyjoulescope_driver", module)
        return make("joulescope")

    def line(self, work: Callable[[int], None]) -> str:
        """Return the path of a pseudo-terminal at whose far end `work` runs until the test ends."""
        pytest.importorskip("serial", reason="pyserial (the meters extra) is not installed")
        far, near = os.openpty()
        tty.setraw(far)
        tty.setraw(near)

        def run() -> None:
            try:
                work(far)
            except OSError:
                os.close(far)

        threading.Thread(target=run, daemon=True).start()
        path = os.ttyname(near)
        self.stack.callback(os.close, near)
        return path

    def web(self, answer: object) -> str:
        """Return the address of a web server that gives one answer to everything."""
        body = json.dumps(answer).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"


def answering(answer: bytes) -> Callable[[int], None]:
    def work(far: int) -> None:
        while os.read(far, 64):
            os.write(far, answer)

    return work


@pytest.fixture(params=["native", "python"])
def reader_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who reads a sysfs meter: the native sampler (skipped where it was not built), or the loop in Python."""
    kind: str = request.param
    monkeypatch.setattr("power.sampled._BATCH_S", 0.1)  # what was read shows when it is drained
    if kind == "python":
        monkeypatch.setenv(sampler.VARIABLE, "none")
    elif reason := sampler.missing():
        pytest.skip(reason)
    return kind


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, monkeypatch, stack)
