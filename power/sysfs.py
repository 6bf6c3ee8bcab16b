"""One attribute of the kernel's sysfs, read as cheaply as Python can: three system calls, no objects."""

import os


def read_attribute(path: str) -> bytes:
    """Return the contents of a sysfs attribute, at most a page's worth of number. Raises `OSError`.

    The file is opened for every read: a device that goes away and comes back under the same name is found
    again, and a permission that is withdrawn is noticed. That costs a few microseconds.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)
