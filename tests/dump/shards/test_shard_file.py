"""A shard is told from any other file by its attributes, and its state is read as it was written."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support.shard_manifests import manifest
from tfdump.dump.checksums import verify
from tfdump.dump.shards.shard_file import (
    NUMBERS,
    ShardState,
    is_done,
    range_of_name,
    read_shard_state,
    shard_name,
    write_shard_state,
)
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError

STATE = ShardState([{"group": "activations", "statistics": ["0x1.8p+3", 2**90]}], ["späte"], 2)


def write_shard(folder: Path, bounds: tuple[int, int] = (100, 108), state: bool = True, **changed: Any) -> Path:
    root = {
        "format": "tfdump", "format_version": np.int64(1), "shard_of": manifest().id,
        "first_example": np.int64(bounds[0]), "examples": np.int64(bounds[1] - bounds[0]),
    }  # fmt: skip
    path = folder / shard_name(*bounds)
    with DumpWriter(path, storage=storage_for("gzip", checksums=True)) as writer:
        if state:
            write_shard_state(writer, STATE, {NUMBERS: np.arange(6.0).reshape(2, 3), "shard/sums/a/b/low": np.ones(2)})
        writer.describe({**root, **changed}, None, ())
    return path


def test_names_of_shards_are_read_back_and_sort() -> None:
    assert shard_name(0, 4096) == "shard-000000000000-000000004096.h5"
    assert range_of_name(shard_name(5, 10**9)) == (5, 10**9)
    assert range_of_name("shard-1-2.h5") is None
    assert range_of_name(shard_name(0, 1) + ".x1y2.partial") is None


def test_the_state_is_read_as_it_was_written_and_has_checksums(tmp_path: Path) -> None:
    with h5py.File(write_shard(tmp_path)) as file:
        assert read_shard_state(file) == STATE
        np.testing.assert_array_equal(file["shard/numbers"], np.arange(6.0).reshape(2, 3))
        np.testing.assert_array_equal(file["shard/sums/a/b/low"], [1, 1])
        checked = list(verify(file))
    assert {"shard/state", "shard/numbers", "shard/sums/a/b/low"} <= {item.name for item in checked}
    assert not [item.problem for item in checked if item.problem]


def test_a_shard_is_done_when_its_file_is_there(tmp_path: Path) -> None:
    write_shard(tmp_path)
    assert is_done(tmp_path, manifest(), (100, 108))
    assert not is_done(tmp_path, manifest(), (108, 110))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shard_of": "00"}, r"its shard_of is '00', and the manifest asks for '[0-9a-f]{64}'"),
        ({"first_example": np.int64(96)}, "its first_example is 96, and the manifest asks for 100"),
        ({"examples": np.int64(7)}, "its examples is 7, and the manifest asks for 8"),
        ({"state": False}, "has no group '/shard'"),
    ],
)
def test_a_file_that_is_not_this_shard_is_refused_by_name(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = write_shard(tmp_path, **changed)
    with pytest.raises(DumpError, match=message) as refused:
        is_done(tmp_path, manifest(), (100, 108))
    assert path.name in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"other", None])
def test_a_file_that_is_no_hdf5_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = write_shard(tmp_path)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(DumpError, match=path.name):
        is_done(tmp_path, manifest(), (100, 108))


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["shard/state"]
        file["shard/state"] = "{"
    with h5py.File(path) as file, pytest.raises(DumpError, match="shard/state' is damaged"):
        read_shard_state(file)
