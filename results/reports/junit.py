"""JUnit XML of a gate: what CI servers show beside the tests."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from results.gate import Status, Verdict
from results.gate_table import cells

# What XML 1.0 cannot hold, not even escaped (section 2.2): a worker may print anything into its reason.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_FAILURES = {Status.CEILING_BROKEN, Status.OUT_OF_MEMORY, Status.REGRESSED}
_ERRORS = {Status.ERROR, Status.INVALID, Status.NOT_COMPARABLE, Status.NO_BASELINE}


def junit_xml(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """Return the verdicts as one JUnit test suite.

    A broken ceiling or a regression is a failure, what could not be judged is an error, what was not run
    is skipped. Under `strict` an improvement and what was not run fail as the exit code does.
    """
    failures = _FAILURES | ({Status.IMPROVED} if strict else set())
    errors = _ERRORS | ({Status.NOT_RUN} if strict else set())
    suite = ET.Element(
        "testsuite",
        name="harness check",
        tests=str(len(verdicts)),
        failures=str(sum(verdict.status in failures for verdict in verdicts)),
        errors=str(sum(verdict.status in errors for verdict in verdicts)),
        skipped=str(0 if strict else sum(verdict.status is Status.NOT_RUN for verdict in verdicts)),
    )
    for verdict in verdicts:
        case = _case(verdict)
        kind = "failure" if verdict.status in failures else "error" if verdict.status in errors else None
        kind = kind or ("skipped" if verdict.status is Status.NOT_RUN else None)
        if kind is not None:
            attributes = {"message": _clean(f"{verdict.status}: {verdict.detail}")}
            ET.SubElement(
                case, kind, attributes if kind == "skipped" else {**attributes, "type": verdict.status}
            )
        suite.append(case)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(verdict: Verdict) -> ET.Element:
    """Return a test case: the configuration is the class, the metric the name."""
    key = verdict.key
    class_name = f"{key.workload}.{key.trainer}.{key.engine}.batch-{key.batch_size}"
    case = ET.Element("testcase", classname=_clean(class_name), name=_clean(verdict.metric))
    _, _, expected, now, _ = cells(verdict)
    output = ET.SubElement(case, "system-out")
    output.text = _clean(f"expected {expected}, now {now}; {verdict.detail}")
    return case


def _clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)
