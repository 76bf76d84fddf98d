"""Verdicts as JUnit XML, which CI servers read: one test case per tensor, or per check of one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 does not allow."""


@dataclass(frozen=True)
class Case:
    """One test case: passed where `outcome` is None, else with a `message` of one line and optional further `text`.

    `output` is text that is shown whatever the outcome.
    """

    name: str
    class_name: str
    outcome: Literal["failure", "error", "skipped"] | None = None
    message: str = ""
    text: str = ""
    output: str = ""


def junit(suite: str, cases: Sequence[Case]) -> str:
    """Return one suite of cases as a JUnit document.

    Times are 0 and there is no host, so that the same verdict gives the same bytes. The schema is that of the JUnit
    plugin of Jenkins, which other servers read too.
    """
    counts = {
        "tests": len(cases),
        "failures": sum(case.outcome == "failure" for case in cases),
        "errors": sum(case.outcome == "error" for case in cases),
    }
    root = ElementTree.Element("testsuites", {name: str(count) for name, count in counts.items()})
    counts["skipped"] = sum(case.outcome == "skipped" for case in cases)
    inner = ElementTree.SubElement(
        root, "testsuite", {"name": _allowed(suite), "time": "0", **{k: str(count) for k, count in counts.items()}}
    )
    for case in cases:
        names = {"name": _allowed(case.name), "classname": _allowed(case.class_name), "time": "0"}
        element = ElementTree.SubElement(inner, "testcase", names)
        if case.outcome is not None:
            kind = {} if case.outcome == "skipped" else {"type": case.outcome}
            outcome = ElementTree.SubElement(element, case.outcome, {"message": _allowed(case.message), **kind})
            outcome.text = _allowed(case.text) or None
        if case.output:
            ElementTree.SubElement(element, "system-out").text = _allowed(case.output)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
