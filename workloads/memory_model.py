"""The analytic memory model: specification × recipe × optimizer × batch → every variable and its bytes.

Three conventions, named in every figure. `paper` reproduces the published totals of Wang et al. (Tables 2 to 5), with
that paper's own way of counting; `paper-2021` those of its earlier version, which counts no pooling masks on either
side and whose ∂Y are powers of two (`lowmem-po2`). `honest` counts everything a trainer really holds: the image in its
real type, the straight-through masks, ω and the moving averages, the momenta of β. None counts scratch: an engine adds
it.

Persistent variables live from forward to backward or longer and add up. Of a transient class one variable is
alive at a time, so the largest counts.
"""

from collections.abc import Iterator

from workloads.errors import UnknownNameError, UnsupportedError
from workloads.light_typing import Literal, NamedTuple
from workloads.recipes import BITS, Optimizer, Recipe
from workloads.specification import Specification, Stage
from workloads.variables import CLASSES, Variable

__all__ = ["CLASSES", "CONVENTIONS", "Convention", "MemoryModel", "Variable", "model", "shared_buffer_bytes"]

Convention = Literal["honest", "paper", "paper-2021"]

CONVENTIONS: tuple[Convention, ...] = ("honest", "paper", "paper-2021")


class MemoryModel(NamedTuple):
    """The variables of one trainer at one batch size under one convention."""

    convention: Convention
    variables: tuple[Variable, ...]

    def by_variable(self) -> dict[str, int]:
        """Bytes of each class; of a transient class, the largest variable."""
        totals = dict.fromkeys(CLASSES, 0)
        for variable in self.variables:
            if variable.lifetime == "transient":
                totals[variable.kind] = max(totals[variable.kind], variable.bytes)
            else:
                totals[variable.kind] += variable.bytes
        return totals

    @property
    def total_bytes(self) -> int:
        """Bytes that are needed at once."""
        return sum(self.by_variable().values())


def model(
    specification: Specification,
    recipe: Recipe,
    optimizer: Optimizer,
    batch_size: int,
    convention: Convention = "honest",
    accumulate: int = 1,
) -> MemoryModel:
    """Return every variable of the trainer; `batch_size` is that of a micro-batch where gradients `accumulate`.

    Raises UnknownNameError for a convention that is not one of CONVENTIONS, UnsupportedError for a recipe that
    cannot train this network, or cannot be summed over micro-batches, and for sums that a convention does not count.
    """
    if convention not in CONVENTIONS:
        raise UnknownNameError("convention", convention, list(CONVENTIONS))
    if recipe.single_buffer and specification.has_shortcuts:
        raise UnsupportedError(
            f"'{recipe.name}' has one buffer for ∂X and ∂Y, but a shortcut of '{specification.name}' still needs ∂X⁺ "
            "when ∂Y has taken its place; try --trainer lowmem-q6"
        )
    if accumulate > 1:
        _check_sums(recipe, convention)
    count = _honest if convention == "honest" else _paper
    variables = count(specification, recipe, optimizer, batch_size)
    if convention == "paper-2021":
        variables = (each for each in variables if each.kind != "masks")
    if accumulate > 1:
        variables = _accumulated(variables, recipe)
    return MemoryModel(convention, tuple(variables))


def _check_sums(recipe: Recipe, convention: Convention) -> None:
    if convention != "honest":
        raise UnsupportedError(
            f"the convention '{convention}' counts no sums over micro-batches; take --convention honest"
        )
    if recipe.single_buffer:
        raise UnsupportedError(
            f"'{recipe.name}' updates within the backward pass of each batch, so that there is nothing to accumulate; "
            "try --trainer lowmem-q6"
        )


