"""Runs a program under a described Raspberry Pi whose firmware answers the mailbox (started by the tests).

Started as `umockdev-wrapper SYSTEM_PYTHON emulate_vcio.py DESCRIPTION ANSWER PROGRAM ARGUMENT...`; needs the
UMockdev introspection, which distributions install for their own Python only. Every node of the description is one of
the mailbox: `vcio`, which passes every property on, and `vcio_gencmd`, which lets nothing but text commands through.
"""

import errno
import re
import sys
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import Gio, GLib, UMockdev  # noqa: E402

PROPERTY, GENCMD = 0xC0086400, 0x00030080
SIZE = 6 * 4 + 1024 + 4


class Firmware(UMockdev.IoctlBase):
    """Answers `pmic_read_adc` with the text of a file, as the firmware does."""

    __gtype_name__ = "Firmware"

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    def do_handle_ioctl(self, client: UMockdev.IoctlClient) -> bool:
        if client.get_request() != PROPERTY:
            return False
        message = client.get_arg().resolve(0, SIZE)
        tag = int.from_bytes(bytes(message.retrieve()[8:12]), "little")
        if tag != GENCMD and client.get_devnode().endswith("vcio_gencmd"):
            client.complete(-1, errno.EPERM)
            return True
        command = bytes(message.retrieve()[24:37])
        if command == b"pmic_read_adc":
            message.update(4, (0x80000000).to_bytes(4, "little"))
            message.update(24, self.answer.ljust(1024, b"\0"))
        else:
            message.update(4, (0x80000001).to_bytes(4, "little"))
        client.complete(0, 0)
        return True


def main() -> int:
    description, answer, *program = sys.argv[1:]
    testbed = UMockdev.Testbed.new()
    testbed.add_from_file(description)
    firmware = Firmware(Path(answer).read_bytes())
    nodes = [
        f"/dev/{name}" for name in re.findall(r"^N: (\w+)$", Path(description).read_text(), re.MULTILINE)
    ]
    for node in nodes:
        testbed.attach_ioctl(node, firmware)
    loop = GLib.MainLoop()
    process = Gio.Subprocess.new(program, Gio.SubprocessFlags.NONE)
    process.wait_async(None, lambda *_: loop.quit())
    loop.run()
    for node in nodes:
        testbed.detach_ioctl(node)
    return int(process.get_exit_status())


if __name__ == "__main__":
    sys.exit(main())
