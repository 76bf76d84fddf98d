"""`tfdump cat --rows-per-file`: numbered files, each readable alone, that together are the tensor."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from safetensors import safe_open
from safetensors.numpy import load_file

from support.check_dumps import normal, write_dump
from support.command import Run
from support.example_names import photos, with_names

D, CONV, NAMES, LABELS = normal(10, 3), normal(10, 2, 2), photos(10), list(range(10))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump with and without rows of examples."""
    tensors = {"activations/d": D, "activations/conv": CONV, "activations/t": (normal(2, 3), {"axis0": "none"})}
    return with_names(write_dump(tmp_path / "d.h5", tensors), NAMES, LABELS, ["cat", "dog"])


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "index.tsv")


def index_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "index.tsv").open(), delimiter="\t"))


def test_safetensors_of_some_rows_each(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "d", "--format", "safetensors", "--rows-per-file", "4", "--ids", "-o", "out/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "")
    files = files_in(tmp_path / "out")
    assert [path.name for path in files] == [f"d-0000{n}-of-00003.safetensors" for n in range(3)]
    arrays = [load_file(path) for path in files]
    assert [len(array["d"]) for array in arrays] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([array["d"] for array in arrays]), D)
    assert [array["examples/label"].tolist() for array in arrays] == [LABELS[:4], LABELS[4:8], LABELS[8:]]
    metadata = []
    for path in files:
        with safe_open(path, "np") as file:
            metadata.append(file.metadata())
    assert [json.loads(one["examples/id"]) for one in metadata] == [NAMES[:4], NAMES[4:8], NAMES[8:]]
    assert [one["first_row"] for one in metadata] == ["0", "4", "8"]
    rows = [row for row in index_of(tmp_path / "out") if row["tensor"] == "d"]
    assert [(row["file"], row["shape"]) for row in rows] == [
        (path.name, f"{count},3") for path, count in zip(files, (4, 4, 2), strict=True)
    ]


def test_parquet_of_some_rows_each(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    command = ("cat", dump, "d", "--format", "parquet", "--rows-per-file", "5", "--slice=::-1", "-o", "out")
    assert tfdump(*command).returncode == 0
    files = files_in(tmp_path / "out")
    assert [path.name for path in files] == ["d-00000-of-00002.parquet", "d-00001-of-00002.parquet"]
    tables = [parquet.read_table(path) for path in files]
    assert [table["id"].to_pylist() for table in tables] == [NAMES[:4:-1], NAMES[4::-1]]
    np.testing.assert_array_equal(np.array([row for table in tables for row in table["d"].to_pylist()], "f4"), D[::-1])
    first = [path.read_bytes() for path in files]
    assert "output out exists (overwrite it with -f" in tfdump(*command).stderr
    assert tfdump(*command, "-f").returncode == 0
    assert [path.read_bytes() for path in files] == first


def test_all_leaves_out_what_has_no_rows_of_examples(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "--format", "safetensors", "--rows-per-file", "7", "-o", "out")
    reason = "does not have one row per example (write it alone, to one file)"
    assert (done.returncode, done.stderr) == (0, f"Note: left out: 'activations/t' {reason}\n")
    files = files_in(tmp_path / "out")
    assert [path.name for path in files] == ["d-00000-of-00002.safetensors", "d-00001-of-00002.safetensors"]
    arrays = [load_file(path) for path in files]
    for name, values in (("activations/d", D), ("activations/conv", CONV)):
        np.testing.assert_array_equal(np.concatenate([array[name] for array in arrays]), values)
    assert [row["left_out"] for row in index_of(tmp_path / "out") if row["tensor"] == "activations/t"] == [reason]


def test_a_file_may_hold_all_rows(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "d", "--format", "safetensors", "--rows-per-file", "10", "-o", "out").returncode == 0
    (path,) = files_in(tmp_path / "out")
    assert path.name == "d-00000-of-00001.safetensors"
    np.testing.assert_array_equal(load_file(path)["d"], D)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("d", "-o", "out"), "--rows-per-file needs --format safetensors or parquet"),
        (("d", "--format", "csv", "-o", "out"), "needs --format safetensors or parquet, and the format is csv (see"),
        (("d", "--format", "bin", "-o", "out"), "needs --format safetensors or parquet, and the format is bin (see"),
        (("d", "--format", "c", "-o", "out"), "needs --format safetensors or parquet, and the format is c (see"),
        (("d", "-o", "d.bin"), "needs --format safetensors or parquet, and the format is bin (see"),
        (("d", "--format", "parquet"), "--rows-per-file needs -o FOLDER"),
        (("d", "--format", "parquet", "-o", "x.parquet"), "--rows-per-file needs -o FOLDER"),
        (
            ("t", "--format", "parquet", "-o", "out"),
            "'t' does not have one row per example (write it alone, to one file)",
        ),
        (("d", "--slice", "3", "--format", "parquet", "-o", "out"), "'d' does not have one row per example"),
        (("d", "--format", "parquet", "-o", "d.h5"), "output d.h5 is the dump itself"),
    ],
)
def test_what_cannot_be_split_is_one_line(
    tfdump: Run, dump: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = tfdump("cat", dump, *words, "--rows-per-file", "4")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]
