"""The CUDA device as the worker sees it, by a scripted torch.cuda; `test_on_cuda.py` needs a real one."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines import torch as engine  # noqa: E402
from workloads.engines.accelerator import AcceleratorMemory  # noqa: E402
from workloads.engines.torch import cuda  # noqa: E402
from workloads.engines.torch.refusals import memory_errors  # noqa: E402
from workloads.errors import OutOfMemoryError, UnsupportedError  # noqa: E402

FAKE = Path(__file__).parents[3] / "fakes" / "scripted_cuda.py"
MIB = 1 << 20


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location("scripted_cuda", FAKE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda count=1: module.ScriptedCuda(count).install(monkeypatch.setattr)


def test_the_counters_are_read_once_the_device_has_been_waited_for(scripted: Any) -> None:
    fake = scripted()
    device = engine.accelerator("cuda")
    device.warm_up()
    device.reset_peak()
    fake.events.clear()
    assert device.read() == AcceleratorMemory(8 * MIB, 9 * MIB, 16 * MIB, 18 * MIB, (1024 - 600) * MIB)
    assert fake.events == ["wait", *["read"] * 4]


def test_the_device_is_made_the_current_one_before_anything_is_opened_on_it(scripted: Any) -> None:
    fake = scripted(3)
    device = engine.accelerator("cuda:2")
    device.warm_up()
    assert fake.events == ["set 2", "wait"]
    assert device.facts()["name"] == "Scripted GPU 2"


def test_the_warm_up_multiplies_forward_and_back(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads that multiply have a workspace, which must be in the baseline."""
    scripted()
    products: list[Any] = []
    multiply = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: products.append(a) or multiply(a, b))
    engine.accelerator("cuda").warm_up()
    assert products[0].grad is not None


def test_a_ceiling_is_a_share_of_the_whole_device(scripted: Any) -> None:
    fake = scripted()
    engine.accelerator("cuda").limit(256 * MIB)
    assert fake.fraction == 0.25
    engine.accelerator("cuda").limit(4096 * MIB)
    assert fake.fraction == 1.0


def test_the_facts_are_those_of_the_record(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted()
    (tmp_path / "version").write_text("580.65.06\n")
    monkeypatch.setattr(cuda, "_DRIVER", tmp_path / "version")
    facts = {
        "device": "cuda:0",
        "name": "Scripted GPU 0",
        "total_bytes": 1 << 30,
        "compute_capability": "9.0",
        "cuda_version": "13.0",
        "driver_version": "580.65.06",
        "reason": None,
    }
    assert engine.accelerator("cuda:0").facts() == facts
    monkeypatch.setattr(cuda, "_DRIVER", tmp_path / "gone")
    unknown = {"driver_version": None, "reason": "driver_version: not known"}
    assert engine.accelerator("cuda:0").facts() == facts | unknown


def refusing(error: Exception) -> Callable[[], None]:
    def init() -> None:
        raise error

    return init


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            (torch.backends.cuda, "is_built", lambda: False),
            r"was built without CUDA; install a build that has it",
        ),
        (
            (torch.cuda, "init", refusing(RuntimeError("Found no NVIDIA driver on your system.\nMore"))),
            r"reaches no device: Found no NVIDIA driver on your system\.$",
        ),
        ((torch.cuda, "device_count", lambda: 0), "there is: none$"),
    ],
    ids=["build", "driver", "devices"],
)
def test_what_is_missing_is_said_in_one_line(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, change: tuple[Any, str, Any], words: str
) -> None:
    scripted()
    monkeypatch.setattr(*change)
    with pytest.raises(UnsupportedError, match=rf"no device 'cuda': .*{words}") as refused:
        engine.accelerator("cuda")
    assert "\n" not in str(refused.value)


def test_a_number_too_many_names_the_devices_there_are(scripted: Any) -> None:
    scripted(2)
    assert cuda.missing("cuda:1") is None
    assert cuda.missing("cuda:2") == "there is: cuda:0 (Scripted GPU 0), cuda:1 (Scripted GPU 1)"


def test_asked_as_a_program_it_answers_in_json(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted()
    for name, key in (("cuda", "name"), ("cuda:7", "missing")):
        monkeypatch.setattr("sys.argv", ["cuda", name])
        cuda.main()
        assert key in json.loads(capsys.readouterr().out)


REFUSED = (
    "CUDA out of memory. Tried to allocate 576.00 MiB. GPU 0 has a total capacity of 31.36 GiB of which 370.69 MiB is "
    "free. Of the allocated memory 4.89 GiB is allocated by PyTorch, and 77.08 MiB is reserved by PyTorch but "
    "unallocated."
)
ADVICE = (
    " If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to "
    "avoid fragmentation.  See documentation for Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html)"
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError(REFUSED + ADVICE), REFUSED),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "CUDA error: out of memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "DefaultCPUAllocator: can't allocate",
        ),
        (MemoryError(), ""),
    ],
)
def test_a_refused_allocation_is_an_outcome_in_one_line(error: Exception, reason: str) -> None:
    with pytest.raises(OutOfMemoryError) as refused, memory_errors():
        raise error
    assert str(refused.value).startswith(reason)
    assert str(refused.value) == str(refused.value).partition("\n")[0].partition(ADVICE)[0]


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="misaligned"), memory_errors():
        raise RuntimeError("CUDA error: misaligned address")
