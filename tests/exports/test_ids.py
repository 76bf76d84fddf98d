"""`tfdump cat --ids` writes the names of examples beside their values."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from support.check_dumps import normal, write_dump
from support.command import Run
from support.example_names import photos, with_names

NAMES = ["cat/0.jpg", 'a "b", c.jpg', "dog/2.jpg", "dog/3.jpg", "x\ny.jpg", "dog/5.jpg"]
D, CONV = normal(6, 3), normal(6, 2, 2, seed=1)
SPLITS = np.array([0, 1, 1, 4, 5, 5, 6])


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump with a tensor of every kind of first axis."""
    tensors = {
        "activations/d": D,
        "activations/conv": CONV,
        "activations/table": (normal(6, 2), {"axis0": "none"}),
        "activations/one": np.arange(6, dtype="f4"),
    }
    path = write_dump(tmp_path / "d.h5", tensors)
    import h5py

    with h5py.File(path, "r+") as file:
        group = file.create_group("activations/ragged", track_order=True)
        group["values"], group["row_splits"] = np.arange(6, dtype="f4"), SPLITS
        named = {"address": "ragged", "layer": "ragged", "order": 4, "class": "Dense", "dtype": "float32"}
        group.attrs.update(named | {"axis0": "example", "encoding": "ragged"})
    return with_names(path, NAMES, [0, 0, 1, 1, 1, 1], ["cat", "dog"])


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_begins_with_the_name(tfdump: Run, dump: Path) -> None:
    lines = table(tfdump("cat", dump, "d", "--ids", "--format", "csv").stdout)
    assert lines[0] == ["id", "[0]", "[1]", "[2]"]
    assert [line[0] for line in lines[1:]] == NAMES
    np.testing.assert_array_equal(np.array([line[1:] for line in lines[1:]], "f4"), D)


