"""`tfdump cat` on a dump of weights: every format holds them as they are stored, or says plainly why it does not."""

import json
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from pyarrow import parquet
from safetensors import safe_open

from support.check_dumps import write_dump
from support.command import Run

RANDOM = np.random.default_rng(7)
WHOLE = {"axis0": "none"}
INTEGERS = RANDOM.integers(-127, 128, (5, 3), "i1")
NIBBLES = RANDOM.integers(-8, 8, (6, 2), "i1")
BRAIN = RANDOM.normal(size=(4, 2)).astype(ml_dtypes.bfloat16)
EIGHT = RANDOM.normal(size=7).astype(ml_dtypes.float8_e4m3fn)
KERNEL = RANDOM.normal(size=(3, 3, 1, 2)).astype("f4")
CHANNELS = {"scale": np.array([0.5, 0.25, 2], "f4"), "zero_point": np.int64(0), "quantized_axis": np.int64(1)}
GROUPS = {
    "scale": RANDOM.random((2, 2), "f4"), "zero_point": np.array([[1, 2], [3, 4]]),
    "group_index": np.array([0, 0, 0, 1, 1, 1]), "group_axes": np.array([0]),
}  # fmt: skip
WEIGHTS: dict[str, Any] = {
    "weights/conv.kernel": (KERNEL, WHOLE),
    "weights/int8.kernel": (INTEGERS, {**WHOLE, **CHANNELS}),
    "weights/int4.kernel": (NIBBLES, {**WHOLE, **GROUPS, "dtype": "int4", "stored_as": "int8"}),
    "weights/brain": (BRAIN.astype("f4"), {**WHOLE, "dtype": "bfloat16", "stored_as": "float32"}),
    "weights/eight": (EIGHT.astype("f2"), {**WHOLE, "dtype": "float8_e4m3fn", "stored_as": "float16"}),
    "weights/gain": (np.float32(2.5), WHOLE),
}
EXPECTED: dict[str, Any] = {
    "conv.kernel": KERNEL, "int8.kernel": INTEGERS, "int4.kernel": NIBBLES, "brain": BRAIN, "eight": EIGHT,
    "gain": np.array(2.5, "f4"),
}  # fmt: skip


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump of weights with the state of an optimizer: quantized, narrow, and without axes."""
    path = write_dump(tmp_path / "w.h5", WEIGHTS)
    with h5py.File(path, "a") as file:
        file.attrs["kind"] = "weights"
        for name in ("examples", "first_example"):
            file.attrs.pop(name, None)
        for name, values in {"iteration": np.int64(12), "momentum/conv.kernel": KERNEL / 2}.items():
            item = file.create_dataset(f"optimizer/{name}", data=values)
            item.attrs.update({"address": name.rpartition("/")[2], "dtype": str(values.dtype), "axis0": "none"})
    return path


def test_safetensors_has_every_weight_in_its_own_dtype(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "--all", "-o", "w.safetensors").stderr == ""
    data = (tmp_path / "w.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8 : 8 + size]), data[8 + size :]
    names = {"bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "int8": "I8", "float32": "F32"}
    for name, expected in EXPECTED.items():
        entry = header[f"weights/{name}"]
        assert (entry["dtype"], entry["shape"]) == (names[expected.dtype.name], list(expected.shape))
        assert values[slice(*entry["data_offsets"])] == expected.tobytes()
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        metadata = file.metadata()
        assert file.get_tensor("optimizer/iteration") == 12
        np.testing.assert_array_equal(file.get_tensor("optimizer/momentum/conv.kernel"), KERNEL / 2)
    assert json.loads(metadata["dtype"])["weights/int4.kernel"] == "int4"
    told = json.loads(metadata["quantization"])
    assert told == {
        f"weights/{name}": {key: np.asarray(value).tolist() for key, value in scales.items()}
        for name, scales in (("int8.kernel", CHANNELS), ("int4.kernel", GROUPS))
    }


def test_the_scales_of_a_slice_are_in_its_metadata(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "int8.kernel", "--slice=:,1:", "-o", "x.safetensors").returncode == 0
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        np.testing.assert_array_equal(file.get_tensor("int8.kernel"), INTEGERS[:, 1:])
        assert json.loads(file.metadata()["quantization"])["int8.kernel"]["scale"] == [0.25, 2]
    assert tfdump("cat", dump, "brain", "-o", "y.safetensors").returncode == 0
    with safe_open(tmp_path / "y.safetensors", "np") as file:
        assert "quantization" not in file.metadata()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--all", "-o", "x.parquet"),
            "w.h5 holds weights, and a table needs one row per example (write one .safe",
        ),
        (("--all", "--rows-per-file", "2", "--format", "safetensors", "-o", "x"), "and --rows-per-file needs one row"),
        (("int8.kernel", "--rows-per-file", "2", "--format", "parquet", "-o", "x"), "(write it alone, to one file)"),
        (("conv.kernel", "-o", "x.parquet"), "(leave two axes with --slice, or use --format safetensors)"),
        (("gain", "-o", "x.parquet"), "'gain' is a single value, and a table has rows (use --format npy)"),
    ],
)
def test_a_table_says_what_it_cannot_hold(
    tfdump: Run, dump: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = tfdump("cat", dump, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["w.h5"]


def test_the_advice_of_a_table_works(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "--all", "-o", "x.safetensors").returncode == 0
    assert tfdump("cat", dump, "--all", "-o", "x.npz").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["weights/int8.kernel"], INTEGERS)
    assert tfdump("cat", dump, "conv.kernel", "--slice", "1,:,0,:", "-o", "x.parquet").returncode == 0
    assert tfdump("cat", dump, "int8.kernel", "-o", "y.parquet").returncode == 0
    for name, column, expected in (("x", "conv.kernel", KERNEL[1, :, 0, :]), ("y", "int8.kernel", INTEGERS)):
        rows = parquet.read_table(tmp_path / f"{name}.parquet")[column].to_pylist()
        np.testing.assert_array_equal(np.array(rows, expected.dtype), expected)
