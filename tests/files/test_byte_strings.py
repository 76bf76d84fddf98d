"""Text that HDF5's strings cannot hold is stored as bytes, exactly, wherever the first such item comes."""

import io
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfdump.comparison.diff import diff
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.view import views_of
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.exports.csv import csv
from tfdump.exports.header import c_header
from tfdump.exports.npy import npy
from tfdump.files.byte_strings import are_text
from tfdump.inputs.arguments import open_argument, parse_argument
from tfdump.tensors import Ragged, Sparse, TensorInfo, Value

BAD = [b"a\0b", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"tail\0", "\ud800", "nul\0"]
"""What is not UTF-8, holds NUL, or is no text in Unicode."""

STORES = [(compression, size, sums) for compression in ("none", "gzip", "zstd") for size in (1, 32, 1 << 20)
          for sums in (False, True)]  # fmt: skip


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def as_bytes(values: np.ndarray) -> list[bytes]:
    return [v if isinstance(v, bytes) else v.encode("utf-8", "surrogatepass") for v in values.reshape(-1)]


def write(path: Path, batches: list[Value], axis0: str = "example", store: tuple[str, int, bool] = STORES[-1]) -> Any:
    info = TensorInfo("t", "t", "t", ("Layer",), 0, "string", None)
    examples = sum(batch.shape[0] for batch in batches) if axis0 == "example" else 0
    with DumpWriter(path, storage=storage_for(*store)) as writer:
        collector = writer.collector(info, batches[0], axis0=axis0, examples=examples, batches=len(batches))
        for batch in batches:
            collector.append(batch)
        writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
        return writer.texts_as_bytes


