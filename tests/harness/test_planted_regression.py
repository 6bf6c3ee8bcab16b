"""A regression planted in a real training: what is kept in float32 again fails the gate by its name.

An activation of the torch engine: `commands/test_gates.py`.
"""

import msgspec
import pytest

from harness import plan, runner
from harness.display import Quiet
from results import baselines, gate, ratchet
from workloads.registry import ENGINES

pytestmark = pytest.mark.skipif(
    ENGINES["native"].missing() is not None, reason="the native core is not built here"
)


def measured(repeats, **recipe_changes):
    """Train the MLP one step a repeat with lowmem, its recipe changed as said, and return the document.

    The batch is large, so that what is planted stands far above what peaks vary by beside other work.
    """
    chosen = plan.build(
        plan.Options(
            trainers=("lowmem",),
            engine="native",
            synthetic=True,
            batch_size=4000,
            steps=1,
            warmup=1,
            repeats=repeats,
            meters=("none",),
            threads=1,
            test_items=1,
            allocator="pinned",
            idle_s=0.0,
        )
    )
    trials = tuple(
        msgspec.structs.replace(trial, recipe=trial.recipe._replace(**recipe_changes))
        for trial in chosen.trials
    )
    return runner.run(msgspec.structs.replace(chosen, trials=trials), Quiet(), lambda document: None)


def test_momenta_kept_in_float32_fail_with_4_and_are_named(tmp_path):
    path = tmp_path / "host.toml"
    ratchet.update(path, [measured(3)], "as it should be", ["training_peak_bytes"])
    held_to = baselines.read(path)
    assert gate.exit_code(gate.check(measured(1), held_to)) == 0
    (verdict,) = gate.check(measured(1, momentum="float32"), held_to)
    assert verdict.detail.endswith("; momenta grew most, from 1.5 MiB to 3.1 MiB")
    assert gate.exit_code([verdict]) == 4
