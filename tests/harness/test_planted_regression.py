"""A regression planted in a real training: one activation tensor kept in float32 fails the gate by its name."""

import msgspec
import pytest

from harness import plan, runner
from harness.display import Quiet
from results import baselines, gate
from workloads.registry import ENGINES

pytestmark = pytest.mark.skipif(
    ENGINES["native"].missing() is not None, reason="the native core is not built here"
)


def measured(repeats, **recipe_changes):
    """Train the MLP one step a repeat with lowmem, its recipe changed as said, and return the document."""
    chosen = plan.build(
        plan.Options(
            trainers=("lowmem",),
            engine="native",
            synthetic=True,
            batch_size=400,
            steps=1,
            warmup=1,
            repeats=repeats,
            meters=("none",),
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


def test_an_activation_tensor_kept_in_float32_fails_with_4_and_is_named(tmp_path):
    path = tmp_path / "host.toml"
    baselines.update(path, [measured(3)], "as it should be", ["training_peak_bytes"])
    held_to = baselines.read(path)
    assert gate.exit_code(gate.check(measured(1), held_to)) == 0
    verdicts = gate.check(measured(1, gradient="float32"), held_to)
    assert gate.exit_code(verdicts) == 4
    (verdict,) = verdicts
    assert verdict.detail.endswith("; dX_Y grew most, from 200.0 KiB to 400.0 KiB")
