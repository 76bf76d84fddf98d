"""The checks say which file an example is, where the dump knows it."""

import json
from pathlib import Path

import numpy as np

import tfdump as library
from support.check_dumps import normal, the, write_dump
from support.command import Run
from support.example_names import photos, with_names
from support.terminals import on_terminal

NAMES = photos(20)


def faulty(path: Path, names: list[str] | None = NAMES, first: int = 0) -> Path:
    """A graph of two layers, the second of which makes a NaN in row 17."""
    good, bad = normal(20, 3), normal(20, 3, seed=1)
    bad[17, 2] = np.nan
    tensors = {
        "activations/a": (good, {"inputs": '["inputs/x"]'}),
        "activations/b": (bad, {"class": "Log", "inputs": '["a"]'}),
    }
    path = write_dump(path, tensors, first_example=first)
    return path if names is None else with_names(path, names)


def test_a_finding_and_an_origin_have_the_name(tmp_path: Path) -> None:
    report = library.check(faulty(tmp_path / "d.h5", first=100))
    finding, (origin,) = the(report, "nan"), report.origins
    assert (finding.example, finding.example_id) == (117, "dog/17.jpg")
    assert (origin.example, origin.example_id) == (117, "dog/17.jpg")
    assert origin.message.startswith("NaN starts in 'b' (Log), example 117 (dog/17.jpg): its input 'a' ")


def test_without_names_nothing_has_one(tmp_path: Path) -> None:
    report = library.check(faulty(tmp_path / "d.h5", None))
    assert the(report, "nan").example_id is None
    assert report.origins[0].message.startswith("NaN starts in 'b' (Log), example 17: ")


def test_the_first_example_that_nothing_explains_is_named(tmp_path: Path) -> None:
    """Row 3 of `b` is bad because `a` is; row 17 begins there."""
    first, second = normal(20, 3), normal(20, 3, seed=1)
    first[3, 0] = second[3, 0] = second[17, 2] = np.nan
    tensors = {
        "activations/a": (first, {"inputs": '["inputs/x"]'}),
        "activations/b": (second, {"inputs": '["a"]'}),
    }
    report = library.check(with_names(write_dump(tmp_path / "d.h5", tensors), NAMES))
    assert [(one.tensor, one.example_id) for one in report.origins] == [
        ("activations/a", "cat/3.jpg"),
        ("activations/b", "dog/17.jpg"),
    ]
    assert [finding.example_id for finding in report.findings] == ["cat/3.jpg", "cat/3.jpg"]


def test_a_dump_without_a_graph_and_a_bad_input_name_it_in_parentheses(tmp_path: Path) -> None:
    bad = normal(20, 3)
    bad[2, 1] = np.nan
    names = ["dog, the 1st.jpg"] * 20
    path = with_names(write_dump(tmp_path / "d.h5", {"activations/a": normal(20, 3), "activations/b": bad}), names)
    assert (
        library.check(path)
        .origins[0]
        .message.startswith("NaN first appears in 'b' (example 2, dog, the 1st.jpg); everything before it is clean")
    )
    path = with_names(write_dump(tmp_path / "i.h5", {"activations/a": normal(20, 3), "inputs/x": bad}), names)
    (origin,) = library.check(path).origins
    assert origin.message == "NaN is in the input itself: 'inputs/x' (example 2, dog, the 1st.jpg)"
    assert origin.example_id == "dog, the 1st.jpg"


def test_the_loss_of_an_example_is_named(tmp_path: Path) -> None:
    path = write_dump(
        tmp_path / "g.h5",
        {"gradients/weights/w": normal(4, 3)},
        loss=np.array([1, np.inf, 2, 3.0]),
        kind="gradients",
        per_example=True,
    )
    assert the(library.check(with_names(path, photos(4))), "inf").example_id == "cat/1.jpg"


def test_tsv_has_the_name_in_a_last_column(tfdump: Run, tmp_path: Path) -> None:
    plain = tfdump("check", faulty(tmp_path / "plain.h5", None)).stdout.splitlines()
    named = tfdump("check", faulty(tmp_path / "named.h5")).stdout.splitlines()
    assert named == [plain[0] + "\texample id", plain[1] + "\tdog/17.jpg"]


def test_json_has_the_name_only_where_there_is_one(tfdump: Run, tmp_path: Path) -> None:
    document = json.loads(tfdump("check", faulty(tmp_path / "named.h5"), "--json").stdout)
    assert document["items"][0]["example_id"] == "dog/17.jpg"
    assert document["origins"][0]["example_id"] == "dog/17.jpg"
    assert "example_id" not in tfdump("check", faulty(tmp_path / "plain.h5", None), "--json").stdout


def test_junit_tells_the_name(tfdump: Run, tmp_path: Path) -> None:
    assert "example 17 (dog/17.jpg)" in tfdump("check", faulty(tmp_path / "d.h5"), "--format", "junit").stdout


def test_a_terminal_shows_the_name(tmp_path: Path) -> None:
    faulty(tmp_path / "d.h5")
    screen = on_terminal("check", "d.h5", cwd=tmp_path, columns=120)
    assert "example id" in screen.plain
    assert any(" dog/17.jpg " in line and line.startswith("nan ") for line in screen.lines)


def test_names_with_line_ends_stay_in_their_cell(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", faulty(tmp_path / "d.h5", ["a\tb\n\x1b[2J"] * 20))
    assert done.stdout.splitlines()[1].split("\t")[-1] == "a\\tb\\n\\x1b[2J"
    assert "a\\x09b\\x0a\\x1b[2J" in done.stderr