def test_without_ids_the_bytes_are_those_of_a_dump_without_names(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    plain = write_dump(tmp_path / "plain.h5", {"activations/d": D})
    for layout in ("csv", "npy", "npz", "c"):
        assert tfdump("cat", dump, "d", "--format", layout, "-o", f"n.{layout}", "-f").returncode in (0, 2)
    assert tfdump("cat", dump, "d", "--format", "csv").stdout == tfdump("cat", plain, "d", "--format", "csv").stdout


@pytest.mark.parametrize(
    ("cut", "names", "values"),
    [
        ("2:5", NAMES[2:5], D[2:5]),
        ("::-2", NAMES[::-2], D[::-2]),
        ("-1:", NAMES[-1:], D[-1:]),
        ("3", [NAMES[3]] * 3, D[3][:, None]),
        (":,1", NAMES, D[:, 1][:, None]),
        ("4,1", [NAMES[4]], D[4, 1].reshape(1, 1)),
    ],
)
def test_a_slice_has_the_names_of_its_rows(
    tfdump: Run, dump: Path, cut: str, names: list[str], values: np.ndarray
) -> None:
    lines = table(tfdump("cat", dump, "d", "--ids", "--format", "csv", "--no-header", f"--slice={cut}").stdout)
    assert [line[0] for line in lines] == names
    np.testing.assert_array_equal(np.array([line[1:] for line in lines], "f4"), values)


def test_a_row_of_a_ragged_tensor_has_one_name(tfdump: Run, dump: Path) -> None:
    lines = table(tfdump("cat", dump, "ragged", "--ids", "--format", "csv", "--no-header", "--slice=2").stdout)
    assert lines == [["dog/2.jpg", "1.0"], ["dog/2.jpg", "2.0"], ["dog/2.jpg", "3.0"]]


def test_wide_rows_have_one_name_each(tfdump: Run, tmp_path: Path) -> None:
    """A row takes more than the cells that are written at once."""
    values = np.arange(3 * 20_000, dtype="f4").reshape(3, -1)
    path = with_names(write_dump(tmp_path / "w.h5", {"activations/d": values}), photos(3))
    lines = table(tfdump("cat", path, "d", "--ids", "--format", "csv").stdout)
    assert [line[0] for line in lines] == ["id", *photos(3)]
    assert {len(line) for line in lines} == {20_001}


def test_rows_without_values_have_names(tfdump: Run, tmp_path: Path) -> None:
    path = with_names(write_dump(tmp_path / "w.h5", {"activations/d": np.zeros((2, 0), "f4")}), photos(2))
    assert tfdump("cat", path, "d", "--ids", "--format", "csv").stdout == "id\ncat/0.jpg\ndog/1.jpg\n"


def test_pandas_reads_the_names(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    tfdump("cat", dump, "d", "--ids", "-o", "d.csv")
    frame = pandas.read_csv(tmp_path / "d.csv", index_col="id")
    assert frame.index.tolist() == NAMES
    np.testing.assert_array_equal(frame.to_numpy("f4"), D)


def test_npz_has_arrays_of_names_and_classes(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "d", "--ids", "-o", "one.npz", "--slice=1:4").returncode == 0
    with np.load(tmp_path / "one.npz") as one:
        assert sorted(one) == ["d", "examples/classes", "examples/id", "examples/label"]
        assert one["examples/id"].tolist() == NAMES[1:4]
        assert one["examples/label"].tolist() == [0, 1, 1]
        assert one["examples/classes"].tolist() == ["cat", "dog"]
    assert tfdump("cat", dump, "--all", "--ids", "-o", "all.npz").returncode == 0
    with np.load(tmp_path / "all.npz") as every:
        assert every["examples/id"].tolist() == NAMES
        np.testing.assert_array_equal(every["activations/d"], D)
    assert tfdump("cat", dump, "--all", "-x", "ragged", "--ids", "-o", "arrays.npz").returncode == 0
    assert tfdump("diff", dump, "arrays.npz", "-x", "ragged").returncode == 0
    tfdump("cat", dump, "ragged", "--ids", "-o", "ragged.npz")
    with np.load(tmp_path / "ragged.npz") as ragged:
        assert ragged["examples/id"].tolist() == NAMES
    assert tfdump("cat", dump, "--all", "-o", "none.npz").returncode == 0
    with np.load(tmp_path / "none.npz") as none:
        assert not [name for name in none if name.startswith("examples/")]


def test_a_folder_of_tables_has_names_where_rows_are_examples(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "--all", "--ids", "--format", "csv", "-o", "out").returncode == 0
    firsts = {path.stem: table(path.read_text())[0][0] for path in (tmp_path / "out" / "activations").iterdir()}
    assert firsts == {
        "d": "id", "conv": "id", "one": "id", "table": "[0]", "ragged.values": "value", "ragged.row_splits": "value",
    }  # fmt: skip
    assert [line[0] for line in table((tmp_path / "out" / "examples" / "id.csv").read_text())] == ["value", *NAMES]
    assert tfdump("cat", dump, "--all", "--ids", "-o", "arrays").returncode == 0
    assert np.load(tmp_path / "arrays" / "examples" / "id.npy").tolist() == NAMES
    assert "examples/id.npy\texamples/id\t\t6\tstring" in (tmp_path / "arrays" / "index.tsv").read_text()


def test_the_names_themselves_are_a_column(tfdump: Run, dump: Path) -> None:
    lines = table(tfdump("cat", dump, "examples/id", "--format", "csv", "--no-header").stdout)
    assert [line[0] for line in lines] == NAMES
    lines = table(tfdump("cat", dump, "examples/label", "--format", "csv", "--ids").stdout)
    assert lines[:2] == [["id", "value"], ["cat/0.jpg", "0"]]


def test_the_losses_of_examples_have_names(tfdump: Run, tmp_path: Path) -> None:
    import h5py

    path = write_dump(tmp_path / "g.h5", {"gradients/weights/w": normal(2, 3)}, loss=np.array([1.0, 2.0]))
    with h5py.File(with_names(path, photos(2)), "r+") as file:
        file["loss"].attrs["axis0"] = "example"
    done = tfdump("cat", path, "loss", "--ids", "--format", "csv")
    assert done.stdout == "id,value\ncat/0.jpg,1.0\ndog/1.jpg,2.0\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("d",), "--ids needs --format csv, npz, safetensors or parquet"),
        (("d", "--format", "c"), "--ids needs --format csv, npz, safetensors or parquet"),
        (("table", "--format", "csv"), "'table' does not have one row per example, so --ids names nothing"),
        (("examples/classes", "--format", "csv"), "'classes' does not have one row per example"),
    ],
)
def test_what_has_no_room_for_names_is_one_line(tfdump: Run, dump: Path, words: tuple[str, ...], said: str) -> None:
    done = tfdump("cat", dump, *words, "--ids")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_dump_without_names_has_none_to_write(tfdump: Run, tmp_path: Path) -> None:
    path = write_dump(tmp_path / "plain.h5", {"activations/d": D})
    for words in (("d", "--format", "csv"), ("--all", "-o", "out")):
        done = tfdump("cat", path, *words, "--ids")
        assert done.returncode == 2
        assert "does not tell the names of its examples" in done.stderr
    assert not (tmp_path / "out").exists()
