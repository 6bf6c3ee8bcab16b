"""Which environment a document comes from, and whether two may be compared.

The machine decides: other silicon gives other figures. Software (kernel, Python, libraries, the harness
itself) is what people change on purpose and want to see the effect of, so it is named and not refused.
"""

import hashlib
import json
from collections.abc import Mapping

from results import format as fmt
from results.schema import Document

Fact = str | int | bool
Facts = dict[str, Fact]

MEMORY_TOLERANCE = 0.03
"""MemTotal moves by a few MiB with the kernel and its reserves; less than this is the same machine."""


def machine_facts(document: Document) -> Facts:
    """Return what must agree for figures to be comparable."""
    host, device = document.host, document.device
    return {
        "machine": host.machine,
        "cpu": host.cpu,
        "cores": host.cores,
        "memory_bytes": host.memory_bytes,
        "page_size_bytes": host.page_size_bytes,
        "profile": device.profile,
        "emulated": device.emulated,
    }


def software_facts(document: Document) -> Facts:
    """Return what may differ, and is then named beside the figures."""
    host, native = document.host, document.harness.native
    facts: dict[str, Fact | None] = {
        "harness": document.harness.version,
        "native": f"{native.isa}, {native.compiler}, {native.flags}, {native.build_type}" if native else None,
        "kernel": host.kernel,
        "python": host.python,
        "libc": host.libc,
        "governor": host.governor,
        **host.libraries,
        **_accelerator_software(document),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _accelerator_software(document: Document) -> Facts:
    """Return the versions under the accelerators of the trials; which device it was is a part of their setup."""
    there = [trial.accelerator for trial in document.trials if trial.accelerator]
    versions = {
        "CUDA": dict.fromkeys(each.cuda_version for each in there),
        "CUDA driver": dict.fromkeys(each.driver_version for each in there),
    }
    return {name: ", ".join(filter(None, found)) for name, found in versions.items() if any(found)}


def fingerprint(facts: Mapping[str, Fact]) -> str:
    """Return a short stable name for a machine's facts: 12 hexadecimal digits.

    It names an entry and decides nothing: `differences` does, with its tolerance for memory.
    """
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:12]


def differences(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> list[str]:
    """Return each fact that differs, in words; empty where the two agree."""
    names = dict.fromkeys([*before, *after])
    return [
        f"{name.removesuffix('_bytes')}: {shown(name, before.get(name))} → {shown(name, after.get(name))}"
        for name in names
        if not _agree(name, before.get(name), after.get(name))
    ]


def _agree(name: str, before: Fact | None, after: Fact | None) -> bool:
    """Tell whether one fact is the same on both sides."""
    if name == "memory_bytes" and isinstance(before, int) and isinstance(after, int):
        return abs(before - after) <= MEMORY_TOLERANCE * max(before, after)
    return before == after


def shown(name: str, value: Fact | None) -> str:
    """Return a fact for people: sizes with their unit, yes and no, `unknown` for None."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return fmt.size(value) if name.endswith("_bytes") and isinstance(value, int) else str(value)
