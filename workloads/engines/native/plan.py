"""The memory model as the plan: every variable of the model, and the named scratch, at its place in one arena.

From below: what lives from step to step or from forward to backward. Above it the transient pair, and the scratch last.
Bits stand in rows of whole 64-bit words, because the kernels read words; what that adds to the model's bytes is named
`padding` and counted as scratch. The core checks the list against its own needs and refuses any difference.
"""

from workloads.engines.native.library import Placed
from workloads.light_typing import NamedTuple
from workloads.memory_model import CLASSES, MemoryModel, Variable
from workloads.recipes import BITS
from workloads.specification import Specification, Stage

_ALIGNMENT = 64
_PAGE = 4096


class Plan(NamedTuple):
    """Where everything is, and what it is counted as."""

    variables: tuple[Placed, ...]
    arena_bytes: int
    ledger: dict[str, int]
    scratch: dict[str, int]


class Named(NamedTuple):
    """A model variable with its role in the core, its stage, and the bytes it takes in the arena."""

    role: str
    stage: int
    bytes: int
    variable: Variable


def lay_out(specification: Specification, model: MemoryModel, scratch: dict[str, int]) -> Plan:
    """Return the plan; `scratch` gives bytes by role, as the core asks for them."""
    named = listed(specification, model)
    ledger = dict.fromkeys(CLASSES, 0)
    placed: list[Placed] = []
    offset = 0
    for each in named:
        # A buffer that several variables and scratch share is as large as the core says.
        size = max(each.bytes, scratch.get(each.role, 0))
        placed.append(Placed(each.role, each.stage, offset, size))
        offset += _round_up(size, _ALIGNMENT)
        ledger[each.variable.kind] += each.variable.bytes
    for role, size in scratch.items():
        if any(each.role == role for each in named):
            continue
        placed.append(Placed(role, -1, offset, size))
        offset += _round_up(size, _ALIGNMENT)
    arena_bytes = _round_up(offset, _PAGE)
    # Scratch is all the rest of the arena: the named scratch, row padding, alignment.
    ledger["scratch"] = arena_bytes - sum(ledger.values())
    return Plan(tuple(placed), arena_bytes, ledger, _named_scratch(placed, ledger["scratch"]))


def _named_scratch(placed: list[Placed], total: int) -> dict[str, int]:
    """Return the scratch by its names, and the rest: row padding, alignment, room in buffers that are shared."""
    prefix = "scratch."
    named = {each.role.removeprefix(prefix): each.bytes for each in placed if each.role.startswith(prefix)}
    return named | {"padding": total - sum(named.values())}


def listed(specification: Specification, model: MemoryModel) -> list[Named]:
    """Return the model's variables in the order of their places; what scratch is needed, the core knows."""
    return _merge_transient([_name(specification, each) for each in model.variables])


def _name(specification: Specification, variable: Variable) -> Named:
    """Return the variable's role: `masks.conv2.ste` is role `masks.ste` of stage conv2."""
    if variable.stage == "logits":
        stage = len(specification.stages) - 1
        return Named(
            "X.logits", stage, _rows_bytes(variable, specification.stages[stage].out_channels), variable
        )
    name, _, suffix = variable.stage.partition(".")
    stage = [each.name for each in specification.stages].index(name)
    role = f"{variable.kind}.{suffix}" if suffix else variable.kind
    size = _rows_bytes(variable, _row_channels(role, specification.stages[stage]))
    return Named(role, -1 if variable.lifetime == "transient" else stage, size, variable)


def _row_channels(role: str, stage: Stage) -> int:
    """Return the length of the rows that bits of this role stand in."""
    return stage.out_channels if role in ("X.prepool", "masks.pool") else stage.in_channels


def _rows_bytes(variable: Variable, channels: int) -> int:
    """Return the variable's bytes where each row of bits fills whole words."""
    if variable.dtype not in ("bit", "code2"):
        return variable.bytes
    rows = variable.elements // channels
    return rows * 8 * -(-channels * BITS[variable.dtype] // 64)


def _merge_transient(named: list[Named]) -> list[Named]:
    """Persistent variables in their order, then the largest of each transient class."""
    largest: dict[str, Named] = {}
    for each in named:
        if each.stage < 0 and (each.role not in largest or largest[each.role].bytes < each.bytes):
            largest[each.role] = each
    return [each for each in named if each.stage >= 0] + list(largest.values())


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
