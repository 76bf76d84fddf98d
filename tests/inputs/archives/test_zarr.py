"""Arrays in Zarr folders, against zarr itself and NumPy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import zarr

from tfdump.errors import InputError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.matching import match
from tfdump.tensors import InputSpec

RANGES = ((0, 100), (0, 1), (29, 31), (30, 60), (99, 100), (7, 7))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressors", [None, "auto"])
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "<U5"])
def test_any_range_of_rows(tmp_path: Path, version: int, compressors: str | None, dtype: str) -> None:
    expected = np.random.default_rng(0).integers(0, 50, (100, 4)).astype(dtype)
    array = zarr.create_array(
        tmp_path / "x.zarr", shape=(100, 4), chunks=(30, 3), dtype=dtype, zarr_format=version, compressors=compressors
    )
    array[:] = expected
    (opened,) = open_arguments([str(tmp_path / "x.zarr")])
    assert (opened.reader.shape, opened.reader.dtype) == ((100, 4), np.dtype(dtype))
    for start, stop in RANGES:
        np.testing.assert_array_equal(opened.reader.read(start, stop), expected[start:stop])


def test_shards_are_read_once(tmp_path: Path) -> None:
    expected = np.arange(200.0).reshape(100, 2)
    zarr.create_array(tmp_path / "x.zarr", shape=(100, 2), chunks=(5, 2), shards=(20, 2), dtype="f8")[:] = expected
    (opened,) = open_arguments([str(tmp_path / "x.zarr")])
    for start, stop in RANGES:
        np.testing.assert_array_equal(opened.reader.read(start, stop), expected[start:stop])


@pytest.mark.parametrize("version", [2, 3])
def test_groups_hold_one_array_per_input(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    values = {"b": np.arange(3.0), "a": np.arange(6).reshape(3, 2)}
    for name, array in values.items():
        group.create_array(name, data=array)
    group.create_group("deep").create_array("c", data=np.arange(4))
    specs = [InputSpec("a", (None, 2), "int64"), InputSpec("b", (None,), "float64")]
    for name, reader in match(open_arguments([str(tmp_path / "x.zarr")]), specs).items():
        np.testing.assert_array_equal(reader.read(0, 3), values[name])
    for member in ("deep/c", "/deep/c"):
        (array,) = open_arguments([f"{tmp_path}/x.zarr::{member}"])
        assert array.reader.read(1, 3).tolist() == [1, 2]
    (array,) = open_arguments([f"{tmp_path}/x.zarr::deep"])
    assert (array.name, array.reader.label) == ("c", f"{tmp_path}/x.zarr::deep/c")
    (array,) = open_arguments([f"y={tmp_path}/x.zarr::b"])
    assert (array.name, array.reader.shape) == ("y", (3,))
    with pytest.raises(InputError, match=re.escape("x.zarr has no 'dep'; near: 'deep' (it has 'a', 'b', 'deep')")):
        open_arguments([f"{tmp_path}/x.zarr::dep"])


def test_text_of_any_length(tmp_path: Path) -> None:
    texts = np.array(["a", "äöü", ""], dtype=np.dtypes.StringDType())
    zarr.create_array(tmp_path / "x.zarr", shape=(3,), dtype=str)[:] = texts
    (array,) = open_arguments([str(tmp_path / "x.zarr")])
    assert array.reader.read(0, 3).tolist() == ["a", "äöü", ""]
    assert array.reader.dtype == object


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x.zarr", shape=(3,), chunks=(3,), dtype="f8", zarr_format=2)[:] = 1
    metadata = json.loads((tmp_path / "x.zarr" / ".zarray").read_text())
    pickled = {"id": "pickle", "protocol": 5}
    for changes, message in (
        ({"compressor": {"id": "base64"}}, "x.zarr is stored with the codec 'base64', which tfdump does not read"),
        ({"compressor": pickled}, "x.zarr is no Zarr folder, or is damaged"),
        ({"filters": [pickled]}, "x.zarr is no Zarr folder, or is damaged"),
        ({"dtype": "|O", "filters": [pickled], "fill_value": None}, "x.zarr is no Zarr folder, or is damaged"),
    ):
        (tmp_path / "x.zarr" / ".zarray").write_text(json.dumps(metadata | changes))
        with pytest.raises(InputError, match=re.escape(message)):
            [array.reader for array in open_arguments([str(tmp_path / "x.zarr")])]


def test_damaged_folders(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(InputError, match=r"x.zarr is no Zarr folder, or is damaged"):
        open_arguments([str(tmp_path / "x.zarr")])
    zarr.open_group(tmp_path / "x.zarr", mode="w")
    with pytest.raises(InputError, match=r"x.zarr has no array \(it has nothing\)"):
        open_arguments([str(tmp_path / "x.zarr")])
    zarr.create_array(tmp_path / "y.zarr", shape=(30,), chunks=(10,), dtype="f8")[:] = np.arange(30)
    (tmp_path / "y.zarr" / "c" / "1").write_bytes(b"damaged")
    (array,) = open_arguments([str(tmp_path / "y.zarr")])
    assert array.reader.read(0, 10).tolist() == list(range(10))
    with pytest.raises(InputError, match=r"cannot read .*y.zarr"):
        array.reader.read(5, 15)
    with pytest.raises(InputError, match=r"y.zarr is one array and has no 'a' inside \(leave '::a' out\)"):
        open_arguments([f"{tmp_path}/y.zarr::a"])


def test_a_chunk_is_no_larger_than_allowed(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x.zarr", shape=(10**9, 100), chunks=(10**6, 100), dtype="f8")
    with allowed(1 << 20), pytest.raises(InputError, match=r"one chunk takes .* more than .* allowed"):
        [array.reader for array in open_arguments([str(tmp_path / "x.zarr")])]
