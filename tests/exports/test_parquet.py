"""`tfdump cat --format parquet`: pyarrow and pandas read the values, the names and the classes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from pyarrow import parquet

from support.check_dumps import normal, write_dump
from support.command import Run
from support.example_names import photos, with_names

D, HALF, ONE = normal(6, 3), normal(6, 2, seed=1, dtype="float16"), np.arange(6) - 3
BRAIN = normal(6, 2, seed=2)
NAMES = ["é", *photos(5)]
LABELS = [0, 0, 1, 1, 1, 1]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump of examples with names, and of what a table cannot hold."""
    tensors = {
        "activations/d": D,
        "activations/half": HALF,
        "activations/brain": (BRAIN, {"dtype": "bfloat16", "stored_as": "float32"}),
        "activations/one": ONE,
        "activations/flags": D > 0,
        "activations/words": np.array(["a", "é", "", "d", "e", "f"], object),
        "activations/conv": normal(6, 2, 2),
        "activations/complex": D.astype("c8"),
        "activations/scalar": (np.array(2.5), {"axis0": "none"}),
        "activations/none": np.zeros((6, 0), "f4"),
        "activations/table": (normal(4, 2), {"axis0": "none"}),
        "activations/id": D[:, 0],
    }
    return with_names(write_dump(tmp_path / "d.h5", tensors, model="m.keras"), NAMES, LABELS, ["cat", "dog"])


def test_a_tensor_is_a_column_beside_the_names(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "d", "-o", "x.parquet").stdout == "x.parquet\n"
    frame = pandas.read_parquet(tmp_path / "x.parquet")
    assert list(frame) == ["id", "label", "d"]
    assert frame["id"].tolist() == NAMES
    assert frame["label"].tolist() == LABELS
    assert np.stack(frame["d"].to_numpy()).dtype == np.float32
    np.testing.assert_array_equal(np.stack(frame["d"].to_numpy()), D)
    schema = parquet.read_schema(tmp_path / "x.parquet")
    assert re.fullmatch(r"fixed_size_list<\w+: float>\[3\]", str(schema.field("d").type))
    assert schema.metadata[b"model"] == b"m.keras"
    assert json.loads(schema.metadata[b"examples/classes"]) == ["cat", "dog"]


def test_all_are_the_columns_that_a_table_can_have(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "-o", "x.parquet")
    assert done.returncode == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    names = [f"activations/{name}" for name in ("d", "half", "brain", "one", "flags", "words", "id")]
    assert table.column_names == ["id", "label", *names]
    expected = (D, HALF, BRAIN, ONE, D > 0, np.array(["a", "é", "", "d", "e", "f"], object), D[:, 0])
    for name, values in zip(names, expected, strict=True):
        read_back = np.array(table[name].to_pylist(), values.dtype)
        np.testing.assert_array_equal(read_back, values)
    types = {name: str(table.schema.field(name).type).replace("element", "item") for name in names}
    assert types["activations/half"].startswith("fixed_size_list<item: halffloat")
    assert types["activations/brain"].startswith("fixed_size_list<item: float")
    assert types["activations/one"] == "int64"
    assert json.loads(table.schema.metadata[b"dtype"])["activations/brain"] == "bfloat16"
    assert [line.partition("activations/")[2].partition(" (")[0] for line in done.stderr.splitlines()] == [
        "conv' has 3 axes, and a table has rows of numbers",
        "complex' is stored as complex64, which Parquet does not have",
        "scalar' is a single value, and a table has rows",
        "none' has rows without values, and Parquet has no empty lists of fixed length",
        "table' does not have one row per example",
    ]


