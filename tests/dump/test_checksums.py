"""Checksums: equal to those of the bytes that h5py reads, and no flipped byte of the data gets past them."""

import binascii
import subprocess
import sys
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from tfdump.dump.reader import open_dump
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.tensors import NotCaptured, Ragged, Sparse, TensorInfo

ROWS = np.random.default_rng(0).normal(size=(40, 3, 2)).astype(np.float32)
TABLE = np.arange(12, dtype=np.int64).reshape(4, 3)

TENSORS = {
    "rows": ("example", "float32", [ROWS[:15], ROWS[15:]]),
    "unequal": ("example", "float32", [ROWS[:2], ROWS[:2, :2]]),
    "none": ("none", "int64", [TABLE, TABLE]),
    "stack": ("batch", "float32", [ROWS[0], ROWS[1]]),
    "scalar": ("none", "float32", [np.float32(1.5)]),
    "empty": ("example", "float32", [np.zeros((3, 0), np.float32)]),
    "text": ("example", "string", [np.array([b"a", "bé", b""], object)]),
    "bool": ("example", "bool", [np.array([True, False])]),
    "complex": ("example", "complex64", [np.array([1 + 2j, 3j], np.complex64)]),
    "narrow": ("example", "bfloat16", [ROWS[:, 0, 0].astype(ml_dtypes.bfloat16)]),
    "ragged": ("example", "float32", [Ragged(ROWS[:4, 0, 0].copy(), (np.array([0, 1, 4]),))]),
    "sparse": ("example", "float32", [Sparse(ROWS[:2, 0, 0].copy(), np.array([[0, 1], [1, 0]]), (2, 2))]),
}


