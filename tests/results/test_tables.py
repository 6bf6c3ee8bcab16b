import re
from collections.abc import Callable
from typing import Any

import pytest

from results import tables
from results.schema import Device, Energy, Memory, PhaseEnergy, Time, Validity

Make = Callable[..., Any]
LONG = ["standard", "lowmem", "float16-booldw-l1", "lowmem-po2"]


def row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.split()[:1] == [name])
    return line.split()


def test_the_main_table_has_every_column_of_the_contract(
    document: Make, trial: Make, energy: Make, shown: Make
) -> None:
    text = shown(tables.main_table(document([trial(energy=[energy()]), trial("lowmem", peak=45 * 2**20)])))
    assert "mlp-mnist: torch, adam, batch 100, sample data, 2 threads" in text
    standard = "standard 10.0 ms 90.00 9.56 1.00× 136 ±5 mJ 97.0 %"
    assert row(text, "standard") == standard.split()
    assert row(text, "lowmem") == ["lowmem", "10.0", "ms", "45.00", "4.60", "2.00×", "–", "97.0", "%"]


@pytest.mark.parametrize("colour", [False, True])
def test_it_fits_in_80_columns_and_nothing_is_cut(
    document: Make, trial: Make, failed: Make, energy: Make, shown: Make, colour: bool
) -> None:
    trials = [trial(name, step_s=0.0123, peak=12345 * 2**20, energy=[energy(12.3)]) for name in LONG]
    trials.append(failed("float16-booldw"))
    text = shown(tables.document_view(document(trials)), colour=colour)
    text = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert all(name in text for name in LONG)


def test_without_colour_no_escape_is_written(document: Make, failed: Make, shown: Make) -> None:
    assert "\x1b" not in shown(tables.document_view(document([failed()])))


def test_a_failed_trainer_says_so_in_words(document: Make, trial: Make, failed: Make, shown: Make) -> None:
    text = shown(tables.document_view(document([trial(), failed(), failed(repeat=1)])))
    assert "  out of memory" in text
    assert row(text, "lowmem") == ["lowmem", *["–"] * 6]
    assert text.count("killed at the ceiling of 64 MiB") == 1
    some = shown(tables.main_table(document([trial(), failed("standard", 1)])))
    assert "  1 of 2 failed" in some
    assert "10.0 ms" in some


def test_each_reason_has_one_line_however_many_trials(document: Make, shown: Make) -> None:
    text = " ".join(shown(tables.notes(document())).split())
    assert text.count("no powercap zone under /sys/class/powercap") == 1
    assert "see `harness doctor`" in text


def test_a_reason_of_some_trainers_names_them(document: Make, trial: Make, shown: Make) -> None:
    untimed = trial("lowmem", time=Time.unavailable("the worker sent no marks"))
    text = shown(tables.notes(document([trial(), untimed])))
    assert "· lowmem: time: the worker sent no marks" in text


def test_windows_that_are_too_short_ask_once_for_what_does_for_all(
    document: Make, trial: Make, shown: Make
) -> None:
    def short(trainer: str, window: str, steps: int) -> Any:
        reason = f"the window of {window} s is too short for this meter: 2 s would do; try: --steps {steps}"
        return trial(trainer, energy=[Energy.unavailable("rapl", "package-0", reason)])

    trials = [short("standard", "0.565", 12), short("lowmem", "0.4", 16), short("standard", "0.456", 9)]
    text = " ".join(shown(tables.notes(document(trials))).split())
    assert text.count("too short") == 1
    assert "· no energy from rapl: the window of 0.4 s is too short" in text
    assert "--steps 16" in text


def test_notes_on_what_is_not_measured(document: Make, trial: Make, energy: Make, shown: Make) -> None:
    modelled = energy(0.2, meter="constant", provenance="modelled")
    memory = Memory.unavailable("no /proc here", allocator="pinned")
    spoilt = Validity(throttled=True, load=3.0, notes=["load 3.0 on 2 cores"])
    text = " ".join(
        shown(
            tables.document_view(document([trial(energy=[modelled], memory=memory, validity=spoilt)]))
        ).split()
    )
    assert "energy by constant is modelled, not measured" in text
    assert "memory: no /proc here" in text
    assert "validity: load 3.0 on 2 cores" in text
    assert "validity: the device throttled" in text
    assert "peak: the most memory" not in text


def test_the_phases_of_repeats_carry_their_spread(document: Make, trial: Make, shown: Make) -> None:
    def phase(net_j: float) -> PhaseEnergy:
        return PhaseEnergy(
            meter="rapl",
            domain="package-0",
            phase="forward",
            net_j_per_step=net_j,
            uncertainty_j_per_step=0.01,
            repetitions=100,
            window_s=3.0,
            provenance="measured",
            reason=None,
        )

    trials = [trial(repeat=i, energy_by_phase=[phase(j)]) for i, j in enumerate((1.0, 2.0, 3.0, 2.5, 1.2))]
    text = " ".join(shown(tables.notes(document(trials))).split())
    assert "energy by phase, a step: forward 2 ±1 J" in text


def test_no_meter_is_not_the_same_as_a_broken_one(document: Make, trial: Make, shown: Make) -> None:
    assert "energy: no meter was asked for" in shown(tables.notes(document([trial(energy=[])])))


def test_an_emulated_device_is_named(document: Make, shown: Make) -> None:
    device = Device(
        requested="pi3b+", profile="pi3b+", detected=None, emulated=True, memory_limit_bytes=2**30
    )
    text = shown(tables.notes(document(device=device)))
    assert "pi3b+ is emulated with its 1.0 GiB on Test CPU" in text


def test_markup_in_a_reason_is_shown_as_it_is(document: Make, failed: Make, shown: Make) -> None:
    text = shown(tables.document_view(document([failed(reason="got [red]x[/nothing] back")])))
    assert "got [red]x[/nothing] back" in text
    assert "[/b]odd" in shown(tables.main_table(document([failed("[/b]odd")])))


def test_a_document_without_trials(document: Make, shown: Make) -> None:
    assert "holds no trial" in shown(tables.document_view(document([])))


def test_list_table(shown: Make) -> None:
    rows = [
        {"name": "mlp-mnist", "batch_size": 100, "engines": ["torch", "native"], "masks": None},
        {"name": "cnv-cifar10", "batch_size": 50, "engines": [], "masks": True},
    ]
    text = shown(tables.list_table("workloads", rows))
    assert row(text, "mlp-mnist") == ["mlp-mnist", "100", "torch,", "native", "–"]
    assert row(text, "cnv-cifar10") == ["cnv-cifar10", "50", "–", "yes"]
    assert "batch size" in text
    assert "There are no meters." in shown(tables.list_table("meters", []))
