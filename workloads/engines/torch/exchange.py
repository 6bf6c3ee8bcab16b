"""What the processes of a training tell each other, over torch.distributed, with every byte counted.

Batch normalisation is over the batch of all processes: sums of a few float32 numbers a channel, forward and backward.
Gradients, in one of two ways:

- `sums`: ∂W is summed in float32 (4 bytes a weight), before its sign where the recipe keeps that. The training is that
  of a single process with the whole batch, but for the order of its sums.
- `signs`: every process takes the sign of its own ∂W, and the majority decides (Bernstein et al. 2018, signSGD with
  majority vote). Each process counts the votes on its share of the weights: it sends the others their shares of its
  bits, and then its share of the result, 2·(R − 1)/R bits a weight for R processes: 1 bit for two, never 2.

A tie. sgn(0) = +1 would be a bias: with two processes every disagreement would push its weight down. So a tie has the
sign of one process, another one each step. Two processes hence take turns where they disagree; odd numbers have no tie.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, unpack_into
from workloads.engines.torch.gradients import WeightGradient
from workloads.engines.torch.layer import Layer
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch

EXCHANGES = ("sums", "signs")
# Elements of a chunk, a multiple of 8: 128 KiB in float32.
_CHUNK = 1 << 15


class Group:
    """The processes of torch's default group; see `processes.Processes`. `sent_bytes` counts what this one sends."""

    def __init__(self, exchange: str) -> None:
        self.count, self.rank = dist.get_world_size(), dist.get_rank()
        self.sums_gradients = exchange == "sums"
        self.sent_bytes = {"statistics": 0, "gradients": 0, "votes": 0}
        self.steps = 0  # exchanges so far: decides ties

    def sum_(self, values: Tensor) -> Tensor:
        """Overwrite the values with their sums; the result is the same in every process, to the bit."""
        return self._sum_(values, "statistics")

    def max(self, value: float) -> float:
        """Return the largest value."""
        largest = torch.tensor([value])
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        self._count_reduced(largest, "statistics")
        return float(largest)

    def exchange(self, layers: Sequence[Layer], beta_gradient: Tensor) -> None:
        """Make ∂W and ∂β those of all processes: sums, or the majority's signs."""
        total = self._sum_(beta_gradient.float(), "gradients")
        layers[0].saturated += saturate_into(beta_gradient, total)
        for layer in layers:
            if self.sums_gradients or not layer.gradient.is_sign:
                layer.saturated += self._sum_gradient(layer.gradient, layer.scratch)
            else:
                self._vote(layer.gradient, layer.scratch)
        self.steps += 1

    def agree(self, value: int) -> bool:
        """Tell whether all processes have the same value."""
        least, most = torch.tensor([value]), torch.tensor([value])
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(least) == int(most)

    def _sum_(self, values: Tensor, kind: str) -> Tensor:
        dist.all_reduce(values)
        self._count_reduced(values, kind)
        return values

    def _count_reduced(self, values: Tensor, kind: str) -> None:
        """Count an all-reduce: each process sends its part to the others twice, once to be summed, once as the sum."""
        self.sent_bytes[kind] += 2 * (self.count - 1) * values.nbytes // self.count

    def _sum_gradient(self, gradient: WeightGradient, scratch: Scratch) -> int:
        flat, saturated = gradient.buffer.view(-1), 0
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK]
            with scratch:
                total = scratch.take(tuple(part.shape), torch.float32).copy_(part)
                saturated += saturate_into(part, self._sum_(total, "gradients"))
        gradient.measure()
        return saturated

    def _vote(self, gradient: WeightGradient, scratch: Scratch) -> None:
        """Overwrite the bits of ∂W with the majority's."""
        if gradient.scaled:
            # Of sums over the parts, as ∂W itself would be.
            gradient.magnitude = float(self._sum_(torch.tensor([gradient.magnitude]), "gradients"))
        bits = gradient.bits
        size, share = len(bits), -(-len(bits) // self.count)
        ballots, received = scratch.lent(torch.zeros(2, self.count, share, dtype=torch.uint8))
        ballots.view(-1)[:size] = bits
        dist.all_to_all_single(received, ballots)
        dist.all_gather(list(ballots), self._majority(received, scratch))
        self.sent_bytes["votes"] += 2 * (self.count - 1) * share
        gradient.set_bits(ballots.view(-1)[:size], scratch)

    def _majority(self, ballots: Tensor, scratch: Scratch) -> Tensor:
        """Return the packed signs of most processes (rows of `ballots`); a tie has that of the step's process."""
        decides = self.steps % self.count
        result = torch.empty(ballots.shape[1], dtype=torch.uint8)
        for start in range(0, len(result), _CHUNK // 8):
            columns = slice(start, min(start + _CHUNK // 8, len(result)))
            elements = 8 * (columns.stop - columns.start)
            with scratch:
                total = scratch.take((elements,), torch.float32).zero_()
                sign = scratch.take((elements,), torch.float32)
                for process, row in enumerate(ballots):
                    total.add_(
                        unpack_into(row[columns], sign, scratch), alpha=1.5 if process == decides else 1.0
                    )
                flags = scratch.take((elements,), torch.int8).copy_(total.ge_(0))
                pack_flags_(flags, result[columns], scratch)
        return result
