import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from results.gate import Status, Verdict
from results.metrics import Key
from results.reports.csv import documents_csv
from results.reports.junit import junit_xml
from results.reports.markdown import document_markdown, gate_markdown

Make = Callable[..., Any]
KEY = Key("mlp-mnist", "lowmem", "torch", 100)


def verdict(status: Status, detail: str = "because", metric: str = "training_peak_bytes") -> Verdict:
    return Verdict(KEY, metric, status, 44 * 2**20, 40 * 2**20, detail)


@pytest.mark.parametrize("strict", [False, True])
def test_junit_counts_agree_with_its_cases(strict: bool) -> None:
    suite = ET.fromstring(junit_xml([verdict(status) for status in Status], strict)).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases) == len(Status)
    for name, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.attrib[plural]) == sum(case.find(name) is not None for case in cases)
    assert int(suite.attrib["failures"]) == (4 if strict else 3)
    assert int(suite.attrib["skipped"]) == (0 if strict else 1)


def test_junit_names_the_configuration_and_the_cause() -> None:
    text = junit_xml([verdict(Status.REGRESSED, 'X grew "most" <&> \x00 \x1b[31m \udcff')])
    case = ET.fromstring(text).find("testsuite/testcase")
    assert case is not None
    assert case.attrib["classname"] == "mlp-mnist.lowmem.torch.batch-100"
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == 'regressed: X grew "most" <&> \ufffd \ufffd[31m \ufffd'
    assert case.findtext("system-out", "").startswith("expected 40.0 MiB, now 44.0 MiB")


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


def test_csv_has_one_row_a_trial(document: Make, trial: Make, failed: Make) -> None:
    text = documents_csv([document(), document([failed(reason='=cmd("x"),\n2')])])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 7
    assert float(rows[0]["step_s"]) == 0.010
    assert int(rows[1]["training_peak_bytes"]) == 40 * 2**20
    assert rows[0]["ledger_X_bytes"] == "400000"
    assert rows[6]["step_s"] == rows[6]["test_accuracy"] == "", "not measured is empty, never 0"
    assert rows[6]["reason"] == '\'=cmd("x"),\n2'
    assert documents_csv([]) == "created\n"
