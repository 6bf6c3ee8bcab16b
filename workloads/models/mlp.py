"""The paper's multi-layer perceptron for MNIST: 784-256×4-10, batch-normalised after every layer."""

from workloads.specification import Sequence, Specification


def specification() -> Specification:
    """Return 784-256-256-256-256-10 (Wang et al., Table 1; Courbariaux and Bengio's MNIST network, smaller)."""
    network = Sequence("mlp", (1, 28, 28))
    for _ in range(4):
        network.dense(256)
    return network.dense(10).build()
