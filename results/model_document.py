"""The `harness.model` document: the analytic memory of each trainer, nothing run."""

from typing import Annotated, Final, Literal

import msgspec

from results.schema import Bytes

MODEL_SCHEMA: Final = "harness.model"


class LayerBytes(msgspec.Struct, kw_only=True):
    """One layer's share of each variable, in bytes."""

    layer: str
    by_variable: dict[str, Bytes]


class ModelledTrainer(msgspec.Struct, kw_only=True):
    """What one trainer needs by the model; `by_layer` only where it was asked for."""

    trainer: str
    total_bytes: Bytes
    by_variable: dict[str, Bytes]
    by_layer: list[LayerBytes] | None = None


class ModelDocument(msgspec.Struct, kw_only=True):
    """The memory model of one workload at one batch size; trainers in the order asked for.

    With `accumulate` above 1 the batch is a micro-batch, and its gradients are summed over so many.
    `without` names what no total has: an engine's scratch depends on the engine, the machine and the threads.
    """

    schema: Literal["harness.model"] = MODEL_SCHEMA
    schema_version: Literal[1] = 1
    workload: str
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    optimizer: str
    convention: Literal["honest", "paper", "paper-2021"]
    accumulate: Annotated[int, msgspec.Meta(ge=1)] = 1
    without: tuple[str, ...] = ("scratch",)
    trainers: list[ModelledTrainer]
