"""What is written comes back: any dtype, shape, batches, chunks and compression, through the reader, `cat` and h5py."""

import io
import tempfile
from itertools import pairwise
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfdump.dtypes import dtype_name
from tfdump.dump.reader import open_dump
from tfdump.dump.view import views_of
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.exports.npy import npy
from tfdump.tensors import TensorInfo

DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?")
NARROW = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)

shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
numbers = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(dtype, shapes))
texts = arrays.arrays(
    object, shapes, elements=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
stores = st.tuples(st.sampled_from(("none", "gzip", "zstd")), st.sampled_from((1, 64, 1 << 20)), st.booleans())
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(path: Path, values: np.ndarray, store: tuple[str, int, bool], cuts: list[int]) -> None:
    """A dump of one tensor, that comes in batches cut at these examples."""
    places = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    batches = [values[start:stop] for start, stop in pairwise(places)] or [values]
    info = TensorInfo("t", "t", "t", ("Layer",), 0, dtype_name(values.dtype), None)
    with DumpWriter(path, storage=storage_for(*store)) as writer:
        collector = writer.collector(info, batches[0], axis0="example", examples=len(values), batches=len(batches))
        for batch in batches:
            collector.append(batch)
        writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())


def same(array: np.ndarray, expected: np.ndarray) -> None:
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@some
@given(numbers | texts, stores, st.lists(st.integers(0, 5), max_size=3))
def test_a_tensor_comes_back_as_it_was(values: np.ndarray, store: tuple[str, int, bool], cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.h5"
        write(path, values, store, cuts)
        with open_dump(path) as dump:
            tensor = dump["t"]
            assert (tensor.shape, tensor.dtype) == (values.shape, dtype_name(values.dtype))
            same(tensor.read(), values)
            same(tensor[()], values)
            written = np.load(io.BytesIO(b"".join(npy(views_of(tensor)[""], "t"))))
            same(written.astype(object) if values.dtype == object else written, values)
            if store[2]:
                assert [item.problem for item in dump.verify()] == [None, None]
        if store[0] == "none" and values.dtype != object:
            with h5py.File(path) as file:
                same(file["activations/t"][()], values)


@some
@given(st.sampled_from(NARROW), shapes, st.randoms(use_true_random=False), stores)
def test_narrow_floats_come_back_wider_and_equal(dtype: type, shape: tuple, dice: object, store: tuple) -> None:
    noise = np.random.default_rng(dice.getrandbits(32)).integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    values = noise.view(dtype).reshape(shape)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "d.h5", values, store, [])
        with open_dump(Path(folder) / "d.h5") as dump:
            array = dump["t"].read()
            assert dump["t"].dtype == np.dtype(dtype).name
    assert array.dtype == (np.float32 if dtype is ml_dtypes.bfloat16 else np.float16)
    np.testing.assert_array_equal(array, values.astype(array.dtype))
