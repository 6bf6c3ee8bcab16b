"""What one stage owns from step to step: weights, β, their gradients, and the batch-norm statistics.

Every tensor has the type that the recipe gives its variable. Gradients are buffers of the layer, overwritten each
step; with a real ∂W the buffer is also the latent weight's `.grad`. β and ∂β are views of one tensor for all layers,
which is trained as one. The momenta belong to the optimizer.
"""

import math

import torch
from torch import Tensor

from workloads.engines.torch.gradients import WeightGradient
from workloads.engines.torch.norm import Norm, scale_of
from workloads.engines.torch.rounding import Dither, round_to_float16
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.weights import LatentWeights, PackedWeights, RealWeights, Weights
from workloads.recipes import Recipe
from workloads.residual_memory import weight_gradient
from workloads.schedule import average_share
from workloads.specification import Stage

DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Layer:
    """One stage's state. Shapes: weights outputs × fan-in, β outputs, moving averages 2 × outputs (float32)."""

    def __init__(
        self,
        stage: Stage,
        recipe: Recipe,
        *,
        latent: bool,
        is_last: bool,
        beta: Tensor,
        beta_gradient: Tensor,
        dither: Dither,
        scratch: Scratch,
        device: torch.device,
        initial: float = 1.0,
    ) -> None:
        self.stage, self.recipe, self.scratch, self.is_last = stage, recipe, scratch, is_last
        # The last stage's output is no input of another, so that nobody retains signs of it: its norm goes by the
        # output itself.
        self.by_sign = recipe.by_sign and not is_last
        self.norm: Norm = "l1" if recipe.by_sign and is_last else recipe.norm
        self.read_by_sign = not is_last
        shape = (stage.out_channels, stage.fan_in)
        latent = latent or not stage.binary
        self.weights = _initial_weights(
            shape, DTYPES[recipe.weight], latent, dither, scratch, device, initial
        )
        if not stage.binary:
            self.weights = RealWeights(self.weights.storage)
        kind = weight_gradient(stage, recipe)
        signs_only = kind == "bit"
        self.gradient = WeightGradient(shape, None if signs_only else DTYPES[kind], device)
        if latent and not signs_only:
            self.weights.storage.grad = self.gradient.buffer
        self.beta = beta.requires_grad_()
        self.beta_gradient = beta_gradient
        self.moving = torch.zeros(2, stage.out_channels if stage.norm else 0, device=device)
        self.moving[1] = 1.0
        self.batches_seen = 0
        self.items_averaged = 0
        self.cooled = 1.0
        self.unscale = 1.0
        # Addresses of what autograd retains of this stage beyond the flow between stages, with their class.
        self.retained: dict[int, str] = {}
        self.saturated = 0
        self.transient = {"dX_Y": 0, "dY": 0}

    def observe(self, mean: Tensor, spread: Tensor, items: int) -> None:
        """Take μ and spread (float32) of one batch of so many items into the moving averages."""
        self.batches_seen += 1
        self._take_in(mean, spread, average_share(self.batches_seen, self.cooled, items))

    def begin_average(self) -> None:
        """Begin a plain average in the place of the moving ones: recalibration."""
        self.batches_seen = self.items_averaged = 0

    def average(self, mean: Tensor, spread: Tensor, items: int) -> None:
        """Take one batch of so many items into the plain average; the last one may be short."""
        self.batches_seen += 1
        self.items_averaged += items
        self._take_in(mean, spread, items / self.items_averaged)

    def _take_in(self, mean: Tensor, spread: Tensor, share: float) -> None:
        self.moving[0].lerp_(mean, share)
        self.moving[1].lerp_(spread, share)

    def allocate(self, kind: str, batch: int, elements: int) -> Tensor:
        """Return an uninitialised batch × elements tensor of the gradient type, and name it for the ledger."""
        dtype = DTYPES[self.recipe.gradient]
        tensor = torch.empty(batch, elements, dtype=dtype, device=self.beta.device)
        self.transient[kind] = max(self.transient[kind], tensor.nbytes)
        return tensor

    def moving_scale(self) -> Tensor:
        """Return σ or ψ of the moving averages."""
        return scale_of(self.moving[1], self.norm)


def _initial_weights(
    shape: tuple[int, int],
    dtype: torch.dtype,
    latent: bool,
    dither: Dither,
    scratch: Scratch,
    device: torch.device,
    initial: float,
) -> Weights:
    """Draw W uniformly in ±`initial`·sqrt(6 / (fan-in + outputs)) (Glorot & Bengio 2010), a block at a time."""
    bound = initial * math.sqrt(6 / (shape[0] + shape[1]))
    values = torch.empty(shape, dtype=dtype, device=device)
    flat = values.view(-1)
    step = scratch.block_bytes // 16  # the block and its noise take up to four times its bytes
    for start in range(0, flat.numel(), step):
        part = flat[start : start + step]
        with scratch:
            block = scratch.take(tuple(part.shape), torch.float32)
            block.uniform_(-bound, bound, generator=dither.generator)
            if dtype == torch.float16:
                round_to_float16(block, dither, part, scratch)
            else:
                part.copy_(block)
    return LatentWeights(values) if latent else PackedWeights(values, scratch)
