"""One attribute of the kernel's sysfs, read as cheaply as Python can."""

import os


class Attribute:
    """An open attribute; one system call a reading, three when it did not change.

    sysfs makes the value anew for every read of an open file from its start. A value that did not change
    is asked for again by its name, so that a device that was taken away (`OSError`) or replaced is noticed.
    Raises `OSError` where it cannot be opened or read.
    """

    __slots__ = ("_fd", "_last", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._last = b""

    def read(self) -> bytes:
        """Return the value as text."""
        value = os.pread(self._fd, 64, 0)
        if value == self._last:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            os.close(self._fd)
            self._fd = fd
            value = os.pread(fd, 64, 0)
        self._last = value
        return value

    def close(self) -> None:
        """Close the file; may be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
