import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import baselines, ratchet
from results.errors import BaselineInvalidError, NoisyRunError, NotComparableError
from results.gate import Status, check
from results.metrics import METRICS, Key, measure
from results.schema import Checkpoint, Quality, Validity

Make = Callable[..., Any]
MIB = 2**20
LOWMEM = Key("mlp-mnist", "lowmem", "torch", 100)


def recorded(path: Path, document: Any, reason: str = "first recorded") -> baselines.Entry:
    ratchet.update(path, [document], reason)
    return dict(baselines.read(path).entries())[LOWMEM]


def test_an_update_records_medians_and_why(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    entry = recorded(path, document())
    assert entry.metrics["training_peak_bytes"].value == 40 * MIB
    assert entry.metrics["training_peak_bytes"].tolerance == 0.01
    assert entry.metrics["time_ratio"].value == pytest.approx(
        0.0120 / 0.0100, rel=1e-4
    )  # of the fastest repeats
    assert entry.metrics["test_accuracy"].value == pytest.approx(0.97)
    assert "net_j_per_step" not in entry.metrics, "what was not measured has no baseline"
    assert "step_s" not in entry.metrics
    assert (entry.reason, entry.optimizer, entry.threads) == ("first recorded", "adam", 2)
    assert entry.accumulate == 1
    four = document([trial("lowmem", i, settings={"accumulate": 4}) for i in range(3)])
    assert recorded(tmp_path / "four.toml", four).accumulate == 4
    assert entry.ledger_by_variable["X"] == 12_500
    facts = baselines.read(path).environments[str(entry.environment)]
    assert facts["cpu"] == "Test CPU @ 2.0 GHz"


def test_the_reference_trainer_has_no_time_ratio(document: Make, tmp_path: Path) -> None:
    recorded(tmp_path / "host.toml", document())
    entries = dict(baselines.read(tmp_path / "host.toml").entries())
    assert "time_ratio" not in entries[LOWMEM._replace(trainer="standard")].metrics


def test_an_update_tells_what_changed(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    first = ratchet.update(path, [document()], "first recorded")
    assert all(change.before is None for change in first)
    smaller = document([trial("lowmem", i, peak=30 * MIB) for i in range(3)])
    changes = {change.metric: change for change in ratchet.update(path, [smaller], "packed masks")}
    assert changes["training_peak_bytes"].before == 40 * MIB
    assert changes["training_peak_bytes"].after == 30 * MIB
    assert LOWMEM._replace(trainer="standard") in dict(baselines.read(path).entries())


def test_comments_ceilings_and_other_entries_stay(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    recorded(path, document())
    text = path.read_text()
    marked = text.replace(
        "tolerance = 0.01\n", "tolerance = 0.01 # generous on purpose\nceiling = 99_000_000 # promised\n", 1
    )
    marked = marked.replace('reason = "first', '# asked for in review\nreason = "first', 1)
    assert marked.count("#") == text.count("#") + 3
    path.write_text(marked + "\n[baselines.cnv-cifar10.lean.native.batch-50.metrics]\nstep_s.ceiling = 2.5\n")
    recorded(path, document(), "recorded again")
    after = path.read_text()
    assert "# generous on purpose" in after
    assert "ceiling = 99_000_000 # promised" in after
    assert "# asked for in review" in after
    assert 'reason = "recorded again"' in after
    other = dict(baselines.read(path).entries())[Key("cnv-cifar10", "lean", "native", 50)]
    assert other.metrics["step_s"].ceiling == 2.5


def test_an_update_twice_changes_nothing(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    recorded(path, document())
    first = path.read_text()
    recorded(path, document())
    assert path.read_text() == first


def test_an_entry_written_by_hand_is_completed(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text(
        'schema = "harness.baselines"\nschema_version = 1\n'
        "[baselines.mlp-mnist.lowmem.torch.batch-100.metrics.training_peak_bytes]\n"
        "ceiling = 50331648 # 48 MiB\n"
    )
    entry = recorded(path, document())
    assert entry.metrics["training_peak_bytes"].ceiling == 48 * MIB
    assert entry.metrics["training_peak_bytes"].value == 40 * MIB
    assert entry.optimizer == "adam"
    assert "# 48 MiB" in path.read_text()


def test_tolerance_follows_the_spread() -> None:
    metric = METRICS["time_ratio"]
    assert ratchet.tolerance_of(metric, [1.0, 1.0, 1.0]) == metric.floor
    assert ratchet.tolerance_of(metric, [0.9, 1.0, 1.1]) == pytest.approx(0.3)


def test_several_documents_of_one_machine_are_pooled(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    single = [document([trial("lowmem", 0, peak=p * MIB)]) for p in (40, 40, 41)]
    with pytest.raises(NoisyRunError, match="1 repeat cannot show a spread"):
        ratchet.update(path, single[:1], "x")
    ratchet.update(path, single, "pooled")
    assert dict(baselines.read(path).entries())[LOWMEM].metrics["training_peak_bytes"].value == 40 * MIB


def test_noisy_and_spoilt_runs_are_refused(document: Make, trial: Make, failed: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    noisy = document([trial("lowmem", i, peak=p * MIB) for i, p in enumerate((40, 45, 50))])
    with pytest.raises(NoisyRunError, match=r"training_peak_bytes spreads ±11.1 % over 3 repeats"):
        ratchet.update(path, [noisy], "x")
    with pytest.raises(NoisyRunError, match="ended 'out_of_memory'"):
        ratchet.update(path, [document([trial("lowmem", 0), trial("lowmem", 1), failed()])], "x")
    hot = trial("lowmem", 2, validity=Validity(throttled=True, load=0.0))
    with pytest.raises(NoisyRunError, match="throttled"):
        ratchet.update(path, [document([trial("lowmem", 0), trial("lowmem", 1), hot])], "x")
    checkpoint = Checkpoint(
        path="x", every_steps=10, resumed_at_step=50, last_step=60, written=1, bytes=9, write_s=0.1
    )
    resumed = [trial("lowmem", i, checkpoint=checkpoint if i == 2 else None) for i in range(3)]
    with pytest.raises(NoisyRunError, match="resumed"):
        ratchet.update(path, [document(resumed)], "x")
    assert not path.exists()


def test_repeats_around_nothing_are_noise(document: Make, trial: Make, tmp_path: Path) -> None:
    def reached(accuracies: tuple[float, ...]) -> Any:
        qualities = [Quality(train_loss=[], test_accuracy=a, test_items=2) for a in accuracies]
        return document([trial("lowmem", i, quality=quality) for i, quality in enumerate(qualities)])

    path = tmp_path / "host.toml"
    with pytest.raises(NoisyRunError, match=r"test_accuracy spreads from 0 to 0.5 around 0 over 3 repeats"):
        ratchet.update(path, [reached((0.0, 0.0, 0.5))], "x")
    ratchet.update(path, [reached((0.0, 0.0, 0.0))], "nothing learnt")
    verdicts = check(reached((0.0, 0.0, 0.5)), baselines.read(path))
    assert next(v for v in verdicts if v.metric == "test_accuracy").status is Status.INVALID


def test_what_makes_no_baseline(document: Make, trial: Make, host: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    with pytest.raises(BaselineInvalidError, match="needs a reason"):
        ratchet.update(path, [document()], "  ")
    with pytest.raises(BaselineInvalidError, match="no trial"):
        ratchet.update(path, [document([])], "x")
    with pytest.raises(NotComparableError, match="different machines: cores"):
        ratchet.update(path, [document(), document(host=host(cores=8))], "x")
    with pytest.raises(NotComparableError, match="two setups"):
        ratchet.update(path, [document([trial(), trial(optimizer="sgd")])], "x")


def test_a_broken_file_is_not_overwritten(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text('schema = "harness.baselines"\nschema_version = 1\ncieling = 1\n')
    with pytest.raises(BaselineInvalidError):
        ratchet.update(path, [document()], "x")
    assert "cieling" in path.read_text()


def test_time_ratios_are_paired_by_repeat(document: Make, trial: Make) -> None:
    trials = [trial("standard", 0, 1.0), trial("standard", 1, 2.0)]
    trials += [trial("lowmem", 1, 3.0), trial("lowmem", 0, 2.0), trial("lowmem", 7, 2.0)]
    assert measure([document(trials)])[LOWMEM].values["time_ratio"] == [1.5, 2.0]


def test_the_written_file_is_plain_toml(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    recorded(path, document())
    plain = tomllib.loads(path.read_text())
    assert plain["baselines"]["mlp-mnist"]["lowmem"]["torch"]["batch-100"]["metrics"]
    assert path.read_text().startswith("# Baselines of one device.")


def lengthened(trial: Make, steps: int, **changes: Any) -> list[Any]:
    return [trial("lowmem", i, settings={"steps": steps}, **({"peak": 40 * MIB} | changes)) for i in range(3)]


def test_one_metric_leaves_what_the_others_were_measured_under(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    path, long = tmp_path / "host.toml", document(lengthened(trial, 1000))
    ratchet.update(path, [long], "first recorded")
    short = document(lengthened(trial, 60, peak=30 * MIB))
    ratchet.update(path, [short], "packed masks", ["training_peak_bytes"])
    entry = dict(baselines.read(path).entries())[LOWMEM]
    assert entry.length == {"steps": 1000}, "the accuracy held is that of the long run"
    assert entry.metrics["training_peak_bytes"].value == 30 * MIB
    accuracy = next(v for v in check(long, baselines.read(path)) if v.metric == "test_accuracy")
    assert accuracy.status is Status.OK
    ledger = entry.ledger_by_variable
    for each in short.trials:
        each.memory.ledger_by_variable["X"] = 9
    ratchet.update(path, [short], "short", ["test_accuracy"])
    entry = dict(baselines.read(path).entries())[LOWMEM]
    assert (entry.length, entry.ledger_by_variable) == ({"steps": 60}, ledger)


@pytest.mark.parametrize(
    ("changes", "cores", "words"), [({"threads": 1}, 2, "threads: 2 → 1"), ({}, 4, "cores: 2 → 4")]
)
def test_no_value_is_held_under_conditions_it_was_not_measured_in(
    document: Make, trial: Make, host: Make, tmp_path: Path, changes: Any, cores: int, words: str
) -> None:
    path = tmp_path / "host.toml"
    recorded(path, document(lengthened(trial, 60)))
    before = path.read_text()
    other = document(lengthened(trial, 60, **changes), host=host(cores=cores))
    with pytest.raises(NotComparableError, match=rf"modelled_bytes, test_accuracy: .* \({words}\)"):
        ratchet.update(path, [other], "x", ["training_peak_bytes"])
    assert path.read_text() == before
    ratchet.update(path, [other], "all of it again")  # nothing is held, so all conditions may change
    assert {verdict.status for verdict in check(other, baselines.read(path))} == {Status.OK}


def test_an_update_that_measured_nothing_of_what_was_asked_says_why(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    with pytest.raises(BaselineInvalidError, match=r"net_j_per_step: no powercap zone.*nothing was recorded"):
        ratchet.update(path, [document()], "x", ["net_j_per_step"])
    assert not path.exists()
