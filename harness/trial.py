"""From what a worker said to a trial of the result document."""

from collections.abc import Sequence
from typing import Literal, cast

from harness.ceilings import Ceiling
from harness.collector import Collector
from harness.plan import TrialPlan
from harness.supervisor import Ending
from results import schema


def assemble(
    plan: TrialPlan,
    collector: Collector,
    ending: Ending,
    *,
    allocator: str,
    ceiling: Ceiling | None,
    energy: list[schema.Energy],
    energy_by_phase: list[schema.PhaseEnergy],
    validity: schema.Validity,
    wall_s: float,
    trigger: schema.Trigger | None = None,
    traces: Sequence[schema.Trace] = (),
    windows: schema.Windows | None = None,
) -> schema.Trial:
    """Return the trial as the document keeps it, whatever became of the worker."""
    memory = collector.memory(plan, ending, allocator, ceiling)
    outcome, reason = ending.outcome, ending.reason
    if (
        ceiling
        and ceiling.of_the_host
        and outcome in ("ok", "invalid")
        and memory.peak_rss_bytes
        and memory.peak_rss_bytes > ceiling.limit_bytes
    ):
        # The kernel's group counts pages that the worker alone brought in; a shared library's pages may be another's.
        outcome, reason = "out_of_memory", _above(ceiling, memory.peak_rss_bytes)
    return schema.Trial(
        workload=plan.workload.name,
        model=plan.specification.name,
        dataset=plan.dataset.name,
        dataset_variant=plan.dataset.variant,
        trainer=plan.recipe.name,
        engine=cast(Literal["torch", "native"], plan.engine.name),
        optimizer=plan.optimizer.name,
        batch_size=plan.batch_size,
        threads=plan.threads,
        seed=plan.seed,
        repeat=plan.repeat,
        outcome=cast(Literal["ok", "out_of_memory", "error", "invalid"], outcome),
        reason=reason,
        time=collector.time(reason),
        memory=memory,
        energy=energy,
        energy_by_phase=energy_by_phase,
        quality=collector.quality(plan, reason),
        validity=validity,
        wall_s=wall_s,
        worker=plan.worker,
        trigger=trigger,
        windows=windows,
        settings=plan.settings,
        checkpoint=collector.checkpoint(plan),
        accelerator=collector.accelerator(plan),
        phases=collector.timeline(),
        traces=list(traces),
    )


def _above(ceiling: Ceiling, peak_bytes: int) -> str:
    return f"peak of {peak_bytes / (1 << 20):.1f} MiB above the ceiling of {ceiling.limit_bytes / (1 << 20):.1f} MiB"
