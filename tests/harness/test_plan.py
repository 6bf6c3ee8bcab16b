import pytest

from harness import option_checks
from harness import plan as planning
from harness.errors import UsageError
from workloads import recipes, registry
from workloads.engines.base import Job
from workloads.engines.native import fitting, library, location
from workloads.errors import DataError, UnknownNameError, UnsupportedError

NATIVE = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))


def build(**options):
    return planning.build(planning.Options(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch-size must be at least 1, not 0"),
        ({"batch_size": 10**9}, "training items; take fewer"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"epochs": -1}, "--epochs must be at least 1"),
        ({"repeats": 0}, "--repeats must be at least 1"),
        ({"warmup": -1}, "--warmup must not be negative"),
        ({"steps": 5, "epochs": 1}, "exclude each other"),
        ({"energy_phases": True, "accumulate": 2}, "--energy-phases .* --accumulate"),
        ({"threads": 4096}, "--threads 4096: this machine has"),
        ({"settings": ("nonsense=1",)}, "--setting nonsense=1: write NAME=VALUE with one of: learning_rate"),
        ({"settings": ("learning_rate",)}, "--setting learning_rate: write NAME=VALUE"),
        ({"settings": ("learning_rate=-1",)}, "learning_rate=-1: it must be a number above 0"),
        ({"settings": ("schedule=steep",)}, "schedule=steep: it may be cosine or constant"),
        (
            {"trainers": ("lean",), "settings": ("border=cancel",)},
            "border=cancel: 'lean' keeps no second moment",
        ),
        ({"trigger_active_low": True}, "--trigger-active-low needs --trigger-pin N"),
        ({"mechanism": "watchdog"}, "--mechanism watchdog needs a ceiling to enforce: --ceiling SIZE"),
        ({"mechanism": "rlimit", "ceiling_bytes": 1 << 30}, "--mechanism rlimit: there is: auto, cgroup-v2"),
        ({"epochs": 1, "batch_size": 5000, "warmup": 2}, "leaves nothing of 2 steps"),
    ],
)
def test_options_that_make_no_sense_are_refused(make_plan, options, message):
    with pytest.raises(UsageError, match=message):
        build(**options)


@pytest.mark.torch
def test_a_data_set_that_does_not_fit_the_network_is_refused(monkeypatch):
    row = planning.registry.workload("resnete18-imagenet")._replace(name="odd", dataset="cifar10")
    monkeypatch.setitem(planning.registry.WORKLOADS, "odd", row)
    with pytest.raises(
        UsageError, match=r"'odd' takes \(3, 224, 224\) images of up to 1000 classes; synthetic"
    ):
        build(workloads=("odd",), synthetic=True)


@pytest.mark.parametrize("option", ["workloads", "trainers"])
def test_an_unknown_name_lists_those_there_are(make_plan, option):
    with pytest.raises(UnknownNameError, match=r"unknown .* 'nonsense'; there is: "):
        build(**{option: ("nonsense",)})


def test_a_folder_without_the_data_is_an_error_before_anything_runs(make_plan, tmp_path):
    with pytest.raises(DataError, match="harness data fetch mnist"):
        build(data_dir=tmp_path)


def test_an_engine_is_never_replaced_by_another():
    with pytest.raises(UnknownNameError, match="unknown engine"):
        build(engine="nonsense")


def test_an_engine_that_cannot_names_one_that_can(monkeypatch):
    narrow = planning.registry.Engine("narrow", "", "none", ("standard",), ("mlp",))
    monkeypatch.setitem(planning.registry.ENGINES, "narrow", narrow)
    with pytest.raises(UnsupportedError, match=r"engine narrow does not train .* try: --engine "):
        build(engine="narrow", trainers=("lowmem",))


@pytest.mark.torch
def test_a_setting_that_an_engine_lacks_picks_one_that_obeys_it(tmp_path):
    plan = build(trainers=("lowmem",), settings=("gradient_scale=layer",))
    assert {trial.engine.name for trial in plan.trials} == {"torch"}
    with pytest.raises(UnsupportedError, match=r"engine native .* gradient_scale=layer; try: --engine torch"):
        build(trainers=("lowmem",), settings=("gradient_scale=layer",), engine="native")


@pytest.mark.torch
def test_an_optimizer_that_an_engine_lacks_with_a_trainer_picks_one_that_has_it(tmp_path):
    plan = build(trainers=("standard", "lowmem"), optimizer="bop")
    assert [trial.engine.name for trial in plan.trials[:2]] == ["torch", "native"]
    with pytest.raises(
        UnsupportedError, match=r"engine native .* bop of real gradients; try: --engine torch"
    ):
        build(trainers=("standard",), optimizer="bop", engine="native")


def test_steps_are_measured_steps_and_the_warm_up_comes_before(make_plan):
    trial = make_plan(steps=7, warmup=3).trials[0]
    assert (trial.steps, trial.warmup) == (10, 3)


