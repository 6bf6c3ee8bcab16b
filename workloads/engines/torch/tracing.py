"""Finds the layer that a network runs first: its forward pass is traced, with a placeholder for its input.

Modules are registered in the order in which a constructor names them, which need not be that in which they run. The
trace needs no input, whose shape nobody but the user knows, and it ends at the layer that it looks for: what the
network does behind that may be anything. What stands right before a sign is not traced, but read off each
`nn.Sequential`.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from workloads.engines.torch.max_pool import MaxPool2d
from workloads.errors import WorkloadError

_PASSES_ON = (nn.Identity, nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, MaxPool2d)
"""What gives elements of its input: of signs, signs. (Max-pooling pads with −∞, which never is a maximum.)"""


class First(NamedTuple):
    """The layer that runs first, and whether it is seen to read what a sign gave."""

    layer: nn.Module
    reads_signs: bool


class _Reached(Exception):  # noqa: N818  # no error: it ends the trace
    """The first of the layers is called."""


class _Tracer(fx.Tracer):
    """Looks into those modules only that have one of the layers in them: of others the code need not be traceable."""

    def __init__(self, layers: Iterable[nn.Module], signs: Iterable[nn.Module]) -> None:
        super().__init__()
        self._layers, self._signs = {id(each) for each in layers}, {id(each) for each in signs}
        self.first: First | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a call of this module is one step of the trace."""
        return not any(id(each) in self._layers for each in m.modules())

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Take a call into the trace, or end that at the first of the layers."""
        if id(m) in self._layers:
            self.first = self.first or First(m, bool(args) and self._is_sign(args[0]))
            raise _Reached
        return super().call_module(m, forward, args, kwargs)

    def _is_sign(self, value: Any) -> bool:
        """Tell whether a traced value is the result of a sign module, as it is or pooled or flattened."""
        node: Any = value.node if isinstance(value, fx.Proxy) else None
        while isinstance(node, fx.Node) and node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            if id(module) in self._signs:
                return True
            node = node.args[0] if isinstance(module, _PASSES_ON) and node.args else None
        return False


def first_to_run(model: nn.Module, layers: list[nn.Module], signs: list[nn.Module]) -> First:
    """Return which of the `layers` (modules within `model`) its forward pass calls first, and what of.

    A copy is traced, so that code which writes into the model or draws random numbers leaves no mark. Arguments of
    `forward` that have a default have that. `signs` are the modules within `model` that give ±1.

    Raises WorkloadError where none is reached: the model has no `forward`, say, or asks for the values or the shape of
    its input (`if x.dim() == 3`) before the first layer.
    """
    cuda = {each.device for each in model.parameters() if each.device.type == "cuda"}
    with torch.random.fork_rng(list(cuda)), torch.no_grad():
        try:
            memo: dict[int, Any] = {}  # by `deepcopy`: the copy of each object, by the object's identity
            twin = copy.deepcopy(model, memo)
            originals = {id(memo[id(layer)]): layer for layer in layers}
            found, reason = _traced(twin, [memo[id(each)] for each in layers], [memo[id(s)] for s in signs])
        except Exception as error:
            found, reason = None, f"cannot be copied; {type(error).__name__}: {error}"
    if found is None:
        raise WorkloadError(
            f"which layer runs first cannot be told from the model's `forward` ({reason}): name in `real_input` the "
            "products that read other numbers than ±1, () for none"
        )
    return found._replace(layer=originals[id(found.layer)])


def right_before(model: nn.Module, signs: list[nn.Module]) -> Iterator[nn.Module]:
    """Yield what an `nn.Sequential` within `model` hands to one of the `signs`, as it is, pooled or flattened.

    What a `forward` of another class does between two modules (adding a shortcut, say) is not looked at.
    """
    for each in model.modules():
        if not isinstance(each, nn.Sequential) or type(each).forward is not nn.Sequential.forward:
            continue
        before: nn.Module | None = None
        for module in each:
            if any(module is one for one in signs):
                if before is not None:
                    yield before
            elif not isinstance(module, _PASSES_ON):
                before = module


def _traced(model: nn.Module, layers: list[nn.Module], signs: list[nn.Module]) -> tuple[First | None, str]:
    """Return the first layer, or None and why none was reached."""
    tracer, reason = _Tracer(layers, signs), "it calls none of them"
    parameters = inspect.signature(type(model).forward).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    try:
        tracer.trace(model, defaults)
    except _Reached:
        pass
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return tracer.first, reason
