"""Several processes on this machine: the same weights as one, votes and bytes as they must be, kill and resume."""

import json
import math
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads import checkpoint  # noqa: E402
from workloads.datasets.reader import BatchReader  # noqa: E402
from workloads.datasets.registry import prepare  # noqa: E402
from workloads.engines.base import Job  # noqa: E402
from workloads.engines.torch import distributed  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.recipes import optimizer, recipe  # noqa: E402
from workloads.registry import workload  # noqa: E402
from workloads.schedule import learning_rate  # noqa: E402
from workloads.specification import Specification  # noqa: E402

FAKES = Path(__file__).parents[3] / "fakes"
TORCHRUN = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
RESIDUAL = FAKES / "residual_processes.py"
MEETING_PLACE = FAKES / "meeting_place.py"
MODULE = ["-m", "workloads.engines.torch.distributed"]
STEPS = 12
MEETING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def report_of(command: list[str]) -> Any:
    """Run to the end and return what the first process printed."""
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def torchrun(count: int, *arguments: object) -> Any:
    return report_of([*TORCHRUN, "--nproc-per-node", str(count), *map(str, arguments)])


def together(count: int, *arguments: object, before: tuple[str, ...] = ()) -> Any:
    """As `torchrun`, whose own import of torch is a third of the work for two processes."""
    return report_of([*before, sys.executable, "-P", str(MEETING_PLACE), str(count), *map(str, arguments)])


def one_process(
    dataset: str, network: Specification, batch: int, method: str, initial_rate: float
) -> tuple[TorchTraining, list[float]]:
    """Train alone with the batch of two."""
    data = prepare(dataset, None)
    training = TorchTraining(Job(network, recipe("standard"), optimizer(method), batch, 1, 0, {}))
    training.set_up()
    images, labels = memoryview(bytearray(batch * data.train.image_bytes)), memoryview(bytearray(batch))
    losses = []
    with BatchReader(data.train, batch, 0) as reader:
        for step in range(STEPS):
            reader.read_into(images, labels)
            rate = learning_rate(initial_rate, "cosine", step, STEPS)
            losses.append(training.step(images, labels, rate, lambda phase: None))
    return training, losses


def kept(folder: Path, training: TorchTraining) -> TorchTraining:
    """Return the training with what the only checkpoint of a folder holds in place of its own."""
    snapshot = training.snapshot()
    (path,) = folder.iterdir()
    assert checkpoint.read_into(path, snapshot.blocks)["step"] == STEPS
    snapshot.adopt()
    return training


# SGD's factor on it is 1e4 for W: a step of 0.1 times the gradient.
INITIAL_RATE = {"sgd": 1e-5, "adam": 1e-3}


@pytest.mark.parametrize("method", ["sgd", pytest.param("adam", marks=pytest.mark.slow)])
def test_two_processes_have_the_weights_of_one_with_the_doubled_batch(method, tmp_path) -> None:
    """Float sums in another order: every weight within 1e-7, every loss within 1e-6 of its value (SGD).

    Adam makes a step of the whole learning rate of the least gradient: 1e-5, one weight in a thousand excepted. That
    of a pixel that is black in every image is nothing but rounding (batch normalisation takes out what is constant),
    so Adam's weights are compared in the middle of the image.
    """
    report = torchrun(
        2, *MODULE, "--optimizer", method, "--batch-size", 50, "--steps", STEPS, "--threads", 1,
        "--learning-rate", INITIAL_RATE[method], "--test-items", 200, "--checkpoint", tmp_path / "kept",
    )  # fmt: skip
    row = workload("mlp-mnist")
    job = (row.dataset, row.specification(), 100, method, INITIAL_RATE[method])
    alone, losses = one_process(*job)
    assert report["train_loss"] == pytest.approx(losses, rel=1e-6 if method == "sgd" else 1e-3)
    both = kept(tmp_path / "kept", one_process(*job)[0])
    for layer, other in zip(alone.layers, both.layers, strict=True):
        off = (layer.weights.storage - other.weights.storage).abs()
        if layer.stage.real_input and method == "adam":
            off = off[:, 28 * 8 : 28 * 20].view(-1, 12, 28)[:, :, 8:20]  # the middle of the image
        if method == "adam":
            assert float((off > 1e-5).float().mean()) < 1e-3
        else:
            assert float(off.max()) < 1e-7
            torch.testing.assert_close(layer.moving, other.moving, rtol=1e-5, atol=1e-5)
    assert report["sent_bytes_per_step"]["gradients"] == 4 * sum(
        s.weights + s.out_channels for s in alone.job.specification.stages
    )


def test_two_processes_train_a_residual_network_as_one(tmp_path: Path) -> None:
    """Shortcuts, their projections, the full-precision stages; deeper, so that rounding has longer to grow (1.2e-7)."""
    run = (
        RESIDUAL, "--workload", "resnete18-imagenet", "--synthetic", "--optimizer", "sgd", "--batch-size", 8,
        "--steps", STEPS, "--threads", 1, "--learning-rate", INITIAL_RATE["sgd"], "--test-items", 16,
        "--checkpoint",
    )  # fmt: skip
    report = together(2, *run, tmp_path / "kept")
    network = runpy.run_path(str(RESIDUAL))["network"]()
    job = ("synthetic-cifar10", network, 16, "sgd", INITIAL_RATE["sgd"])
    alone, losses = one_process(*job)
    assert report["train_loss"] == pytest.approx(losses, rel=1e-5)
    for layer, other in zip(alone.layers, kept(tmp_path / "kept", one_process(*job)[0]).layers, strict=True):
        torch.testing.assert_close(layer.weights.storage, other.weights.storage, rtol=0, atol=1e-6)
        torch.testing.assert_close(layer.moving, other.moving, rtol=1e-5, atol=1e-5)


