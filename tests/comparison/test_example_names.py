"""Comparisons know the examples of both sides by their names."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tfdump as library
from support.command import Run
from support.example_names import photos, with_names
from support.made_dumps import Tensor, make_dump
from tfdump.errors import DumpError

A = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
B = A + 0
B[4, 2] += 1
NAMES = photos(6)


def side(path: Path, tensors: dict[str, Any], names: list[str] | None = NAMES, first: int = 0, **root: Any) -> Path:
    """A dump whose examples have names."""
    count = 6 if names is None else len(names)
    made = make_dump(path, tensors, examples=count, first_example=first, **root)
    return made if names is None else with_names(made, names)


# The example of a difference


def test_a_difference_names_its_example(tmp_path: Path) -> None:
    report = library.diff(side(tmp_path / "g.h5", {"d": A}, first=10), side(tmp_path / "n.h5", {"d": B}, first=10))
    (tensor,) = report.tensors
    assert tensor.example_id == "dog/4.jpg"
    assert "worst at [4, 2] (dog/4.jpg): golden " in tensor.reason
    assert "worst at [4, 2] (dog/4.jpg): golden " in report.summary


@pytest.mark.parametrize("named", ["g", "n"])
def test_the_names_of_one_side_are_enough(tmp_path: Path, named: str) -> None:
    paths = [side(tmp_path / f"{n}.h5", {"d": v}, NAMES if n == named else None) for n, v in (("g", A), ("n", B))]
    (tensor,) = library.diff(*paths).tensors
    assert tensor.example_id == "dog/4.jpg"


def test_names_of_plain_arrays_and_of_tensors_without_examples_are_not_made_up(tmp_path: Path) -> None:
    golden = side(tmp_path / "g.h5", {"d": A, "table": Tensor(A, axis0="none")})
    report = library.diff(golden, {"d": B, "table": B})
    assert [tensor.example_id for tensor in report.tensors] == ["dog/4.jpg", None]


def test_a_ragged_tensor_names_its_row(tmp_path: Path) -> None:
    values, splits = np.arange(12, dtype="f4"), np.array([0, 2, 2, 5, 6, 9, 12])
    other = values + 0
    other[7] += 1  # in row 4, which has the values 6 to 8
    sides = [
        side(tmp_path / f"{n}.h5", {"d": Tensor({"values": v, "row_splits": splits}, encoding="ragged")})
        for n, v in (("g", values), ("n", other))
    ]
    assert library.diff(*sides).tensors[0].example_id == "dog/4.jpg"


def test_statistics_and_norms_name_no_example(tmp_path: Path) -> None:
    tensors = [{"w": Tensor(np.zeros(6, "f4") + n, reduce="norm", axis0="none")} for n in range(2)]
    report = library.diff(*(side(tmp_path / f"{n}.h5", tensors[n]) for n in range(2)))
    assert not report.same
    assert report.tensors[0].example_id is None


def test_the_formats_tell_the_name_beside_what_they_told(tfdump: Run, tmp_path: Path) -> None:
    for name, names in (("named", NAMES), ("plain", None)):
        side(tmp_path / f"{name}.g.h5", {"d": A}, names)
        side(tmp_path / f"{name}.n.h5", {"d": B}, names)
    plain = tfdump("diff", "plain.g.h5", "plain.n.h5").stdout.splitlines()
    named = tfdump("diff", "named.g.h5", "named.n.h5").stdout.splitlines()
    assert named[0] == plain[0] + "\texample id"
    assert named[1] == plain[1].replace("[4, 2]:", "[4, 2] (dog/4.jpg):") + "\tdog/4.jpg"
    with_cosine = tfdump("diff", "named.g.h5", "named.n.h5", "--min-cosine", "1").stdout.splitlines()
    assert with_cosine[0].split("\t")[-2:] == ["cosine", "example id"]
    (item,) = json.loads(tfdump("diff", "named.g.h5", "named.n.h5", "--json").stdout)["items"]
    assert item["example_id"] == "dog/4.jpg"
    assert "example_id" not in tfdump("diff", "plain.g.h5", "plain.n.h5", "--json").stdout
    document = ElementTree.fromstring(tfdump("diff", "named.g.h5", "named.n.h5", "--format", "junit").stdout)
    failure = document.find(".//failure")
    assert failure is not None
    assert "(dog/4.jpg)" in failure.attrib["message"]
    assert "example id: dog/4.jpg" in (failure.text or "")


# Other examples


def refused(tmp_path: Path, golden: list[str], new: list[str], first: tuple[int, int] = (0, 0)) -> str:
    """The message that refuses two dumps with these names."""
    paths = [
        side(tmp_path / f"{n}.h5", {"d": np.resize(A, (len(names), 3))}, names, start)
        for n, names, start in zip("gn", (golden, new), first, strict=True)
    ]
    with pytest.raises(DumpError) as caught:
        library.diff(*paths)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_other_examples_are_refused_with_the_first_row_that_differs(tmp_path: Path) -> None:
    other = [*NAMES[:3], "dog/33.jpg", "dog/44.jpg", "dog/5.jpg"]
    assert refused(tmp_path, NAMES, other) == (
        "g.h5 and n.h5 hold different examples: row 3 is 'dog/3.jpg' in g.h5 and 'dog/33.jpg' in n.h5 (dump both from "
        "the same INPUT with the same --examples; tfdump diff --ignore-ids compares row by row all the same)"
    )


def test_another_order_is_said(tmp_path: Path) -> None:
    assert refused(tmp_path, NAMES, [NAMES[0], *NAMES[:0:-1]]) == (
        "g.h5 and n.h5 hold different examples: row 1 is 'cat/1.jpg' in g.h5 and 'dog/5.jpg' in n.h5 (both have the "
        "same examples in another order: dump both from the same INPUT)"
    )


@pytest.mark.parametrize("swap", [False, True])
def test_a_part_tells_which_examples_to_dump(tmp_path: Path, swap: bool) -> None:
    sides, first = (NAMES[2:5], NAMES), (0, 10)
    text = refused(tmp_path, *(sides[::-1] if swap else sides), first[::-1] if swap else first)
    whole, part = ("g.h5", "n.h5") if swap else ("n.h5", "g.h5")
    assert "row 0 is " in text
    assert text.endswith(f"({whole} has those of {part} from row 2 on: dump it from its INPUT with --examples 12:15)")


def test_a_side_that_ends_before_the_other_one(tmp_path: Path) -> None:
    assert refused(tmp_path, NAMES[:2], NAMES).startswith(
        "g.h5 and n.h5 hold different examples: row 2 is 'cat/2.jpg' in n.h5, and g.h5 has only 2 (n.h5 has those of "
        "g.h5 from row 0 on: dump it from its INPUT with --examples 0:2)"
    )


def test_a_part_with_holes_has_no_range(tmp_path: Path) -> None:
    assert refused(tmp_path, NAMES[::2], NAMES).endswith("(dump both from the same INPUT with the same --examples)")


def test_many_names_are_compared_to_the_last(tmp_path: Path) -> None:
    names = photos(40_000)
    text = refused(tmp_path, names, [*names[:-1], "x.jpg"])
    assert "row 39999 is 'dog/39999.jpg' in g.h5 and 'x.jpg' in n.h5" in text
    text = refused(tmp_path, names, names[20_000:39_999])
    assert text.endswith("dump it from its INPUT with --examples 20000:39999)")


def test_a_dump_of_another_kind_is_said_first(tmp_path: Path) -> None:
    golden = side(tmp_path / "g.h5", {"d": A}, kind="gradients")
    with pytest.raises(DumpError, match="hold different things"):
        library.diff(golden, side(tmp_path / "n.h5", {"d": A}, NAMES[::-1]))


def test_the_command_ends_with_status_2(tfdump: Run, tmp_path: Path) -> None:
    side(tmp_path / "g.h5", {"d": A})
    side(tmp_path / "n.h5", {"d": A}, NAMES[::-1])
    done = tfdump("diff", "g.h5", "n.h5")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


# The same examples


def test_equal_names_are_the_same_examples_wherever_they_start(tmp_path: Path) -> None:
    golden, new = side(tmp_path / "g.h5", {"d": A}, first=5), side(tmp_path / "n.h5", {"d": A})
    assert library.diff(golden, new).same


def test_without_names_on_one_side_numbers_decide(tmp_path: Path) -> None:
    golden = side(tmp_path / "g.h5", {"d": A}, first=5)
    with pytest.raises(DumpError, match="start at different examples"):
        library.diff(golden, side(tmp_path / "n.h5", {"d": A}, None))


def test_names_decide_whether_values_pair(tmp_path: Path) -> None:
    """The hashes differ, as those of other numbers do, and the tensors have the same values."""
    hashes = [json.dumps([one]) for one in ("ab", "cd")]
    sides = [
        side(tmp_path / f"{n}.h5", {address: A}, inputs_sha256=sha, **{})
        for n, address, sha in zip("gn", ("one", "array0"), hashes, strict=True)
    ]
    report = library.diff(*sides)
    assert [(tensor.new_name, tensor.status, tensor.paired_by) for tensor in report.tensors] == [
        ("activations/array0", "same", "exact value")
    ]
    assert any("have the same names and other numbers" in note for note in report.notes)
    assert not any("the files do not tell" in note for note in report.notes)


def test_names_that_are_ignored_leave_it_to_the_rows(tfdump: Run, tmp_path: Path) -> None:
    golden, new = side(tmp_path / "g.h5", {"d": A}), side(tmp_path / "n.h5", {"d": B}, [f"x{name}" for name in NAMES])
    done = tfdump("diff", "g.h5", "n.h5", "--ignore-ids")
    assert done.returncode == 1
    assert "(dog/4.jpg)" in done.stderr
    assert not library.diff(golden, new, ignore_ids=True).same
    assert library.diff(golden, golden, ignore_ids=True).same


def test_names_in_an_npz_file_are_names_too(tmp_path: Path) -> None:
    golden = side(tmp_path / "g.h5", {"d": A}, first=7)
    arrays = {"d": B, "examples/id": np.array(NAMES), "examples/label": np.arange(6)}
    np.savez(tmp_path / "n.npz", **arrays)
    report = library.diff(golden, tmp_path / "n.npz")
    assert [(tensor.name, tensor.example_id) for tensor in report.tensors] == [("activations/d", "dog/4.jpg")]
    np.savez(tmp_path / "n.npz", **arrays | {"examples/id": np.array(NAMES[::-1])})
    with pytest.raises(DumpError, match=r"row 0 is 'cat/0\.jpg' in .* and 'dog/5\.jpg' in .*n\.npz"):
        library.diff(golden, tmp_path / "n.npz")
