"""What `harness list` shows: the registries' rows as plain dictionaries."""

from collections.abc import Iterable
from typing import Any

from harness.devices import PROFILES
from power import registry as meter_registry
from results.metrics import METRICS
from workloads import registry
from workloads.datasets import registry as dataset_registry
from workloads.errors import UnknownNameError
from workloads.recipes import OPTIMIZERS, RECIPES

Rows = list[dict[str, Any]]


def workloads() -> Rows:
    """Return each workload with its data set and the engines that train it."""
    return [
        {
            "name": row.name,
            "summary": row.summary,
            "dataset": row.dataset,
            "batch_size": row.batch_size,
            "engines": [each.name for each in registry.ENGINES.values() if row.model in each.models],
        }
        for row in registry.WORKLOADS.values()
    ]


def trainers() -> Rows:
    """Return each recipe and the engines that obey it."""
    return [
        {
            "name": row.name,
            "summary": row.summary,
            "engines": [each.name for each in registry.ENGINES.values() if row.name in each.trainers],
        }
        for row in RECIPES.values()
    ]


def optimizers() -> Rows:
    """Return each optimizer."""
    return [{"name": row.name, "summary": row.summary, "momenta": row.momenta} for row in OPTIMIZERS.values()]


def engines() -> Rows:
    """Return each engine, and why it cannot be used here if so."""
    return [
        {"name": row.name, "summary": row.summary, "usable": row.missing() is None, "reason": row.missing()}
        for row in registry.ENGINES.values()
    ]


def devices() -> Rows:
    """Return each device profile."""
    return [
        {"name": row.name, "summary": row.summary, "memory_bytes": row.memory_bytes, "cores": row.cores}
        for row in PROFILES.values()
    ]


def meters() -> Rows:
    """Return each meter, probed on this machine."""
    return [
        {"name": probe.name, "usable": probe.usable, "reason": probe.reason, "hint": probe.hint}
        for probe in meter_registry.probe_all()
    ]


def datasets() -> Rows:
    """Return each data set."""
    return [{"name": name} for name in dataset_registry.names()]


def require_metric(name: str | None) -> None:
    """Raise UnknownNameError for a metric that is gated and kept by nobody; None is every metric."""
    if name is not None and name not in METRICS:
        raise UnknownNameError("metric", name, list(METRICS))


def require_workload(name: str | None, measured: Iterable[str]) -> None:
    """Raise UnknownNameError for a workload that neither this program nor a document knows; None is every workload."""
    known = dict.fromkeys([*registry.WORKLOADS, *measured])
    if name is not None and name not in known:
        raise UnknownNameError("workload", name, list(known))
