"""What a CUDA device needs besides the tensors that lie on it; nothing on the CPU.

The recipes say float32 where they mean it: by default cuDNN multiplies in TF32, whose 10 fraction bits hold signs and
their sums but neither pixels nor gradients, and takes another algorithm, of other roundings, from run to run.
"""

import torch


def named(name: str) -> torch.device:
    """Return the device of a job's setting `device`: `cpu`, `cuda` or `cuda:N`."""
    return torch.device(name)


def make_exact(device: torch.device) -> None:
    """Have a CUDA device multiply float32 as such and in the same order every time, in this whole process."""
    if device.type != "cuda":
        return
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    convolution = getattr(torch.backends.cudnn, "conv", None)
    if convolution is None:  # before torch 2.9
        torch.backends.cudnn.allow_tf32 = False
    else:
        convolution.fp32_precision = "ieee"


def leaves_whole_sums(device: torch.device) -> bool:
    """Tell whether a convolution of signs gives whole numbers as such.

    cuDNN may take Winograd's algorithm, which multiplies by thirds and quarters: its sums are near whole numbers, and a
    sign of one that should be 0 would be anything.
    """
    return device.type != "cuda"


def wait_for(device: torch.device) -> None:
    """Return once the device has done what it was given: on CUDA a call returns when its work is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
