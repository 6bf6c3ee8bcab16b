"""Feeds random and damaged bytes to every parser of meter bytes: `benchmarks/fuzz_meters.py [count] [seed]`.

A parser may return a reading or raise `ValueError`; anything else, or an input that takes longer than a tenth
of a second, is a fault and ends the run with the input printed. Half of the inputs are good answers with a
few bytes changed, cut or repeated, with their checksum made right again half of the time, so that what lies
behind the checksum is reached.
"""

import json
import random
import struct
import sys
import time
from collections.abc import Callable

from power.meters import fnirsi, rdtech, tc66
from power.meters.http_plug import LoginError
from power.meters.pi5_pmic import gencmd_answer, gencmd_message, parse_rails
from power.meters.shelly import ShellyMeter
from power.meters.tasmota import TasmotaMeter

Case = tuple[str, bytes, Callable[[bytes], object], Callable[[bytes], bytes]]


def fixed_fnirsi(data: bytes) -> bytes:
    """Make the checksum of a report right."""
    return data[:-1] + bytes([fnirsi.crc8(data[1:-1])]) if data else data


def fixed_tc66(data: bytes) -> bytes:
    """Make the checksums of an answer's three blocks right."""
    blocks = [data[i : i + 60] for i in range(0, len(data), 64)]
    return b"".join(block + struct.pack("<I", tc66.crc16_modbus(block)) for block in blocks)


def unchanged(data: bytes) -> bytes:
    """Leave data without a checksum as it is."""
    return data


def cases() -> list[Case]:
    """Return (name, a good answer, its parser, what makes its checksum right)."""
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


def main() -> int:
    """Run and print the counts as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    rng, all_cases = random.Random(seed), cases()
    accepted = dict.fromkeys((name for name, *_ in all_cases), 0)
    slowest_s = 0.0
    for i in range(count):
        name, good, parse, fix = all_cases[i % len(all_cases)]
        data = damaged(rng, good, fix)
        start_s = time.thread_time()
        try:
            parse(data)
            accepted[name] += 1
        except (ValueError, LoginError):
            pass
        except BaseException:
            print(f"{name}: {data!r}", file=sys.stderr)
            raise
        taken_s = time.thread_time() - start_s
        slowest_s = max(slowest_s, taken_s)
        if taken_s > 0.1:
            print(f"{name} took {taken_s:.2f} s: {data!r}", file=sys.stderr)
            return 1
    print(json.dumps({"inputs": count, "seed": seed, "accepted": accepted, "slowest_s": slowest_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
