"""What measured and on what: the program, the machine, the device asked for."""

import msgspec

from results.schema.parts import Bytes, Positive


class NativeBuild(msgspec.Struct, kw_only=True):
    """How the native core was compiled; a figure is worth nothing without it.

    `float32_product` says what multiplies real numbers: the core's own product, or a library; null where an older
    core did not say.
    """

    isa: str
    compiler: str
    flags: str
    build_type: str
    float32_product: str | None = None


class HarnessInfo(msgspec.Struct, kw_only=True):
    """The program that measured; `native` is null where no trial used the native core, or none could load it."""

    version: str
    native: NativeBuild | None


class Host(msgspec.Struct, kw_only=True):
    """The machine measured on, before the first trial. `reasons` maps each null field to its cause."""

    machine: str
    cpu: str
    cores: Positive
    memory_bytes: Bytes
    kernel: str
    python: str
    libc: str | None
    governor: str | None
    page_size_bytes: Positive
    load_before: float | None
    temperature_c: float | None
    libraries: dict[str, str] = msgspec.field(default_factory=dict)
    """Versions of the libraries that the workers used, by distribution name."""
    reasons: dict[str, str] = msgspec.field(default_factory=dict)


class Device(msgspec.Struct, kw_only=True):
    """The device profile asked for, and what was found; `emulated` profiles only cap memory and cores."""

    requested: str
    profile: str
    detected: str | None
    emulated: bool
    memory_limit_bytes: Bytes | None
