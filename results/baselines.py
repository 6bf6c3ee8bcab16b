"""`baselines/<device>.toml`: what was promised (ceilings) and what was reached (values with a tolerance).

The files are under version control and edited by hand, so tomlkit keeps their comments and order, and a
misspelt name is an error. One entry a workload × trainer × engine × batch size:

    [baselines.mlp-mnist.lowmem.torch.batch-100]
    optimizer = "adam"           # what else must agree
    environment = "1f0c..."      # whose values these are: a table under [environments]
    reason = "first recorded"    # why they are what they are
    [baselines.mlp-mnist.lowmem.torch.batch-100.metrics.training_peak_bytes]
    value = 41943040             # the ratchet: a median over repeats (of a time ratio, their fastest)
    tolerance = 0.01             # relative, from the spread of the repeats
    ceiling = 50331648           # the promise, never moved by update; for test_accuracy it is a `floor`
"""

import re
import tomllib
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from results.errors import BaselineInvalidError, BaselineMissingError
from results.files import cause_of
from results.fingerprint import Fact
from results.metrics import METRICS, Key
from results.schema import PROCESSOR, Document, Setting
from results.summary import Setup

SCHEMA = "harness.baselines"
SCHEMA_VERSION = 1

CONDITIONS = ("optimizer", "threads", "allocator", "dataset_variant", "worker", "accumulate", "accelerator")
"""What of a setup must agree, beside the key and the machine."""


class Value(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One metric's baseline: a value with its tolerance, a promise (`ceiling` or `floor`), or both."""

    value: float | None = None
    tolerance: Annotated[float, msgspec.Meta(ge=0)] | None = None
    ceiling: float | None = None
    floor: float | None = None

    @property
    def bound(self) -> float | None:
        """Return the promise, whichever side it is on."""
        return self.ceiling if self.ceiling is not None else self.floor


class Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The baseline of one key. Conditions left out (an entry written by hand) are not compared.

    `length` (steps, epochs) is a condition of the accuracy alone.
    """

    optimizer: str | None = None
    threads: int | None = None
    allocator: str | None = None
    dataset_variant: str | None = None
    worker: str = "python"
    accumulate: int = 1
    accelerator: str = PROCESSOR
    environment: str | None = None
    reason: str | None = None
    updated: str | None = None
    length: dict[str, Setting] = msgspec.field(default_factory=dict)
    ledger_by_variable: dict[str, int] = msgspec.field(default_factory=dict)
    metrics: dict[str, Value]

    def differences(self, setup: Setup) -> list[str]:
        """Return in words the conditions of this entry that a setup does not meet."""
        pairs = ((name, getattr(self, name), getattr(setup, name)) for name in CONDITIONS)
        return [f"{name}: {old} → {new}" for name, old, new in pairs if old is not None and old != new]


class Baselines(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A baseline file: environments by fingerprint, entries by workload, trainer, engine, `batch-N`."""

    schema: Literal["harness.baselines"]
    schema_version: Literal[1]
    environments: dict[str, dict[str, Fact]] = msgspec.field(default_factory=dict)
    baselines: dict[str, dict[str, dict[str, dict[str, Entry]]]] = msgspec.field(default_factory=dict)

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield every entry with its key, in the file's order."""
        for workload, trainers in self.baselines.items():
            for trainer, engines in trainers.items():
                for engine, batches in engines.items():
                    for batch, entry in batches.items():
                        yield Key(workload, trainer, engine, int(batch.removeprefix("batch-"))), entry


def path_for(folder: Path, document: Document) -> Path:
    """Return the baseline file of a document's device profile: `<folder>/<profile>.toml`."""
    return folder / f"{document.device.profile}.toml"


def read(path: Path) -> Baselines:
    """Return a baseline file.

    Raises:
        BaselineMissingError: There is no such file.
        BaselineInvalidError: Not TOML, or against the schema; the message says where.
    """
    return parsed(text_of(path), path)


def parsed(text: str, path: Path) -> Baselines:
    """Return the content of a baseline file's text."""
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BaselineInvalidError(f"'{path}' cannot be read as TOML: {error}") from error
    return _checked(plain, path)


def text_of(path: Path) -> str:
    """Return the file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BaselineMissingError(
            f"no baseline file '{path}'; `harness baseline update FILE --reason TEXT` writes one"
        ) from None
    except IsADirectoryError:
        raise BaselineMissingError(f"'{path}' is a folder; name a baseline file in it") from None
    except (OSError, UnicodeError) as error:
        raise BaselineInvalidError(f"'{path}' cannot be read: {cause_of(error, path)}") from error


def _checked(plain: dict[str, Any], path: Path) -> Baselines:
    """Return the file's content, strictly typed, with names that mean something."""
    if plain.get("schema") == SCHEMA and plain.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise BaselineInvalidError(
            f"'{path}' has schema_version {plain['schema_version']}, this program reads {SCHEMA_VERSION}; "
            "upgrade: pip install --upgrade edge-harness"
        )
    try:
        file = msgspec.convert(plain, Baselines)
        for levels in file.baselines.values():
            batches = [batch for engines in levels.values() for table in engines.values() for batch in table]
            for batch in batches:
                if not re.fullmatch(r"batch-[1-9][0-9]*", batch):
                    raise ValueError(f"'{batch}' is not of the form 'batch-100'")
        for key, entry in file.entries():
            _check_entry(file, key, entry)
    except (msgspec.ValidationError, ValueError) as error:
        raise BaselineInvalidError(f"'{path}' is not a valid baseline file: {error}") from error
    return file


def _check_entry(file: Baselines, key: Key, entry: Entry) -> None:
    """Raise ValueError for an unknown metric, or a value without its tolerance or environment."""
    for name, value in entry.metrics.items():
        if name not in METRICS:
            raise ValueError(f"{key}: unknown metric '{name}'; there is: {', '.join(METRICS)}")
        for part, number in msgspec.structs.asdict(value).items():
            # NaN is neither above nor below anything: a gate that compares with it passes whatever was measured.
            if number is not None and not 0 <= number < inf:
                raise ValueError(
                    f"{key}: {name} has {part} = {number:g}; it must be a finite number, 0 or more: mend it by hand"
                )
        wrong = "floor" if METRICS[name].better == "lower" else "ceiling"
        if getattr(value, wrong) is not None:
            raise ValueError(f"{key}: {name} cannot have a {wrong}: {METRICS[name].better} is better")
        if value.value is not None and value.tolerance is None:
            raise ValueError(f"{key}: {name} has a value without a tolerance")
        if value.value is not None and entry.environment not in file.environments:
            raise ValueError(f"{key}: {name} has a value, but environment '{entry.environment}' is not there")
