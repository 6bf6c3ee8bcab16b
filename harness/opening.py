"""The document of a plan before its first trial: the program, the machine, the device."""

from harness import __version__, host, throttling
from harness.plan import Plan
from results import schema
from workloads.errors import WorkloadError

LIBRARIES = ("edge-harness", "torch", "numpy")


def empty_document(plan: Plan) -> schema.Document:
    """Return the document of a plan before its first trial: the program, the machine, the device."""
    device = schema.Device(
        requested=plan.options.device,
        profile=plan.profile.name,
        detected=plan.found.model if plan.found else None,
        emulated=plan.options.emulate,
        # The ceiling of an accelerator is none of the device's own memory.
        memory_limit_bytes=None if any(trial.accelerator for trial in plan.trials) else plan.ceiling_bytes,
    )
    return schema.Document(
        created=schema.now(),
        harness=schema.HarnessInfo(version=__version__, native=_native_build(plan)),
        host=host.describe(LIBRARIES, throttling_known=throttling.word() is not None),
        device=device,
        trials=[],
    )


def _native_build(plan: Plan) -> schema.NativeBuild | None:
    """Return how the core that the plan's workers load was built; None where none loads it, or none can."""
    if all(trial.engine.name != "native" for trial in plan.trials):
        return None
    from workloads.engines.native import facts  # loads the core, which a plan without it should not

    try:
        known = facts()
    except WorkloadError:
        return None  # every trial's worker will say why
    return schema.NativeBuild(
        **{name: str(known[name]) for name in schema.NativeBuild.__struct_fields__ if name in known}
    )
