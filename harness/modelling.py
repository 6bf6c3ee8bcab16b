"""The document of `harness model`: the memory model of several trainers side by side."""

from typing import cast

from harness.run_options import DEFAULT_TRAINERS
from results.model_document import LayerBytes, ModelDocument, ModelledTrainer
from workloads import memory_model, recipes, registry
from workloads.memory_model import Convention, MemoryModel


def model(
    workload: str,
    trainers: tuple[str, ...],
    batch_size: int | None,
    optimizer: str,
    convention: str,
    *,
    by_layer: bool,
    accumulate: int = 1,
) -> ModelDocument:
    """Model each trainer, with micro-batches of `batch_size` items.

    Raises UnknownNameError for a name that no registry row has, UnsupportedError for what cannot be.
    """
    row = registry.workload(workload)
    network, batch = row.specification(), batch_size or row.batch_size
    kind, counted = recipes.optimizer(optimizer), cast(Convention, convention)
    return ModelDocument(
        workload=row.name,
        batch_size=batch,
        optimizer=kind.name,
        convention=counted,
        accumulate=accumulate,
        trainers=[
            _trainer(
                name,
                memory_model.model(network, recipes.recipe(name), kind, batch, counted, accumulate),
                by_layer,
            )
            for name in dict.fromkeys(trainers or DEFAULT_TRAINERS)
        ],
    )


def _trainer(name: str, modelled: MemoryModel, by_layer: bool) -> ModelledTrainer:
    return ModelledTrainer(
        trainer=name,
        total_bytes=modelled.total_bytes,
        by_variable=modelled.by_variable(),
        by_layer=_layers(modelled) if by_layer else None,
    )


def _layers(modelled: MemoryModel) -> list[LayerBytes]:
    """Return each layer's share; of a transient variable, what this layer alone needs."""
    layers: dict[str, dict[str, int]] = {}
    for variable in modelled.variables:
        layer = layers.setdefault(variable.stage.partition(".")[0], {})
        so_far = layer.get(variable.kind, 0)
        # Of a transient class one variable is alive at a time, within a layer too (∂X of its input, then Y).
        if variable.lifetime == "transient":
            layer[variable.kind] = max(so_far, variable.bytes)
        else:
            layer[variable.kind] = so_far + variable.bytes
    return [LayerBytes(layer=name, by_variable=shares) for name, shares in layers.items()]