def test_groups_of_rows_keep_every_bit(tfdump: Run, tmp_path: Path) -> None:
    """Several groups of rows, of any bits: NaN with payloads, -0."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, (20_000, 300), dtype="u4")
    bits[:2, 0] = 0x80000000, 0x7F800001
    write_dump(tmp_path / "d.h5", {"activations/x": bits.view("f4"), "activations/y": bits.view("f4")[:, 0]})
    command = ("cat", "d.h5", "x", "y", "--format", "parquet")
    assert tfdump(*command, "-o", "x.parquet").returncode == 0
    file = parquet.ParquetFile(tmp_path / "x.parquet")
    assert file.num_row_groups > 1
    column = file.read()["x"]
    assert column.null_count == 0
    flat = np.concatenate([chunk.values.to_numpy(zero_copy_only=False) for chunk in column.chunks])
    assert flat.tobytes() == bits.tobytes()
    assert file.read()["y"].to_numpy().tobytes() == bits[:, 0].tobytes()
    done = subprocess.run([sys.executable, "-m", "tfdump", *command], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == (tmp_path / "x.parquet").read_bytes()  # standard output, and once more


@pytest.mark.parametrize(
    ("cut", "columns", "values", "names"),
    [
        ("::-2", ["id", "label", "d"], D[::-2], NAMES[::-2]),
        ("2:4,1", ["id", "label", "d"], D[2:4, 1], NAMES[2:4]),
        ("3", ["d"], D[3], None),
    ],
)
def test_a_slice_has_the_names_of_its_rows(
    tfdump: Run, dump: Path, tmp_path: Path, cut: str, columns: list[str], values: np.ndarray, names: list[str] | None
) -> None:
    assert tfdump("cat", dump, "d", f"--slice={cut}", "-o", "x.parquet").returncode == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column_names == columns
    np.testing.assert_array_equal(np.array(table["d"].to_pylist(), "f4"), values)
    assert names is None or table["id"].to_pylist() == names


def test_a_table_without_names_or_rows(tfdump: Run, tmp_path: Path) -> None:
    write_dump(tmp_path / "d.h5", {"activations/x": np.zeros((0, 3), "f4"), "gradients/weights/x": normal(4, 3)})
    assert tfdump("cat", "d.h5", "activations/x", "-o", "x.parquet").returncode == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    assert (table.column_names, table.num_rows) == (["x"], 0)
    assert tfdump("cat", "d.h5", "gradients/weights/x", "-f", "-o", "x.parquet").returncode == 0
    assert parquet.read_table(tmp_path / "x.parquet").num_rows == 4


def test_a_table_is_an_input_of_tfdump(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    from tfdump.inputs.arguments import open_arguments
    from tfdump.inputs.matching import match
    from tfdump.tensors import InputSpec

    tfdump("cat", dump, "d", "-o", "x.parquet")
    readers = match(open_arguments([str(tmp_path / "x.parquet::d")]), [InputSpec("x", (None, 3), "float32")])
    np.testing.assert_array_equal(np.stack(readers["x"].read(0, 6)), D)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("conv",), "'conv' has 3 axes, and a table has rows of numbers (leave two axes with --slice, dump it with"),
        (("d", "table"), "'d' has 6 rows, and 'table' has 4 (write each to a file of its own)"),
        (("scalar",), "'scalar' is a single value, and a table has rows (use --format npy)"),
        (("complex",), "'complex' is stored as complex64, which Parquet does not have (use --format npy)"),
        (("table", "--ids"), "'table' does not have one row per example, so --ids names nothing"),
    ],
)
def test_what_a_table_cannot_hold_is_one_line(
    tfdump: Run, dump: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = tfdump("cat", dump, *words, "-o", "x.parquet")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_the_advice_for_more_axes_works(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "conv", "--slice", ":,:,0", "-o", "x.parquet").returncode == 0
    column = parquet.read_table(tmp_path / "x.parquet")["conv"].to_pylist()
    np.testing.assert_array_equal(np.array(column, "f4"), normal(6, 2, 2)[:, :, 0])


def test_without_pyarrow_a_line_says_what_to_install(
    tfdump: Run, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tfdump.exports.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = tfdump("cat", dump, "d", "-o", "x.parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: --format parquet needs an extra: pip install 'tfdump[tables]'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]
