"""The C interface of the core (src/core/core.h) as ctypes sees it: its structs, its functions, its errors."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_uint8, c_uint64, c_void_p
from functools import cache

from workloads.engines.native import location
from workloads.errors import WorkloadError
from workloads.light_typing import Any, NamedTuple

ABI = 6

# As in core.h.
DTYPES = {"float32": 0, "float16": 1, "int8": 2, "uint8": 3, "code2": 4, "int6": 5, "bit": 6}
POOLS = {"none": 0, "before_norm": 1, "after_sign": 2}
NORMS = {"l2": 0, "l1_sign": 1, "l1_sign_centred": 2}
STE_MASKS = {"none": 0, "kept": 1, "derived": 2}
BORDERS = {"cancel": 0, "clip": 1}
OPTIMIZERS = {"adam": 0, "sgd": 1, "bop": 2}
ROLES = (
    "input", "X", "X.prepool", "X.logits", "masks.ste", "masks.pool", "mu_psi", "mu_psi.moving", "beta", "W", "dW",
    "momenta", "momenta.beta", "dX_Y", "dY", "scratch.signs", "scratch.prepared", "scratch.partials",
    "scratch.channels", "scratch.scales", "scratch.threads",
)  # fmt: skip


class Stage(ctypes.Structure):
    """One stage; see `harness_stage`."""

    _fields_ = [
        (name, c_int32)
        for name in ("in_channels", "in_height", "in_width", "out_channels", "kernel", "padding", "pool")
    ]


class Config(ctypes.Structure):
    """A network, a recipe and an optimizer; see `harness_config`."""

    _fields_ = [
        *[
            (name, c_int32)
            for name in (
                "stage_count", "batch", "threads", "activation", "norm", "ste_mask", "gradient", "output_gradient",
                "weight", "weight_gradient", "momentum", "statistic", "pool_mask", "image", "optimizer",
                "second_moment", "border", "single_buffer",
            )
        ],
        *[
            (name, c_float)
            for name in ("beta1", "beta2", "epsilon", "decay", "weight_rate", "beta_rate", "bop_threshold")
        ],
        ("seed", c_uint64),
        ("stages", POINTER(Stage)),
    ]  # fmt: skip


class CVariable(ctypes.Structure):
    """One variable in the arena; see `harness_variable`."""

    _fields_ = [("role", c_int32), ("stage", c_int32), ("offset", c_uint64), ("bytes", c_uint64)]


class Placed(NamedTuple):
    """A variable's place: its role and stage (−1: shared by all), its offset in the arena, its bytes."""

    role: str
    stage: int
    offset: int
    bytes: int


# name: (result, arguments)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "harness_core_abi": (c_int32, []),
    "harness_core_error": (c_char_p, []),
    "harness_core_facts": (c_char_p, []),
    "harness_isa_selected": (c_char_p, []),
    "harness_isa_error": (c_char_p, []),
    "harness_isa_name": (c_char_p, [c_int32]),
    "harness_core_scratch": (c_int32, [POINTER(Config), POINTER(CVariable), c_int32]),
    "harness_core_create": (c_void_p, [POINTER(Config), POINTER(CVariable), c_int32, c_uint64]),
    "harness_core_set_up": (c_int32, [c_void_p]),
    "harness_core_forward": (c_int32, [c_void_p, c_void_p, c_void_p, POINTER(c_float)]),
    "harness_core_backward": (c_int32, [c_void_p, c_float]),
    "harness_core_update": (c_int32, [c_void_p, c_float]),
    "harness_core_evaluate": (c_int32, [c_void_p, c_void_p, c_void_p, c_int32, POINTER(c_int32)]),
    "harness_core_recalibrate_begin": (c_int32, [c_void_p]),
    "harness_core_recalibrate": (c_int32, [c_void_p, c_void_p, c_int32]),
    "harness_core_counters": (None, [c_void_p, POINTER(c_uint64)]),
    "harness_core_resume": (None, [c_void_p, POINTER(c_uint64)]),
    "harness_core_arena": (POINTER(c_uint8), [c_void_p]),
    "harness_core_destroy": (None, [c_void_p]),
    "harness_items_order": (None, [c_void_p, c_int32, c_int64, c_int64, c_int32, c_void_p]),
    "harness_items_read": (c_int32, [c_void_p, c_void_p, c_int32, POINTER(c_uint8)]),
    "harness_items_noise": (None, [c_void_p, c_void_p, c_int32, POINTER(c_uint8), POINTER(c_uint8)]),
    "harness_items_move": (None, [c_void_p, c_void_p, c_int32, POINTER(c_uint8)]),
}


class CoreError(WorkloadError, RuntimeError):
    """The core refused what it was given; the message is its own."""


@cache
def load() -> Any:
    """Load the library and give its functions their types; raises CoreError saying what is wrong with it."""
    path = location.find()
    if path is None:
        raise CoreError(location.missing() or "the native library is missing")
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise CoreError(f"cannot load '{path}': {error}; {location.how_to_mend()}") from error
    if library.harness_core_abi() != ABI:
        raise CoreError(f"'{path}' is of another version; {location.how_to_mend()}")
    return library


def last_error() -> str:
    """Return what the core said of its last failure."""
    text: bytes = load().harness_core_error()
    return text.decode()


def instruction_set() -> str:
    """Return the kernels in use; raises CoreError where HARNESS_ISA names none that run here."""
    library = load()
    selected: bytes | None = library.harness_isa_selected()
    if selected is None:
        raise CoreError(library.harness_isa_error().decode())
    return selected.decode()


def build_facts() -> dict[str, str]:
    """Return compiler, flags and build type of the library."""
    text: bytes = load().harness_core_facts()
    return dict(line.split("=", 1) for line in text.decode().splitlines())


def scratch(config: Config) -> dict[str, int]:
    """Return the bytes of each scratch variable this configuration needs on this machine, by role.

    Among them `dX_Y` where scratch lies in that buffer too (`Recipe.single_buffer`): the bytes of all of it.
    """
    room = (CVariable * len(ROLES))()
    count = load().harness_core_scratch(ctypes.byref(config), room, len(room))
    if count < 0:
        raise CoreError(last_error())
    return {ROLES[each.role]: each.bytes for each in room[:count]}


def create(config: Config, variables: Sequence[Placed], arena_bytes: int) -> int:
    """Return the handle of a core that has checked its plan and allocated nothing yet; raises CoreError."""
    listed = (CVariable * len(variables))(
        *[CVariable(ROLES.index(each.role), each.stage, each.offset, each.bytes) for each in variables]
    )
    handle: int | None = load().harness_core_create(ctypes.byref(config), listed, len(listed), arena_bytes)
    if not handle:
        raise CoreError(last_error())
    return handle
