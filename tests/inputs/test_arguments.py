"""INPUT arguments: which file, which array inside it, and for which input."""

import io
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.arguments import InputArgument, open_argument, parse_argument

X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(text: str) -> dict[str | None, list]:
    """The values of every array that an argument opens, by the name of the input."""
    return {
        item.name: item.reader.read(0, item.reader.shape[0]).tolist() for item in open_argument(parse_argument(text))
    }


# Taking apart


@pytest.mark.parametrize(
    ("text", "name", "file", "member"),
    [
        ("-", None, "-", None),
        ("x.npy", None, "x.npy", None),
        ("ids=x.npy", "ids", "x.npy", None),
        ("ids=-", "ids", "-", None),
        ("data.h5::/group/x", None, "data.h5", "/group/x"),
        ("ids=data.h5::/group/x", "ids", "data.h5", "/group/x"),
        ("data.npz::a=b", None, "data.npz", "a=b"),
        ("a/b=c.npy", None, "a/b=c.npy", None),
        ("=x.npy", None, "=x.npy", None),
        ("data.h5::", None, "data.h5", None),
        ("b.c=x.npy", "b.c", "x.npy", None),
        ("ids=folder/x=1.npy", "ids", "folder/x=1.npy", None),
    ],
)
def test_an_argument_is_taken_apart(text: str, name: str | None, file: str, member: str | None) -> None:
    assert parse_argument(text) == InputArgument(text, name, file, member)


@pytest.mark.parametrize(
    ("file", "text", "name", "member"),
    [
        ("a=b.csv", "a=b.csv::x,y", None, "x,y"),
        ("a=b.csv", "ids=a=b.csv::x,y", "ids", "x,y"),
        ("a::b.csv", "a::b.csv::x", None, "x"),
        ("a::b.csv", "ids=a::b.csv::x::y", "ids", "x::y"),
        ("a.h5", "a.h5::/x::y", None, "/x::y"),
    ],
)
def test_the_longest_name_of_a_file_is_the_file(
    folder: Path, file: str, text: str, name: str | None, member: str
) -> None:
    (folder / file).touch()
    assert parse_argument(text) == InputArgument(text, name, file, member)


def test_the_name_of_a_list_may_have_colons(folder: Path) -> None:
    (folder / "a::b.txt").touch()
    assert parse_argument("image=@a::b.txt") == InputArgument("image=@a::b.txt", "image", "@a::b.txt", None)


@pytest.mark.parametrize("text", ["a=b.npy", "a::b.npy", "a=b::c.npy"])
def test_a_file_whose_whole_name_matches_wins(folder: Path, text: str) -> None:
    np.save(folder / "b.npy", X)
    np.save(folder / text, X)
    assert parse_argument(text) == InputArgument(text, None, text, None)


def test_the_rest_behind_a_name_may_be_a_whole_name_too(folder: Path) -> None:
    np.save(folder / "b::c.npy", X)
    assert parse_argument("a=b::c.npy") == InputArgument("a=b::c.npy", "a", "b::c.npy", None)


# Opening


def test_a_npy_file_is_one_array(folder: Path) -> None:
    np.save(folder / "x.npy", X)
    assert opened("x.npy") == {None: X.tolist()}
    assert opened("ids=x.npy") == {"ids": X.tolist()}


def test_the_content_decides_and_not_the_name_of_the_file(folder: Path) -> None:
    np.save(folder / "x.npy", X)
    (folder / "x.npy").rename(folder / "x.data")
    assert opened("x.data") == {None: X.tolist()}


def test_a_member_of_a_npy_file_is_refused(folder: Path) -> None:
    np.save(folder / "x.npy", X)
    with pytest.raises(InputError, match=r"one \.npy array and has no 'a'"):
        opened("x.npy::a")


