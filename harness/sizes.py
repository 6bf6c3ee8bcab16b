"""Sizes as people write them."""

import re

from harness.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str) -> int:
    """Return the bytes of 512MiB, 512M, 1.5 GiB or 536870912; units are powers of 1024.

    Raises UsageError with the form that is wanted.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"'{text}' is not a size; write it as 512MiB or 1.5GiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])
