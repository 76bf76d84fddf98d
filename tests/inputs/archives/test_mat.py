"""Arrays in MATLAB files: written by SciPy, and files of version 7.3 written as MATLAB writes them."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import io, sparse

from tfdump.errors import InputError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.readers import Reader

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.standard_normal((50, 3, 2)),
    "whole": RNG.integers(0, 100, (50, 4)).astype(np.float64),
    "small": RNG.integers(0, 100, (50, 4)).astype(np.uint8),
    "flags": RNG.random((50, 2)) > 0.5,
    "single": RNG.standard_normal((50, 1)).astype(np.float32),
    "z": RNG.standard_normal((50, 2)) + 1j * RNG.standard_normal((50, 2)),
}
CLASSES = {"x": "double", "whole": "double", "small": "uint8", "flags": "logical", "single": "single", "z": "double"}


def write_73(path: Path, arrays: dict[str, np.ndarray], chunks: bool) -> None:
    """Write arrays as MATLAB's `save -v7.3` does: behind 512 bytes, with their axes in reverse order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            stored = array.T
            if array.dtype == bool:
                stored = stored.astype(np.uint8)
            elif array.dtype.kind == "c":
                stored = np.empty(array.T.shape, [("real", "f8"), ("imag", "f8")])
                stored["real"], stored["imag"] = array.T.real, array.T.imag
            shape = (*stored.shape[:-1], min(16, stored.shape[-1])) if chunks else None
            dataset = file.create_dataset(name, data=stored, chunks=shape, compression="gzip" if chunks else None)
            dataset.attrs["MATLAB_class"] = np.bytes_(CLASSES.get(name, "double"))
        file.create_group("#refs#")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.fixture(params=["5", "5 compressed", "7.3", "7.3 compressed"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    compressed = "compressed" in request.param
    if request.param.startswith("5"):
        io.savemat(tmp_path / "data.mat", ARRAYS, do_compression=compressed)
    else:
        write_73(tmp_path / "data.mat", ARRAYS, compressed)
    return tmp_path / "data.mat"


def opened(path: Path, name: str) -> Reader:
    (array,) = open_arguments([f"{path}::{name}"])
    return array.reader


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_have_the_axes_that_matlab_shows(path: Path, name: str) -> None:
    reader, expected = opened(path, name), ARRAYS[name]
    assert (reader.shape, reader.dtype) == (expected.shape, expected.dtype)
    for start, stop in ((0, 50), (0, 1), (15, 17), (49, 50), (30, 30)):
        np.testing.assert_array_equal(reader.read(start, stop), expected[start:stop])


def test_all_arrays_are_known_by_name(path: Path) -> None:
    assert {array.name for array in open_arguments([str(path)])} == set(ARRAYS)
    with pytest.raises(InputError, match="has no array 'y' "):
        opened(path, "y")


def test_text_is_one_string_per_row(tmp_path: Path) -> None:
    io.savemat(tmp_path / "data.mat", {"t": np.array(["abc", "de"])})
    assert opened(tmp_path / "data.mat", "t").read(0, 2).tolist() == ["abc", "de "]


def test_what_is_no_array_of_numbers(tmp_path: Path) -> None:
    old, new = tmp_path / "old.mat", tmp_path / "new.mat"
    cell = np.empty((1, 1), object)
    cell[0, 0] = np.arange(3)
    io.savemat(old, {"s": sparse.eye(3), "c": cell, "r": {"a": 1.0}})
    write_73(new, {}, False)
    with h5py.File(new, "r+") as file:
        file.create_group("s").attrs["MATLAB_sparse"] = np.uint64(3)
        file.create_group("r").attrs["MATLAB_class"] = np.bytes_("struct")
        file.create_dataset("c", (1, 1), h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")
    for path in (old, new):
        for name, what in (("s", "sparse"), ("c", "cell"), ("r", "struct")):
            with pytest.raises(
                InputError, match=re.escape(f"{path}::{name} is of MATLAB's class '{what}', which is no")
            ):
                opened(path, name)


def test_damaged_files(path: Path) -> None:
    data = path.read_bytes()
    for damaged in (b"", data[:100], data[:700], bytes(300), data[: len(data) // 8]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=re.escape(str(path))):
            opened(path, "x").read(0, 50)


def test_an_array_is_no_larger_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "data.mat"
    io.savemat(path, {"x": np.zeros((2000, 1000))}, do_compression=True)
    assert path.stat().st_size < 100_000
    with allowed(1 << 20), pytest.raises(InputError, match=r"::x takes .*, more than the .* allowed"):
        opened(path, "x")
