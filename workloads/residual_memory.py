"""The variables of residual networks (ResNetE-18, Bi-Real-18), in both conventions of the memory model."""

from collections.abc import Iterator

from workloads.recipes import DType, Optimizer, Recipe
from workloads.specification import Specification, Stage
from workloads.variables import Variable


def paper(network: Specification, recipe: Recipe, optimizer: Optimizer, batch: int) -> Iterator[Variable]:
    """Count so that Wang et al.'s totals at batch 4096 follow: 70.1 → 18.54 GiB, and 57.85 GiB without the mask.

    Known of that count: a mask of the first pooling, at its inputs and in the recipe's type, on the side that keeps
    real activations only. Reconstructed from the totals: every convolution counts its own input, the 1×1 convolutions
    of the shortcuts before their averaging and in float32 in every recipe; both transient buffers are the largest map;
    and of the weights' variables the side with real activations has W alone (∂W and Adam's momenta would add 0.13 GiB
    to it), the other all of them. Each total is met within 0.01 GiB.
    """
    bits = recipe.activation == "bit"
    for stage in network.stages:
        if stage.side:
            yield Variable("X", stage.name, stage.arriving * batch, "float32")
        else:
            yield Variable("X", stage.name, stage.inputs * batch, recipe.activation)
        yield from paper_stage(stage, recipe, optimizer, batch)
        if bits:
            yield Variable("dW", stage.name, stage.weights, recipe.weight_gradient)
            yield Variable("momenta", stage.name, optimizer.momenta * stage.weights, recipe.momentum)
        elif stage.pool != "none":
            yield Variable("masks", stage.name, stage.outputs * batch, recipe.pool_mask)


def paper_stage(stage: Stage, recipe: Recipe, optimizer: Optimizer, batch: int) -> Iterator[Variable]:
    """What the paper counts alike for a stage of any network: both buffers, channels in pairs, latent weights."""
    largest = max(stage.inputs, stage.outputs) * batch
    yield Variable("dX_Y", stage.name, largest, recipe.gradient, "transient")
    yield Variable("dY", stage.name, largest, recipe.output_gradient, "transient")
    yield Variable("mu_psi", stage.name, 2 * stage.out_channels, recipe.statistic)
    yield Variable("beta", stage.name, 2 * stage.out_channels, recipe.statistic)
    if optimizer.latent_weights:
        yield Variable("W", stage.name, stage.weights, recipe.weight)


def honest(network: Specification, recipe: Recipe, optimizer: Optimizer, batch: int) -> Iterator[Variable]:
    """Count what is really held.

    Of a sum the next sign's bits and straight-through mask are retained, or the sum itself where activations are real.
    The sign of a sum is not that of the norm's output that went into it, so `lowmem` keeps the norm's own signs
    besides (`X.conv2_1.norm`). With real activations no norm's output is kept: it is the difference of two sums that
    are, or of a sum and the result of the projection.
    """
    first = network.stages[0]
    yield Variable("input", first.name, first.inputs * batch, "uint8")
    if recipe.image != "uint8":
        yield Variable("X", first.name, first.inputs * batch, recipe.image)
    for stage in network.stages:
        if not stage.real_input:
            yield from _input(stage, recipe, batch)
        yield from _retained_output(stage, recipe, batch)
        yield from _state(stage, recipe, optimizer)
        yield Variable("dX_Y", f"{stage.name}.out", stage.outputs * batch, recipe.gradient, "transient")
        yield Variable("dY", stage.name, stage.outputs * batch, recipe.output_gradient, "transient")
    if recipe.activation != "bit":
        # The last sum: the dense layer retains its average only, but the norm's output is the difference to it.
        yield Variable("X", "sum", network.stages[-1].arriving * batch, recipe.activation)


def _input(stage: Stage, recipe: Recipe, batch: int) -> Iterator[Variable]:
    """X as the stage's product reads it, and ∂X at the size at which it goes back."""
    yield Variable("X", stage.name, stage.inputs * batch, recipe.activation if stage.binary else recipe.real)
    if stage.binary and recipe.ste_mask == "kept":
        yield Variable("masks", f"{stage.name}.ste", stage.inputs * batch, "bit")
    yield Variable("dX_Y", f"{stage.name}.in", stage.arriving * batch, recipe.gradient, "transient")


def _retained_output(stage: Stage, recipe: Recipe, batch: int) -> Iterator[Variable]:
    """What the backward passes of the norm and of the pooling read."""
    if stage.pool == "max3":
        yield Variable("X", f"{stage.name}.prepool", stage.outputs * batch, recipe.activation)
        yield Variable("masks", f"{stage.name}.pool", stage.pooled_outputs * batch, recipe.overlap_mask)
    elif stage.side or (stage.norm and recipe.activation == "bit"):
        yield Variable("X", f"{stage.name}.norm", stage.outputs * batch, recipe.activation)


def _state(stage: Stage, recipe: Recipe, optimizer: Optimizer) -> Iterator[Variable]:
    """What belongs to weights and channels."""
    channels, latent = stage.out_channels, optimizer.latent_weights or not stage.binary
    if stage.norm:
        retained = 3 if recipe.by_sign else 2
        yield Variable("mu_psi", stage.name, retained * channels, recipe.statistic)
        yield Variable("mu_psi", f"{stage.name}.moving", 2 * channels, "float32")
    yield Variable("beta", stage.name, 2 * channels, recipe.statistic)
    yield Variable("W", stage.name, stage.weights, recipe.weight if latent else "bit")
    yield Variable("dW", stage.name, stage.weights, weight_gradient(stage, recipe))
    # Bop flips signs; what has none is Adam's.
    others = optimizer.momenta if optimizer.latent_weights else 2
    momenta = optimizer.momenta if stage.binary else others
    yield Variable("momenta", stage.name, momenta * stage.weights, recipe.momentum)
    yield Variable("momenta", f"{stage.name}.beta", others * channels, recipe.momentum)


def weight_gradient(stage: Stage, recipe: Recipe) -> DType:
    """Return the type of ∂W: the sign of a gradient is enough for a weight of which only the sign is used."""
    return recipe.weight_gradient if stage.binary or recipe.weight_gradient != "bit" else recipe.real
