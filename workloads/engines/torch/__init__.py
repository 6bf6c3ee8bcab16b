"""The torch engine: any recipe on any torch device, with packed bits and real float16 storage.

`load`, `warm_up`, `accelerator`, `create` and `facts` are what a worker calls (`workloads.engines.base.EngineModule`).
torch is imported when one of them is called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.engines.accelerator import Accelerator
    from workloads.engines.base import Job, Training


def load() -> None:
    """Import torch and the trainer."""
    import workloads.engines.torch.trainer  # noqa: F401


def warm_up(threads: int) -> None:
    """Bring torch's matrix product, thread pool and autograd to life, so that their memory has a name."""
    import torch

    torch.set_num_threads(threads)
    a = torch.ones(64, 64)
    a.requires_grad_()
    (a @ a).sum().backward()  # type: ignore[no-untyped-call]
    a = a.detach()
    torch._int_mm(a.to(torch.int8), a.to(torch.int8))


def accelerator(device: str) -> "Accelerator":
    """Return the CUDA device of that name; raises UnsupportedError where it is not there."""
    from workloads.engines.torch.cuda import Cuda

    return Cuda(device)


def create(job: "Job") -> "Training":
    """Return a training that has allocated nothing yet; raises UnsupportedError."""
    from workloads.engines.torch.trainer import TorchTraining
    from workloads.errors import UnsupportedError

    if job.recipe.single_buffer:
        raise UnsupportedError(f"engine torch does not train with '{job.recipe.name}'; try: --engine native")
    return TorchTraining(job)


def data_core() -> None:
    """Return nothing: the data path is Python's, and a step of torch dwarfs it."""


def facts() -> dict[str, Any]:
    """Return torch's version, the instruction set it dispatches to, and its threads."""
    import torch

    return {
        "torch": torch.__version__,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
    }


_DROP_IN = ("BinaryConv2d", "BinaryLinear", "L1BatchNorm", "MaxPool2d", "Sign")


def __getattr__(name: str) -> Any:
    """Import the drop-in layers, or `convert`, when one is asked for."""
    if name in _DROP_IN:
        from workloads.engines.torch import modules

        return getattr(modules, name)
    if name == "convert":
        from workloads.engines.torch.conversion import convert

        return convert
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