def _accumulated(variables: Iterator[Variable], recipe: Recipe) -> Iterator[Variable]:
    """Count what summing gradients over micro-batches takes.

    The sum of ∂W must be a real number until its sign is taken: of the type of ∂X where the recipe keeps a bit. Of ∂β
    there is a second one.
    """
    for variable in variables:
        summed = variable.kind == "dW" and variable.dtype == "bit"
        yield variable._replace(dtype=recipe.gradient) if summed else variable
        if variable.kind == "beta":
            yield variable._replace(stage=f"{variable.stage}.sum", elements=variable.elements // 2)


def _paper(network: Specification, recipe: Recipe, optimizer: Optimizer, batch: int) -> Iterator[Variable]:
    """Count as the paper and its authors' spreadsheet do.

    The image counts as an activation of the recipe's type, even as one bit; both transient buffers are sized by
    the largest of all inputs and outputs; μ and ψ, β and ∂β are pairs; momenta are those of W alone. Bop is
    counted as one momentum in place of the latent weights, its binary weights not at all. Residual networks: see
    `residual_memory.paper`.
    """
    from workloads import residual_memory

    if network.has_shortcuts:
        yield from residual_memory.paper(network, recipe, optimizer, batch)
        return
    for stage in network.stages:
        yield Variable("X", stage.name, stage.inputs * batch, recipe.activation)
        yield from residual_memory.paper_stage(stage, recipe, optimizer, batch)
        yield Variable("dW", stage.name, stage.weights, recipe.weight_gradient)
        yield Variable("momenta", stage.name, optimizer.momenta * stage.weights, recipe.momentum)
        yield from _paper_mask(stage, recipe, batch)


def _paper_mask(stage: Stage, recipe: Recipe, batch: int) -> Iterator[Variable]:
    """Pooling masks as published.

    Pooling before the norm is counted at the pooling inputs. Pooling after the sign (CNV) is counted, on the side
    that keeps real activations, at the *inputs of the convolutions before the pools*, and not at all on the side
    that pools bits: only so does the published 4.17× follow.
    """
    if stage.pool == "before_norm":
        yield Variable("masks", stage.name, stage.outputs * batch, recipe.pool_mask)
    elif stage.pool == "after_sign" and recipe.activation != "bit":
        yield Variable("masks", stage.name, stage.inputs * batch, recipe.pool_mask)


def _honest(network: Specification, recipe: Recipe, optimizer: Optimizer, batch: int) -> Iterator[Variable]:
    """Count what is really held; see the module's first lines."""
    if network.has_shortcuts:
        from workloads import residual_memory  # a worker of any other network need not hold the module

        yield from residual_memory.honest(network, recipe, optimizer, batch)
        return
    first, *rest = network.stages
    yield Variable("input", first.name, first.inputs * batch, "uint8")
    if recipe.image != "uint8":  # else the input buffer itself is what the first ∂W reads
        yield Variable("X", first.name, first.inputs * batch, recipe.image)
    for stage in rest:
        yield Variable("X", stage.name, stage.inputs * batch, recipe.activation)
        if not recipe.single_buffer:
            yield Variable("dX_Y", stage.name, stage.inputs * batch, recipe.gradient, "transient")
        if recipe.ste_mask == "kept":
            yield Variable("masks", f"{stage.name}.ste", stage.inputs * batch, "bit")
    last = network.stages[-1]
    for stage in network.stages:
        yield from _honest_stage(
            stage, recipe, optimizer, batch, by_sign=recipe.by_sign and stage is not last
        )
    # The last stage's output has no next stage to retain it, and its own backward pass needs it.
    yield Variable("X", "logits", last.normalised * batch, recipe.logits)


def _honest_stage(
    stage: Stage, recipe: Recipe, optimizer: Optimizer, batch: int, *, by_sign: bool
) -> Iterator[Variable]:
    channels = stage.out_channels
    # μ and ψ (σ); ω where the backward pass approximates by signs; and the two moving averages, always float32:
    # an average over hundreds of steps cannot be held in float16 (its increments fall below half an ulp).
    retained = 3 if by_sign else 2
    yield Variable("mu_psi", stage.name, retained * channels, recipe.statistic)
    yield Variable("mu_psi", f"{stage.name}.moving", 2 * channels, "float32")
    yield Variable("beta", stage.name, 2 * channels, recipe.statistic)
    if recipe.single_buffer:
        yield Variable("dX_Y", stage.name, shared_buffer_bytes(stage, recipe, batch), "int8", "transient")
    else:
        yield Variable("dX_Y", stage.name, stage.outputs * batch, recipe.gradient, "transient")
        yield Variable("dY", stage.name, stage.outputs * batch, recipe.output_gradient, "transient")
    yield Variable("W", stage.name, stage.weights, recipe.weight if optimizer.latent_weights else "bit")
    if not recipe.single_buffer:
        yield Variable("dW", stage.name, stage.weights, recipe.weight_gradient)
    momenta = optimizer.momenta if recipe.second_moment else 1
    yield Variable("momenta", stage.name, momenta * stage.weights, recipe.momentum)
    # β is real-valued under every optimizer and keeps real momenta: Bop flips weights and leaves β to Adam (Helwegen et
    # al., section 4), and an 8-bit momentum is one of signs.
    beta_momenta = optimizer.momenta if optimizer.latent_weights else 2
    beta_type = recipe.statistic if recipe.momentum == "int8" else recipe.momentum
    yield Variable("momenta", f"{stage.name}.beta", beta_momenta * channels, beta_type)
    if stage.pool == "after_sign":
        # The norm's backward pass needs every normalised value, of which X of the next stage has only the pooled ones.
        yield Variable("X", f"{stage.name}.prepool", stage.outputs * batch, recipe.activation)
    if stage.pool == "before_norm" or (stage.pool == "after_sign" and recipe.activation != "bit"):
        # (The place of a maximum among retained bits can be seen in the bits.)
        size = stage.pooled_outputs if recipe.pool_mask == "code2" else stage.outputs
        yield Variable("masks", f"{stage.name}.pool", size * batch, recipe.pool_mask)


def shared_buffer_bytes(stage: Stage, recipe: Recipe, batch: int) -> int:
    """Bytes that one stage needs of the buffer that Y, ∂X, ∂Y and ∂W share (`Recipe.single_buffer`).

    Forward: Y in 16 bits, pooled already where the pool stands before the norm; Y of a first convolution is computed
    again for each of the norm's passes and never stored. Backward, in bytes, at the two ends of the buffer: ∂X⁺, which
    becomes ∂Y in place, and what follows from it, ∂Y at full resolution for ∂W and then ∂X. Where the pool stands after
    the sign, ∂Y is of full resolution and cannot take the place of ∂X⁺. Each end is filled up to 64 bytes. Between the
    two lies ∂W of the stage: with the update fused into the backward pass, no other stage's is alive.
    """
    streamed = stage.real_input and stage.kind == "conv" and stage.pool == "none"
    forward = 0 if streamed else 2 * stage.normalised * batch
    result, outputs = _filled(stage.pooled_outputs * batch), _filled(stage.outputs * batch)
    inputs = 0 if stage.real_input else _filled(stage.inputs * batch)
    if stage.pool == "after_sign":
        backward = outputs + max(result, inputs)
    elif stage.pool == "before_norm":
        backward = result + max(outputs, inputs)
    else:
        backward = result + inputs
    weight_gradient = (stage.weights * BITS[recipe.weight_gradient] + 7) // 8
    return max(forward, backward + _filled(weight_gradient))


def _filled(size: int) -> int:
    return -(-size // 64) * 64