def own_network() -> tuple[str, ...]:
    """Return what runs a command where the loopback carries nobody else's bytes, if this system lets us."""
    up = (
        "import fcntl, os, socket, struct, sys\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 0x41 | 1))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = ("unshare", "-rn", sys.executable, "-c", up)
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*command, "/bin/true"], capture_output=True, timeout=30)
    return command if tried.returncode == 0 else ()


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_votes_and_sums_are_right_and_the_wire_carries_what_is_counted(count: int) -> None:
    apart = own_network()
    report = together(count, FAKES / "exchanging.py", before=apart)
    for said in report.values():
        assert said["wrong"] == 0
        assert said["agreed"] == [True, False]
    weights, steps = (264 * 1001, 3 * 5), 6
    votes = sum(2 * (count - 1) * math.ceil(math.ceil(each / 8) / count) for each in weights)
    assert report["signs"]["said"]["votes"] == steps * votes
    if count == 2:  # one bit a weight
        assert votes == pytest.approx(sum(weights) / 8, rel=1e-3)
    sums = report["sums"]["said"]
    assert sums["votes"] == 0
    assert sums["gradients"] == pytest.approx(
        steps * 2 * (count - 1) / count * 4 * (sum(weights) + 4), rel=1e-4
    )
    if apart:
        for said in report.values():
            sent = count * sum(said["said"].values())
            assert sent < said["seen"] < 1.1 * sent + 20_000 * steps  # headers, acknowledgements, barriers


VOTING = {
    "perceptron": (*MODULE, "--batch-size", "50", "--steps", "60"),
    "residual, micro-batches": (
        str(RESIDUAL), "--workload", "resnete18-imagenet", "--synthetic", "--batch-size", "8", "--accumulate", "2",
        "--steps", "60",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("program", VOTING.values(), ids=VOTING)
def test_voting_processes_survive_a_kill_and_stay_as_one(program: tuple[str, ...], tmp_path: Path) -> None:
    run = [
        *program, "--trainer", "lowmem", "--exchange", "signs", "--threads", "1",
        "--test-items", "500", "--checkpoint-every", "5", "--checkpoint",
    ]  # fmt: skip
    whole = torchrun(2, *run, tmp_path / "whole")
    if program == VOTING["perceptron"]:  # the other one's data is noise
        assert whole["train_loss"][-1] < 0.7 * whole["train_loss"][0]
        assert whole["sent_bytes_per_step"]["votes"] == pytest.approx(399_872 / 8, rel=1e-3)
        assert whole["sent_bytes_per_step"]["gradients"] == 4 * 1034  # ∂β
    (name,) = (path.name for path in (tmp_path / "whole").iterdir())
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*TORCHRUN, "--nproc-per-node", "2", *run, str(killed)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (killed / name).exists() and time.monotonic() < until:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (*children, process.pid):
        os.kill(int(pid), signal.SIGKILL)
    process.wait()
    step = checkpoint.read_head(killed / name)["step"]
    assert 5 <= step < 60
    resumed = torchrun(2, *run, killed, "--resume")
    assert resumed["resumed_at_step"] == step
    assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    same = ("train_loss", "test_accuracy", "weights_crc32")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exchange", "signs"], "--exchange signs: 'standard' has real weight gradients; take"),
        (["--resume"], "--resume needs --checkpoint"),
        (["--trainer", "lean"], "engine torch does not train"),
        ([], "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set: start it with: torchrun"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MEETING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["distributed", *arguments])
    with pytest.raises(SystemExit) as ended:
        distributed.main()
    assert message in one_line(str(ended.value.code))  # Python prints a text and exits with 1


def one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_a_meeting_that_fails_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        meeting = dict(zip(MEETING, ("0", "2", "127.0.0.1", str(taken.getsockname()[1])), strict=True))
        done = subprocess.run(
            [sys.executable, "-P", *MODULE, "--synthetic"],
            env={**environment(), "TORCHELASTIC_USE_AGENT_STORE": "False", **meeting},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    line = one_line(done.stderr)
    assert "process 0: " in line
    assert "its own line says why" in line


@pytest.mark.parametrize("items", ["-5", "0"])
def test_no_test_items_are_refused_before_training(items: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        distributed._parser().parse_args(["--test-items", items])
    assert ended.value.code == 2
    assert f"--test-items: must be at least 1, not {items}" in capsys.readouterr().err


def test_learning_rate_0_is_taken_and_nobody_waits_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, joined for real: which rates reach the trainer, and how long the group has patience."""
    for name, value in zip(MEETING, ("0", "1", "127.0.0.1", "0"), strict=True):
        monkeypatch.setenv(name, value)
    join, step = torch.distributed.init_process_group, TorchTraining.step
    patience: list[timedelta] = []
    rates: list[float] = []

    def joined(backend: str, timeout: timedelta = timedelta(minutes=30)) -> None:
        patience.append(timeout)
        join(backend, timeout=timeout)

    def noted(self: TorchTraining, images: Any, labels: Any, rate: float, edge: Any) -> float:
        rates.append(rate)
        return step(self, images, labels, rate, edge)

    monkeypatch.setattr(torch.distributed, "init_process_group", joined)
    monkeypatch.setattr(TorchTraining, "step", noted)
    arguments = ["--synthetic", "--threads", "1", "--steps", "2", "--batch-size", "4", "--test-items", "4"]
    for given in (["--learning-rate", "0"], []):
        distributed.run(distributed._parser().parse_args([*arguments, *given]))
    assert rates[:2] == [0, 0]
    assert rates[2] == workload("mlp-mnist").learning_rate
    assert min(patience) >= timedelta(hours=12)
