"""What `harness run` is asked for, before anything is decided."""

from pathlib import Path

import msgspec

from results.schema import PROCESSOR

DEFAULT_WORKLOADS = ("mlp-mnist",)
DEFAULT_TRAINERS = ("standard", "lowmem")


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """What the command line asks for; None leaves the choice to the workload or the device."""

    device: str = "auto"
    emulate: bool = False
    workloads: tuple[str, ...] = DEFAULT_WORKLOADS
    trainers: tuple[str, ...] = DEFAULT_TRAINERS
    engine: str | None = None
    accelerator: str = PROCESSOR
    worker: str = "python"
    optimizer: str = "adam"
    batch_size: int | None = None
    steps: int | None = None
    epochs: int | None = None
    warmup: int = 10
    repeats: int = 2
    meters: tuple[str, ...] = ()
    trigger_pin: int | None = None
    trigger_active_low: bool = False
    ceiling_bytes: int | None = None
    mechanism: str = "auto"
    threads: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    synthetic: bool = False
    test_items: int | None = None
    allocator: str = "stock"
    settings: tuple[str, ...] = ()
    accumulate: int = 1
    checkpoint: Path | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    evaluate_every: int | None = None  # epochs, or measured steps where `steps` is given
    silence_s: float = 900.0
    idle_s: float | None = None  # s a side; None: as long as the meters need, at least the usual
    energy_phases: bool = False
    synchronise: bool = False
    captures_dir: Path | None = None
