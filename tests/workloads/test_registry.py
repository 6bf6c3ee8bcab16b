import subprocess
import sys

import pytest

from workloads import recipes, registry
from workloads.datasets import registry as datasets
from workloads.errors import UnknownNameError


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
