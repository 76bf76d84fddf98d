"""Values are cast where nothing is lost that matters, and refused with words where it would be."""

import ml_dtypes
import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.casting import cast, check_castable, describe

NUMBERS = {
    "f": ["float16", "bfloat16", "float32", "float64"],
    "i": ["int8", "int64", "uint8", "uint64"],
    "b": ["bool"],
    "c": ["complex64", "complex128"],
    "S": ["string"],
}
ALLOWED = {"ff", "ii", "bb", "cc", "SS", "if", "bf", "bi", "fc", "ic", "bc", "fb", "ib"}


@pytest.mark.parametrize("have", NUMBERS)
@pytest.mark.parametrize("want", NUMBERS)
def test_kinds_are_cast_toward_the_wider_one_only(have: str, want: str) -> None:
    for source in NUMBERS[have]:
        for wanted in NUMBERS[want]:
            if have + want in ALLOWED:
                check_castable(source, wanted, "x.npy", "ids")
            else:
                with pytest.raises(InputError, match=r"x\.npy holds .*the input 'ids' takes"):
                    check_castable(source, wanted, "x.npy", "ids")


@pytest.mark.parametrize(
    ("source", "wanted", "complaint"),
    [
        ("string", "float32", r"holds text, and the input 'ids' takes floating-point numbers \(float32\)"),
        ("float64", "int32", r"floating-point numbers \(float64\).*integers \(int32\) \(save the ids as integers\)"),
        ("int64", "string", r"integers \(int64\).*takes text"),
        ("complex64", "float32", "complex numbers"),
        ("datetime64[ns]", "float32", r"data \(datetime64\[ns\]\)"),
        ("void64", "float32", r"data \(void64\)"),
    ],
)
def test_a_refusal_names_both_sides(source: str, wanted: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        check_castable(source, wanted, "x.npy", "ids")


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("uint8", "integers (uint8)"),
        ("bool", "booleans (bool)"),
        ("string", "text"),
        ("bfloat16", "floating-point numbers (bfloat16)"),
    ],
)
def test_a_dtype_is_described_in_words(dtype: str, words: str) -> None:
    assert describe(dtype) == words


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0.1, np.nan, np.inf, -np.inf, 1e-300]), "f4"),
        (np.array([0, 255], np.uint8), "f4"),
        (np.array([2**24, -(2**24)], np.int64), "f4"),
        (np.array([2**53, -(2**60)], np.int64), "f8"),
        (np.array([2**60, 2**31], np.int64), "f4"),
        (np.array([-(2**31), 2**31 - 1], np.int64), "i4"),
        (np.array([0, 255], np.int64), "u1"),
        (np.array([2**63 - 1], np.uint64), "i8"),
        (np.array([True, False]), "f4"),
        (np.array([True, False]), "i4"),
        (np.array([1.5], ">f4"), "f4"),
        (np.array([1.5, 2.5]), "c8"),
        (np.zeros((0, 3)), "f4"),
        (np.array([0, 255], np.uint8), ml_dtypes.bfloat16),
    ],
)
def test_what_fits_is_cast(values: np.ndarray, wanted: object) -> None:
    converted = cast(values, np.dtype(wanted), "x.npy", 0)
    assert converted.dtype == np.dtype(wanted)
    assert converted.dtype.isnative
    np.testing.assert_array_equal(converted, values.astype(wanted))
    if values.dtype.kind in "iub":
        assert [int(n) for n in converted] == [int(n) for n in values]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 2**31], "i4"),
        ([0, -(2**31) - 1], "i4"),
        ([0, -1], "u1"),
        ([0, 256], "u1"),
        ([0, 2**24 + 1], "f4"),
        ([0, 2049], "f2"),
        ([0, 70000], "f2"),
        ([0, 257], ml_dtypes.bfloat16),
        ([0, 2**53 + 1], "f8"),
        ([0, 2**60 + 1], "f4"),
    ],
)
def test_integers_that_do_not_fit_are_refused(values: list[int], wanted: object) -> None:
    with pytest.raises(InputError, match=rf"x\.npy: {values[1]} in row 11 does not fit into {np.dtype(wanted)}"):
        cast(np.array(values, np.int64), np.dtype(wanted), "x.npy", 10)


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "u8", "f2", "f4", "f8", ml_dtypes.bfloat16])
def test_zero_and_one_become_booleans(dtype: object) -> None:
    converted = cast(np.array([[0, 1], [1, 0]]).astype(dtype), np.dtype(bool), "m.npy", 0)
    assert converted.dtype == bool
    assert converted.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([0, 1, 2, 3], np.int32), "2 in row 12 is"),
        (np.array([0, -1], np.int64), "-1 in row 11 is"),
        (np.array([[0, 1], [1, 255]], np.uint8), r"255 in row 11 at \[1\] is"),
        (np.array([0, 0.5], np.float32), "0.5 in row 11 is"),
        (np.array([np.nan, 1]), "nan in row 10 is"),
        (np.array([np.inf, 1]), "inf in row 10 is"),
        (np.array([[[0, 1], [-0.0, 7]]]), r"7\.0 in row 10 at \[1, 1\] is"),
    ],
)
def test_another_number_is_no_boolean(values: np.ndarray, shown: str) -> None:
    with pytest.raises(InputError, match=rf"m\.npy: {shown} neither 0 nor 1, and the model takes booleans"):
        cast(values, np.dtype(bool), "m.npy", 10)


def test_a_large_unsigned_integer_does_not_become_negative() -> None:
    with pytest.raises(InputError, match="9223372036854775808 in row 0"):
        cast(np.array([2**63], np.uint64), np.dtype("i8"), "x.npy", 0)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(1e300, "f4"), (-1e39, "f4"), (70000.0, "f2"), (1e300, ml_dtypes.bfloat16), (1e300 + 1j, "c8")],
)
def test_a_finite_number_that_would_become_infinite_is_refused(value: complex, wanted: object) -> None:
    with pytest.raises(InputError, match="in row 5 does not fit"):
        cast(np.array([[0, 1], [2, value]]), np.dtype(wanted), "x.npy", 4)


def test_values_of_the_right_dtype_are_not_copied() -> None:
    values = np.ones(3, np.float32)
    assert cast(values, np.dtype("f4"), "x.npy", 0) is values
