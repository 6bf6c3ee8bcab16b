"""Feeds random and damaged bytes to every parser of what a meter says: `benchmarks/fuzz_meters.py [count] [seed]`.

A parser may return a reading or raise the error it documents; anything else, or an input that takes longer than a
second, is a fault and ends the run with the input printed. One that never ends is ended after a minute,
with where it hangs. Half of the inputs are good answers with a few bytes changed, cut or repeated, with their checksum
made right again half of the time, so that what lies behind the checksum is reached. What sysfs says is read twice, by
Python and by the native sampler, which must agree.
"""

import faulthandler
import json
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from power.base import Domain
from power.capture import read_capture
from power.errors import CaptureError, MeterReadError
from power.meters import fnirsi, rdtech, tc66
from power.meters.http_plug import LoginError, digest_login
from power.meters.pi5_pmic import gencmd_answer, gencmd_message, parse_rails
from power.meters.shelly import ShellyMeter
from power.meters.tasmota import TasmotaMeter
from power.native import sampler
from power.sampled import SampledMeter
from power.sysfs import Attribute, Gauge, SysfsMeter
from power.trace_csv import read_trace

Case = tuple[str, bytes, Callable[[bytes], object], Callable[[bytes], bytes]]
HANG_S = 60


def fixed_fnirsi(data: bytes) -> bytes:
    """Make the checksum of a report right."""
    return data[:-1] + bytes([fnirsi.crc8(data[1:-1])]) if data else data


def fixed_tc66(data: bytes) -> bytes:
    """Make the checksums of an answer's three blocks right."""
    blocks = [data[i : i + 60] for i in range(0, len(data), 64)]
    return b"".join(block + struct.pack("<I", tc66.crc16_modbus(block)) for block in blocks)


