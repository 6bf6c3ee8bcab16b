"""All that a training must remember to continue bit for bit: tensors by name, counters, the generator's state."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    from workloads.engines.torch.trainer import TorchTraining


# What the state holds beside the persistent tensors.
_OTHERS = ("counters", "rates", "generator")


def _tensors(training: "TorchTraining") -> dict[str, Tensor]:
    """Return the persistent tensors themselves. ∂W and ∂β are not among them: every step writes them anew."""
    named = {"beta": training.beta[0]}
    for layer in training.layers:
        named[f"W.{layer.stage.name}"] = layer.weights.storage
        named[f"moving.{layer.stage.name}"] = layer.moving
    for slot in (slot for update in training.updates for slot in update.slots):
        named |= {f"{kind}.{slot.name}": tensor for kind, tensor in slot.momenta.items()}
    return named


def on_host(training: "TorchTraining") -> dict[str, Tensor]:
    """Return everything on the CPU: the training's own tensors where they are there, else copies."""
    state = {name: tensor.detach().cpu() for name, tensor in _tensors(training).items()}
    seen = [layer.batches_seen for layer in training.layers]
    state["counters"] = torch.tensor([training.updates[0].steps_taken, *seen])
    rates = [training.largest_rate, *(layer.cooled for layer in training.layers)]
    state["rates"] = torch.tensor(rates, dtype=torch.float64)
    state["generator"] = training.generator.get_state()
    return state


def capture(training: "TorchTraining") -> dict[str, Tensor]:
    """Return copies of everything, on the CPU; plain tensors, which `torch.load` reads back with `weights_only`."""
    return {name: tensor.clone() for name, tensor in on_host(training).items()}


def restore(training: "TorchTraining", state: dict[str, Tensor]) -> None:
    """Put back what `capture` gave, into a training that was set up from the same job.

    Raises WorkloadError if names, shapes or types differ: the state is of another network, recipe or optimizer.
    """
    own = _tensors(training)
    given = {name: tensor for name, tensor in state.items() if name not in _OTHERS}
    wrong = sorted(own.keys() ^ given.keys())
    wrong += [
        n for n in own if n in given and (own[n].shape, own[n].dtype) != (given[n].shape, given[n].dtype)
    ]
    if wrong:
        raise WorkloadError(
            f"the saved state is of another training ({wrong[0]} differs); set up the job it is of"
        )
    for name, tensor in own.items():
        tensor.copy_(given[name])
    taken, *seen = (int(count) for count in state["counters"])
    for update in training.updates:
        update.steps_taken = taken
    for layer, count in zip(training.layers, seen, strict=True):
        layer.batches_seen = count
    training.largest_rate, *cooled = state["rates"].tolist()
    for layer, share in zip(training.layers, cooled, strict=True):
        layer.cooled = share
    training.generator.set_state(state["generator"])
