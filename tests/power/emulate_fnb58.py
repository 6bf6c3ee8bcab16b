"""Runs a program beside a FNIRSI FNB58 that is pulled out and plugged in again (started by the tests).

Started as `umockdev-wrapper SYSTEM_PYTHON emulate_fnb58.py DESCRIPTION REPORTS PROGRAM ARGUMENT...`; needs the UMockdev
introspection, which distributions install for their own Python only. The description is of `hidraw0`; the device comes
back as `hidraw1`, and as another HID device, as the kernel numbers one that is plugged in anew. REPORTS holds the first
report after it was plugged in, and the one that it sends from then on, as soon as it was told to begin.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev  # noqa: E402

#: What it is sent until it begins: three reports, each behind its number.
BEGIN_BYTES = 3 * 65
REPORTS_BEFORE, BETWEEN_S, AWAY_S = 30, 0.01, 0.15


class Plugged:
    """The meter at one of the host's ports; both ends of its device are held, so that neither is hung up."""

    def __init__(self, testbed: UMockdev.Testbed, description: str, reports: bytes) -> None:
        self.testbed, self.description = testbed, description
        self.first, self.usual = reports[:64], reports[64:]
        (self.node,) = re.findall(r"^E: DEVNAME=(.*)$", description, re.MULTILINE)
        testbed.add_from_string(description)
        self.far = testbed.get_dev_fd(self.node)
        self.near = os.open(self.node, os.O_RDWR | os.O_NOCTTY)
        os.set_blocking(self.far, False)

    def work(self, program: subprocess.Popen[bytes], reports: int | None = None) -> None:
        """Wait to be told to begin and send so many reports, or as many as the program lives for."""
        told = sent = 0
        while program.poll() is None and sent != reports:
            told += self.taken()
            if told >= BEGIN_BYTES:
                os.write(self.far, self.usual if sent else self.first)
                sent += 1
            time.sleep(BETWEEN_S)

    def taken(self) -> int:
        """Take the commands that have come and return their length."""
        try:
            return len(os.read(self.far, 4096))
        except BlockingIOError:
            return 0

    def pull_out(self) -> None:
        """Hang up whoever has the device open and take it away."""
        os.close(self.near)
        os.close(self.far)
        for path in reversed(re.findall(r"^P: (.*)$", self.description, re.MULTILINE)):
            self.testbed.remove_device(f"/sys{path}")


def main() -> int:
    description, reports, *command = sys.argv[1:]
    testbed, text, data = UMockdev.Testbed.new(), Path(description).read_text(), Path(reports).read_bytes()
    meter = Plugged(testbed, text, data)
    program = subprocess.Popen(command)
    meter.work(program, REPORTS_BEFORE)
    meter.pull_out()
    time.sleep(AWAY_S)
    again = text.replace("hidraw0", "hidraw1").replace("5558.0004", "5558.0005")
    Plugged(testbed, again, data).work(program)
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
