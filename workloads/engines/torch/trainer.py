"""The engine's face: one network in training, step by step (`workloads.engines.base.Training`)."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workloads.engines.base import Batch, Job, Mark, Phase, Snapshot
from workloads.engines.torch import devices, processes, residual
from workloads.engines.torch.flow import Activations
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.ledger import Ledger
from workloads.engines.torch.loss import cross_entropy, propagate
from workloads.engines.torch.optimizers import Adam, Bop, Momentum, Slot, Update
from workloads.engines.torch.refusals import memory_errors
from workloads.engines.torch.rounding import Dither
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import real_image
from workloads.engines.torch.state import capture, restore
from workloads.specification import Stage

if TYPE_CHECKING:
    from workloads.engines.torch.accumulation import Accumulation


class TorchTraining:
    """A training on the CPU or a CUDA device (`settings["device"]`; never run on one yet), obeying the job's recipe."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = devices.named(job.settings.get("device", "cpu"))
        self.layers: list[Layer] = []
        self._ledger = Ledger()

    @memory_errors()
    def set_up(self) -> None:
        """Allocate and initialise every persistent variable, from the job's seed."""
        job = self.job
        torch.set_num_threads(job.threads)
        devices.make_exact(self.device)
        self.scratch = Scratch(self.device) if self.device.type == "cpu" else Scratch(self.device, 1 << 28)
        # Any integer is a seed, as for the native engine; torch takes those of 64 bits, and negative ones so itself.
        self.generator = torch.Generator(self.device).manual_seed(job.seed & (1 << 64) - 1)
        self.dither = Dither(self.generator)
        channels = job.specification.channels
        self.beta = torch.zeros(2, channels, dtype=DTYPES[job.recipe.statistic], device=self.device)
        self.layers, start = [], 0
        for each in job.specification.stages:
            stop = start + each.out_channels
            self.layers.append(self._layer(each, self.beta[0, start:stop], self.beta[1, start:stop]))
            start = stop
        residual.connect(self.layers)
        self.accumulation: Accumulation | None = None
        if job.settings.get("accumulate", 1) > 1 or processes.current().sums_gradients:
            from workloads.engines.torch import accumulation

            self.accumulation = accumulation.Accumulation(
                self.layers, self.beta, job.settings.get("accumulate", 1)
            )
        self.updates = self._updates()
        self.largest_rate = 0.0

    def _layer(self, each: Stage, beta: Tensor, beta_gradient: Tensor) -> Layer:
        job = self.job
        return Layer(
            each, job.recipe, latent=job.optimizer.latent_weights, is_last=each is job.specification.stages[-1],
            beta=beta, beta_gradient=beta_gradient, dither=self.dither, scratch=self.scratch, device=self.device,
            initial=job.settings.get("initial", 1.0),
        )  # fmt: skip

    def _updates(self) -> list[Update]:
        """Return what updates the weights and β: one optimizer for both, but Bop leaves what has no sign to Adam."""
        weights = [_weights(layer, self.job) for layer in self.layers]
        binary = [layer.stage.binary for layer in self.layers]
        flipped = [slot for slot, has_sign in zip(weights, binary, strict=True) if has_sign]
        others = [slot for slot, has_sign in zip(weights, binary, strict=True) if not has_sign]
        others.append(_beta(self.beta, self.job))
        kinds: dict[str, list[tuple[type[Update], list[Slot]]]] = {
            "adam": [(Adam, [*flipped, *others])],
            "sgd": [(Momentum, [*flipped, *others])],
            "bop": [(Bop, flipped), (Adam, others)],
        }
        dtype, settings = DTYPES[self.job.recipe.momentum], self.job.settings
        return [
            kind(slots, dtype, self.dither, self.scratch, settings)
            for kind, slots in kinds[self.job.optimizer.name]
        ]

    @property
    def saturated(self) -> int:
        """How many gradient elements were clamped to float16's range so far; a healthy training has none."""
        return sum(layer.saturated for layer in self.layers)

    @memory_errors()
    def step(self, images: memoryview, labels: memoryview, learning_rate: float, mark: Mark) -> float:
        """Train on one batch and return its mean cross-entropy; see `Training.step`."""
        x = self._first(images)
        target = _tensor(labels).to(self.device, torch.int64)
        with self._ledger.watch(x):
            for layer in self.layers:
                x = residual.train(layer, x)
                self._ledger.saw(layer, x)
        loss = cross_entropy(x.real.detach(), target, self.job.settings.get("sharpness", 1.0))
        self._end("forward", mark)
        for layer in self.layers:
            layer.unscale = loss.unscale
        if self.accumulation:
            self.accumulation.begin(loss.unscale)
        propagate(x.real, loss.gradient)
        del x
        due = self.accumulation is None or self.accumulation.end()
        if due:
            processes.current().exchange(self.layers, self.beta[1])
        self._end("backward", mark)
        if not due:
            return loss.mean
        for update in self.updates:
            update.step(learning_rate)
        self._end("update", mark)
        self.cool(learning_rate)
        return loss.mean

    def _end(self, phase: Phase, mark: Mark) -> None:
        """Mark the end of a phase once all of its work is done, not only handed to the device."""
        devices.wait_for(self.device)
        mark(phase)

    def cool(self, learning_rate: float) -> None:
        """Tell the moving averages how fast weights move; see `schedule.average_share`.

        Of a step of several micro-batches, each of which the averages see, the rate is shared among those.
        """
        self.largest_rate = max(self.largest_rate, learning_rate)
        seen = self.accumulation.count if self.accumulation else 1
        for layer in self.layers:
            layer.cooled = learning_rate / self.largest_rate / seen if self.largest_rate else 1.0

    @memory_errors()
    def recalibrate(self, batches: Iterable[Batch]) -> None:
        """Replace the moving averages by plain averages of the statistics of these batches."""
        for layer in self.layers:
            layer.begin_average()
        with torch.no_grad():
            for images, _ in batches:
                x = self._first(images)
                for layer in self.layers:
                    x = residual.recalibrate(layer, x)

    @memory_errors()
    def evaluate(self, images: memoryview, labels: memoryview) -> int:
        """Return how many items are classified rightly, with the moving averages."""
        with torch.no_grad():
            x = self._first(images)
            for layer in self.layers:
                x = residual.evaluate(layer, x)
            target = _tensor(labels).to(self.device, torch.int64)
            return int((x.real.float().argmax(1) == target).sum())

    def scratch_by_name(self) -> dict[str, int]:
        """Return nothing: what torch allocates for a moment has no names here."""
        return {}

    def ledger(self) -> dict[str, int]:
        """Return bytes by class of variable, as really allocated."""
        totals = self._ledger.totals(self.layers, self.updates, self.scratch)
        if self.accumulation:
            totals["beta"] += self.accumulation.sum.nbytes
        return totals

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that continuing bit for bit needs: weights, momenta, averages, random state."""
        return capture(self)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` gave; raises WorkloadError if it is of another training."""
        restore(self, state)

    def snapshot(self) -> Snapshot:
        """Return a view of all that continuing bit for bit needs."""
        from workloads.engines.torch.snapshot import (
            TorchSnapshot,
        )  # who keeps no checkpoint should not pay for it

        return TorchSnapshot(self)

    def close(self) -> None:
        """Release everything."""
        self.layers = []
        for name in ("accumulation", "updates", "scratch", "generator", "dither", "beta"):
            self.__dict__.pop(name, None)

    def _first(self, images: memoryview) -> Activations:
        """Return the pixels, and the real image where the recipe retains that."""
        pixels = _tensor(images).to(self.device).view(-1, self.layers[0].stage.inputs)
        if self.job.recipe.image == "uint8":
            return Activations(pixels)
        dtype = DTYPES[self.job.recipe.image]
        real = torch.empty(pixels.shape, dtype=dtype, device=self.device)
        with self.scratch:
            block = self.scratch.take(tuple(pixels.shape), torch.float32) if dtype != torch.float32 else real
            real.copy_(real_image(pixels, block))
        return Activations(pixels, real)


