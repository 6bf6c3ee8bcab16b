"""What of the CUDA path can be shown without a GPU: where tensors are made, how products are set, who waits."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import CONVOLUTIONS, Build, odd_network, pixels_and_labels, small_residual  # noqa: E402

from workloads.engines.torch import bits, conv, devices  # noqa: E402
from workloads.registry import ENGINES  # noqa: E402

NETWORKS = {
    "dense": odd_network(20, 9, 7, 4),
    "conv": CONVOLUTIONS,
    "residual": small_residual("polynomial"),
}
BATCH = 6


@pytest.mark.parametrize("method", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("trainer", ENGINES["torch"].trainers)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_no_tensor_is_made_on_the_default_device(network, trainer, method, build: Build, monkeypatch) -> None:
    """The default is `meta`, whose tensors hold nothing and mix with no others; the training's own is the CPU."""

    def losses() -> list[float]:
        training = build(trainer, network, BATCH, method=method, device="cpu", accumulate=2)
        found = [training.step(*batch, 1e-3, lambda phase: None) for _ in range(4)]
        training.recalibrate([batch])
        return [*found, training.evaluate(*batch)]

    batch = pixels_and_labels(network, BATCH, 0)
    expected = losses()
    monkeypatch.setattr(bits, "_tables", {})
    bits._constants.cache_clear()
    with torch.device("meta"):
        assert losses() == expected


def test_what_is_made_on_the_default_device_gives_nothing_to_the_training() -> None:
    real = torch.ones(3)
    with torch.device("meta"):
        made = torch.ones(3)
        with pytest.raises(NotImplementedError, match="no data"):
            real.copy_(made)
        with pytest.raises(RuntimeError, match=r"meta|device"):
            float(made.sum())


def test_products_on_cuda_are_float32_and_the_same_every_time() -> None:
    """The settings are the process's, so this is another one; they can be made where there is no GPU."""
    program = (
        "import torch\nfrom workloads.engines.torch import devices\n"
        "def state():\n    c = torch.backends.cudnn\n"
        "    tf32 = c.conv.fp32_precision != 'ieee' if hasattr(c, 'conv') else c.allow_tf32\n"
        "    return tf32, c.deterministic\n"
        "before = state()\ndevices.make_exact(torch.device('cpu'))\nassert state() == before == (True, False)\n"
        "devices.make_exact(torch.device('cuda'))\nassert state() == (False, True), state()\n"
        "assert torch.get_float32_matmul_precision() == 'highest'\n"
    )
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", program], check=True, timeout=60)


def test_a_phase_on_cuda_ends_when_its_work_is_done(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    devices.wait_for(torch.device("cpu"))
    assert not waits
    devices.wait_for(torch.device("cuda"))
    assert waits == [torch.device("cuda")]
    events: list[str] = []
    monkeypatch.setattr(devices, "wait_for", lambda device: events.append("wait"))
    training = build("lowmem", NETWORKS["dense"], BATCH)
    training.step(*pixels_and_labels(NETWORKS["dense"], BATCH, 0), 1e-3, events.append)
    assert events == ["wait", "forward", "wait", "backward", "wait", "update"]


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
@pytest.mark.parametrize("network", ["conv", "residual"])
def test_sums_of_signs_are_whole_where_the_library_leaves_them_near(
    network: str, trainer: str, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's way is played by noise on the products of signs, which are known by the weights: all of them ±1."""

    def losses() -> list[float]:
        training = build(trainer, NETWORKS[network], 16)
        return [training.step(*batch, 1e-3, lambda phase: None) for _ in range(4)]

    batch = pixels_and_labels(NETWORKS[network], 16, 0)
    expected, convolve = losses(), conv.functional.conv2d
    generator = torch.Generator().manual_seed(0)

    def nearly(x: torch.Tensor, weights: torch.Tensor, **options: object) -> torch.Tensor:
        y = convolve(x, weights, **options)
        of_signs = bool(((x.abs() == 1).all()) & (weights.abs() == 1).all())
        return y.add_(torch.rand(y.shape, generator=generator).sub_(0.5), alpha=0.98) if of_signs else y

    monkeypatch.setattr(conv.functional, "conv2d", nearly)
    assert losses() != expected
    monkeypatch.setattr(devices, "leaves_whole_sums", lambda device: False)
    assert losses() == expected
