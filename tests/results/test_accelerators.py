"""Trials on an accelerator beside those on the processor: shown with their own peaks, and never compared as alike."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from results import baselines, ratchet, tables
from results.compare import compare
from results.errors import NotComparableError
from results.fingerprint import machine_facts, software_facts
from results.gate import Status, check, exit_code
from results.history import History
from results.metrics import measure
from results.reports.again import commands
from results.reports.csv import documents_csv
from results.reports.markdown import document_markdown
from results.schema import Accelerator, AcceleratorMemory, AcceleratorPeak, Document, Trial
from results.store import dumps, loads
from results.summary import setup_of, setup_title

Make = Callable[..., Any]
MIB = 2**20
GPU = Accelerator(
    device="cuda:1",
    name="NVIDIA H100 PCIe",
    total_bytes=80 * 2**30,
    compute_capability="9.0",
    cuda_version="13.0",
    driver_version="580.65.06",
)


def held(peak: int, **changes: Any) -> AcceleratorMemory:
    """What a trial held there whose training peak is so many bytes."""
    fields: dict[str, Any] = {
        "baseline_bytes": 8 * MIB,
        "peak_allocated_bytes": 8 * MIB + peak,
        "peak_reserved_bytes": 64 * MIB,
        "training_peak_bytes": peak,
        "by_phase": {"train": AcceleratorPeak(allocated_bytes=8 * MIB + peak, reserved_bytes=64 * MIB)},
        "device_used_before_bytes": 500 * MIB,
        "device_used_after_bytes": 560 * MIB,
    }
    return AcceleratorMemory(**(fields | changes))


@pytest.fixture
def there(trial: Make) -> Make:
    """Return a function that makes a trial on the GPU; the host's peak of 900 MiB is that of CUDA's libraries."""

    def make(trainer: str = "lowmem", repeat: int = 0, peak: int = 40 * MIB, **changes: Any) -> Trial:
        made: Trial = trial(trainer, repeat, peak=900 * MIB, **({"accelerator": GPU} | changes))
        made.memory.accelerator = held(peak)
        return made

    return make


def test_the_document_keeps_both_memories(document: Make, there: Make) -> None:
    text = dumps(document([there()]))
    (trial,) = loads(text).trials
    assert (trial.accelerator, trial.memory.accelerator) == (GPU, held(40 * MIB))
    assert trial.memory.training_peak_bytes == 900 * MIB


def test_a_document_of_before_has_trials_on_the_processor(document: Make) -> None:
    plain = json.loads(dumps(document()))
    for each in plain["trials"]:
        del each["accelerator"], each["memory"]["accelerator"]
    read = msgspec.convert(plain, Document, strict=False)
    assert read == loads(dumps(document()))
    assert {setup_of(each).accelerator for each in read.trials} == {"cpu"}


def test_a_null_needs_a_reason() -> None:
    with pytest.raises(ValueError, match=r"memory\.accelerator is null without a reason"):
        held(1, device_used_after_bytes=None)
    with pytest.raises(ValueError, match="accelerator is null without a reason"):
        msgspec.structs.replace(GPU, driver_version=None)
    assert AcceleratorMemory.unavailable("why").training_peak_bytes is None


def test_the_table_has_the_accelerator_s_peak_and_says_so(document: Make, there: Make, shown: Make) -> None:
    made = document([there("standard", peak=120 * MIB), there(peak=40 * MIB)])
    text = " ".join(shown(tables.document_view(made)).split())
    assert "mlp-mnist: torch on NVIDIA H100 PCIe, adam, batch 100" in text
    assert "standard 10.0 ms 120.00 9.56 1.00×" in text
    assert "lowmem 10.0 ms 40.00 4.60 3.00×" in text
    assert (
        "peak: of NVIDIA H100 PCIe's memory, the most that torch's allocator had handed out while training"
        in text
    )
    assert "peak: the most memory resident" not in text
    assert "NVIDIA H100 PCIe: 500.0 MiB were in use before the set-up" in text
    assert "900" not in text
    assert "torch on NVIDIA H100 PCIe" in document_markdown(made)


def test_a_peak_that_is_not_known_has_its_own_reason(document: Make, there: Make, shown: Make) -> None:
    unknown = there()
    unknown.memory.accelerator = AcceleratorMemory.unavailable("nobody looked")
    text = shown(tables.document_view(document([unknown])))
    assert "memory: nobody looked" in text
    assert "900" not in text  # the host's peak does not stand in for it


def test_one_table_for_the_processor_and_one_for_the_accelerator(
    document: Make, trial: Make, there: Make, shown: Make
) -> None:
    text = " ".join(shown(tables.document_view(document([trial("lowmem"), there()]))).split())
    assert text.count("mlp-mnist: torch") == 2
    assert "peak: the most memory resident" in text
    assert "peak: of NVIDIA H100 PCIe's memory" in text


def test_the_processor_and_an_accelerator_are_not_compared(document: Make, trial: Make, there: Make) -> None:
    before, after = (
        document([trial("lowmem", i) for i in range(3)]),
        document([there(repeat=i) for i in range(3)]),
    )
    with pytest.raises(NotComparableError, match=r"accelerator: cpu and NVIDIA H100 PCIe"):
        compare(before, after)
    other = msgspec.structs.replace(GPU, name="NVIDIA A100")
    with pytest.raises(NotComparableError, match=r"accelerator: NVIDIA H100 PCIe and NVIDIA A100"):
        compare(after, document([there(accelerator=other)]))
    with pytest.raises(NotComparableError, match="two setups"):
        measure([before, after])


def test_two_documents_of_one_kind_of_accelerator_are(document: Make, there: Make) -> None:
    newer = msgspec.structs.replace(GPU, device="cuda", driver_version="590.1")
    before = document([there(repeat=i, peak=40 * MIB) for i in range(3)])
    after = document([there(repeat=i, peak=30 * MIB, accelerator=newer) for i in range(3)])
    comparison = compare(before, after)
    (memory,) = [row for row in comparison.rows if row.quantity == "peak memory"]
    assert (memory.before, memory.after, memory.effect) == ("40.0 MiB", "30.0 MiB", "less")
    assert comparison.software == ["CUDA driver: 580.65.06 → 590.1"]


def test_a_baseline_of_the_processor_is_none_of_an_accelerator(
    document: Make, trial: Make, there: Make, tmp_path: Path
) -> None:
    recorded = {}
    for name, make in (("cpu", trial), ("gpu", there)):
        path = tmp_path / f"{name}.toml"
        ratchet.update(path, [document([make("lowmem", i) for i in range(3)])], "first recorded")
        recorded[name] = baselines.read(path)
    on_gpu, on_cpu = (document([make("lowmem", i) for i in range(3)]) for make in (there, trial))
    for run, file, words in (
        (on_gpu, recorded["cpu"], "accelerator: cpu → NVIDIA H100 PCIe"),
        (on_cpu, recorded["gpu"], "accelerator: NVIDIA H100 PCIe → cpu"),
    ):
        verdicts = check(run, file)
        assert {verdict.status for verdict in verdicts} == {Status.NOT_COMPARABLE}
        assert words in verdicts[0].detail
        assert exit_code(verdicts) == 5
    assert exit_code(check(on_gpu, recorded["gpu"])) == 0
    grown = document([there("lowmem", i, peak=50 * MIB) for i in range(3)])
    assert Status.REGRESSED in {verdict.status for verdict in check(grown, recorded["gpu"])}


def test_an_entry_without_the_name_is_of_the_processor() -> None:
    assert baselines.Entry(metrics={}).accelerator == "cpu"


def test_the_history_keeps_them_apart(document: Make, trial: Make, there: Make, tmp_path: Path) -> None:
    for name, made in (("a", trial("lowmem")), ("b", there())):
        (tmp_path / f"{name}.json").write_text(dumps(document([made])))
    with History(tmp_path) as history:
        history.load()
        trends = history.trends("training_peak_bytes")
    assert {(each.setup.accelerator, each.level) for each in trends} == {
        ("cpu", 90 * MIB),
        ("NVIDIA H100 PCIe", 40 * MIB),
    }


def test_facts_of_the_machine_do_not_know_it_and_those_of_software_do(document: Make, there: Make) -> None:
    assert machine_facts(document([there()])) == machine_facts(document())
    facts = software_facts(document([there()]))
    assert (facts["CUDA"], facts["CUDA driver"]) == ("13.0", "580.65.06")
    assert "CUDA" not in software_facts(document())


def test_how_to_measure_it_again(document: Make, there: Make, trial: Make) -> None:
    assert "--accelerator cuda:1" in commands(document([there()]))[1]
    assert "--accelerator" not in commands(document([trial()]))[1]


def test_the_csv_has_columns_of_both(document: Make, trial: Make, there: Make) -> None:
    on_cpu, on_gpu = csv.DictReader(io.StringIO(documents_csv([document([trial(), there()])])))
    assert (on_cpu["accelerator"], on_cpu["accelerator_training_peak_bytes"]) == ("cpu", "")
    assert on_gpu["accelerator"] == "NVIDIA H100 PCIe"
    assert on_gpu["accelerator_training_peak_bytes"] == str(40 * MIB)
    assert on_gpu["training_peak_bytes"] == str(900 * MIB)


def test_the_title_names_it(there: Make) -> None:
    assert setup_title(setup_of(there())).startswith("mlp-mnist: torch on NVIDIA H100 PCIe, adam")