def encrypted(data: bytes) -> bytes:
    """Make the checksums right and encrypt as a TC66 does, where the length is one that a cipher takes."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(tc66.KEY), modes.ECB()).encryptor()
    plain = fixed_tc66(data)
    return cipher.update(plain) + cipher.finalize() if len(plain) % 16 == 0 else plain


def unchanged(data: bytes) -> bytes:
    """Leave data without a checksum as it is."""
    return data


class OneFile(SysfsMeter):
    """A sysfs meter of one file."""

    name = "fuzz"

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"0\n")
        domain = Domain("fuzz", "power", "one file")
        self.gauges = (Gauge(domain, (Attribute(str(path)),), 1e-6),)

    def open(self) -> None:
        """Open already."""


class Sysfs:
    """What a file says, by Python and by the native sampler."""

    def __init__(self, path: Path) -> None:
        self._path, self._meter = path, OneFile(path)
        self._sampled = None if sampler.missing() else SampledMeter(self._meter, 1e-6, 0)

    def __call__(self, data: bytes) -> float:
        """Return the value. Raises `MeterReadError`, or `AssertionError` where the two ways disagree."""
        self._path.write_bytes(data)
        by_python = self._by_python()
        if self._sampled is not None:
            by_sampler = self._by_sampler(self._sampled)
            assert by_python == by_sampler, (by_python, by_sampler)
        if by_python is None:
            raise MeterReadError("no number")
        return by_python

    def _by_python(self) -> float | None:
        try:
            return self._meter.read()[0].value
        except MeterReadError:
            return None

    def _by_sampler(self, sampled: SampledMeter) -> float | None:
        try:
            return [values[0] for batch in sampled.batch() for _, _, values in batch][-1]
        except MeterReadError:
            return None


def of_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a parser of bytes by way of a file."""

    def parse(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return parse


def cases(folder: Path) -> list[Case]:
    """Return (name, a good answer, its parser, what makes its checksum right)."""
    return [*bytes_of_meters(), *texts(folder)]


def texts(folder: Path) -> list[Case]:
    """Return the cases of text: files of the kernel, recordings, exports, and the challenge of a login."""
    about = {"schema": "power.capture", "version": 1, "meter": "fnirsi", "provenance": "measured"}
    domains = [{"name": "usb", "kind": "power", "covers": "the plug"}]
    capture = f"{json.dumps(about | {'domains': domains})}\n[1, 0, 5.0]\n[20, 0, 5.5]\n".encode()
    trace = b"Time [s];Voltage [V];Current [mA]\n0,0;5,1;400\n0,1;5,1;410\n0,2;5,1;405\n0,3;5,1;400\n"
    challenge = b'Digest qop="auth", realm="shellyplugsg3", nonce="1700000000", algorithm=SHA-256'
    url = urlsplit("http://plug/rpc/Switch.GetStatus?id=0")
    return [
        ("sysfs", b"9876543\n", Sysfs(folder / "power1_input"), unchanged),
        ("capture", capture, of_file(folder / "c.jsonl", read_capture), unchanged),
        ("trace", trace, of_file(folder / "t.csv", read_trace), unchanged),
        ("digest", challenge, lambda data: digest_login(data.decode("latin-1"), url, "u", "p"), unchanged),
    ]


def bytes_of_meters() -> list[Case]:
    """Return the cases of what comes over a wire."""
    report = fixed_fnirsi(
        (b"\xaa\x04" + 4 * struct.pack("<IIHHBH", 500_000, 200_000, 1, 1, 1, 250)).ljust(64, b"\0")
    )
    um = struct.pack(">HHHI", 0x09C9, 5000, 10000, 5000).ljust(rdtech.SIZE, b"\0")
    plain = fixed_tc66(b"".join(mark.ljust(64, b"\0") for mark in (b"pac1", b"pac2", b"pac3")))
    rails = b"VDD_CORE_A current(7)=1.50000000A\nVDD_CORE_V volt(15)=0.89000000V\n"
    shelly = b'{"id":0,"apower":8.9,"aenergy":{"total":6.5}}'
    tasmota = b'{"StatusSNS":{"ENERGY":{"Total":1.2,"Power":9}}}'
    question = bytes(gencmd_message("pmic_read_adc"))
    message = question[:4] + (0x80000000).to_bytes(4, "little") + question[8:]
    return [
        ("fnirsi", report, fnirsi.parse_report, fixed_fnirsi),
        ("rdtech", um, rdtech.parse_answer, unchanged),
        ("tc66", plain, tc66.parse_plain, fixed_tc66),
        ("tc66-encrypted", plain, lambda data: tc66.parse_plain(tc66.decrypt(data)), encrypted),
        ("pi5-pmic", rails, lambda data: parse_rails(data.decode("ascii", "replace")), unchanged),
        ("mailbox", message, gencmd_answer, unchanged),
        ("shelly", shelly, lambda data: ShellyMeter.parse(json.loads(data)), unchanged),
        ("tasmota", tasmota, lambda data: TasmotaMeter.parse(json.loads(data)), unchanged),
    ]


def damaged(rng: random.Random, good: bytes, fix: Callable[[bytes], bytes]) -> bytes:
    """Return bytes that are wholly random, or a good answer after a few accidents."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(0, 2 * len(good)))
    data = bytearray(good)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(data) + 1)
        accident = rng.randrange(4)
        if accident == 0 and data:
            data[place % len(data)] = rng.randrange(256)
        elif accident == 1 and rng.random() < 0.2:
            del data[place:]
        elif accident == 2 and rng.random() < 0.2:
            data[place:place] = rng.randbytes(rng.randrange(4))
        else:
            data[place : place + 4] = rng.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"1e99", b"[[[[", b"null")
            )
    return fix(bytes(data)) if rng.random() < 0.5 else bytes(data)


def run(count: int, seed: int, all_cases: list[Case]) -> int:
    """Feed the inputs and print the counts as JSON."""
    rng = random.Random(seed)
    accepted = dict.fromkeys((name for name, *_ in all_cases), 0)
    slowest_s = 0.0
    for i in range(count):
        if i % 1000 == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
        name, good, parse, fix = all_cases[i % len(all_cases)]
        data = damaged(rng, good, fix)
        start_s = time.thread_time()
        try:
            parse(data)
            accepted[name] += 1
        except (ValueError, LoginError, MeterReadError, CaptureError):
            pass
        except BaseException:
            print(f"{name}: {data!r}", file=sys.stderr)
            raise
        taken_s = time.thread_time() - start_s
        slowest_s = max(slowest_s, taken_s)
        if taken_s > 1.0:
            print(f"{name} took {taken_s:.2f} s: {data!r}", file=sys.stderr)
            return 1
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"inputs": count, "seed": seed, "accepted": accepted, "slowest_s": slowest_s}))
    # A case that nothing passes tests its first check alone.
    return 0 if all(accepted.values()) else 1


def main() -> int:
    """Run."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        return run(count, seed, cases(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
