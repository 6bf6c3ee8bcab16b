from collections.abc import Callable
from typing import Any

from results.reports.again import commands
from results.schema import Ceiling, Device, Synchronisation, Trigger

Make = Callable[..., Any]


def test_how_to_measure_it_again(document: Make) -> None:
    device = Device(
        requested="pi3b+", profile="pi3b+", detected=None, emulated=True, memory_limit_bytes=2**30
    )
    install, run = commands(document(device=device))
    assert install == "pip install edge-harness==0.1.0"
    assert run == (
        "harness run --workload mlp-mnist --trainer standard --trainer lowmem --engine torch "
        "--optimizer adam --batch-size 100 --threads 2 --repeats 3 --seed 0 --steps 60 "
        "--meter rapl --allocator pinned --device pi3b+ --emulate"
    )


def test_a_ceiling_is_named_also_where_a_device_is_emulated(document: Make, trial: Make) -> None:
    asked = trial()
    asked.memory.ceiling = Ceiling(limit_bytes=200 << 20, mechanism="watchdog")
    for emulated in (False, True):
        device = Device(
            requested="pi3b+", profile="pi3b+", detected=None, emulated=emulated, memory_limit_bytes=200 << 20
        )
        _, run = commands(document([asked], device=device))
        assert "--ceiling 209715200" in run
        assert ("--emulate" in run) == emulated


def test_the_steps_asked_for_are_those_after_the_warm_up(document: Make, trial: Make) -> None:
    _, run = commands(document([trial(settings={"steps": 60, "warmup": 10, "epochs": None})]))
    assert "--steps 50 --warmup 10" in run
    _, run = commands(document([trial(settings={"steps": 600, "warmup": 10, "epochs": 4})]))
    assert "--epochs 4 --warmup 10" in run
    assert "--steps" not in run


def test_worker_meters_and_what_else_was_asked_for_are_named(
    document: Make, trial: Make, energy: Make
) -> None:
    settings = {"steps": 60, "test_items": 500, "evaluate_every": 20, "accumulate": 2}
    settings["given"] = "learning_rate=0.01; statistics=moving average"
    rows = [energy(), energy(domain="dram"), energy(meter="fnirsi"), energy(meter="otii", domain="trace")]
    trigger = Trigger(pin=17, active_high=False, active_s=1.0, edge_s=1e-6)
    asked = trial(settings=settings, energy=rows, worker="program", trigger=trigger)
    pattern = Synchronisation(code=[1, -1], chip_s=0.1, guard_s=1.0, begins_ns=[0])
    _, run = commands(document([asked], synchronisation=pattern))
    for words in (
        "--worker program",
        "--meter rapl --meter fnirsi --synchronise --trigger-pin 17 --trigger-active-low",
        "--setting learning_rate=0.01 --setting 'statistics=moving average'",
        "--evaluate-every 20 --test-items 500",
        "--accumulate 2",
    ):
        assert words in run
    assert "otii" not in run, "a trace that was brought in later is no meter of the run"


def test_where_nothing_was_metered_nothing_is_again(document: Make, trial: Make) -> None:
    _, run = commands(document([trial(energy=[])]))
    assert "--meter none" in run
