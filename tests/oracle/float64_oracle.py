"""The training algorithms once more, in float64 NumPy and plain loops: what the engines are tested against.

Nothing is shared with any engine. Written from the equations of Courbariaux and Bengio 2016 (`l2`) and Wang et al.
2023, Algorithms 1 and 2 (`l1`, `l1_sign`; centred: less the sign's mean). Dense stages: weights N × K, activations B
× K. Convolution stages: weights N × (C · k · k), activations B × C × H × W, stride 1. Of equal maxima a pooling takes
the first in row order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EPSILON = 1e-5
PSI_FLOOR = 2.0**-8


def sgn(x: Array) -> Array:
    """+1 where x ≥ 0, both zeros included, else −1."""
    out = np.empty_like(x)
    for index, value in np.ndenumerate(x):
        out[index] = 1.0 if value >= 0 else -1.0
    return out


class Shape(NamedTuple):
    """What the oracle must know of a stage: a dense one has kernel 0."""

    kernel: int = 0
    padding: int = 0
    pool: str = "none"


@dataclass(kw_only=True)
class Returned:
    """What every stage keeps for the way back, the places of its maxima, and computes on it."""

    places: Array | None = None
    dbeta: Array = field(default_factory=lambda: np.zeros(0))
    dw: Array = field(default_factory=lambda: np.zeros(0))


@dataclass
class StageRecord(Returned):
    """Everything one stage computes in a step. `x_plus` is what the next stage reads, `full` X⁺ before its pooling."""

    x: Array
    y: Array
    mean: Array
    spread: Array
    scale: Array
    full: Array
    x_plus: Array
    dy: Array = field(default_factory=lambda: np.zeros(0))
    dx: Array | None = None


@dataclass
class StepRecord:
    """One step: the stages in order, the loss, and the gradient of the logits before any loss scale."""

    stages: list[StageRecord]
    loss: float
    dlogits: Array


def padded(x: Array, padding: int) -> Array:
    """Surround maps with zeros, which contribute nothing."""
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def product(x: Array, weight: Array, shape: Shape) -> Array:
    """Y of an operand (X̂, or X in the first stage) and Ŵ."""
    if not shape.kernel:
        return np.einsum("bk,nk->bn", x.reshape(len(x), -1), weight)
    k, x = shape.kernel, padded(x, shape.padding)
    height, width = x.shape[2] - k + 1, x.shape[3] - k + 1
    kernels, y = weight.reshape(len(weight), -1, k, k), np.zeros((len(x), len(weight), height, width))
    for i in range(k):
        for j in range(k):
            y += np.einsum("bchw,nc->bnhw", x[:, :, i : i + height, j : j + width], kernels[:, :, i, j])
    return y


def product_backward(dy: Array, x: Array, weight: Array, shape: Shape) -> tuple[Array, Array]:
    """Return ∂W and the gradient of the operand, given ∂Y."""
    if not shape.kernel:
        flat = x.reshape(len(x), -1)
        return np.einsum("bn,bk->nk", dy, flat), np.einsum("bn,nk->bk", dy, weight).reshape(x.shape)
    k, p = shape.kernel, shape.padding
    wide, kernels = padded(x, p), weight.reshape(len(weight), -1, k, k)
    dwide, dkernels = np.zeros_like(wide), np.zeros_like(kernels)
    height, width = dy.shape[2:]
    for i in range(k):
        for j in range(k):
            window = wide[:, :, i : i + height, j : j + width]
            dkernels[:, :, i, j] = np.einsum("bnhw,bchw->nc", dy, window)
            dwide[:, :, i : i + height, j : j + width] += np.einsum("bnhw,nc->bchw", dy, kernels[:, :, i, j])
    dx = dwide[:, :, p : dwide.shape[2] - p, p : dwide.shape[3] - p]
    return dkernels.reshape(weight.shape), dx


def pool(maps: Array) -> tuple[Array, Array]:
    """Return the 2×2 maxima and, of each, its place: 1 at the first of equals, 0 elsewhere, in the maps' size."""
    batch, channels, height, width = maps.shape
    out, places = np.zeros((batch, channels, height // 2, width // 2)), np.zeros_like(maps)
    for b, c, h, w in np.ndindex(out.shape):
        window = maps[b, c, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2].reshape(-1)
        first = int(np.argmax(window))
        out[b, c, h, w] = window[first]
        places[b, c, 2 * h + first // 2, 2 * w + first % 2] = 1
    return out, places


def unpool(pooled: Array, places: Array) -> Array:
    """Put each value at its place."""
    out = np.zeros_like(places)
    for b, c, h, w in np.ndindex(pooled.shape):
        window = (b, c, slice(2 * h, 2 * h + 2), slice(2 * w, 2 * w + 2))
        out[window] = pooled[b, c, h, w] * places[window]
    return out


def by_channel(maps: Array) -> Array:
    """Return channels × everything else."""
    return np.moveaxis(maps, 1, 0).reshape(maps.shape[1], -1)


def forward_stage(x: Array, weight: Array, beta: Array, norm: str, first: bool, shape: Shape) -> StageRecord:
    """The product (X as it is in the first stage), pooling before the norm, the norm, pooling after the sign."""
    y, places = product(x if first else sgn(x), sgn(weight), shape), None
    if shape.pool == "before_norm":
        y, places = pool(y)
    channels = by_channel(y)
    along = (1, -1) + (1,) * (y.ndim - 2)
    mean = channels.sum(axis=1) / channels.shape[1]
    centred = channels - mean[:, None]
    if norm == "l2":
        spread = (centred**2).sum(axis=1) / channels.shape[1]
        scale = np.sqrt(spread + EPSILON)
    else:
        spread = np.abs(centred).sum(axis=1) / channels.shape[1]
        scale = np.maximum(spread, PSI_FLOOR)
    full = (y - mean.reshape(along)) / scale.reshape(along) + beta.reshape(along)
    x_plus = full
    if shape.pool == "after_sign":
        # Signs are pooled; the real value at the chosen place has that sign, and tells whether |X| ≤ 1 there.
        places = pool(sgn(full))[1]
        x_plus = np.zeros((*full.shape[:2], full.shape[2] // 2, full.shape[3] // 2))
        for b, c, h, w in np.ndindex(x_plus.shape):
            window = (b, c, slice(2 * h, 2 * h + 2), slice(2 * w, 2 * w + 2))
            x_plus[b, c, h, w] = (full[window] * places[window]).sum()
    return StageRecord(x, y, mean, spread, scale, full, x_plus, places=places)


def norm_backward(
    stage: StageRecord, beta: Array, dxp: Array, norm: str, *, clipped: bool = False
) -> tuple[Array, Array]:
    """Return ∂β and ∂Y (as the norm sees Y), channel by channel; `clipped`: whether ∂X⁺ is 0 where |X⁺| > 1."""
    dbeta, dy = np.zeros(dxp.shape[1]), np.zeros_like(dxp)
    for channel in range(dxp.shape[1]):
        gradient, x_plus = dxp[:, channel], stage.full[:, channel]
        normalised = x_plus - beta[channel]
        dbeta[channel] = gradient.sum()
        v = gradient / stage.scale[channel]
        if norm == "l2":
            direction, factor = normalised, np.mean(v * normalised)
        elif norm == "l1":
            direction, factor = sgn(normalised), np.mean(v * normalised)
        else:
            direction = sgn(x_plus)
            centred = norm == "l1_sign_centred"
            omega = 0.48 if clipped else np.mean(np.abs(x_plus))
            factor = omega * np.mean(v * direction)
            if centred:
                factor -= beta[channel] * np.mean(v)
        if norm in ("l1", "l1_sign_centred"):
            direction = direction - np.mean(direction)
        dy[:, channel] = v - np.mean(v) - direction * factor
    return dbeta, dy


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """Return the mean cross-entropy and softmax − onehot."""
    gradient, loss = np.zeros_like(logits), 0.0
    for item, label in enumerate(labels):
        shifted = np.exp(logits[item] - logits[item].max())
        p = shifted / shifted.sum()
        loss -= np.log(p[label])
        gradient[item] = p
        gradient[item, label] -= 1
    return loss / len(labels), gradient


def po2(values: Array, elements: int) -> Array:
    """Round to signs times powers of two of 4-bit exponents, the largest 2^7 below the bias (Wang et al. 2021)."""
    bias = 8 - np.round(np.log2(np.abs(values).max()))
    with np.errstate(divide="ignore"):
        exponents = np.clip(np.round(np.log2(np.abs(values)) + bias), -8, 7)
    quantised: Array = np.where(values >= 0, 1.0, -1.0) * 2.0 ** (exponents - bias)
    return quantised


def int6_step(values: Array, elements: int) -> float:
    """Return the step; 31 of them are the largest magnitude, or eight times the root mean square, if that is less.

    (The mean is over as many values as a pooling has selected.)
    """
    return float(min(np.abs(values).max(), 8 * np.sqrt((values**2).sum() / elements)) / 31)


def int6(values: Array, elements: int) -> Array:
    """Round to 63 steps."""
    size = int6_step(values, elements)
    quantised: Array = np.clip(np.round(values / size), -31, 31) * size
    return quantised


QUANTISERS: dict[str, Callable[[Array, int], Array]] = {"po2": po2, "int6": int6}


def step(
    x: Array,
    labels: NDArray[np.int64],
    weights: list[Array],
    betas: list[Array],
    norm: str,
    shapes: list[Shape] | None = None,
    *,
    ste_mask: bool = True,
    output_gradient: str = "",
) -> StepRecord:
    """Run forward and backward. Gradients are those of the *summed* loss; divide by the batch for the mean's.

    `output_gradient` names the quantiser through which the products read ∂Y; β's gradient does not.
    """
    quantiser = QUANTISERS.get(output_gradient)
    shapes = shapes or [Shape()] * len(weights)
    stages: list[StageRecord] = []
    for index, (weight, beta) in enumerate(zip(weights, betas, strict=True)):
        if not shapes[index].kernel:
            x = x.reshape(len(x), -1)
        stages.append(forward_stage(x, weight, beta, norm, index == 0, shapes[index]))
        x = stages[-1].x_plus
    loss, dxp = cross_entropy(x, labels)
    dlogits = dxp
    for index in reversed(range(len(stages))):
        stage, shape = stages[index], shapes[index]
        dxp = dxp.reshape(stage.x_plus.shape)
        if shape.pool == "after_sign":
            assert stage.places is not None
            dxp = unpool(dxp, stage.places)
        last = index + 1 == len(stages)
        # The last stage's output is known as it is: no signs stand for it.
        way_back = "l1" if last and norm != "l2" else norm
        stage.dbeta, stage.dy = norm_backward(
            stage, betas[index], dxp, way_back, clipped=ste_mask and not last
        )
        if shape.pool == "before_norm":
            assert stage.places is not None
            stage.dy = unpool(stage.dy, stage.places)
        operand = stage.x if index == 0 else sgn(stage.x)
        dy = quantiser(stage.dy, stage.x_plus.size) if quantiser and stage.dy.any() else stage.dy
        stage.dw, dx = product_backward(dy, operand, sgn(weights[index]), shape)
        if index > 0:
            stage.dx = dxp = dx * (np.abs(stage.x) <= 1) if ste_mask else dx
    return StepRecord(stages, loss, dlogits)


def adam(value: Array, first: Array, second: Array, gradient: Array, rate: float, steps: int) -> None:
    """One step of Adam in place, `steps` counted from 1; β1 = 0.9, β2 = 0.999, ε = 1e-8 outside the root."""
    first[...] = 0.9 * first + 0.1 * gradient
    second[...] = 0.999 * second + 0.001 * gradient**2
    corrected = np.sqrt(second / (1 - 0.999**steps)) + 1e-8
    value -= rate * (first / (1 - 0.9**steps)) / corrected


def weight_gradient(dw: Array, weight: Array, batch: int, one_bit: bool) -> Array:
    """Return what the optimizer applies, given ∂W of the summed loss.

    One bit: sgn(∂W)/√N, cancelled where |W| ≥ 1. Real: that of the mean loss, zeroed where |W| > 1.
    """
    if one_bit:
        return sgn(dw) / np.sqrt(dw.shape[1]) * (np.abs(weight) < 1)
    return dw / batch * (np.abs(weight) <= 1)
