"""Names of dtypes follow TensorFlow, and kinds follow the numbers."""

import ml_dtypes
import numpy as np
import pytest

from tfdump.dtypes import dtype_name, kind_of, numpy_dtype


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (np.float32, "float32"),
        (">f8", "float64"),
        ("<i2", "int16"),
        (np.uint8, "uint8"),
        (np.bool_, "bool"),
        (np.complex64, "complex64"),
        (object, "string"),
        ("S5", "string"),
        ("U5", "string"),
        *([(np.dtypes.StringDType(), "string")] if hasattr(np.dtypes, "StringDType") else []),  # from NumPy 2 on
        (ml_dtypes.bfloat16, "bfloat16"),
        (ml_dtypes.float8_e4m3fn, "float8_e4m3fn"),
        (ml_dtypes.float8_e5m2, "float8_e5m2"),
        (ml_dtypes.int4, "int4"),
    ],
)
def test_a_dtype_has_the_name_that_tensorflow_gives_it(dtype: object, name: str) -> None:
    assert dtype_name(dtype) == name


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float16", np.dtype("f2")),
        ("int64", np.dtype("i8")),
        ("bool", np.dtype("?")),
        ("complex128", np.dtype("c16")),
        ("string", np.dtype("O")),
        ("qint8", np.dtype("i1")),
        ("quint16", np.dtype("u2")),
        ("qint32", np.dtype("i4")),
        ("bfloat16", np.dtype(ml_dtypes.bfloat16)),
        ("float8_e5m2", np.dtype(ml_dtypes.float8_e5m2)),
        ("uint4", np.dtype(ml_dtypes.uint4)),
    ],
)
def test_a_name_leads_back_to_the_dtype(name: str, dtype: np.dtype) -> None:
    assert numpy_dtype(name) == dtype


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("float64", "f"),
        ("float16", "f"),
        ("bfloat16", "f"),
        ("float8_e4m3fn", "f"),
        ("float8_e5m2", "f"),
        ("int8", "i"),
        ("int4", "i"),
        ("uint64", "u"),
        ("uint4", "u"),
        ("bool", "b"),
        ("complex64", "c"),
        ("string", "S"),
    ],
)
def test_the_kind_of_a_dtype_is_that_of_its_numbers(name: str, kind: str) -> None:
    assert kind_of(name) == kind
