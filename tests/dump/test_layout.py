"""Stored dtypes lose nothing, and chunks hold whole rows."""

import math

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.dump.layout import CHUNK_BYTES, chunk_shape, storable, stored_dtype

GIB = 1 << 30


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float16"),
        ("float8_e5m2", "float16"),
        ("int4", "int8"),
        ("uint4", "uint8"),
        ("float64", "float64"),
        ("uint16", "uint16"),
        ("bool", "bool"),
        ("complex64", "complex64"),
    ],
)
def test_types_that_hdf5_cannot_name_are_stored_wider(name: str, stored: str) -> None:
    assert stored_dtype(name) == np.dtype(stored)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_narrow_float_survives_the_upcast(name: str) -> None:
    narrow = np.dtype(getattr(ml_dtypes, name))
    unsigned = np.uint16 if narrow.itemsize == 2 else np.uint8
    every = np.arange(np.iinfo(unsigned).max + 1, dtype=unsigned).view(narrow)
    stored = storable(every, stored_dtype(name))
    with np.errstate(invalid="ignore"):  # signalling NaN
        np.testing.assert_array_equal(stored.astype(np.float64), every.astype(np.float64))


@pytest.mark.parametrize(
    ("name", "stored"),
    [("float32", "float16"), ("bfloat16", "float16"), ("int32", "int32"), ("complex64", "complex64")],
)
def test_a_wanted_dtype_replaces_that_of_real_floats_only(name: str, stored: str) -> None:
    assert stored_dtype(name, "float16") == np.dtype(stored)


def test_text_is_stored_as_variable_length_utf8() -> None:
    info = h5py.check_string_dtype(stored_dtype("string"))
    assert (info.encoding, info.length) == ("utf-8", None)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_storable_keeps_the_shape_and_is_contiguous(shape: tuple[int, ...]) -> None:
    values = np.array(np.arange(math.prod(shape), dtype=np.float64).reshape(shape), order="F")
    ready = storable(values, np.dtype("f4"))
    assert (ready.shape, ready.dtype) == (shape, np.float32)
    assert ready.flags.c_contiguous
    np.testing.assert_array_equal(ready, values)


def test_text_becomes_its_bytes() -> None:
    text = np.array([["naïve", b"by\0tes"], ["\ud800", ""]], object)
    ready = storable(text, stored_dtype("string"))
    assert ready.tolist() == [[b"na\xc3\xafve", b"by\0tes"], [b"\xed\xa0\x80", b""]]
    assert text[0, 1] == b"by\0tes"


@pytest.mark.parametrize(
    ("rows", "tail", "itemsize", "chunk"),
    [
        (10_000, (256,), 4, (1024, 256)),
        (10_000, (300,), 4, (512, 300)),
        (10, (256,), 4, (10, 256)),
        (None, (256,), 4, (1024, 256)),
        (10_000, (1024, 1024), 4, (1, 1024, 1024)),
        (1 << 30, (), 8, (1 << 17,)),
    ],
)
def test_a_chunk_is_about_one_mib_of_whole_rows(rows: int | None, tail: tuple, itemsize: int, chunk: tuple) -> None:
    assert chunk_shape(rows, tail, itemsize) == chunk


@pytest.mark.parametrize(
    ("tail", "chunk"),
    [((3, GIB), (1, 1, GIB)), ((3 * GIB,), (1, GIB)), ((5, 2 * GIB), (1, 1, GIB)), ((3, GIB // 2), (1, 2, GIB // 2))],
)
def test_a_row_above_one_gib_is_cut_along_its_first_axes(tail: tuple, chunk: tuple) -> None:
    assert chunk_shape(10, tail, 1) == chunk


@given(
    st.none() | st.integers(1, 10**7),
    st.lists(st.integers(1, 300), max_size=3).map(tuple),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([1 << 16, CHUNK_BYTES]),
)
def test_chunks_are_a_power_of_two_of_rows_or_divide_them_evenly(
    rows: int | None, tail: tuple[int, ...], itemsize: int, limit: int
) -> None:
    count, *rest = chunk_shape(rows, tail, itemsize, limit)
    row_bytes = itemsize * math.prod(tail)
    assert tuple(rest) == tail
    assert count == 1 or count * row_bytes <= limit
    power = 1
    while 2 * power * row_bytes <= limit:
        power *= 2
    if rows is None or rows > 8 * power:
        assert count == power
    else:
        chunks = -(-rows // count)
        assert count <= power
        assert chunks == -(-rows // power)
        assert chunks * count - rows < chunks
