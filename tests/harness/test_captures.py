"""What the meters of a run read, kept in files that play again as a meter."""

import time
from pathlib import Path

import pytest

from harness import captures, energy
from harness.energy import EnergyWatch
from power import registry
from power.base import Domain, Meter, Sample, now_ns
from power.capture import read_capture
from power.series import Series
from results.errors import DocumentWriteError


class Counter(Meter):
    """A counter at 10 W, read whenever asked."""

    name = "counter"
    provenance = "measured"
    period_s = 0.01

    @property
    def domains(self) -> tuple[Domain, ...]:
        return (Domain("plug", "energy", "the plug", max_power_w=20.0),)

    def open(self) -> None:
        pass

    def read(self) -> list[Sample]:
        t_ns = now_ns()
        return [Sample(t_ns, "plug", energy_j=t_ns * 1e-8)]

    def close(self) -> None:
        pass


def watch(folder: Path, captured: list[Path], warned: list[str]) -> EnergyWatch:
    return EnergyWatch(
        ("counter",), 0.0, lambda s: None, warned.append, captures_dir=folder, captured=captured.append
    )


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.registry, "make", lambda name: Counter())


def test_a_capture_plays_again_as_the_run_it_was(counter: None, tmp_path: Path) -> None:
    captured: list[Path] = []
    with watch(tmp_path, captured, []) as meters:
        begin_ns = now_ns()
        meters.mark()
        time.sleep(0.3)
        end_ns = now_ns()
        meters.mark()
        (row,) = meters.after_trial({"begin": begin_ns, "end": end_ns}, 10)
    (path,) = captured
    capture = read_capture(path)
    assert capture.meter == "counter"
    assert capture.provenance == "measured"
    assert [domain.name for domain in capture.domains] == ["plug"]
    samples = [(sample.t_ns, sample.energy_j) for sample in capture.samples]
    inside = [(t, e) for t, e in samples if begin_ns <= t <= end_ns]
    (first_ns, first_j), (last_ns, last_j) = inside[0], inside[-1]
    assert first_j is not None
    assert last_j is not None
    assert (last_j - first_j) / (last_ns - first_ns) * 1e9 == pytest.approx(10.0, rel=1e-6)
    assert row.gross_j == pytest.approx(10.0 * (end_ns - begin_ns) * 1e-9, rel=0.05)
    assert registry.probe(f"replay:{path}").usable


def test_a_capture_that_cannot_be_written_is_an_error_at_the_end(counter: None, tmp_path: Path) -> None:
    gone = tmp_path / "a"
    gone.write_text("a file")
    with (
        pytest.raises(DocumentWriteError, match="the document holds what was measured"),
        watch(gone, [], []),
    ):
        time.sleep(0.05)


def test_an_error_on_its_way_is_not_replaced(counter: None, tmp_path: Path) -> None:
    gone, warned = tmp_path / "a", list[str]()
    gone.write_text("a file")
    with pytest.raises(KeyboardInterrupt), watch(gone, [], warned):
        time.sleep(0.05)
        raise KeyboardInterrupt
    assert len(warned) == 1
    assert "cannot write" in warned[0]


def test_captures_have_names_of_their_own(tmp_path: Path) -> None:
    series = Series(Domain("plug", "energy", ""))
    series.add(1, 1.0)
    silent = Series(Domain("plug", "energy", ""))
    meters = [
        registry.make("fnirsi:/dev/hidraw0"),
        registry.make("shelly:192.168.0.7"),
        registry.make("mock"),
    ]
    every = [(meter, [series]) for meter in meters] + [(Counter(), [silent])]
    paths = captures.write(tmp_path, every) + captures.write(tmp_path, every)
    assert len(set(paths)) == len(list(tmp_path.iterdir())) == 6
    assert {path.name.split("-", 1)[1] for path in paths} >= {
        "fnirsi-dev-hidraw0.jsonl",
        "shelly-192.168.0.7.jsonl",
        "mock.jsonl",
    }
    assert all(read_capture(path).samples for path in paths)


def test_without_a_meter_nothing_is_kept_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.registry, "automatic", lambda: None)
    warned: list[str] = []
    with EnergyWatch((), 0.0, lambda s: None, warned.append, captures_dir=tmp_path):
        pass
    assert warned == ["no meter is read, so --captures keeps nothing"]
    assert list(tmp_path.iterdir()) == []


def test_options_that_cannot_be(harness_main, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = ("run", "--synthetic", "--steps", "1", "--warmup", "0", "--repeats", "1", "--engine", "native")
    ended = harness_main(*run, "--meter", "none", "--captures", tmp_path)
    assert (ended.status, "--meter none reads none" in ended.err) == (2, True), ended.err
    ended = harness_main(*run, "--meter", "mock", "--captures", tmp_path / "file")
    assert (ended.status, f"--captures {tmp_path / 'file'}" in ended.err) == (2, True), ended.err
