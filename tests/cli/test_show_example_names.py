"""`tfdump show` tells who the examples of a dump are, and names rows of values."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.check_dumps import normal, write_dump
from support.command import Run
from support.example_names import photos, with_names
from support.terminals import on_terminal

NAMES = photos(20)
D = np.arange(60, dtype="f4").reshape(20, 3)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump with names and classes, of which one has no example."""
    tensors = {"activations/d": D, "activations/table": (normal(2, 2), {"axis0": "none"})}
    path = write_dump(tmp_path / "d.h5", tensors)
    with h5py.File(path, "r+") as file:
        group = file.create_group("activations/ragged", track_order=True)
        group["values"], group["row_splits"] = np.arange(20, dtype="f4"), np.arange(21)
        named = {"address": "ragged", "layer": "ragged", "order": 4, "class": "Dense", "dtype": "float32"}
        group.attrs.update(named | {"axis0": "example", "encoding": "ragged"})
    return with_names(path, NAMES, [0] * 10 + [2] * 10, ["cat", "cow", "dog"])


def test_the_facts_of_a_dump_tell_names_and_classes(tfdump: Run, dump: Path) -> None:
    facts = dict(line.split("\t") for line in tfdump("show", dump, "--provenance").stdout.splitlines())
    assert facts["example_ids"] == "20: cat/0.jpg .. dog/19.jpg"
    assert facts["example_classes"] == "3: cat (10), cow (0), dog (10)"


def test_json_tells_names_and_classes(tfdump: Run, dump: Path) -> None:
    assert json.loads(tfdump("show", dump, "--json").stdout)["examples"] == {
        "ids": 20,
        "first": "cat/0.jpg",
        "last": "dog/19.jpg",
        "classes": [
            {"label": 0, "name": "cat", "examples": 10},
            {"label": 1, "name": "cow", "examples": 0},
            {"label": 2, "name": "dog", "examples": 10},
        ],
    }


def test_labels_without_names_of_classes_are_numbers(tfdump: Run, tmp_path: Path) -> None:
    path = with_names(write_dump(tmp_path / "d.h5", {"activations/d": D[:3]}), photos(3), [7, 7, -1])
    facts = dict(line.split("\t") for line in tfdump("show", path, "--provenance").stdout.splitlines())
    assert facts["example_classes"] == "2: -1 (1), 7 (2)"


def test_many_classes_are_shortened(tfdump: Run, tmp_path: Path) -> None:
    classes = [f"c{number}" for number in range(30)]
    path = write_dump(tmp_path / "d.h5", {"activations/d": np.zeros((30, 2), "f4")})
    done = tfdump("show", with_names(path, photos(30), range(30), classes), "--provenance")
    assert "example_classes\t30: c0 (1), c1 (1), " in done.stdout
    assert "c19 (1), ... c29 (1)\n" in done.stdout
    assert "c20" not in done.stdout


def test_a_dump_without_names_tells_what_it_told(tfdump: Run, tmp_path: Path) -> None:
    path = write_dump(tmp_path / "plain.h5", {"activations/d": D})
    assert "example" not in tfdump("show", path, "--provenance").stdout
    assert "examples" not in json.loads(tfdump("show", path, "--json").stdout)
    assert tfdump("show", path, "d").stdout.splitlines()[:2] == ["tensor\tindex\tvalue", "activations/d\t0,0\t0.0"]
    assert "example_ids" not in tfdump("show", path, "d", "--json").stdout


def test_tsv_names_every_value(tfdump: Run, dump: Path) -> None:
    lines = [line.split("\t") for line in tfdump("show", dump, "d", "table", "--slice=-1").stdout.splitlines()]
    assert lines[0] == ["tensor", "index", "value", "example id"]
    assert lines[1] == ["activations/d", "19,0", "57.0", "dog/19.jpg"]
    assert lines[4][:2] == ["activations/table", "1,0"]
    assert lines[4][3] == ""
    ragged = tfdump("show", dump, "ragged").stdout.splitlines()
    assert ragged[13] == "activations/ragged\t12,0\t12.0\tdog/12.jpg"


def test_json_names_the_rows_of_a_slice(tfdump: Run, dump: Path) -> None:
    def ids(*words: str) -> list[str]:
        (item,) = json.loads(tfdump("show", dump, *words, "--json").stdout)["items"]
        return item["example_ids"]

    assert ids("d") == NAMES
    assert ids("d", "--slice=3:9:2,1") == NAMES[3:9:2]
    assert ids("d", "--slice=4") == [NAMES[4]]
    assert ids("ragged") == NAMES
    assert ids("ragged", "--slice=5") == [NAMES[5]]
    assert "example_ids" not in tfdump("show", dump, "table", "--json").stdout


def test_a_terminal_names_the_first_and_the_last_rows(dump: Path) -> None:
    lines = on_terminal("show", dump.name, "d", cwd=dump.parent).lines
    start = lines.index("row  0: cat/0.jpg")
    assert lines[start : start + 7] == [
        "row  0: cat/0.jpg", "row  1: cat/1.jpg", "row  2: cat/2.jpg", "...",
        "row 17: dog/17.jpg", "row 18: dog/18.jpg", "row 19: dog/19.jpg",
    ]  # fmt: skip
    lines = on_terminal("show", dump.name, "d", "--slice=7", cwd=dump.parent).lines
    assert "row 7: cat/7.jpg" in lines
    lines = on_terminal("show", dump.name, "ragged", cwd=dump.parent).lines
    assert "19 (dog/19.jpg): (1,)" in lines
    assert not any(line.startswith("row ") for line in on_terminal("show", "d.h5", "table", cwd=dump.parent).lines)


def test_a_terminal_lists_the_names_below_the_table(dump: Path) -> None:
    lines = on_terminal("show", dump.name, cwd=dump.parent, columns=100).lines
    assert any(line.split() == ["example_ids", "20:", "cat/0.jpg", "..", "dog/19.jpg"] for line in lines)
