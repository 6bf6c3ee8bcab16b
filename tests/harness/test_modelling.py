"""`harness model --by-layer`: the layers' shares and the totals are of the same variables."""

import pytest

from harness import modelling
from workloads import memory_model, recipes, registry
from workloads.errors import UnsupportedError


@pytest.mark.parametrize("convention", memory_model.CONVENTIONS)
@pytest.mark.parametrize("trainer", recipes.RECIPES)
@pytest.mark.parametrize("workload", registry.WORKLOADS)
def test_the_layers_add_up_to_the_totals_and_none_has_more(workload, trainer, convention):
    try:
        document = modelling.model(workload, (trainer,), None, "adam", convention, by_layer=True)
    except UnsupportedError as error:
        pytest.skip(str(error))
    (modelled,) = document.trainers
    for variable, total in modelled.by_variable.items():
        shares = [layer.by_variable.get(variable, 0) for layer in modelled.by_layer]
        together = max if variable in ("dX_Y", "dY") else sum
        assert together(shares) == total, variable


def test_a_trainer_named_twice_is_one_column():
    document = modelling.model("mlp-mnist", ("lowmem", "lowmem"), None, "adam", "honest", by_layer=False)
    assert [each.trainer for each in document.trainers] == ["lowmem"]
