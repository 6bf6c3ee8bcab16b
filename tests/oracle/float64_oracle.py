"""The training algorithms once more, in float64 NumPy and plain loops: what the engines are tested against.

Nothing is shared with any engine. Written from the equations of Courbariaux and Bengio 2016 (`l2`) and Wang et al.
2023, Algorithms 1 and 2 (`l1`, `l1_sign`). Dense stages: weights N × K, activations B × K.
"""

from dataclasses import dataclass, field

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


@dataclass
class StageRecord:
    """Everything one stage computes in a step."""

    x: Array
    y: Array
    mean: Array
    spread: Array
    scale: Array
    x_plus: Array
    dbeta: Array = field(default_factory=lambda: np.zeros(0))
    dy: Array = field(default_factory=lambda: np.zeros(0))
    dw: Array = field(default_factory=lambda: np.zeros(0))
    dx: Array | None = None


@dataclass
class StepRecord:
    """One step: the stages in order, the loss, and the gradient of the logits before any loss scale."""

    stages: list[StageRecord]
    loss: float
    dlogits: Array


def forward_stage(x: Array, weight: Array, beta: Array, norm: str, first: bool) -> StageRecord:
    """Y = X̂ Ŵᵀ (X as it is in the first stage), then batch normalisation."""
    operand = x if first else sgn(x)
    y = np.einsum("bk,nk->bn", operand, sgn(weight))
    mean = y.sum(axis=0) / len(y)
    centred = y - mean
    if norm == "l2":
        spread = (centred**2).sum(axis=0) / len(y)
        scale = np.sqrt(spread + EPSILON)
    else:
        spread = np.abs(centred).sum(axis=0) / len(y)
        scale = np.maximum(spread, PSI_FLOOR)
    return StageRecord(x, y, mean, spread, scale, centred / scale + beta)


def norm_backward(stage: StageRecord, beta: Array, dxp: Array, norm: str) -> tuple[Array, Array]:
    """Return ∂β and ∂Y, channel by channel."""
    dbeta, dy = np.zeros(dxp.shape[1]), np.zeros_like(dxp)
    for channel in range(dxp.shape[1]):
        gradient = dxp[:, channel]
        normalised = stage.x_plus[:, channel] - beta[channel]
        dbeta[channel] = gradient.sum()
        v = gradient / stage.scale[channel]
        if norm == "l2":
            direction, factor = normalised, np.mean(v * normalised)
        elif norm == "l1":
            direction, factor = sgn(normalised), np.mean(v * normalised)
        else:
            direction = sgn(stage.x_plus[:, channel])
            omega = np.mean(np.abs(stage.x_plus[:, channel]))
            factor = omega * np.mean(v * direction)
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


def step(
    x: Array,
    labels: NDArray[np.int64],
    weights: list[Array],
    betas: list[Array],
    norm: str,
    *,
    ste_mask: bool = True,
) -> StepRecord:
    """Run forward and backward. Gradients are those of the *summed* loss; divide by the batch for the mean's."""
    stages: list[StageRecord] = []
    for index, (weight, beta) in enumerate(zip(weights, betas, strict=True)):
        stages.append(forward_stage(x, weight, beta, norm, first=index == 0))
        x = stages[-1].x_plus
    loss, dxp = cross_entropy(x, labels)
    dlogits = dxp
    for index in reversed(range(len(stages))):
        stage = stages[index]
        stage.dbeta, stage.dy = norm_backward(stage, betas[index], dxp, norm)
        operand = stage.x if index == 0 else sgn(stage.x)
        stage.dw = np.einsum("bn,bk->nk", stage.dy, operand)
        if index > 0:
            stage.dx = np.einsum("bn,nk->bk", stage.dy, sgn(weights[index]))
            if ste_mask:
                stage.dx = stage.dx * (np.abs(stage.x) <= 1)
            dxp = stage.dx
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
