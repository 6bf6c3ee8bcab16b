"""The program as a user starts it: its command, and an environment with nothing of this one's but the path."""

import os
import sys

import msgspec

COMMAND = [sys.executable, "-P", "-m", "harness"]


def environment(cwd):
    """Return the variables; the folder is the user's home, and unpacked data lies where the other tests have it."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
        "COLUMNS": "80",
    }


def with_settings(trial, settings):
    """Return the trial's plan with more settings."""
    return msgspec.structs.replace(trial, settings=trial.settings | (settings or {}))
