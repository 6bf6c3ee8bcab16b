import subprocess
import sys

import pytest

from workloads import recipes, registry
from workloads.datasets import registry as datasets
from workloads.errors import UnknownNameError, UnsupportedError


@pytest.mark.parametrize("row", registry.WORKLOADS.values(), ids=lambda row: row.name)
def test_every_workload_names_a_network_and_a_data_set_that_fit(row):
    assert row.dataset in datasets.names()
    specification = row.specification()
    assert specification.classes > 1
    assert row.batch_size > 0


@pytest.mark.parametrize(
    ("function", "kind"),
    [(registry.workload, "workload"), (registry.engine, "engine"), (recipes.recipe, "trainer"),
     (recipes.optimizer, "optimizer")],
)  # fmt: skip
def test_an_unknown_name_says_what_it_is_and_lists_the_others(function, kind):
    with pytest.raises(UnknownNameError, match=f"unknown {kind} 'nonsense'; there is: "):
        function("nonsense")


def test_an_optimizer_may_start_at_a_rate_of_its_own():
    """Adam's of CNV is ten times what Bop can train it at: Bop's γ goes by the rate, and its threshold does not."""
    row = registry.workload("cnv-cifar10")
    assert row.rate_of("adam") == 10 * row.rate_of("bop") == 10 * row.rate_of("sgd")
    for each in registry.WORKLOADS.values():
        assert {name for name, _ in each.other_rates} <= set(recipes.OPTIMIZERS)


def test_listing_imports_nothing_heavy():
    program = (
        "import sys\nfrom workloads import registry, recipes, memory_model\n"
        "from workloads.datasets import registry as r\n"
        "assert r.names() and [row.missing() for row in registry.ENGINES.values()]\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'scipy', 'msgspec', 'rich', 'ctypes'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_recipe_survives_json():
    for row in recipes.RECIPES.values():
        assert recipes.Recipe.from_json(row.to_json()) == row


@pytest.mark.parametrize("name", ["resnete18-imagenet", "bireal18-imagenet"])
def test_an_engine_without_shortcuts_says_so_and_names_another(name):
    with pytest.raises(UnsupportedError, match=r"native does not support shortcuts.*try: --engine torch"):
        registry.engine_for(registry.workload(name), "lowmem", "native")
    assert registry.engine("torch").supports(registry.workload(name), "lowmem")


def test_the_features_of_a_row_are_those_of_its_network():
    for row in registry.WORKLOADS.values():
        assert ("shortcuts" in row.features) == row.specification().has_shortcuts


def test_an_engine_whose_file_is_misnamed_is_not_replaced_unsaid(monkeypatch):
    monkeypatch.setenv("HARNESS_NATIVE_LIBRARY", "/nowhere/core.so")
    with pytest.raises(UnsupportedError, match=r"HARNESS_NATIVE_LIBRARY names '/nowhere/core\.so'.*unset it"):
        registry.engine_for(registry.workload("mlp-mnist"), "lowmem")
    monkeypatch.setenv("HARNESS_NATIVE_LIBRARY", "")
    assert not registry.engine("native").misnamed()
