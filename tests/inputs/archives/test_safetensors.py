"""Arrays in .safetensors files, against the library of the format."""

import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec

DTYPES = [
    *(
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
    ),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_rows_of_every_dtype_are_exact(tmp_path: Path, dtype: np.dtype) -> None:
    expected = np.random.default_rng(0).integers(0, 100, (37, 3, 2)).astype(dtype)
    save_file({"other": np.zeros(5), "x": expected}, tmp_path / "x.safetensors")
    (array,) = open_arguments([f"{tmp_path}/x.safetensors::x"])
    reader = array.reader
    assert (reader.shape, reader.dtype, reader.label) == ((37, 3, 2), np.dtype(dtype), f"{tmp_path}/x.safetensors::x")
    for start, stop in ((0, 37), (5, 9), (36, 37), (4, 4)):
        assert reader.read(start, stop).tobytes() == expected[start:stop].tobytes()


def test_arrays_are_inputs_by_their_names(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype="float32").reshape(3, 2), "a": np.arange(3), "s": np.float32(7)}
    save_file({"a": arrays["a"], "b": arrays["b"]}, tmp_path / "x.safetensors", {"made": "by a test"})
    specs = [InputSpec("a", (None,), "int64"), InputSpec("b", (None, 2), "float32")]
    readers = match(open_arguments([str(tmp_path / "x.safetensors")]), specs)
    for name, reader in readers.items():
        np.testing.assert_array_equal(reader.read(0, 3), arrays[name])


def test_bfloat16_becomes_the_same_float32(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((9, 2)).astype(ml_dtypes.bfloat16)
    save_file({"x": values}, tmp_path / "x.safetensors")
    specs = [InputSpec("x", (None, 2), "float32")]
    notes: list[str] = []
    source = Source(
        specs, match(open_arguments([str(tmp_path / "x.safetensors")]), specs), ReadingOptions(), notes.append
    )
    expected = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(source.read(0, 9)["x"], expected)
    assert "cast from bfloat16 to float32" in notes[0]


def written(path: Path, header: object, data: bytes = bytes(16), size: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + data)
    return path


def entry(**changes: object) -> dict[str, object]:
    return {"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


DAMAGED = [
    (b"{", None, "is no .safetensors file, or is damaged"),
    (b"[]", None, "its header is no object"),
    (b"[" * 100_000, None, "is no .safetensors file, or is damaged"),
    (b"{}", 1 << 40, "it declares a header of 1099511627776 bytes"),
    (b"{}", 500, "its header has 18 of 500 bytes"),
    ({}, None, "holds no arrays"),
    ({"x": 3}, None, "::x is damaged"),
    (entry(shape=[2, -2]), None, "::x is damaged: a size is no whole number"),
    (entry(shape=[2, 1.5]), None, "::x is damaged: a size is no whole number"),
    (entry(data_offsets=[0]), None, "::x is damaged"),
    (entry(data_offsets=[-4, 12]), None, "::x is damaged: a size is no whole number"),
    (entry(shape=[2, 3]), None, "::x is damaged: 16 bytes are no F32 of shape (2, 3)"),
    (entry(data_offsets=[8, 24]), None, "::x is truncated"),
    (entry(dtype="F4"), None, "::x holds F4, which NumPy has not (convert it to F32)"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "size", "message"), DAMAGED)
def test_damaged_files(tmp_path: Path, header: object, size: int | None, message: str) -> None:
    path = written(tmp_path / "x.safetensors", header, size=size)
    with pytest.raises(InputError, match=re.escape(str(path)) + ".*" + re.escape(message)):
        [array.reader for array in open_arguments([str(path)])]


def test_the_damage_of_these_tests_is_damage(tmp_path: Path) -> None:
    (array,) = open_arguments([str(written(tmp_path / "x.safetensors", entry()))])
    assert array.reader.read(0, 2).tolist() == [[0, 0], [0, 0]]
