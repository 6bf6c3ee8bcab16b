from collections.abc import Callable
from typing import Any

from results.gate import Status, Verdict
from results.metrics import Key
from results.reports.markdown import document_markdown, gate_markdown

Make = Callable[..., Any]
KEY = Key("mlp-mnist", "lowmem", "torch", 100)


def verdict(status: Status, detail: str = "because", metric: str = "training_peak_bytes") -> Verdict:
    return Verdict(KEY, metric, status, 44 * 2**20, 40 * 2**20, detail)


def test_markdown_of_a_document(document: Make, trial: Make, failed: Make) -> None:
    text = document_markdown(
        document([trial(), trial("lowmem", peak=45 * 2**20), failed("lean", reason="a|b")])
    )
    assert "| trainer | step | peak MiB measured | peak MiB modelled |" in text
    assert "| lowmem | 10.0 ms | 45.00 | 4.60 | 2.00× | – | 97.0 % |" in text
    assert "| lean (1 of 1 failed) | – |" in text
    assert "- lean: out of memory: a\\|b" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def test_markdown_of_a_gate() -> None:
    text = gate_markdown([verdict(Status.REGRESSED, "+10.0 %; X grew most"), verdict(Status.OK)])
    assert text.startswith("**failed: 1 ok, 1 regressed (exit code 4)**")
    assert (
        "| mlp-mnist lowmem torch batch 100 | training\\_peak\\_bytes | 40.0 MiB | 44.0 MiB | regressed |"
        in text
    )
    assert text.count("\n- ") == 1
