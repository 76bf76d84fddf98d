"""The page says which file an example is, and its list of tensors is searched by it."""

from pathlib import Path

import numpy as np

from support.check_dumps import normal, write_dump
from support.example_names import photos, with_names
from support.report_pages import Node, parse
from tfdump.report.gather import gather
from tfdump.report.page import page_of
from tfdump.report.records import ReportOptions

NAMES = [*photos(20)[:17], "dog/<b>17</b>.jpg", *photos(20)[18:]]
SHOWN = "dog/<b>17</b>.jpg"
GOOD, BAD = normal(20, 3), normal(20, 3, seed=1)
BAD[17, 2] = np.nan


def made(path: Path, bad: np.ndarray, names: list[str] | None = NAMES) -> Path:
    tensors = {"activations/good": GOOD, "activations/bad": bad}
    dump = write_dump(path, tensors, examples=20, first_example=0)
    return dump if names is None else with_names(dump, names, [0] * 10 + [1] * 10, ["cat", "dog"])


def page(path: Path, other: Path | None = None, options: ReportOptions | None = None) -> Node:
    return parse(page_of(gather(path, other, options or ReportOptions(pictures=0))))


def part(root: Node, key: str) -> Node:
    """The section with this id."""
    return next(node for node in root.all("section") if node.attributes.get("id") == key)


def test_findings_have_a_column_of_names(tmp_path: Path) -> None:
    found = part(page(made(tmp_path / "d.h5", BAD)), "found")
    heads = [node.text for node in found.all("th", scope="col")]
    assert heads == ["check", "tensor", "finding", "example", "example id", "index"]
    cells = [node.text for node in found.all("td")]
    assert SHOWN in cells
    assert f"example 17, {SHOWN}" in found.text  # the origin
    assert not found.all("b")


def test_the_list_is_searched_by_name(tmp_path: Path) -> None:
    root = page(made(tmp_path / "d.h5", BAD))
    words = {node.attributes["id"]: node.attributes["data-words"] for node in root.all("tr") if "id" in node.attributes}
    assert SHOWN.lower() in words["r2"]
    assert SHOWN.lower() not in words["r1"]
    assert "shape or example id contains" in root.text


def test_the_details_of_a_tensor_and_the_facts_tell_names(tmp_path: Path) -> None:
    root = page(made(tmp_path / "d.h5", BAD))
    assert f"nan: 1 of 60 values are NaN, the first in example 17 ({SHOWN})" in part(root, "details").text
    provenance = part(root, "provenance").text
    assert "20: cat/0.jpg .. dog/19.jpg" in provenance
    assert "2: cat (10), dog (10)" in provenance


def test_a_difference_tells_its_example(tmp_path: Path) -> None:
    other = GOOD + 0
    other[17, 2] += 1
    root = page(made(tmp_path / "g.h5", GOOD), made(tmp_path / "n.h5", other))
    assert f"worst at [17, 2] ({SHOWN})" in part(root, "compared").text
    words = {node.attributes["id"]: node.attributes["data-words"] for node in root.all("tr") if "id" in node.attributes}
    assert SHOWN.lower() in words["r2"]
    assert "20: cat/0.jpg .. dog/19.jpg" in part(root, "provenance").text


def test_a_sample_names_examples_too(tmp_path: Path) -> None:
    bad = normal(4000, 60)
    bad[3999, :] = np.nan
    path = with_names(write_dump(tmp_path / "d.h5", {"activations/bad": bad}), photos(4000))
    found = part(page(path, options=ReportOptions(read_bytes=1 << 18, pictures=0)), "found")
    assert "dog/" in "".join(node.text for node in found.all("td"))


def test_without_names_the_page_has_no_word_of_them(tmp_path: Path) -> None:
    root = page(made(tmp_path / "d.h5", BAD, None))
    assert "example id" not in root.text
    assert "dtype or shape contains" in root.text
    assert "the first in example" not in root.text