@pytest.mark.parametrize("kind", ["npz", "h5"])
class TestArchive:
    """An archive of arrays is the same thing as a `.npz` and as an HDF5 file."""

    def save(self, kind: str, **arrays: object) -> str:
        if kind == "npz":
            np.savez("a.npz", **arrays)
        else:
            with h5py.File("a.h5", "w") as file:
                for name, values in arrays.items():
                    file[name] = values
        return f"a.{kind}"

    def test_every_key_may_be_the_name_of_an_input(self, kind: str) -> None:
        arrays = open_argument(parse_argument(self.save(kind, left=X, right=X + 1)))
        assert [(item.name, item.optional_name) for item in arrays] == [("left", True), ("right", True)]

    def test_a_member_is_picked(self, kind: str) -> None:
        assert opened(self.save(kind, a=X, b=X + 1) + "::b") == {None: (X + 1).tolist()}

    def test_a_member_is_given_to_a_named_input(self, kind: str) -> None:
        assert opened("ids=" + self.save(kind, a=X, b=X + 1) + "::b") == {"ids": (X + 1).tolist()}

    def test_the_name_of_the_input_picks_the_key(self, kind: str) -> None:
        assert opened("b=" + self.save(kind, a=X, b=X + 1)) == {"b": (X + 1).tolist()}

    def test_a_single_array_takes_any_name(self, kind: str) -> None:
        assert opened("ids=" + self.save(kind, a=X)) == {"ids": X.tolist()}

    def test_one_of_several_has_to_be_named(self, kind: str) -> None:
        name = self.save(kind, a=X, b=X)
        with pytest.raises(InputError, match=f"2 arrays; name one for 'ids': {name}::a, {name}::b"):
            opened(f"ids={name}")

    def test_an_unknown_member_is_an_error_that_lists_or_suggests(self, kind: str) -> None:
        with pytest.raises(InputError, match=r"no .*array_c.*'array_a'"):
            opened(self.save(kind, array_a=X) + "::array_c")

    def test_a_pair_of_values_and_row_splits_is_one_ragged_array(self, kind: str) -> None:
        name = self.save(kind, **{"ids.values": [1, 2, 3], "ids.row_splits": [0, 1, 3], "x": X[:2]})
        assert opened(name) == {"ids": [[1, 0], [2, 3]], "x": X[:2].tolist()}

    def test_half_of_a_ragged_pair_is_an_array_of_its_own(self, kind: str) -> None:
        assert list(opened(self.save(kind, **{"ids.values": [1, 2]}))) == ["ids.values"]


def test_a_dataset_deep_in_a_file_is_named_by_its_path(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["group/x"] = X
    assert opened("d.h5::/group/x") == opened("d.h5::group/x") == {None: X.tolist()}


def test_a_group_is_an_archive_of_its_own_datasets(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["group/x"] = X
        file["group/y"] = X + 1
        file["group/deeper/z"] = X
        file["w"] = X
    assert list(opened("d.h5::group")) == ["x", "y"]
    assert opened("y=d.h5::group") == {"y": (X + 1).tolist()}


def test_a_file_of_groups_only_says_where_to_look(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["group/x"] = X
    with pytest.raises(InputError, match=r"no dataset in '/' \(it has d\.h5::/group\)"):
        opened("d.h5")


@pytest.mark.parametrize("link", [h5py.SoftLink("/x"), h5py.ExternalLink("other.h5", "/x")])
def test_links_are_not_followed(folder: Path, link: object) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = X
        file["y"] = link
    with pytest.raises(InputError, match="'/y' is a link"):
        opened("d.h5::y")


def test_variable_length_rows_are_one_ragged_array(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        rows = file.create_dataset("ids", (2,), h5py.vlen_dtype(np.int32))
        rows[0], rows[1] = [1], [2, 3]
    assert opened("d.h5::ids") == {None: [[1, 0], [2, 3]]}


@pytest.mark.parametrize("dtype", [h5py.string_dtype(), h5py.string_dtype("utf-8", 4)])
def test_text_is_not_taken_for_variable_length_rows(folder: Path, dtype: object) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["words"] = np.array(["é".encode(), b"bcd"], dtype)
    (array,) = open_argument(parse_argument("d.h5::words"))
    assert (array.reader.shape, array.reader.dtype) == ((2,), np.dtype(object))
    assert array.reader.read(0, 2).tolist() == ["é".encode(), b"bcd"]


@pytest.mark.parametrize("dtype", [np.int32, h5py.vlen_dtype(np.int32), h5py.string_dtype()])
def test_a_dataset_without_dataspace_is_refused(folder: Path, dtype: object) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("x", data=h5py.Empty(dtype))
    with pytest.raises(InputError, match=r"d\.h5::/x is empty"):
        opened("d.h5::x")


def test_a_type_is_no_dataset(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["t"] = np.dtype("f4")
    with pytest.raises(InputError, match="is a named type"):
        opened("d.h5::t")


@pytest.mark.parametrize("text", ["-", "ids=-"])
def test_standard_input_is_a_npy_stream(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stream = io.BytesIO()
    np.save(stream, X)
    stream.seek(0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert opened(text) == {parse_argument(text).name: X.tolist()}


# Refusals


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5", "noname"])
def test_an_empty_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name}.*(empty|not an HDF5 file)"):
        opened(name)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_loaded(folder: Path, protocol: int) -> None:
    (folder / "x.npy").write_bytes(pickle.dumps(X, protocol))
    with pytest.raises(InputError, match="pickle, which tfdump never loads"):
        opened("x.npy")


@pytest.mark.parametrize("content", [b"1,2,3\n4,5,6\n", b"\xff\xd8\xff\xe0JFIF", b"\0"])
def test_a_file_of_another_kind_is_refused(folder: Path, content: bytes) -> None:
    (folder / "x.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.bin is not a \.npy, \.npz or HDF5 file, and its ending is not"):
        opened("x.bin")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("none.npy", "no such input file: none.npy"),
        ("ids=none.npy", "no such input file: none.npy"),
        ("none.h5::x", "no such input file: none.h5"),
        (".", "is a folder"),
        ("https://example.org/x.npy", r"is a URL, not a file \(download it first\)"),
    ],
)
def test_what_is_no_file_is_named(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        opened(text)
