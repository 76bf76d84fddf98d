"""Verdicts as JUnit XML: the counts, what a server needs of each case, and characters that XML has not."""

from xml.etree import ElementTree

from tfdump.cli.junit import Case, junit


def test_every_case_has_its_outcome() -> None:
    cases = [
        Case("a", "Dense"),
        Case("b<\0>", "Dense", "failure", "differs", "line 1\nline 2"),
        Case("c", "Add", "skipped", "ignored"),
        Case("d", "Add", "error", "missing"),
    ]
    root = ElementTree.fromstring(junit("golden.h5 new.h5", cases))
    (suite,) = root
    assert root.tag == "testsuites"
    assert suite.attrib == {
        "name": "golden.h5 new.h5", "time": "0", "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert [(case.get("name"), [child.tag for child in case]) for case in suite] == [
        ("a", []), ("b<�>", ["failure"]), ("c", ["skipped"]), ("d", ["error"]),
    ]  # fmt: skip
    assert suite[1][0].attrib == {"message": "differs", "type": "failure"}
    assert suite[1][0].text == "line 1\nline 2"