def test_epochs_count_all_steps(make_plan):
    trial = make_plan(steps=None, epochs=2, warmup=3).trials[0]
    assert trial.steps == 2 * 100  # 10,000 items of the sample in batches of 100


def test_settings_replace_the_workload_s(make_plan):
    trial = build(settings=("learning_rate=3e-4", "gradient_scale=layer")).trials[0]
    assert trial.settings["learning_rate"] == 3e-4
    assert trial.settings["gradient_scale"] == "layer"
    assert trial.settings["schedule"] == "cosine"


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1e-2), ("bop", 1e-3)])
def test_the_rate_is_the_workload_s_for_that_optimizer(make_plan, optimizer, rate):
    trial = build(workloads=("cnv-cifar10",), optimizer=optimizer, synthetic=True).trials[0]
    assert trial.settings["learning_rate"] == rate


def trained_otherwise(engine, setting, own, other, trainer="lowmem"):
    """The two trials with a setting as the recipe has it and otherwise; both say in two places which."""
    trials = [
        build(trainers=(trainer,), engine=engine, settings=(f"{setting}={choice}",)).trials[0]
        for choice in ("recipe", other)
    ]
    assert [trial.settings[setting] for trial in trials] == [own, other]
    assert [getattr(trial.recipe, setting) for trial in trials] == [own, other]
    return trials


@pytest.mark.parametrize("engine", ["native", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_training_without_the_mask_keeps_none(make_plan, engine):
    with_mask, without = trained_otherwise(engine, "ste_mask", "kept", "none")
    assert with_mask.modelled_by_variable()["masks"] > without.modelled_by_variable()["masks"] == 0


@pytest.mark.parametrize("engine", ["native", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_weight_at_the_border_may_be_clipped(make_plan, engine):
    as_the_paper, clipped = trained_otherwise(engine, "border", "cancel", "clip")
    assert as_the_paper.modelled_by_variable() == clipped.modelled_by_variable()


@pytest.mark.parametrize("engine", ["native", pytest.param("torch", marks=pytest.mark.torch)])
def test_a_trainer_that_clips_cancels_if_told_so(make_plan, engine):
    trained_otherwise(engine, "border", "clip", "cancel", trainer="lowmem-q6")


def test_a_pair_named_twice_is_measured_once(make_plan):
    plan = make_plan(
        workloads=("mlp-mnist", "mlp-mnist"), trainers=("lowmem", "standard", "lowmem"), repeats=2
    )
    assert [(trial.recipe.name, trial.seed) for trial in plan.trials] == [
        ("lowmem", 0), ("standard", 0), ("lowmem", 1), ("standard", 1)
    ]  # fmt: skip


def test_emulating_brings_the_profile_s_ceiling(make_plan):
    assert make_plan(device="pi-zero2w", emulate=True).ceiling_bytes == 512 << 20
    assert make_plan(device="pi-zero2w", emulate=True, ceiling_bytes=1 << 20).ceiling_bytes == 1 << 20
    assert make_plan().ceiling_bytes is None


def on_a_machine_of(cores, monkeypatch):
    monkeypatch.setattr(option_checks, "usable_cores", lambda: cores)


@NATIVE
def test_a_machine_of_many_cores_gives_the_native_engine_what_it_takes(monkeypatch):
    on_a_machine_of(96, monkeypatch)
    assert (
        {trial.threads for trial in build(engine="native").trials} == {registry.MOST_NATIVE_THREADS} == {64}
    )
    on_a_machine_of(48, monkeypatch)
    assert {trial.threads for trial in build(engine="native").trials} == {48}


def test_another_engine_has_all_the_cores(make_plan, monkeypatch):
    on_a_machine_of(96, monkeypatch)
    assert make_plan().trials[0].threads == 96
    assert make_plan(threads=80).trials[0].threads == 80


@NATIVE
def test_more_threads_than_the_native_engine_takes_are_refused(monkeypatch):
    on_a_machine_of(96, monkeypatch)
    with pytest.raises(UsageError, match="--threads 96: the native engine takes at most 64"):
        build(engine="native", threads=96)
    assert build(engine="native", threads=64).trials[0].threads == 64


@NATIVE
def test_the_limit_of_threads_is_the_core_s_own():
    most = registry.MOST_NATIVE_THREADS
    row, recipe, optimizer = (
        registry.workload("mlp-mnist"),
        recipes.recipe("lowmem"),
        recipes.optimizer("adam"),
    )
    job = Job(row.specification(), recipe, optimizer, 10, most, 0, {})
    assert fitting.arena_bytes(job) > 0
    with pytest.raises(library.CoreError, match=f"{most + 1} threads; 1 to {most} work"):
        fitting.arena_bytes(job._replace(threads=most + 1))
