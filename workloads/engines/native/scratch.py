"""Which jobs the native engine trains, and how one is described to the core."""

import ctypes

from workloads.engines.base import Job
from workloads.engines.native import library
from workloads.errors import UnsupportedError
from workloads.recipes import features
from workloads.specification import Stage

# Beside the learning rate, the optimizers take what their papers give (Adam: Kingma & Ba 2015).
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SGD_DECAY = 0.9

SUPPORTED = ("standard", "lowmem", "lowmem-centred", "lowmem-q6", "lean", "lean-centred", "lean8")


def describe(job: Job) -> library.Config:
    """Return the job as the core reads it; raises UnsupportedError for what the core does not train."""
    recipe, optimizer = job.recipe, job.optimizer
    if recipe.name not in SUPPORTED:
        raise UnsupportedError(f"the native engine does not train '{recipe.name}'; try: --engine torch")
    if recipe.norm not in library.NORMS or (recipe.activation != "bit" and recipe.weight_gradient == "bit"):
        raise UnsupportedError(
            f"the native engine has no '{recipe.name}' with retained {recipe.activation} and norm {recipe.norm}: its "
            "signs of weight gradients come from packed signs of activations; try: --engine torch"
        )
    if (recipe.activation == "float32") != (recipe.gradient == "float32"):
        raise UnsupportedError(
            f"the native engine has no '{recipe.name}' with retained {recipe.activation} and Y and ∂X in "
            f"{recipe.gradient}: a product of signs leaves 16-bit integers; try: --engine torch"
        )
    if features(recipe, optimizer):
        raise UnsupportedError(f"the native engine has no bop with '{recipe.name}'; it has it with 'lowmem'")
    stages = (library.Stage * len(job.specification.stages))(*map(_stage, job.specification.stages))
    types = library.DTYPES
    config = library.Config(
        len(stages), job.batch_size, job.threads,
        types[recipe.activation], library.NORMS[recipe.norm], library.STE_MASKS[recipe.ste_mask],
        types[recipe.gradient], types[recipe.output_gradient], types[recipe.weight], types[recipe.weight_gradient],
        types[recipe.momentum], types[recipe.statistic], types[recipe.pool_mask], types[recipe.image],
        library.OPTIMIZERS[optimizer.name], int(recipe.second_moment),
        library.BORDERS[recipe.border], int(recipe.single_buffer),
        BETA1, BETA2, EPSILON, SGD_DECAY, *_rates(job),
        job.seed & (1 << 64) - 1, ctypes.cast(stages, ctypes.POINTER(library.Stage)),
    )  # fmt: skip
    config.kept = stages  # the struct holds a bare pointer
    return config


def _rates(job: Job) -> tuple[float, float, float]:
    """Return the factors on the learning rate for the weights and for β, and Bop's threshold (of signs, as here)."""
    optimizer = job.optimizer
    weights = optimizer.sign_rate if job.recipe.weight_gradient == "bit" else optimizer.rate
    return weights, optimizer.beta_rate, optimizer.sign_threshold


def _stage(stage: Stage) -> library.Stage:
    if stage.stride != 1:
        raise UnsupportedError(f"stage '{stage.name}' has stride {stage.stride}; the native engine has 1")
    return library.Stage(
        stage.in_channels, stage.in_height, stage.in_width, stage.out_channels, stage.kernel, stage.padding,
        library.POOLS[stage.pool],
    )  # fmt: skip
