"""Exchanges gradients that are known to all, under torchrun, and holds the results and the wire to what they must be.

    python -m torch.distributed.run --standalone --nproc-per-node R exchanging.py

The first process prints, as JSON, what each way of exchanging gave, what it said it sent, and by how much the
loopback's own counter of bytes moved meanwhile, which is worth something in a network namespace of one's own.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist

from workloads.engines.torch.bits import pack, unpack
from workloads.engines.torch.exchange import Group
from workloads.engines.torch.gradients import WeightGradient
from workloads.engines.torch.scratch import Scratch

SHAPES, STEPS = ((264, 1001), (3, 5)), 6


def on_the_wire():
    """Return the bytes that the loopback has carried so far."""
    (line,) = (
        line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")
    )
    return int(line.split(":")[1].split()[8])


def part(process, step, index):
    """Return one process's ∂W of a stage: everybody can compute everybody's. Whole numbers: their sums are exact."""
    generator = torch.Generator().manual_seed(1000 * process + 10 * step + index)
    return torch.randint(-9, 10, SHAPES[index], generator=generator).float()


def votes(parts, step):
    """Return the majority's signs, in plain torch; a tie is the step's process's to decide."""
    signs = [torch.where(each >= 0, 1, -1) for each in parts]
    total = sum(signs)
    return torch.where(total == 0, signs[step % len(signs)], total.sign())


def exchanged(exchange):
    """Return how many elements came out wrong over all steps, and the bytes: said, and seen."""
    group, scratch, wrong = Group(exchange), Scratch(torch.device("cpu")), 0
    layers = [
        SimpleNamespace(
            gradient=WeightGradient(
                shape, None if exchange == "signs" else torch.float32, torch.device("cpu")
            ),
            scratch=scratch,
            saturated=0,
        )
        for shape in SHAPES
    ]
    dist.barrier()
    before = on_the_wire()
    for step in range(STEPS):
        for index, layer in enumerate(layers):
            mine = part(group.rank, step, index)
            layer.gradient.buffer.copy_(pack(mine >= 0) if exchange == "signs" else mine)
        beta = torch.full((4,), 1.0 + group.rank)
        group.exchange(layers, beta)
        wrong += int((beta != group.count * (group.count + 1) / 2).sum())
        for index, layer in enumerate(layers):
            parts = [part(process, step, index) for process in range(group.count)]
            if exchange == "signs":
                found, wanted = unpack(layer.gradient.buffer, parts[0].numel()), votes(parts, step).view(-1)
            else:
                found, wanted = layer.gradient.buffer, sum(parts)
            wrong += int((found != wanted).sum())
    dist.barrier()
    seen = on_the_wire() - before
    agreed = [group.agree(7), group.agree(group.rank)]
    return {"wrong": wrong, "said": group.sent_bytes, "seen": seen, "agreed": agreed}


def main():
    dist.init_process_group("gloo")
    report = {exchange: exchanged(exchange) for exchange in ("signs", "sums")}
    if dist.get_rank() == 0:
        json.dump(report, sys.stdout)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
