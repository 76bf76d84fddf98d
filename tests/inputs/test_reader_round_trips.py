"""Rows of any array in any file are those that NumPy and h5py read: dtypes, shapes, orders, chunks, ranges."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfdump.inputs.arguments import open_arguments

DTYPES = ("<f2", "<f4", "<f8", ">f4", ">i2", "<i8", "|u1", "<u4", "<c8", "|b1")

values = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6))
)
ranges = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted), min_size=1, max_size=4)
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(path: Path, expected: np.ndarray, wanted: list[list[int]]) -> None:
    """Read pieces in any order, some of them twice and some of them empty."""
    (array,) = open_arguments([str(path)])
    reader = array.reader
    assert reader.shape == expected.shape
    for start, stop in wanted:
        start, stop = min(start, len(expected)), min(stop, len(expected))  # noqa: PLW2901 - cut to what there is
        rows = reader.read(start, stop)
        assert rows.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(rows, expected[start:stop])


@some
@given(values, ranges, st.booleans())
def test_npy(array: np.ndarray, wanted: list[list[int]], fortran: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, np.asfortranarray(array) if fortran else array)
        check(path, array, wanted)


@some
@given(values, ranges, st.booleans(), st.booleans())
def test_npz(array: np.ndarray, wanted: list[list[int]], fortran: bool, compressed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        (np.savez_compressed if compressed else np.savez)(path, x=np.asfortranarray(array) if fortran else array)
        check(path, array, wanted)


@some
@given(values, ranges, st.sampled_from((None, "gzip")), st.data())
def test_hdf5(array: np.ndarray, wanted: list[list[int]], compression: str | None, data: st.DataObject) -> None:
    chunks = tuple(data.draw(st.integers(1, size)) for size in array.shape) if compression else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=array, chunks=chunks, compression=compression)
        check(path, array, wanted)
