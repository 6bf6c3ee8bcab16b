"""Residual networks once more, in float64 NumPy and plain loops: what the torch engine's stages are tested against.

Nothing is shared with any engine. Written from Bethge et al. 2019 and Liu et al. 2018 (shortcuts, derivative of the
sign) and, for the norms, from Wang et al. 2023, by `float64_oracle`. A stage is described by its specification's
`Stage`, which is data alone. Maps are B × C × H × W, weights N × (C · k · k).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

import float64_oracle as plain

Array = NDArray[np.float64]


@dataclass
class Record(plain.Returned):
    """One stage of a step: its operand, the norm's output `full`, its result, what was kept for the way back."""

    read: Array
    operand: Array
    full: Array
    scale: Array
    spread: Array
    result: Array
    arriving: Array = field(default_factory=lambda: np.zeros(0))


def convolve(x: Array, weight: Array, k: int, stride: int, padding: int) -> Array:
    """Y of an operand and weights, padded with zeros."""
    x, kernels = plain.padded(x, padding), weight.reshape(len(weight), -1, k, k)
    height, width = ((extent - k) // stride + 1 for extent in x.shape[2:])
    y = np.zeros((len(x), len(weight), height, width))
    for h in range(height):
        for w in range(width):
            window = x[:, :, h * stride : h * stride + k, w * stride : w * stride + k]
            y[:, :, h, w] = np.einsum("bcij,ncij->bn", window, kernels)
    return y


def convolve_backward(
    dy: Array, x: Array, weight: Array, k: int, stride: int, padding: int
) -> tuple[Array, Array]:
    """Return ∂W and the operand's gradient, window by window."""
    wide, kernels = plain.padded(x, padding), weight.reshape(len(weight), -1, k, k)
    dwide, dkernels = np.zeros_like(wide), np.zeros_like(kernels)
    for h in range(dy.shape[2]):
        for w in range(dy.shape[3]):
            at = (
                slice(None),
                slice(None),
                slice(h * stride, h * stride + k),
                slice(w * stride, w * stride + k),
            )
            dkernels += np.einsum("bn,bcij->ncij", dy[:, :, h, w], wide[at])
            dwide[at] += np.einsum("bn,ncij->bcij", dy[:, :, h, w], kernels)
    p = padding
    return dkernels.reshape(weight.shape), dwide[:, :, p : dwide.shape[2] - p, p : dwide.shape[3] - p]


def average(x: Array, k: int) -> Array:
    """Means over k × k windows."""
    out = np.zeros((*x.shape[:2], x.shape[2] // k, x.shape[3] // k))
    for h, w in np.ndindex(out.shape[2:]):
        out[:, :, h, w] = x[:, :, h * k : (h + 1) * k, w * k : (w + 1) * k].mean(axis=(2, 3))
    return out


def average_backward(gradient: Array, k: int) -> Array:
    """Each element's share of its window's gradient."""
    return gradient.repeat(k, axis=2).repeat(k, axis=3) / (k * k)


def max3(x: Array) -> tuple[Array, Array]:
    """Return the 3×3 maxima (stride 2, padding 1) and the flat place of each in its map; of equals the first."""
    height, width = x.shape[2:]
    out = np.zeros((*x.shape[:2], (height + 1) // 2, (width + 1) // 2))
    places = np.zeros(out.shape, dtype=np.int64)
    for b, c, h, w in np.ndindex(out.shape):
        rows = [r for r in range(2 * h - 1, 2 * h + 2) if 0 <= r < height]
        columns = [s for s in range(2 * w - 1, 2 * w + 2) if 0 <= s < width]
        candidates = [(x[b, c, r, s], -(r * width + s)) for r in rows for s in columns]
        out[b, c, h, w], place = max(candidates)
        places[b, c, h, w] = -place
    return out, places


def max3_backward(gradient: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """Add each window's gradient at the place of its maximum."""
    out = np.zeros(shape)
    for (b, c, _, _), value, place in zip(
        np.ndindex(gradient.shape), gradient.flat, places.flat, strict=True
    ):
        out[b, c].reshape(-1)[place] += value
    return out


def derivative(x: Array, stage: Any, bits_only: bool) -> Array:
    """What stands for the derivative of the sign at x; from a bit an element only an indicator can be had."""
    if stage.straight_through == "clip":
        return (np.abs(x) <= stage.clip_at).astype(np.float64)
    if bits_only:
        return (np.abs(x) <= 1).astype(np.float64)
    rising, falling = (x >= -1) & (x < 0), (x >= 0) & (x < 1)
    return np.where(rising, 2 + 2 * x, np.where(falling, 2 - 2 * x, 0.0))


def _norm(y: Array, beta: Array, norm: str) -> tuple[Array, Array, Array]:
    """Return the norm's output, what Y − μ was divided by, and the spread."""
    channels = plain.by_channel(y)
    mean = channels.mean(axis=1)
    centred = y - mean.reshape(1, -1, 1, 1)
    if norm == "l2":
        spread = (plain.by_channel(centred) ** 2).mean(axis=1)
        scale = np.sqrt(spread + plain.EPSILON)
    else:
        spread = np.abs(plain.by_channel(centred)).mean(axis=1)
        scale = np.maximum(spread, plain.PSI_FLOOR)
    return centred / scale.reshape(1, -1, 1, 1) + beta.reshape(1, -1, 1, 1), scale, spread


def forward(x: Array, stages: list[Any], weights: list[Array], betas: list[Array], norm: str) -> list[Record]:
    """Run every stage in order."""
    records: list[Record] = []
    current, branch = x, np.zeros(0)
    for stage, weight, beta in zip(stages, weights, betas, strict=True):
        read = average(current, stage.average)
        operand = plain.sgn(current) if stage.binary else read
        used = plain.sgn(weight) if stage.binary else weight
        y = convolve(operand, used, stage.kernel, stage.stride, stage.padding)
        if stage.norm:
            full, scale, spread = _norm(y, beta, norm)
        else:
            full, scale, spread = y + beta.reshape(1, -1, 1, 1), np.ones(1), np.ones(1)
        record = Record(current, operand, full, scale, spread, full)
        if stage.side:
            branch = full
        elif stage.pool == "max3":
            record.result, record.places = max3(full)
        elif stage.shortcut != "none":
            record.result = full + (current if stage.shortcut == "identity" else branch)
        records.append(record)
        current = current if stage.side else record.result
    return records


def step(
    x: Array,
    labels: NDArray[np.int64],
    stages: list[Any],
    weights: list[Array],
    betas: list[Array],
    norm: str,
    *,
    bits_only: bool,
) -> tuple[float, list[Record]]:
    """Return the mean loss and the records, with gradients of the *summed* loss."""
    records = forward(x, stages, weights, betas, norm)
    loss, gradient = plain.cross_entropy(records[-1].result.reshape(len(x), -1), labels)
    gradient = gradient.reshape(records[-1].result.shape)
    branch = np.zeros(0)
    for stage, record, weight, beta in reversed(list(zip(stages, records, weights, betas, strict=True))):
        record.arriving = dfull = branch if stage.side else gradient
        if record.places is not None:
            dfull = max3_backward(gradient, record.places, record.full.shape)
        if stage.norm:
            record.dbeta, dy = plain.norm_backward(record, beta, dfull, norm)  # type: ignore[arg-type]
        else:
            record.dbeta, dy = dfull.sum(axis=(0, 2, 3)), dfull
        used = plain.sgn(weight) if stage.binary else weight
        record.dw, dx = convolve_backward(dy, record.operand, used, stage.kernel, stage.stride, stage.padding)
        if stage.side:
            gradient = gradient + average_backward(dx, stage.average)
        elif stage.shortcut == "none":
            gradient = average_backward(dx, stage.average)
        else:
            dx = dx * derivative(record.read, stage, bits_only)
            branch = gradient
            gradient = dx + gradient if stage.shortcut == "identity" else dx
    return loss, records
