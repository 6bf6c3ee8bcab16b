"""The program as a user starts it: its command, and an environment with nothing of this one's but the path."""

import os
import sys

COMMAND = [sys.executable, "-P", "-m", "harness"]


def environment(cwd):
    """Return the variables; the cache of unpacked data lies in the folder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "XDG_CACHE_HOME": str(cwd / "cache"),
        "COLUMNS": "80",
    }
