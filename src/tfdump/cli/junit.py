"""Verdicts as the XML of JUnit, which CI servers read: one test case a tensor, or a check of one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 allows in no form."""


@dataclass(frozen=True)
class Case:
    """One test case: passed when `outcome` is None, else with one line of `message` and, maybe, more `text`.

    `output` is what should be known of it however it ended.
    """

    name: str
    class_name: str
    outcome: Literal["failure", "error", "skipped"] | None = None
    message: str = ""
    text: str = ""
    output: str = ""


def junit(suite: str, cases: Sequence[Case]) -> str:
    """Return one suite of cases as a JUnit document.

    It has no times (they are 0) and no host, so that the same verdict is the same bytes. The schema is that of the
    JUnit plugin of Jenkins, which the other servers read too.
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
            found = ElementTree.SubElement(element, case.outcome, {"message": _allowed(case.message), **kind})
            found.text = _allowed(case.text) or None
        if case.output:
            ElementTree.SubElement(element, "system-out").text = _allowed(case.output)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
