"""Values as text read back as the same values."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfdump.exports.text import empty_list, json_texts, nested, value_texts


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u8"])
@given(st.data())
def test_numbers_read_back_bit_for_bit(dtype: str, data: st.DataObject) -> None:
    values = data.draw(arrays.arrays(dtype, st.integers(1, 20)))
    read = int if np.dtype(dtype).kind in "iu" else float
    back = np.array([read(text) for text in value_texts(values)], dtype)
    assert np.array_equal(back, values, equal_nan=read is float)
    assert np.array_equal(np.signbit(back), np.signbit(values)) or np.isnan(values).any()


def test_truth_text_and_complex() -> None:
    assert value_texts(np.array([True, False])) == ["True", "False"]
    assert [complex(text) for text in value_texts(np.array([1 + 2j, -1e30j], "c8"))] == [1 + 2j, -1e30j]
    assert value_texts(np.array(["é", ""], object)) == ["é", ""]


@given(st.lists(st.integers(1, 4), max_size=4).map(tuple), st.integers(1, 9))
def test_blocks_of_any_size_are_the_nested_lists(shape: tuple[int, ...], step: int) -> None:
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    flat = numbers.reshape(-1)
    text = "".join(nested(shape, n, json_texts(flat[n : n + step])) for n in range(0, flat.size, step))
    assert json.loads(text) == numbers.tolist()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 2, 0, 5)])
def test_no_values_are_empty_lists(shape: tuple[int, ...]) -> None:
    assert json.loads(empty_list(shape)) == np.zeros(shape).tolist()


def test_json_has_no_nan() -> None:
    texts = json_texts(np.array([np.nan, np.inf, -np.inf, 1e10], "f4"))
    assert [json.loads(text) for text in texts] == ["NaN", "Infinity", "-Infinity", 1e10]
    assert json_texts(np.array([complex(1, np.nan)])) == ['[1.0, "NaN"]']
    assert [json.loads(text) for text in json_texts(np.array(['"\n\x00é'], object))] == ['"\n\x00é']
    assert json_texts(np.array([True])) == ["true"]
