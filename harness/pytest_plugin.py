"""pytest plugin: a memory ceiling is a test, and a test may measure a training.

    @pytest.mark.memory_ceiling("160 MiB", workload="mlp-mnist", trainer="lowmem")
    def test_it_trains_in_160_mib(harness):
        assert harness.trial.time.step_s.median < 0.1

Every measured training is one fresh worker process, so pytest's own memory and what other tests left behind do not
count. Measured trials of all pytest processes of a user take turns by a lock file: under `pytest -n` peaks stay exact,
while step times still share the processors with other tests, which the trial's notes then say.

This module is imported by every pytest run where the package is installed: it imports nothing else of it until a test
measures.
"""

import fcntl
import inspect
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from results.schema import Trial

_MARKER = (
    "memory_ceiling(size, *, workload, trainer='lowmem', of='worker', **options): train in a fresh worker before the "
    "test and fail it if the peak is above `size`, as '160 MiB'. `of` is 'worker', all that the process holds, or "
    "'training', what training adds to the loaded engine. `options` are those of `harness run`, as engine, batch_size."
)
_DEFAULTS: dict[str, Any] = {
    "steps": 3,
    "warmup": 1,
    "repeats": 1,
    "meters": ("none",),
    "allocator": "pinned",
    "test_items": 1000,
}
_PEAKS = {"worker": "peak_rss_bytes", "training": "training_peak_bytes"}
_MEASURED = "harness.measured"


class Bench:
    """The `harness` fixture: measures trainings for one test."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._trials: list[Trial] = []

    @property
    def trial(self) -> "Trial":
        """The trial that the marker or the last `measure` ran. Raises LookupError where nothing has been measured."""
        if not self._trials:
            raise LookupError(
                "nothing has been measured yet: call harness.measure(), or mark the test memory_ceiling"
            )
        return self._trials[-1]

    def measure(self, *, workload: str, trainer: str = "lowmem", **options: Any) -> "Trial":
        """Train once in a fresh worker and return the trial, whatever became of it.

        `options` are those of `harness run`; by default three steps after one of warming up (unless `epochs` are
        given), no meter, the pinned allocator. Waits for other measured trials of this user to end. Raises UsageError
        for an unknown option, and UnknownNameError or UnsupportedError for what cannot run.
        """
        with _turn():
            trial = _run(workload, trainer, options)
        self._trials.append(trial)
        self._item.user_properties += [
            (_MEASURED, _described(trial)),
            ("harness.peak_rss_bytes", trial.memory.peak_rss_bytes),
            ("harness.training_peak_bytes", trial.memory.training_peak_bytes),
        ]
        return trial

    def hold(
        self, size: str, *, workload: str, trainer: str = "lowmem", of: str = "worker", **options: Any
    ) -> "Trial":
        """Measure, and fail the test if the peak is above `size`; see the marker `memory_ceiling`."""
        from harness.sizes import parse_size

        ceiling_bytes, field = parse_size(size), _peak_field(of)
        trial = self.measure(workload=workload, trainer=trainer, **options)
        self._item.user_properties.append(("harness.ceiling_bytes", ceiling_bytes))
        if trial.outcome not in ("ok", "invalid"):
            pytest.fail(
                f"{_described(trial)}: {trial.outcome.replace('_', ' ')}: {trial.reason}", pytrace=False
            )
        peak_bytes = getattr(trial.memory, field)
        if peak_bytes is None:
            pytest.fail(_described(trial), pytrace=False)
        if peak_bytes > ceiling_bytes:
            pytest.fail(_broken(trial, peak_bytes, ceiling_bytes, of), pytrace=False)
        return trial


_BENCH = pytest.StashKey[Bench]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(name="harness")
def _harness(request: pytest.FixtureRequest) -> Bench:
    """Measures trainings, each in a fresh worker; `harness.trial` is the last one."""
    return _bench(request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the test to its ceilings before its own lines run."""
    for marker in item.iter_markers("memory_ceiling"):
        hold = _bench(item).hold
        try:
            inspect.signature(hold).bind(*marker.args, **marker.kwargs)
        except TypeError as error:
            pytest.fail(f"memory_ceiling: {error}; it is {_MARKER.partition(':')[0]}", pytrace=False)
        try:
            hold(*marker.args, **marker.kwargs)
        except Exception as error:
            pytest.fail(_known(error), pytrace=False)
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured, test by test."""
    lines = [
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _MEASURED
    ]
    if lines:
        terminalreporter.section("memory measured by harness")
        for line in sorted(lines):
            terminalreporter.write_line(line)


def _bench(item: pytest.Item) -> Bench:
    return item.stash.setdefault(_BENCH, Bench(item))


def _known(error: Exception) -> str:
    """Return a known error's one line; anything else is ours, and raised again."""
    from harness.errors import KNOWN_ERRORS

    if not isinstance(error, KNOWN_ERRORS):
        raise error
    return f"harness: {error}"


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other measured trial of this user runs; the lock goes with the process that holds it."""
    path = Path(tempfile.gettempdir()) / f"edge-harness-{os.getuid()}.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(workload: str, trainer: str, options: dict[str, Any]) -> "Trial":
    from harness import plan, runner
    from harness.display import Quiet
    from harness.errors import UsageError

    # A ceiling here is of the host's memory: no accelerator.
    allowed = set(plan.Options.__struct_fields__) - {"workloads", "trainers", "repeats", "accelerator"}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise UsageError(f"unknown option '{unknown[0]}'; there is: {', '.join(sorted(allowed))}")
    data = os.environ.get("HARNESS_DATA")
    defaults = _DEFAULTS | ({"data_dir": Path(data)} if data else {})
    if options.get("epochs") is not None:
        del defaults["steps"]  # two lengths exclude each other, and only one was asked for
    chosen = plan.Options(workloads=(workload,), trainers=(trainer,), **(defaults | options))
    (trial,) = runner.trials(plan.build(chosen), Quiet())
    others = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) - 1
    if others > 0:
        trial.validity.notes.append(
            f"measured beside {others} other test processes: its times are not the machine's best"
        )
    return trial


def _peak_field(of: str) -> str:
    from harness.errors import UsageError

    if of not in _PEAKS:
        raise UsageError(f"a ceiling is of 'worker' or 'training', not '{of}'")
    return _PEAKS[of]


def _described(trial: "Trial") -> str:
    from results.format import size

    name = f"{trial.workload} {trial.trainer} ({trial.engine}, batch {trial.batch_size})"
    peak, training = trial.memory.peak_rss_bytes, trial.memory.training_peak_bytes
    if peak is None or training is None:
        return f"{name}: peak not measured: {trial.memory.reason}"
    return f"{name}: peak {size(peak)}, of which training {size(training)}"


def _broken(trial: "Trial", peak_bytes: int, ceiling_bytes: int, of: str) -> str:
    """Return by how much the ceiling is broken, and the largest variables, which is where to look."""
    from results.format import size

    ledger = sorted(trial.memory.ledger_by_variable.items(), key=lambda entry: -entry[1])[:3]
    largest = ", ".join(f"{name} {size(held)}" for name, held in ledger)
    return (
        f"{_described(trial)}: {size(peak_bytes - ceiling_bytes)} above the {of}'s ceiling of {size(ceiling_bytes)}; "
        f"its largest variables: {largest or 'none is named'}"
    )
