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
    return None if find() is not None else why_missing(NAME, VARIABLE, "which is not a file", "library")


def misnamed() -> bool:
    """Tell whether HARNESS_NATIVE_LIBRARY names a library that is not there."""
    return bool(os.environ.get(VARIABLE)) and find() is None


def how_to_mend() -> str:
    """Return what to do about a library that is there and cannot be used."""
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} names it; unset that to use the installed library"
    return "reinstall edge-harness"


def why_missing(name: str, variable: str, fault: str, what: str) -> str:
    """Return why a built part of the core was not found and what to do.

    Args:
        name: the file that should be there.
        variable: the environment variable that may name another, which was looked at first.
        fault: what is wrong with what the variable names.
        what: the kind of thing it is.
    """
    if named := os.environ.get(variable):
        return f"{variable} names '{named}', {fault}; unset it to use the installed {what}"
    return (
        f"{name} is not installed: this package was built without a C++ compiler; "
        "install one (apt install g++ cmake) and reinstall edge-harness"
    )
