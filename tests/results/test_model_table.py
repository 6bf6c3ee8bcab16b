import re
from collections.abc import Callable
from typing import Any

import msgspec

from results.model_document import LayerBytes, ModelDocument, ModelledTrainer
from results.model_table import model_view
from results.schema import VARIABLES

Make = Callable[..., Any]
MIB = 2**20
LADDER = ["float16", "float16-booldw", "float16-booldw-l1"]
NAMES = [
    "standard",
    "lowmem",
    *LADDER,
    "lowmem-po2",
    "lowmem-centred",
    "lowmem-q6",
    "lean",
    "lean-centred",
    "lean8",
]


def modelled(name: str, unit: int) -> ModelledTrainer:
    by_variable = {variable: unit * (index + 1) for index, variable in enumerate(VARIABLES)}
    layers = [LayerBytes(layer=f"dense{i}", by_variable={"X": unit, "W": 0, "dW": unit}) for i in (1, 2)]
    return ModelledTrainer(
        trainer=name, total_bytes=sum(by_variable.values()), by_variable=by_variable, by_layer=layers
    )


def model(names: list[str]) -> ModelDocument:
    trainers = [modelled(name, 4 * MIB if name == "standard" else MIB) for name in names]
    return ModelDocument(
        workload="mlp-mnist", batch_size=100, optimizer="adam", convention="honest", trainers=trainers
    )


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_every_variable_in_the_papers_order(shown: Make) -> None:
    text = shown(model_view(model(["standard", "lowmem"])))
    names = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0] in VARIABLES]
    assert names == list(VARIABLES)
    assert line(text, "X ").split()[-2:] == ["4.00", "1.00"]
    assert line(text, "total").split() == ["total", "without", "scratch", "264.00", "66.00"]
    assert line(text, "times smaller ").split() == ["times", "smaller", "1.00×", "4.00×"]
    assert "mlp-mnist: batch 100, adam, honest model" in text


def test_the_totals_are_said_to_be_without_scratch(shown: Make) -> None:
    assert msgspec.to_builtins(model(["standard"]))["without"] == ("scratch",)
    text = shown(model_view(model(NAMES)))
    assert "totals without scratch, which an engine adds; `harness run` counts it" in text


def test_all_trainers_fit_in_80_columns(shown: Make) -> None:
    text = shown(model_view(model(NAMES), by_layer=True))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    totals = [row for row in text.splitlines() if row.split()[:1] == ["total"]]
    assert len(re.findall(r"\d+\.\d+", " ".join(totals))) == len(NAMES)


def test_little_is_not_shown_as_nothing(shown: Make) -> None:
    document = model(["lowmem"])
    document.trainers[0].by_variable = {"X": 12, "W": 0, "extra": 2 * MIB}
    text = shown(model_view(document))
    assert line(text, "X ").split()[-1] == "<0.01"
    assert line(text, "W ").split()[-1] == "–"
    assert line(text, "extra").split() == ["extra", "2.00"]
    assert line(text, "times smaller ").split()[-1] == "–"


def test_by_layer_only_where_asked_for(shown: Make) -> None:
    assert "by layer" not in shown(model_view(model(["standard"])))
    text = shown(model_view(model(["standard"]), by_layer=True))
    assert re.search(r"layer\s+X\s+dW\s*\n", text), "W is nowhere, so it has no column"
    assert line(text, "dense2").split() == ["dense2", "4.00", "4.00"]


def test_the_document_is_that_of_the_contract() -> None:
    plain = msgspec.to_builtins(model(["standard"]))
    assert plain["schema"] == "harness.model"
    assert {"workload", "batch_size", "optimizer", "convention", "trainers"} <= set(plain)
    assert {"trainer", "total_bytes", "by_variable"} <= set(plain["trainers"][0])
    assert msgspec.convert(plain, ModelDocument) == model(["standard"])
