"""The document of `harness model`: the memory model of several trainers side by side."""

from typing import Any, NamedTuple, cast

from workloads import memory_model, recipes, registry
from workloads.memory_model import Convention, MemoryModel

DEFAULT_TRAINERS = ("standard", "lowmem")


class Modelled(NamedTuple):
    """The models of one workload at one batch size."""

    workload: str
    batch_size: int
    optimizer: str
    convention: str
    trainers: dict[str, MemoryModel]

    def to_json(self, *, by_layer: bool) -> dict[str, Any]:
        """Return the document `harness.model` of the contract; `by_layer` adds every single variable."""
        return {
            "schema": "harness.model",
            "schema_version": 1,
            "workload": self.workload,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            "convention": self.convention,
            "trainers": [_trainer(name, model, by_layer) for name, model in self.trainers.items()],
        }


def model(
    workload: str, trainers: tuple[str, ...], batch_size: int | None, optimizer: str, convention: str
) -> Modelled:
    """Model each trainer. Raises UnknownNameError for a name that no registry row has."""
    row = registry.workload(workload)
    network, batch = row.specification(), batch_size or row.batch_size
    kind = recipes.optimizer(optimizer)
    models = {
        name: memory_model.model(network, recipes.recipe(name), kind, batch, cast(Convention, convention))
        for name in trainers or DEFAULT_TRAINERS
    }
    return Modelled(row.name, batch, kind.name, convention, models)


def _trainer(name: str, modelled: MemoryModel, by_layer: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "trainer": name,
        "total_bytes": modelled.total_bytes,
        "by_variable": modelled.by_variable(),
    }
    if by_layer:
        document["variables"] = [
            {
                "name": variable.name,
                "variable": variable.kind,
                "layer": variable.stage,
                "elements": variable.elements,
                "dtype": variable.dtype,
                "lifetime": variable.lifetime,
                "bytes": variable.bytes,
            }
            for variable in modelled.variables
        ]
    return document
