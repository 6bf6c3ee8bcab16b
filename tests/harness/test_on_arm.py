"""The whole program on an emulated Arm, from start to document, with an arm64 Python: `pytest -m arm` (ten minutes)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from results import store

GOLDEN = Path(__file__).parents[1] / "data" / "golden-native" / "native.json"
SCRIPT = Path(__file__).parents[2] / ".ci" / "aarch64"
CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
WORKERS = ("python", "program")

pytestmark = [pytest.mark.arm, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def emulated(request):
    """Run the script; what it downloads and builds is kept in pytest's cache, and what it says comes out there."""
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64", "apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: an Arm cannot be emulated here")
    folder = Path(request.config.cache.mkdir("aarch64"))
    done = subprocess.run(
        [str(SCRIPT), str(folder)],
        env=os.environ | {"CPUS": " ".join(CPUS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def documents(emulated):
    return {
        (cpu, worker): store.loads((emulated / f"{cpu}-{worker}.json").read_bytes())
        for cpu in CPUS
        for worker in WORKERS
    }


@pytest.mark.parametrize("cpu", CPUS)
def test_the_golden_curves_are_those_of_plain_code(emulated, cpu):
    """50 steps of every trainer, recorded on x86-64 (tests/workloads/engines/native/golden_steps.py)."""
    assert json.loads((emulated / f"{cpu}-golden.json").read_text()) == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("cpu", CPUS)
def test_every_trial_ends_well_on_neon(documents, cpu, worker):
    document = documents[cpu, worker]
    assert (document.host.machine, document.host.cpu) == ("aarch64", "aarch64, emulated")
    assert document.harness.native.isa == "neon"
    assert [(trial.trainer, trial.outcome, trial.worker) for trial in document.trials] == [
        (trainer, "ok", worker) for trainer in ("standard", "lowmem", "lean8")
    ]


def test_the_memory_of_the_emulator_is_nobodys(documents):
    for document in documents.values():
        for trial in document.trials:
            memory = trial.memory
            assert (memory.peak_rss_bytes, memory.baseline_rss_bytes, memory.anon_bytes) == (None, None, None)
            assert set(memory.by_phase.values()) == {None}
            assert "runs under an emulator" in memory.reason
            assert sum(memory.ledger_by_variable.values()) > memory.modelled_bytes  # the arena is as it is
            assert any("emulated" in note for note in trial.validity.notes)


def test_processors_and_workers_agree_bit_for_bit(documents):
    qualities = [[trial.quality for trial in document.trials] for document in documents.values()]
    assert all(each == qualities[0] for each in qualities)
    assert all(len(set(quality.train_loss)) > 1 for quality in qualities[0])
