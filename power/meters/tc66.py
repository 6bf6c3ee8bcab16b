"""`tc66:PORT`: the USB-C meters TC66 and TC66C by RDTech, over USB serial.

Sent `getva`, they answer 192 bytes, encrypted with AES-256 in ECB mode under a key that the vendor's own
program carries for all of them. Inside are three blocks of 64 bytes, `pac1` to `pac3`, each with a CRC-16
(Modbus) of its first 60 bytes at 60; little endian. Used here: u32 at 48 voltage (0.1 mV), 52 current
(10 µA), 56 power (0.1 mW), and 76 energy (mWh, group 0).

AES comes from `cryptography`, which this meter alone needs. The register in mWh steps by 3.6 J (see
`rdtech`).
"""

import struct
from dataclasses import dataclass

from power.base import Domain, Setting
from power.errors import MeterUnavailableError
from power.meters.serial_meter import AMPERE_DIGITS, MWH_J, SerialMeter, plug_domains
from power.meters.serial_port import HINT_INSTALL

SIZE, _BLOCK = 192, 64
#: Published by its users: the same in every meter, and no secret.
KEY = bytes.fromhex("5821fa5601b2f02687ff1204622a4fb086f40260816f9a0ba7f106619ab87288")


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer: V, A, W, and the energy register in J."""

    volt: float
    ampere: float
    power_w: float
    register_j: float


def crc16_modbus(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0xA001 and initial value 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def decrypt(answer: bytes) -> bytes:
    """Return the plain text of an answer. Raises `ImportError` without `cryptography`, or `ValueError`."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(answer) != SIZE:
        raise ValueError(f"an answer of {len(answer)} bytes, not {SIZE}")
    decryptor = Cipher(algorithms.AES(KEY), modes.ECB()).decryptor()
    return decryptor.update(answer) + decryptor.finalize()


def parse_plain(plain: bytes) -> Reading:
    """Return the reading in a decrypted answer. Raises `ValueError` for a wrong size, mark or checksum."""
    if len(plain) != SIZE:
        raise ValueError(f"an answer of {len(plain)} bytes, not {SIZE}")
    for i, mark in enumerate((b"pac1", b"pac2", b"pac3")):
        block = plain[i * _BLOCK : (i + 1) * _BLOCK]
        if not block.startswith(mark):
            raise ValueError(f"block {i + 1} is not marked {mark.decode()} (another firmware's key?)")
        if crc16_modbus(block[:60]) != int.from_bytes(block[60:62], "little"):
            raise ValueError(f"block {i + 1} fails its checksum")
    volts, amps, watts = struct.unpack_from("<III", plain, 48)
    (milliwatt_hours,) = struct.unpack_from("<I", plain, 76)
    return Reading(volts * 1e-4, amps * 1e-5, watts * 1e-4, milliwatt_hours * MWH_J)


class Tc66Meter(SerialMeter):
    """A TC66 or TC66C; the power through its plug, and its energy register."""

    name = "tc66"
    period_s = 0.05
    baud = 115200
    question, answer_bytes = b"getva", SIZE

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The plug by integrated power, and inside it the plug by register.

        The seller's leaflet gives ± (0.05 % + 2 digits) of 0.1 mV and ± (0.1 % + 4 digits) of 10 µA: 0.2 % is taken for
        the product, which holds the digits of the voltage; those of the current are an offset.
        """
        offset_w = AMPERE_DIGITS * 1e-5 * self.volt
        return plug_domains(update_s=0.1, resolution_w=1e-4, gain_limit=0.002, offset_limit_w=offset_w)

    def parse(self, answer: bytes) -> Reading:
        """Return the reading in an answer. Raises `ValueError`."""
        return parse_plain(decrypt(answer))

    def check(self) -> None:
        """Look for the library that decrypts the answers. Raises `MeterUnavailableError`."""
        try:
            import cryptography  # noqa: F401 (only whether it is there)
        except ImportError as error:
            reason = f"cryptography is not installed ({error})"
            raise MeterUnavailableError(self.name, reason, HINT_INSTALL) from error

    def settings(self) -> dict[str, Setting]:
        """Return the port."""
        return {"port": self.argument}
