"""The training step once more, in float64 NumPy: what the native engine is tested against.

Nothing is shared with the engine. Maps are batch × height × width × channels, weights outputs × k × k × inputs; a dense
stage is a 1 × 1 product on 1 × 1 maps. Equations: Courbariaux and Bengio 2016 (`l2`), Wang et al. 2023
(`l1_sign`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.specification import Specification, Stage

Array = NDArray[np.float64]
EPSILON, PSI_FLOOR = 1e-5, 2.0**-8


def sgn(x: Array) -> Array:
    """+1 where x ≥ 0, both zeros included, else −1."""
    return np.where(x >= 0, 1.0, -1.0)


@dataclass
class Record:
    """What one stage computes: `x` its real input, `y` what the norm sees, `x_plus` what the norm gives."""

    x: Array
    y: Array
    mean: Array
    spread: Array
    scale: Array
    omega: Array
    x_plus: Array
    select: Array | None
    g: Array = field(default_factory=lambda: np.zeros(0))
    dbeta: Array = field(default_factory=lambda: np.zeros(0))
    dy: Array = field(default_factory=lambda: np.zeros(0))
    dw: Array = field(default_factory=lambda: np.zeros(0))
    dw_bound: Array = field(default_factory=lambda: np.zeros(0))


def columns(x: Array, stage: Stage) -> Array:
    """Return im2col: batch × out height × out width × taps × inputs; the padding is 0."""
    k, p = stage.kernel, stage.padding
    x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    height, width = stage.out_height, stage.out_width
    return np.stack([x[:, i : i + height, j : j + width] for i in range(k) for j in range(k)], axis=3)


def product(x: Array, weight: Array, stage: Stage) -> Array:
    taps = weight.reshape(stage.out_channels, -1, stage.in_channels)
    return np.einsum("byxtc,ntc->byxn", columns(x, stage), taps)


def pool_choice(y: Array) -> Array:
    """Return a 0/1 map of `y`'s shape: 1 at the first maximum, in row-major order, of each 2×2 block."""
    choice = np.zeros_like(y)
    height, width = y.shape[1] // 2, y.shape[2] // 2
    blocks = np.stack([y[:, i : 2 * height : 2, j : 2 * width : 2] for i in (0, 1) for j in (0, 1)])
    best = blocks.argmax(axis=0)
    for code, (i, j) in enumerate((i, j) for i in (0, 1) for j in (0, 1)):
        choice[:, i : 2 * height : 2, j : 2 * width : 2] = best == code
    return choice


def pooled(y: Array, choice: Array) -> Array:
    height, width = y.shape[1] // 2, y.shape[2] // 2
    kept = (y * choice)[:, : 2 * height, : 2 * width]
    return kept.reshape(len(y), height, 2, width, 2, -1).sum(axis=(2, 4))


def unpooled(g: Array, choice: Array) -> Array:
    spread = np.zeros_like(choice)
    height, width = g.shape[1], g.shape[2]
    spread[:, : 2 * height, : 2 * width] = g.repeat(2, axis=1).repeat(2, axis=2)
    return spread * choice


# Takes a stage's index and its X⁺ (or its pooled output) and returns it with undecidable elements moved: a value within
# rounding of 0 (of ±1 for masks) may fall either way in an engine, and the steps after it must then follow the engine.
Decide = Callable[[int, Array], Array]


def forward_stage(
    x: Array, weight: Array, beta: Array, stage: Stage, norm: str, index: int, signs: Decide, masks: Decide
) -> tuple[Record, Array]:
    first = index == 0
    y = product(x if first else sgn(x), sgn(weight), stage)
    select = None
    if stage.pool == "before_norm":
        select = pool_choice(y)
        y = pooled(y, select)
    mean = y.mean(axis=(0, 1, 2))
    centred = y - mean
    if norm == "l2":
        spread = (centred**2).mean(axis=(0, 1, 2))
        scale = np.sqrt(spread + EPSILON)
    else:
        spread = np.abs(centred).mean(axis=(0, 1, 2))
        scale = np.maximum(spread, PSI_FLOOR)
    x_plus = signs(index, centred / scale + beta)
    out = x_plus
    if stage.pool == "after_sign":
        select = pool_choice(sgn(x_plus))
        out = pooled(x_plus, select)
    omega = np.abs(x_plus).mean(axis=(0, 1, 2))
    return Record(x, y, mean, spread, scale, omega, x_plus, select), masks(index, out)