def write(path: Path, compression: str = "none", checksums: bool = True, steps: int | None = None) -> None:
    """A dump of every kind of tensor, in chunks of a few rows; with `steps`, of two that have a step axis."""
    with DumpWriter(path, storage=storage_for(compression, 1 << 8, checksums)) as writer:
        for order, (name, (axis0, dtype, batches)) in enumerate(TENSORS.items()):
            if steps and name not in ("rows", "none"):
                continue
            info = TensorInfo(name, name, name, ("Layer",), order, dtype, (-1, 3))
            examples = sum(batch.shape[0] for batch in batches) if axis0 == "example" else 0
            collector = writer.collector(
                info, batches[0], axis0=axis0, examples=examples, batches=len(batches), steps=steps
            )
            for _ in range(steps or 1):
                for batch in batches[: 1 if steps and axis0 == "none" else None]:
                    collector.append(batch)
            writer.link("activations", info, collector, {})
        shape_only = writer.collector(info, ROWS, axis0="example", examples=40, batches=1, values=False)
        shape_only.append(ROWS)
        writer.link("outputs", TensorInfo("shape", "shape", "shape", (), 0, "float32", None), shape_only, {})
        writer.unconnected("gradients/weights", TensorInfo("w", "w", "w", (), 0, "float32", (3, 2)), {})
        writer.loss(np.array([1.0, 2.0]), {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, '{"layers": []}', (NotCaptured("x", "y"),))


def datasets(path: Path) -> dict[str, tuple[bytes, int | None]]:
    """The bytes of every dataset as h5py reads them, and its checksum."""
    contents = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            if h5py.check_string_dtype(item.dtype):
                data = b"".join(text + b"\0" for text in np.asarray(values, object).reshape(-1))
            else:
                data = np.asarray(values).tobytes()
            contents[name] = data, item.attrs.get("crc32")

    with h5py.File(path) as file:
        file.visititems(visit)
    return contents


@pytest.fixture(scope="module", params=["none", "gzip", "zstd"])
def dump(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checksums") / f"{request.param}.h5"
    write(path, request.param)
    return path


def problems(path: Path) -> dict[str, str]:
    with open_dump(path) as dump:
        return {item.name: item.problem for item in dump.verify() if item.problem is not None}


def test_every_dataset_has_the_crc32_of_its_bytes(dump: Path) -> None:
    contents = datasets(dump)
    assert {"activations/rows", "activations/ragged/row_splits", "activations/unequal/1", "loss"} <= set(contents)
    for name, (data, stored) in contents.items():
        assert stored == binascii.crc32(data), name
        assert stored.dtype == np.uint32


def test_the_steps_of_a_descent_have_checksums(tmp_path: Path) -> None:
    write(tmp_path / "d.h5", steps=3)
    contents = datasets(tmp_path / "d.h5")
    assert contents["activations/rows"][0] == np.stack([ROWS] * 3).tobytes()
    assert all(stored == binascii.crc32(data) for data, stored in contents.values())


def test_a_whole_dump_has_no_problems(dump: Path) -> None:
    with open_dump(dump) as opened:
        items = list(opened.verify())
    assert [item.problem for item in items] == [None] * len(items)
    assert [item.name for item in items] == [*_in_order(dump), "/"]
    assert sum(item.bytes for item in items) >= ROWS.nbytes


def _in_order(path: Path) -> list[str]:
    """The datasets in the order of the file, by h5py."""
    with h5py.File(path) as file:
        return [
            f"{name}/{inner}".rstrip("/")
            for group in file
            for name, item in (
                [(group, file[group])]
                if isinstance(file[group], h5py.Dataset)
                else [
                    (f"{group}/{key}/{last}" if group == "gradients" else f"{group}/{key}", value)
                    for key, sub in file[group].items()
                    for last, value in (sub.items() if group == "gradients" else [("", sub)])
                ]
            )
            for inner in (item if isinstance(item, h5py.Group) else [""])
        ]


def test_rows_that_no_batch_gave_are_zeros(tmp_path: Path) -> None:
    info = TensorInfo("t", "t", "t", (), 0, "float32", None)
    with DumpWriter(tmp_path / "d.h5", storage=storage_for("none", 64, True)) as writer:
        collector = writer.collector(info, ROWS, axis0="example", examples=100, batches=3)
        collector.append(ROWS)
        writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
    assert problems(tmp_path / "d.h5") == {}


def test_the_same_command_still_writes_the_same_bytes(dump: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.h5", dump.stem)
    assert (tmp_path / "again.h5").read_bytes() == dump.read_bytes()


def test_without_checksums_there_are_none(tmp_path: Path) -> None:
    write(tmp_path / "d.h5", checksums=False)
    assert all(stored is None for _, stored in datasets(tmp_path / "d.h5").values())
    with open_dump(tmp_path / "d.h5") as dump, pytest.raises(DumpError, match=r"holds no checksums .*--checksums"):
        next(dump.verify())


@pytest.mark.parametrize("name", ["activations/rows", "activations/text", "activations/ragged/row_splits", "loss"])
def test_a_changed_value_is_found_and_named(dump: Path, tmp_path: Path, name: str) -> None:
    damaged = tmp_path / "d.h5"
    damaged.write_bytes(dump.read_bytes())
    with h5py.File(damaged, "r+") as file:
        values = file[name][()]
        values[-1] = b"other" if "text" in name else values[-1] + 1
        file[name][...] = values
    assert list(problems(damaged)) == [name]
    assert "its values changed" in problems(damaged)[name]


def change_attribute(file: h5py.File) -> None:
    file["activations/rows"].attrs["layer"] = "other"


def change_root(file: h5py.File) -> None:
    file.attrs["format"] = "tfdump"
    file.attrs["examples"] = 5


def rename(file: h5py.File) -> None:
    file.move("activations/rows", "activations/rose")


def remove(file: h5py.File) -> None:
    del file["activations/none"]


def remove_a_checksum(file: h5py.File) -> None:
    del file["activations/none"].attrs["crc32"]


@pytest.mark.parametrize("change", [change_attribute, change_root, rename, remove, remove_a_checksum])
def test_names_and_attributes_are_protected(dump: Path, tmp_path: Path, change: object) -> None:
    damaged = tmp_path / "d.h5"
    damaged.write_bytes(dump.read_bytes())
    with h5py.File(damaged, "r+") as file:
        change(file)
    assert "/" in problems(damaged)


def test_checksums_outlive_other_chunks_and_filters(dump: Path, tmp_path: Path) -> None:
    """What `h5repack` does: the same names, attributes and values, stored otherwise."""
    with h5py.File(dump) as before, h5py.File(tmp_path / "d.h5", "w", track_order=True) as after:

        def copy(source: h5py.Group, target: h5py.Group) -> None:
            for key, value in source.attrs.items():
                target.attrs.create(key, value)
            for name, item in source.items():
                if isinstance(item, h5py.Group):
                    copy(item, target.create_group(name, track_order=True))
                    continue
                chunked = {"chunks": True, "compression": "lzf"} if item.ndim and item.size else {}
                made = target.create_dataset(name, data=item[()], dtype=item.dtype, **chunked)
                for key, value in item.attrs.items():
                    made.attrs.create(key, value)

        copy(before, after)
    assert problems(tmp_path / "d.h5") == {}


FLIP = """
import os, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_checksums import DumpError, content, problems

whole, before = Path(sys.argv[2]).read_bytes(), content(Path(sys.argv[2]))
dice = random.Random(sys.argv[2][-9:])
damaged = Path(sys.argv[3])
for position in dice.sample(range(len(whole)), 60):
    flipped = bytearray(whole)
    flipped[position] ^= 1 << dice.randrange(8)
    damaged.write_bytes(flipped)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            found = bool(problems(damaged))
        except DumpError:
            found = True
        os._exit(1 if found else 0 if content(damaged) == before else 3)
    print(position, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Flips one bit of a dump, many times, each time in a child, because a flip in HDF5's own structures can kill it."""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_no_flipped_byte_gets_past(tmp_path: Path, compression: str) -> None:
    """A flip is found, or stops the reader, or changes nothing that can be read (HDF5 has unused bytes)."""
    write(tmp_path / f"{compression}.h5", compression)
    files = [tmp_path / f"{compression}.h5", tmp_path / "d.h5"]
    command = [sys.executable, "-c", FLIP, str(Path(__file__).parent), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ends = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(ends) == 60
    assert [line for line in done.stdout.splitlines() if line.endswith(" 3")] == []
    assert ends.count(1) > 6


def content(path: Path) -> list[object]:
    """Every name, value and attribute, read by h5py alone."""
    items: list[object] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        items.append((name, [(key, repr(value)) for key, value in sorted(item.attrs.items())]))
        if isinstance(item, h5py.Dataset):
            items.append((str(item.dtype), np.asarray(item[()]).tolist().__repr__()))

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return items


def test_every_byte_of_the_values_is_protected(tmp_path: Path) -> None:
    """All bytes of one tensor, whose place in the file its values tell."""
    write(tmp_path / "d.h5")
    whole = (tmp_path / "d.h5").read_bytes()
    marked = ROWS[:10].tobytes()  # a chunk of 256 bytes holds ten rows
    start = whole.index(marked)
    for position in range(start, start + len(marked), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "d.h5").write_bytes(damaged)
        assert list(problems(tmp_path / "d.h5")) == ["activations/rows"]
