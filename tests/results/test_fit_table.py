"""The words of `harness fit`, from documents made here."""

import msgspec
import pytest

from results.fit_document import Attempt, FitDocument, FittedTrainer
from results.fit_table import fit_view, sentence
from results.schema import Device, Energy

MIB = 1 << 20


def fitted(trainer="lowmem", batch_size=250, **changes):
    attempt = Attempt(
        batch_size=250, outcome="ok", reason=None, needed_bytes=500 * MIB, peak_rss_bytes=501 * MIB
    )
    fields = {
        "trainer": trainer,
        "engine": "torch",
        "batch_size": batch_size,
        "reason": None if batch_size else "the engine alone takes it all",
        "bound": "memory",
        "predicted_batch_size": 260,
        "resolution": 5,
        "baseline_rss_bytes": 220 * MIB,
        "modelled_bytes": 280 * MIB,
        "peak_rss_bytes": 501 * MIB,
        "step_s": 0.5,
        "sample_s": 0.002,
        "energy": [],
        "attempts": [attempt],
    }
    return FittedTrainer(**(fields | changes))


@pytest.fixture
def answered(document):
    def make(*trainers, **changes):
        head = document()
        fields = {
            "created": head.created,
            "harness": head.harness,
            "host": head.host,
            "device": Device(
                requested="pi3b+", profile="pi3b+", detected=None, emulated=True, memory_limit_bytes=512 * MIB
            ),
            "workload": "binarynet-cifar10",
            "dataset_variant": "full",
            "optimizer": "adam",
            "threads": 4,
            "steps": 3,
            "limit_bytes": 512 * MIB,
            "reserve_bytes": 0,
            "mechanism": "cgroup-v1",
            "trainers": list(trainers),
        }
        return FitDocument(**(fields | changes))

    return make


def test_the_sentence_names_device_memory_and_every_trainer(answered):
    assert sentence(answered(fitted("standard", 20), fitted("lowmem", 250))) == (
        "On pi3b+, emulated, in 512.0 MiB, 'standard' trains binarynet-cifar10 up to batch 20, "
        "'lowmem' up to batch 250."
    )


def test_what_does_not_fit_at_all_is_said_with_its_cause(answered, shown):
    document = answered(fitted("standard", None), reserve_bytes=64 * MIB)
    assert "'standard' trains binarynet-cifar10 at no batch size (the engine alone takes it all)" in sentence(
        document
    )
    assert "(less 64.0 MiB for the system)" in sentence(document)
    assert "set aside" not in shown(fit_view(document))
    assert "run did not fit" not in shown(fit_view(document))


def test_the_table_gives_time_and_energy_a_sample_and_fits_80_columns(answered, shown):
    measured = Energy(
        meter="rapl", domain="package-0", gross_j=5.0, idle_j=1.0, net_j=4.0, net_j_per_step=2.0, uncertainty_j=0.1,
        rate_hz=900.0, provenance="measured", reason=None,
    )  # fmt: skip
    known = fitted(energy=[measured], net_j_per_sample=0.008, uncertainty_j_per_sample=0.0002)
    text = shown(fit_view(answered(known)))
    assert "2.00 ms" in text
    assert text.count("8.0 ±0.2 mJ") == 2, "in the table and in the sentence"
    assert "measured by rapl (package-0)" in text
    assert sentence(answered(known)).endswith("up to batch 250 (at 8.0 ±0.2 mJ a sample).")
    assert max(map(len, text.splitlines())) <= 80
    text = shown(fit_view(answered(fitted(energy=[Energy.unavailable("rapl", "package-0", "no zone")]))))
    assert "mJ" not in text
    assert "lowmem: no energy from rapl: no zone" in text
    modelled = msgspec.structs.replace(measured, meter="mock", provenance="modelled")
    text = shown(fit_view(answered(fitted(energy=[modelled]))))
    assert "mJ" not in text
    assert "energy by mock is modelled, not measured" in text


def test_one_is_no_plural_and_within_has_its_unit(answered, shown):
    text = shown(fit_view(answered(fitted(resolution=200), threads=1, steps=1)))
    assert "1 run of 1 step in 512.0 MiB" in text
    words = " ".join(text.split())
    assert ("adam, 1 thread" in words, "1 threads" in words) == (True, False)
    heads = [line.split() for line in text.splitlines() if "within" in line or "items" in line]
    assert ("within" in heads[0], "items" in heads[1]) == (True, True)


def test_a_null_answer_needs_a_reason():
    with pytest.raises(ValueError, match="without a reason"):
        fitted(batch_size=None, reason=None)