def checked(dump: Dump, checksums: bool = True) -> Any:
    if checksums:
        assert {item.problem for item in dump.verify()} == {None}
    assert dump["t"].dtype == "string"
    return dump["t"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("place", [0, 2, 3, 8])
def test_rows_wherever_the_first_one_comes(store: tuple, place: int, tmp_path: Path) -> None:
    bad = BAD[(STORES.index(store) + place) % len(BAD)]
    values = objects("a", b"b\xc3\xa9", "", "longer than the others", "e", "ü", "g", "h", "i")
    values[place] = bad
    assert write(tmp_path / "d.h5", [values[:2], values[2:3], values[3:8], values[8:]], store=store) == [
        "activations/t"
    ]
    with open_dump(tmp_path / "d.h5") as dump:
        tensor = checked(dump, store[2])
        assert tensor.read().tolist() == as_bytes(values)
        assert tensor[place].item() == as_bytes(values)[place]
        assert tensor[2:4].tolist() == as_bytes(values)[2:4]
        assert tensor.stored_dtype == "bytes"
    with h5py.File(tmp_path / "d.h5") as file:  # as any program reads it
        dataset = file["activations/t"]
        assert dataset.attrs["stored_as"] == "bytes"
        assert h5py.check_vlen_dtype(dataset.dtype) == np.uint8
        assert [item.tobytes() for item in dataset[()]] == as_bytes(values)


def test_text_stays_text(tmp_path: Path) -> None:
    assert write(tmp_path / "d.h5", [objects("a", "ü"), objects(b"\xe5\xb1\xa4", "")]) == []
    with open_dump(tmp_path / "d.h5") as dump:
        assert dump["t"].read().tolist() == ["a", "ü", "層", ""]
        assert dump["t"].stored_dtype == "string"
    with h5py.File(tmp_path / "d.h5") as file:
        assert h5py.check_string_dtype(file["activations/t"].dtype).encoding == "utf-8"


binaries = st.lists(st.binary(max_size=4) | st.text(max_size=4), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(binaries, st.integers(1, 3), st.lists(st.integers(0, 12), max_size=3), st.sampled_from(STORES))
def test_any_bytes_come_back(items: list, width: int, cuts: list[int], store: tuple) -> None:
    values = objects(*(items * width)).reshape(-1, width)
    places = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.h5"
        as_bytes_names = write(path, [values[a:b] for a, b in pairwise(places)], store=store)
        with open_dump(path) as dump:
            array = checked(dump, store[2]).read()
            assert array.shape == values.shape
            assert as_bytes(array) == as_bytes(values)
            plain = are_text(objects(*as_bytes(values)))
            assert bool(as_bytes_names) != plain
            assert {type(item) for item in array.reshape(-1)} == {str if plain else bytes}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_other_forms_than_rows(late: bool, compression: str, tmp_path: Path) -> None:
    good, bad = objects("a", "ü"), objects(b"\xff", b"x\0")
    first, last = (good, bad) if late else (bad, good)
    store = (compression, 1 << 10, True)
    cases: dict[str, tuple[str, list[Value], Any]] = {
        "constant": ("none", [first, first], as_bytes(first)),
        "changing": ("none", [first, first, last], [as_bytes(v) for v in (first, first, last)]),
        "stack": ("batch", [first, last], [as_bytes(first), as_bytes(last)]),
        "scalar": ("none", [bad[1:].reshape(())], b"x\0"),
        "scalars": ("batch", [first[1:].reshape(()), last[1:].reshape(())], [as_bytes(first)[1], as_bytes(last)[1]]),
    }
    for name, (axis0, batches, expected) in cases.items():
        plain = name == "constant" and late
        assert write(tmp_path / f"{name}.h5", batches, axis0, store) == ([] if plain else ["activations/t"]), name
        with open_dump(tmp_path / f"{name}.h5") as dump:
            wanted = [text.decode() for text in expected] if plain else expected
            assert checked(dump).read().tolist() == wanted, name


@pytest.mark.parametrize("axis0", ["example", "batch"])
def test_batches_of_unequal_shapes(axis0: str, tmp_path: Path) -> None:
    batches = [objects("a", "b").reshape(2, 1), objects(b"\xff", b"x\0").reshape(1, 2), objects("c", "d").reshape(2, 1)]
    assert write(tmp_path / "d.h5", batches, axis0) == ["activations/t"]
    with open_dump(tmp_path / "d.h5") as dump:
        first, second, third = checked(dump).read()
        assert (first.tolist(), second.tolist()) == ([["a"], ["b"]], [[b"\xff", b"x\0"]])
        assert third.tolist() == [["c"], ["d"]]
        assert dump["t"].stored_dtype == "bytes"
    batches = [objects(b"z\0"), objects(b"\xff", b"x\0").reshape(1, 2)]
    write(tmp_path / "late.h5", batches, axis0)
    with open_dump(tmp_path / "late.h5") as dump:
        assert [item.tolist() for item in checked(dump).read()] == [[b"z\0"], [[b"\xff", b"x\0"]]]


def test_ragged_and_sparse(tmp_path: Path) -> None:
    ragged = [Ragged(objects("a", "b"), (np.array([0, 2]),)), Ragged(objects(b"\xff\0"), (np.array([0, 0, 1]),))]
    write(tmp_path / "r.h5", ragged)
    with open_dump(tmp_path / "r.h5") as dump:
        array = checked(dump).read()
        assert (array.values.tolist(), array.row_splits[0].tolist()) == ([b"a", b"b", b"\xff\0"], [0, 2, 2, 3])
    sparse = [Sparse(objects("a"), np.array([[0, 1]]), (1, 2)), Sparse(objects(b"\0"), np.array([[0, 0]]), (1, 2))]
    write(tmp_path / "s.h5", sparse)
    with open_dump(tmp_path / "s.h5") as dump:
        assert checked(dump).read().values.tolist() == [b"a", b"\0"]


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    write(tmp_path / "d.h5", [objects(b"needle\xff", "b")])
    data = (tmp_path / "d.h5").read_bytes()
    assert data.count(b"needle\xff") == 1
    (tmp_path / "d.h5").write_bytes(data.replace(b"needle\xff", b"noodle\xff"))
    with open_dump(tmp_path / "d.h5") as dump:
        assert "its values changed" in {item.problem for item in dump.verify()}


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name, [objects("a", "b"), objects(b"\xff")], store=("none", 8, True))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_exports(tmp_path: Path) -> None:
    values = objects(b"\xff", "ü", "plain", b"a\0b").reshape(2, 2)
    write(tmp_path / "d.h5", [values])
    write(tmp_path / "tail.h5", [objects(b"tail\0")])
    write(tmp_path / "latin.h5", [objects(b"\xff", "ü")])
    with open_dump(tmp_path / "d.h5") as dump:
        view = views_of(dump["t"])[""]
        written = np.load(io.BytesIO(b"".join(npy(view, "'t'"))))
        assert written.astype(object).reshape(-1).tolist() == as_bytes(values)
        assert b"".join(csv(view)).decode().splitlines()[-2:] == [r"\xff,ü", r"plain,a\x00b"]
        with pytest.raises(DumpError, match="holds NUL, which ends a string of C"):
            b"".join(c_header("t", {"": view}, [], "'t'", {}))
    with open_dump(tmp_path / "tail.h5") as dump, pytest.raises(DumpError, match=r"bytes that end in NUL.*\.npy"):
        b"".join(npy(views_of(dump["t"])[""], "'t'"))
    with open_dump(tmp_path / "latin.h5") as dump:
        assert rb'"\377", "\303\274"' in b"".join(c_header("t", {"": views_of(dump["t"])[""]}, [], "'t'", {}))


def test_it_is_an_input_again(tmp_path: Path) -> None:
    """From the dump itself, where nothing is lost, and from what `cat` makes of it."""
    values = objects(b"\xff", "ü", b"tail\0", b"")
    write(tmp_path / "d.h5", [values])
    (argument,) = open_argument(parse_argument(f"{tmp_path / 'd.h5'}::/activations/t"))
    assert argument.reader.dtype == object
    assert argument.reader.read(1, 4).tolist() == as_bytes(values)[1:]


def test_comparisons(tmp_path: Path) -> None:
    """Text against bytes, dumps against arrays: what is equal in bytes is equal."""
    good, bad = objects("a", "ü", "c"), objects("a", "ü", b"\xff")
    write(tmp_path / "good.h5", [good])
    write(tmp_path / "bad.h5", [bad])
    np.savez(tmp_path / "bad.npz", t=np.array(as_bytes(bad)))
    assert diff(tmp_path / "bad.h5", tmp_path / "bad.h5").same
    assert diff(tmp_path / "bad.h5", tmp_path / "bad.npz").same
    assert diff({"t": bad}, tmp_path / "bad.npz").same
    report = diff(tmp_path / "good.h5", tmp_path / "bad.h5")
    assert not report.same
    (verdict,) = report.tensors
    assert (verdict.comparison.failed, verdict.comparison.index) == (1, (2,))
    assert (verdict.comparison.golden, verdict.comparison.new) == ("c", r"\xff")
    write(tmp_path / "escaped.h5", [objects("a", "ü", r"\xff")])  # which looks the same, and is not
    assert not diff(tmp_path / "escaped.h5", tmp_path / "bad.h5").same
    assert not diff(tmp_path / "escaped.h5", tmp_path / "bad.npz").same
