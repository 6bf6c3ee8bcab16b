"""The paper's modelled memory, to stand beside ours.

E. Wang et al., Enabling Binary Neural Network Training on the Edge, ACM TECS 2023 (doi 10.1145/3626100):
totals as published or recomputed from its published shapes; the split by variable is that of BinaryNet
with Adam at batch 100 (512.81 and 138.15 MiB published).
"""

from results.summary import Setup

_MIB = 2**20

_BINARYNET_ADAM_100 = {
    "standard": {
        "X": 111.33,
        "dX_Y": 50.00,
        "mu_psi": 0.03,
        "dY": 50.00,
        "W": 53.49,
        "dW": 53.49,
        "beta": 0.03,
        "momenta": 106.98,
        "masks": 87.46,
    },
    "lowmem": {
        "X": 3.48,
        "dX_Y": 25.00,
        "mu_psi": 0.015,
        "dY": 25.00,
        "W": 26.74,
        "dW": 1.67,
        "beta": 0.015,
        "momenta": 53.49,
        "masks": 2.73,
    },
}

# (network, optimizer, batch size) → trainer → MiB in all. The network's cost does not depend on the data
# set where the image is 32 × 32 × 3 in both.
_TOTALS = {
    ("mlp", "adam", 100): {"standard": 7.41, "lowmem": 2.66},
    ("cnv", "adam", 100): {"standard": 134.07, "lowmem": 32.17},
    ("binarynet", "sgd", 100): {"standard": 459.3, "lowmem": 111.4},
    ("binarynet", "bop", 100): {"standard": 405.8, "lowmem": 84.7},
    ("binarynet", "adam", 40): {"standard": 333.6, "lowmem": 104.4},
    ("binarynet", "adam", 1000): {"standard": 3202.0, "lowmem": 644.0},
    ("resnete18", "adam", 4096): {"standard": 70.1 * 1024, "lowmem": 18.54 * 1024},
    ("bireal18", "adam", 4096): {"standard": 70.1 * 1024, "lowmem": 18.54 * 1024},
    ("binarynet", "adam", 100): {"float16": 256.4, "float16-booldw": 231.3, "float16-booldw-l1": 231.3},
}

# Test accuracy of the low-memory trainer after up to 1,000 epochs, evaluated with the batch's statistics.
ACCURACY = {
    "mlp-mnist": 0.9690,
    "cnv-cifar10": 0.8308,
    "cnv-svhn": 0.9428,
    "binarynet-cifar10": 0.8990,
    "binarynet-svhn": 0.9593,
    "resnete18-imagenet": 0.5704,
    "bireal18-imagenet": 0.5445,
}


def modelled_bytes(setup: Setup, trainer: str) -> dict[str, float] | None:
    """Return the paper's model by variable in bytes, `total` alone where only that is known, None without."""
    if setup.accumulate > 1:
        return None
    network = setup.workload.split("-")[0]
    key = (network, setup.optimizer, setup.batch_size)
    if key == ("binarynet", "adam", 100) and trainer in _BINARYNET_ADAM_100:
        return {name: mib * _MIB for name, mib in _BINARYNET_ADAM_100[trainer].items()}
    total = _TOTALS.get(key, {}).get(trainer)
    return None if total is None else {"total": total * _MIB}
