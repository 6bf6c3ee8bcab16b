"""Where the shared library of the core is; imports nothing of weight, so that the registry can ask."""

import os
import sys

NAME = "libharness_core.so"
# Names the library outright: for a build folder, a sanitizer build, another compiler's.
VARIABLE = "HARNESS_NATIVE_LIBRARY"


def find() -> str | None:
    """Return the library: the one HARNESS_NATIVE_LIBRARY names, the one beside this file, or an editable install's.

    An editable install leaves the sources where they are and puts what it builds at this package's place in
    site-packages, which is on `sys.path`. (Paths are plain strings: pathlib costs a worker 0.8 MiB.)
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named if os.path.isfile(named) else None
    inside = os.path.join(*__name__.split(".")[:-1])
    for folder in (os.path.dirname(__file__), *(os.path.join(entry, inside) for entry in sys.path)):
        if os.path.isfile(os.path.join(folder, NAME)):
            return os.path.join(folder, NAME)
    return None


def missing() -> str | None:
    """Return why the native engine cannot be loaded and what to do, or None."""
    if find() is not None:
        return None
    named = os.environ.get(VARIABLE)
    if named:
        return f"{VARIABLE} names '{named}', which is not a file; unset it to use the installed library"
    return (
        f"{NAME} is not installed: this package was built without a C++ compiler; "
        "install one (apt install g++ cmake) and reinstall edge-harness"
    )
