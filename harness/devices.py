"""Device profiles and the detection of the machine this is.

A Raspberry Pi names itself in the device tree (`/proc/device-tree/model`, NUL-terminated) and in its revision code
(`/proc/device-tree/system/linux,revision`, big-endian, or the line `Revision` of `/proc/cpuinfo`, hexadecimal;
Raspberry Pi documentation, "New-style revision codes"): bits 20 to 22 hold the memory as 256 MiB << n, bits 4 to 11 the
type.
"""

import re
from pathlib import Path
from typing import NamedTuple

from harness.errors import NotThatDeviceError
from workloads.errors import UnknownNameError

MIB = 1 << 20
_MODEL = Path("/proc/device-tree/model")
_REVISION = Path("/proc/device-tree/system/linux,revision")
_CPUINFO = Path("/proc/cpuinfo")
_CPUINFO_REVISION = re.compile(r"^Revision\s*:\s*([0-9a-f]+)\s*$", re.MULTILINE | re.IGNORECASE)
# Revision types (bits 4 to 11) of the boards that have a profile.
_TYPES = {0x0D: "pi3b+", 0x11: "pi4", 0x12: "pi-zero2w", 0x17: "pi5"}
# How the models of the same boards begin; a Compute Module or a Raspberry Pi 500 is none of them.
_MODELS = {
    "Raspberry Pi 3 Model B Plus": "pi3b+",
    "Raspberry Pi 4 Model B": "pi4",
    "Raspberry Pi Zero 2 W": "pi-zero2w",
    "Raspberry Pi 5 Model B": "pi5",
}


class Profile(NamedTuple):
    """A device as `--device` names it. Memory and cores are None where they are this machine's own."""

    name: str
    summary: str
    memory_bytes: int | None
    cores: int | None


class Found(NamedTuple):
    """The Raspberry Pi this machine is: its own words, the profile that fits, and its memory by revision code.

    Without a code the words tell the profile, and the memory is not known.
    """

    model: str
    profile: str | None
    memory_bytes: int | None


PROFILES: dict[str, Profile] = {
    row.name: row
    for row in (
        Profile("host", "this machine as it is", None, None),
        Profile("pi-zero2w", "Raspberry Pi Zero 2 W, 4× Cortex-A53, 512 MiB", 512 * MIB, 4),
        Profile("pi3b+", "Raspberry Pi 3 Model B+, 4× Cortex-A53, 1 GiB", 1024 * MIB, 4),
        Profile("pi4", "Raspberry Pi 4 Model B, 4× Cortex-A72, 4 GiB (1 to 8)", 4096 * MIB, 4),
        Profile("pi5", "Raspberry Pi 5, 4× Cortex-A76, 8 GiB (1 to 16)", 8192 * MIB, 4),
    )
}
# What `--device pi --emulate` means: the board of the paper's own measurements.
_EMULATED_PI = "pi3b+"


def detect() -> Found | None:
    """Return which Raspberry Pi this is, or None where the device tree names none."""
    try:
        model = _MODEL.read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return None
    if not model.startswith("Raspberry Pi"):
        return None
    revision = _revision()
    if revision is None:
        named = (profile for words, profile in _MODELS.items() if model.startswith(words))
        return Found(model, next(named, None), None)
    return Found(model, *decode_revision(revision))


def _revision() -> int | None:
    """Return the board's revision code by the device tree or, where that has none, by /proc/cpuinfo; else None."""
    try:
        return int.from_bytes(_REVISION.read_bytes()[:4], "big")
    except OSError:
        pass
    try:
        line = _CPUINFO_REVISION.search(_CPUINFO.read_text(errors="replace"))
    except OSError:
        return None
    return int(line[1], 16) if line else None


def decode_revision(revision: int) -> tuple[str | None, int | None]:
    """Return (profile, memory in bytes) of a revision code; None for types without a profile, and old-style codes."""
    new_style = revision >> 23 & 1
    if not new_style:
        return None, None
    return _TYPES.get(revision >> 4 & 0xFF), (256 * MIB) << (revision >> 20 & 7)


def resolve(requested: str, *, emulate: bool) -> tuple[Profile, Found | None]:
    """Return the profile to apply and what was detected.

    Raises UnknownNameError for a name there is no profile of, NotThatDeviceError when a device is asked for by name
    that this machine is not, unless it is to be emulated.
    """
    if requested not in ("auto", "pi", *PROFILES):
        raise UnknownNameError("device", requested, ["auto", "pi", *PROFILES])
    found = detect()
    if emulate:
        return _emulated(requested), found
    if requested == "host" or (requested == "auto" and (found is None or found.profile is None)):
        return PROFILES["host"], found
    if found is None or found.profile is None or requested not in ("auto", "pi", found.profile):
        here = f"this is a {found.model}" if found else "this machine is not a Raspberry Pi"
        raise NotThatDeviceError(
            f"--device {requested}: {here}; add --emulate to apply the profile's memory ceiling and cores here"
        )
    profile = PROFILES[found.profile]
    return profile._replace(memory_bytes=found.memory_bytes or profile.memory_bytes), found


def _emulated(requested: str) -> Profile:
    if requested in ("auto", "host"):
        raise NotThatDeviceError(
            f"--emulate needs a device to emulate; try: --device {_EMULATED_PI} --emulate"
        )
    return PROFILES[_EMULATED_PI if requested == "pi" else requested]