def backward_stage(
    record: Record,
    g: Array,
    weight: Array,
    beta: Array,
    stage: Stage,
    norm: str,
    *,
    first: bool,
    last: bool,
    clip: bool,
) -> Array:
    """Fill the record's gradients (of the summed loss) from ∂X⁺ and return ∂X, masked where |X| > 1 if `clip`."""
    if stage.pool == "after_sign":
        g = unpooled(g, record.select)
    record.g = g
    record.dbeta = g.sum(axis=(0, 1, 2))
    v = g / record.scale
    normalised = record.x_plus - beta
    if norm == "l2" or last:  # the last output is known: no signs stand for it
        d, factor = normalised, (v * normalised).mean(axis=(0, 1, 2))
        if norm != "l2":
            d = sgn(d) - sgn(d).mean(axis=(0, 1, 2))
    else:
        d = sgn(record.x_plus)
        omega = 0.48 if clip else record.omega  # the clip lets nothing through but |X⁺| ≤ 1
        factor = omega * (v * d).mean(axis=(0, 1, 2))
        if norm == "l1_sign_centred":
            factor = factor - beta * v.mean(axis=(0, 1, 2))
            d = d - d.mean(axis=(0, 1, 2))
    dy = v - v.mean(axis=(0, 1, 2)) - d * factor
    if stage.pool == "before_norm":
        dy = unpooled(dy, record.select)
    record.dy = dy
    cols = columns(record.x if first else sgn(record.x), stage)
    shape = weight.shape
    record.dw = np.einsum("byxn,byxtc->ntc", dy, cols).reshape(shape)
    record.dw_bound = np.einsum("byxn,byxtc->ntc", np.abs(dy) > 0, np.abs(cols)).reshape(shape)
    dx = input_gradient(dy, sgn(weight), stage)
    return dx * (np.abs(record.x) <= 1) if clip else dx


def input_gradient(dy: Array, weight: Array, stage: Stage) -> Array:
    k, p = stage.kernel, stage.padding
    dx = np.zeros((len(dy), stage.in_height + 2 * p, stage.in_width + 2 * p, stage.in_channels))
    taps = weight.reshape(stage.out_channels, k, k, stage.in_channels)
    for i in range(k):
        for j in range(k):
            part = np.einsum("byxn,nc->byxc", dy, taps[:, i, j])
            dx[:, i : i + stage.out_height, j : j + stage.out_width] += part
    return dx[:, p : p + stage.in_height, p : p + stage.in_width]


def step(
    network: Specification,
    pixels: Any,
    labels: Any,
    weights: list[Array],
    betas: list[Array],
    norm: str,
    signs: Decide = lambda index, x: x,
    masks: Decide = lambda index, x: x,
    *,
    clip: bool = True,
) -> tuple[float, list[Record]]:
    """Return the mean loss and every stage's record. pixels: uint8, batch × channels × height × width."""
    x = (2.0 * pixels.transpose(0, 2, 3, 1) - 255) / 255
    records = []
    for index, stage in enumerate(network.stages):
        x = x.reshape(len(x), stage.in_height, stage.in_width, stage.in_channels)
        record, x = forward_stage(x, weights[index], betas[index], stage, norm, index, signs, masks)
        records.append(record)
    logits = x.reshape(len(x), -1)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(p)), labels]).mean()
    g = p - np.eye(p.shape[1])[labels]
    g = g.reshape(x.shape)
    for index in reversed(range(len(records))):
        record, stage = records[index], network.stages[index]
        g = g.reshape(len(g), *record_output_shape(stage))
        g = backward_stage(
            record,
            g,
            weights[index],
            betas[index],
            stage,
            norm,
            first=index == 0,
            last=index + 1 == len(records),
            clip=clip,
        )
    return float(loss), records


def record_output_shape(stage: Stage) -> tuple[int, int, int]:
    halved = 1 if stage.pool == "none" else 2
    return stage.out_height // halved, stage.out_width // halved, stage.out_channels