def _tensor(data: memoryview) -> Tensor:
    """Return uint8 or uint16 items as a tensor: the caller's own memory where that is writable, else a copy."""
    dtype = torch.uint16 if data.itemsize == 2 else torch.uint8
    return torch.frombuffer(bytearray(data) if data.readonly else data, dtype=dtype)


def _mean(job: Job) -> float:
    """Return what turns a stored real gradient into that of the mean loss: float16 ones are of the sum.

    One that is summed over micro-batches, and over processes, is a sum of means, or of sums.
    """
    items = 1 if job.recipe.gradient == "float32" else job.batch_size
    return 1.0 / (items * int(job.settings.get("accumulate", 1)) * processes.current().count)


def _weights(layer: Layer, job: Job) -> Slot:
    """Return the slot of a layer's weights.

    With the setting `gradient_scale` = `layer`, signs are taken times the stage's mean |∂W| instead of ±1/√N.
    """
    gradient = layer.gradient
    signs = gradient.is_sign
    gradient.scaled = signs and job.settings.get("gradient_scale", "none") == "layer"
    attenuation = 1 / math.sqrt(layer.stage.fan_in) if signs and not gradient.scaled else _mean(job)

    def read(part: slice, out: Tensor, scratch: Scratch) -> Tensor:
        gradient.chunk(part, out, scratch)
        if signs and not gradient.scaled:
            return out
        factor = layer.unscale * (gradient.magnitude if gradient.scaled else 1.0)
        return out if factor == 1.0 else out.mul_(factor)

    method = job.optimizer
    latent = method.latent_weights and layer.stage.binary
    of_ones = signs and not gradient.scaled
    real = method.rate if layer.stage.binary else method.real_rate
    return Slot(
        f"W.{layer.stage.name}", layer.weights.storage, read, attenuation,
        latent=latent, clip=latent and job.recipe.border == "clip", rate=method.sign_rate if of_ones else real,
        threshold=method.sign_threshold if of_ones else method.threshold / attenuation,
        elements=layer.stage.weights,
    )  # fmt: skip


def _beta(beta: Tensor, job: Job) -> Slot:
    """Return the slot of all β (2 × channels: β and ∂β, whose loss scale is off already)."""

    def read(part: slice, out: Tensor, scratch: Scratch) -> Tensor:
        return out.copy_(beta[1, part])

    return Slot("beta", beta[0], read, _mean(job), latent=False, clip=False, rate=job.optimizer.beta_rate)
