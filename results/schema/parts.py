"""What all parts of the document share: kinds of figures, names that may stand, and the rule of the reason."""

from typing import Annotated, Literal

import msgspec

MOST = 2**63 - 1
"""The largest whole number: 64 bits, as a database holds them. A larger one would not become a float either."""
Integer = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]

Outcome = Literal["ok", "out_of_memory", "error", "invalid"]
Provenance = Literal["measured", "modelled", "unavailable"]
Allocator = Literal["stock", "pinned"]
Engine = Literal["torch", "native"]
Worker = Literal["python", "program"]
Setting = str | Integer | float | bool | None

# The ledger's classes of variables, in the order in which they are shown; names of the paper's table.
VARIABLES = ("X", "dX_Y", "mu_psi", "dY", "W", "dW", "beta", "momenta", "masks", "scratch", "input")


def require_reason(part: str, missing: bool, reason: str | None) -> None:
    """Raise ValueError where a value is missing and nothing says why."""
    if missing and not reason:
        raise ValueError(f"{part} is null without a reason")
