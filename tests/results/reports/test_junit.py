import xml.etree.ElementTree as ET

import pytest

from results.gate import Status, Verdict
from results.metrics import Key
from results.reports.junit import junit_xml

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
