from collections.abc import Callable
from typing import Any

import pytest

from results.fingerprint import differences, fingerprint, machine_facts, software_facts
from results.schema import HarnessInfo, NativeBuild

Make = Callable[..., Any]


def test_the_same_machine_agrees(document: Make) -> None:
    facts = machine_facts(document())
    assert differences(facts, machine_facts(document([]))) == []
    assert fingerprint(facts) == fingerprint(dict(reversed(facts.items())))
    assert len(fingerprint(facts)) == 12


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu": "Other"}, "cpu: Test CPU @ 2.0 GHz → Other"),
        ({"cores": 4}, "cores: 2 → 4"),
        ({"memory_bytes": 4 * 2**30}, "memory: 8.0 GiB → 4.0 GiB"),
        ({"machine": "aarch64"}, "machine: x86_64 → aarch64"),
        ({"page_size_bytes": 16384}, "page_size: 4.0 KiB → 16.0 KiB"),
    ],
)
def test_another_machine_is_named(document: Make, host: Make, changes: Any, words: str) -> None:
    other = machine_facts(document(host=host(**changes)))
    assert differences(machine_facts(document()), other) == [words]
    assert fingerprint(other) != fingerprint(machine_facts(document()))


def test_a_few_mib_of_reserve_are_the_same_machine(document: Make, host: Make) -> None:
    other = machine_facts(document(host=host(memory_bytes=8 * 2**30 - 60 * 2**20)))
    assert differences(machine_facts(document()), other) == []


def test_software_is_named_apart(document: Make, host: Make) -> None:
    build = NativeBuild(isa="avx2", compiler="gcc 12", flags="-O3", build_type="Release")
    newer = document(
        host=host(libraries={"torch": "2.14.0"}), harness=HarnessInfo(version="0.2.0", native=build)
    )
    found = differences(software_facts(document()), software_facts(newer))
    assert "torch: 2.13.0 → 2.14.0" in found
    assert "harness: 0.1.0 → 0.2.0" in found
    assert "native: unknown → avx2, gcc 12, -O3, Release" in found
    assert differences(machine_facts(document()), machine_facts(newer)) == []
