"""A regression planted in a real training: one activation tensor kept in float32 fails the gate by its name."""

import msgspec
import pytest

from harness import plan, runner
from harness.display import Quiet
from results import baselines, gate, ratchet
from workloads.registry import ENGINES

PLANTED = {
    # One tensor kept in float32: Y and the gradient of X; and, where no torch is, the momenta.
    "torch": ({"gradient": "float32"}, "; dX_Y grew most, from 2.0 MiB to 3.9 MiB"),
    "native": ({"momentum": "float32"}, "; momenta grew most, from 1.5 MiB to 3.1 MiB"),
}


def measured(engine, repeats, **recipe_changes):
    """Train the MLP one step a repeat with lowmem, its recipe changed as said, and return the document.

    The batch is large, so that what is planted stands far above what peaks vary by beside other work.
    """
    chosen = plan.build(
        plan.Options(
            trainers=("lowmem",),
            engine=engine,
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


@pytest.mark.parametrize("engine", PLANTED)
def test_a_tensor_kept_in_float32_fails_with_4_and_is_named(engine, tmp_path):
    if ENGINES[engine].missing():
        pytest.skip(f"no {engine} here")
    changes, words = PLANTED[engine]
    path = tmp_path / "host.toml"
    ratchet.update(path, [measured(engine, 3)], "as it should be", ["training_peak_bytes"])
    held_to = baselines.read(path)
    assert gate.exit_code(gate.check(measured(engine, 1), held_to)) == 0
    (verdict,) = gate.check(measured(engine, 1, **changes), held_to)
    assert verdict.status is gate.Status.REGRESSED
    assert verdict.detail.endswith(words)
    assert gate.exit_code([verdict]) == 4
