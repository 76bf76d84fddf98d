"""`tfdump cat`: what NumPy and h5py read of its files is what was in the dump; whole files, or none."""

import csv
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import Run
from support.dumps import ARRAYS, DEEP, RAGGED, SPARSE, SPLITS, STACK, TEXTS, describe, empty_dump, write_dump
from support.terminals import on_terminal

LEFT_OUT = {
    "activations/statistics": "has statistics and no values (it was dumped with --stats-only)",
    "activations/unreached": "is not connected to the loss and has no gradient",
}


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "d.h5")


def same(read_back: np.ndarray, expected: np.ndarray) -> bool:
    """Whether dtype, shape and every byte agree."""
    return (read_back.dtype, read_back.shape) == (
        expected.dtype,
        expected.shape,
    ) and read_back.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_is_what_numpy_would_save(tfdump: Run, dump: Path, tmp_path: Path, name: str) -> None:
    """The same file, byte for byte, as np.save writes of the array."""
    assert tfdump("cat", dump, name, "-o", "x.npy").stdout == "x.npy\n"
    expected = io.BytesIO()
    np.save(expected, ARRAYS[name])
    assert (tmp_path / "x.npy").read_bytes() == expected.getvalue()


def test_standard_output_is_the_same_file(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tfdump", "cat", str(dump), "conv", "--slice", "::-2,0,...,1:3"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert same(np.load(io.BytesIO(done.stdout)), ARRAYS["conv"][::-2, 0, ..., 1:3].copy())
    assert done.stderr == b""
    assert tfdump(*command[3:], "-o", "x.npy").returncode == 0
    assert (tmp_path / "x.npy").read_bytes() == done.stdout


def test_text_is_fixed_width_without_pickle(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    tfdump("cat", dump, "text", "-o", "x.npy")
    assert np.load(tmp_path / "x.npy", allow_pickle=False).tolist() == TEXTS
    tfdump("cat", dump, "text", "--slice", "2", "-o", "empty.npy")
    assert np.load(tmp_path / "empty.npy").item() == ""


def test_the_group_chooses_among_namesakes(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    tfdump("cat", dump, "outputs/dense", "-o", "x.npy")
    assert same(np.load(tmp_path / "x.npy"), ARRAYS["dense"] + 1)


@pytest.mark.parametrize("name", ["dense", "odd", "double", "half", "int64", "uint16"])
def test_csv_of_up_to_two_axes_has_a_line_a_row(tfdump: Run, dump: Path, name: str) -> None:
    header, *lines = tfdump("cat", dump, name, "--format", "csv").stdout.splitlines()
    read_back = np.loadtxt(lines, ARRAYS[name].dtype, None, ",")
    assert np.array_equal(read_back.reshape(ARRAYS[name].shape), ARRAYS[name], equal_nan=name in ("odd", "double"))
    columns = ARRAYS[name].shape[1:]
    assert header.split(",") == ([f"[{column}]" for column in range(columns[0])] if columns else ["value"])
    assert tfdump("cat", dump, name, "--format", "csv", "--no-header").stdout.splitlines() == lines


def test_pandas_reads_every_row_of_a_csv(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    """A reader that takes the first line for names, as pandas.read_csv does, gets all rows."""
    assert tfdump("cat", dump, "dense", "-o", "x.csv").returncode == 0
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert np.array_equal(np.array([[row[f"[{n}]"] for n in range(3)] for row in rows], "f4"), ARRAYS["dense"])


def test_a_folder_of_csv_files_has_headers_or_none(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    tfdump("cat", dump, "--all", "-l", "dense", "--format", "csv", "-o", "with")
    tfdump("cat", dump, "--all", "-l", "dense", "--format", "csv", "--no-header", "-o", "without")
    header, *rows = (tmp_path / "with" / "activations" / "dense.csv").read_text().splitlines()
    assert header == "[0],[1],[2]"
    assert (tmp_path / "without" / "activations" / "dense.csv").read_text().splitlines() == rows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dense", "-o", "x.feather"), "'x.feather' is the name of a Feather file"),
        (("dense", "-o", "x.json"), "'x.json' is the name of a JSON file"),
        (("dense", "-o", "x.h5"), "'x.h5' is the name of an HDF5 file"),
        (("dense", "-o", "x.dat"), "'x.dat' does not say in which format to write"),
        (("dense", "-o", "x.npy", "--format", "csv"), "'x.npy' is the name of a NumPy array"),
        (("dense", "--format", "csv", "-o", "X.CSV.gz"), "'X.CSV.gz' is the name of a gzip file"),
        (("--all", "-o", "x.feather"), "--all writes a folder or a .npz, .safetensors, .parquet or .bin file"),
        (("dense", "--format", "npy", "--no-header", "-o", "x"), "--no-header belongs to --format csv"),
    ],
)
def test_an_ending_that_says_another_format_is_refused(
    tfdump: Run, dump: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = tfdump("cat", dump, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


@pytest.mark.parametrize("name", ["x", "x.NPY", "x.txt"])
def test_an_ending_that_says_nothing_else_is_taken(tfdump: Run, dump: Path, tmp_path: Path, name: str) -> None:
    assert tfdump("cat", dump, "dense", "-o", name, "--format", "npy").returncode == 0
    assert same(np.load(tmp_path / name), ARRAYS["dense"])


def test_csv_of_more_axes_has_a_header_of_indices(tfdump: Run, dump: Path) -> None:
    header, *rows = csv.reader(io.StringIO(tfdump("cat", dump, "conv", "--format", "csv").stdout))
    assert [header[0], header[1], header[8], header[-1]] == ["[0][0][0]", "[0][0][1]", "[0][1][0]", "[3][2][7]"]
    assert np.array_equal(np.array(rows, "f4"), ARRAYS["conv"].reshape(50, -1))


def test_csv_of_text_scalars_and_nothing(tfdump: Run, dump: Path) -> None:
    text = tfdump("cat", dump, "text", "--format", "csv").stdout
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["value"], *([line] for line in TEXTS)]
    assert tfdump("cat", dump, "scalar", "--format", "csv").stdout == "value\n2.5\n"
    assert tfdump("cat", dump, "flag", "--format", "csv").stdout == "[0],[1]\nTrue,False\n"
    columns = ",".join(f"[{index}]" for index in range(ARRAYS["empty"].shape[1]))
    assert tfdump("cat", dump, "empty", "--format", "csv").stdout == columns + "\n"


def test_rows_of_csv_longer_than_a_block(tfdump: Run, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 9, (3, 5, 7000))
    with empty_dump(tmp_path / "d.h5") as file:
        describe(file["activations"].create_dataset("wide", data=values), "int64")
    header, *rows = tfdump("cat", "d.h5", "wide", "--format", "csv").stdout.splitlines()
    assert header.split(",")[16_383:16_386] == ["[2][2383]", "[2][2384]", "[2][2385]"]
    assert np.array_equal(np.array([row.split(",") for row in rows], int), values.reshape(3, -1))


@pytest.mark.parametrize("layout", ["npy", "csv"])
def test_a_composite_is_several_arrays(tfdump: Run, dump: Path, layout: str) -> None:
    done = tfdump("cat", dump, "ragged", "--format", layout, "-o", "x")
    assert done.returncode == 2
    assert f"'ragged' is several arrays (values, row_splits), and .{layout} holds one" in done.stderr
    assert tfdump("cat", dump, "ragged", "--format", "csv", "--slice", "2,0").stdout == "value\n2.0\n3.0\n"


def test_npz_of_one_tensor_holds_its_parts(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "ragged", "-o", "x.npz").stdout == "x.npz\n"
    with np.load(tmp_path / "x.npz") as archive:
        assert sorted(archive) == ["ragged.row_splits", "ragged.values"]
        assert same(archive["ragged.values"], RAGGED)
        assert same(archive["ragged.row_splits"], SPLITS)


def test_the_npz_of_a_ragged_tensor_is_an_input_of_tfdump(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    from tfdump.inputs.arguments import open_arguments

    tfdump("cat", dump, "ragged", "-o", "x.npz")
    (argument,) = open_arguments([str(tmp_path / "x.npz")])
    assert argument.reader.lengths.tolist() == [1, 0, 5]
    assert np.array_equal(argument.reader.rows(0, 3)[2], RAGGED[1:])


def expected_members() -> dict[str, np.ndarray]:
    read_back = {f"activations/{name}": values for name, values in ARRAYS.items()}
    read_back["activations/text"] = np.array(TEXTS)
    read_back["activations/ragged%2Evalues"] = RAGGED  # a layer is called ragged.values
    read_back["activations/ragged.row_splits"] = SPLITS
    read_back |= {
        f"activations/deep.{part}": values
        for part, values in zip(("values", "row_splits", "row_splits_1"), DEEP, strict=True)
    }
    read_back |= {"activations/sparse.values": SPARSE[0], "activations/sparse.indices": SPARSE[1]}
    read_back["activations/sparse.dense_shape"] = np.array([4, 2])
    read_back |= {f"activations/stack.{n}": item for n, item in enumerate(STACK)}
    return read_back | {"outputs/dense": ARRAYS["dense"] + 1, "outputs/logits": ARRAYS["dense"] * 2}


def test_all_as_npz(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "-o", "x.npz")
    assert done.stdout == "x.npz\n"
    assert done.stderr == "".join(f"Note: left out: '{name}' {reason}\n" for name, reason in LEFT_OUT.items())
    with np.load(tmp_path / "x.npz") as archive:
        expected = expected_members()
        assert set(archive) == set(expected)
        for name, values in expected.items():
            assert same(archive[name], values), name
    tfdump("cat", dump, "--all", "-o", "y.npz")
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        assert archive.testzip() is None
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_all_as_a_folder(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    """The index tells which file is which tensor, and what is in none."""
    done = tfdump("cat", dump, "--all", "-o", "out/")
    assert (done.returncode, done.stdout) == (0, "out\n")
    lines = [line.split("\t") for line in (tmp_path / "out" / "index.tsv").read_text().splitlines()]
    assert lines[0] == ["file", "tensor", "part", "shape", "dtype", "stored_as", "axis0", "class", "left_out"]
    expected = expected_members()
    expected["activations/ragged.values@part"] = expected.pop("activations/ragged%2Evalues")
    files = set()
    for path, name, part, shape, *_, reason in lines[1:]:
        if not path:
            assert reason == LEFT_OUT[name]
            continue
        key = f"{name}.{part}" if part else name
        key += "@part" * (key == "activations/ragged.values" and bool(part))
        values = np.load(tmp_path / "out" / path)
        assert same(values, expected.pop(key)), key
        assert shape == ",".join(map(str, values.shape))
        files.add(path)
    assert not expected
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == files | {"index.tsv"}
    assert len({path.casefold() for path in there}) == len(there)
    assert "activations/brain.npy\tactivations/brain\t\t3\tbfloat16\tfloat32" in "\n".join(map("\t".join, lines))


def test_a_selection_of_all(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "--all", "-l", "outputs/*", "-o", "x.npz").stderr == ""
    with np.load(tmp_path / "x.npz") as archive:
        assert sorted(archive) == ["outputs/dense", "outputs/logits"]
    refused = tfdump("cat", dump, "--all", "-l", "outptus/*", "-o", "y.npz")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no layer matches 'outptus/*'" in refused.stderr


def test_a_dump_without_values_writes_nothing(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "-l", "unreached", "-o", "x.npz")
    assert done.returncode == 2
    assert "holds no values to write: 'unreached' is not connected" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_the_loss_is_written_too(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "g.h5", kind="gradients") as file:
        file["loss"] = np.array([3.0, 2.5])
    tfdump("cat", "g.h5", "--all", "-o", "x.npz")
    with np.load(tmp_path / "x.npz") as archive:
        assert archive["loss"].tolist() == [3.0, 2.5]
    tfdump("cat", "g.h5", "--all", "-o", "x")
    assert np.load(tmp_path / "x" / "loss.npy").tolist() == [3.0, 2.5]
    assert tfdump("cat", "g.h5", "loss", "--format", "csv").stdout == "value\n3.0\n2.5\n"


def test_an_existing_output_needs_force(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("mine")
    refused = tfdump("cat", dump, "dense", "-o", "x.npy")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "output x.npy exists (overwrite it with -f" in refused.stderr
    assert (tmp_path / "x.npy").read_text() == "mine"
    assert tfdump("cat", dump, "dense", "-f", "-o", "x.npy").returncode == 0
    assert np.load(tmp_path / "x.npy").shape == (4, 3)


def test_a_folder_is_replaced_only_if_all_in_it_is_tfdumps_own(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    command = ("cat", dump, "--all", "-o", "out", "-l", "dense")
    (tmp_path / "out").mkdir()
    assert tfdump(*command).returncode == 0
    assert "output out exists" in tfdump(*command).stderr
    assert tfdump(*command, "--format", "csv", "-f").returncode == 0
    files = [path.name for path in (tmp_path / "out" / "activations").iterdir()]
    assert files == ["dense.csv"]
    (tmp_path / "out" / "activations" / "thesis.txt").write_text("mine")
    refused = tfdump(*command, "-f")
    assert refused.returncode == 2
    assert "output out holds a file that tfdump did not write: activations/thesis.txt" in refused.stderr
    assert (tmp_path / "out" / "activations" / "thesis.txt").read_text() == "mine"
    assert "output . holds a file that tfdump did not write" in tfdump("cat", dump, "--all", "-f", "-o", ".").stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.h5", "out"]


def test_the_dump_is_never_overwritten(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to("d.h5")
    before = dump.read_bytes()
    for command in (("dense", "-o", "d.h5"), ("dense", "-o", "link.npz"), ("--all", "-o", "link.npz")):
        done = tfdump("cat", dump, *command, "-f")
        assert done.returncode == 2
        assert "is the dump itself" in done.stderr
    assert dump.read_bytes() == before


def test_a_failure_leaves_nothing_behind(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    """A chunk that is not there any more: the file is truncated after its header was read."""
    with h5py.File(dump) as file:
        conv = file["activations/conv"]
        damaged = conv.id.get_chunk_info(2)
    with dump.open("r+b") as stream:  # an impossible gzip block would need a filter: cut the file instead
        stream.truncate(damaged.byte_offset + 10)
    for command in (("conv", "-o", "x.npy"), ("--all", "-o", "x.npz"), ("--all", "-o", "folder")):
        done = tfdump("cat", dump, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("Error: ") == 1
        assert "truncated" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_damage_in_the_middle_leaves_nothing_behind(tfdump: Run, tmp_path: Path) -> None:
    """A chunk whose compressed bytes are broken is found only when it is read."""
    values = np.random.default_rng(0).normal(size=(4, 300_000))
    with empty_dump(tmp_path / "d.h5") as file:
        describe(file["activations"].create_dataset("x", data=values, chunks=(1, 300_000), compression="gzip"))
        broken = file["activations/x"].id.get_chunk_info(3)
    with (tmp_path / "d.h5").open("r+b") as stream:
        stream.seek(broken.byte_offset)
        stream.write(b"\xff" * 64)
    for command in (("x", "-o", "x.npy"), ("--all", "-o", "x.npz"), ("--all", "-o", "folder")):
        done = tfdump("cat", "d.h5", *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Error: d.h5: '/activations/x' is damaged")
        assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_a_full_disk_is_one_line(tfdump_process: Run, dump: Path, tmp_path: Path) -> None:
    script = f"ulimit -f 8; trap '' XFSZ; '{sys.executable}' -m tfdump cat d.h5 conv -o x.npy"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: cannot write x.npy: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_binary_is_not_written_to_a_terminal(dump: Path) -> None:
    screen = on_terminal("cat", dump, "dense", cwd=dump.parent, stderr=False)
    assert (screen.returncode, screen.written) == (2, "")
    assert screen.stderr.startswith("Error: .npy is binary and not for a terminal (use -o FILE, a pipe,")


def test_a_reader_that_goes_away_ends_it_quietly(dump: Path) -> None:
    script = f"'{sys.executable}' -m tfdump cat '{dump}' conv | head -c 100 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either the ADDRESS of a tensor or --all"),
        (("dense", "--all", "-o", "x"), "give either the ADDRESS of a tensor or --all"),
        (("dense", "-l", "x"), "-l, -x and --depth select tensors of --all"),
        (("--all",), "--all needs -o FOLDER or -o FILE with the ending .npz, .safetensors, .parquet or .bin"),
        (("--all", "-o", "x.npy"), "--all writes a folder or a .npz, .safetensors, .parquet or .bin file"),
        (("--all", "-o", "x", "--format", "npz"), "--format npz needs -o FILE.npz"),
        (("--all", "-o", "x.npz", "--format", "c"), "--format c needs -o FOLDER with --all, and x.npz is a file"),
        (("--all", "-o", "x", "--slice", "0"), "--slice belongs to single tensors"),
        (("--all", "-o", "d.h5"), "output d.h5 is a file, and a folder is to be written"),
        (("--all", "-o", "no/x"), "output folder no does not exist"),
        (("dens",), "d.h5 has no tensor 'dens'; near: 'dense'"),
        (("outputs/logit",), "d.h5 has no tensor 'outputs/logit'; near: 'outputs/logits'"),
        (("dense", "--slice", "4"), "4 is out of range for axis 0 of 'dense', which is from -4 to 3"),
        (("dense", "--slice", "x"), "neither an integer nor START:STOP:STEP"),
        (("unreached",), "'unreached' is not connected to the loss"),
        (("statistics",), "'statistics' has statistics and no values"),
        (("loss",), "has no tensor 'loss'"),
    ],
)
def test_what_cannot_be_done_is_one_line(tfdump: Run, dump: Path, arguments: tuple[str, ...], words: str) -> None:
    done = tfdump("cat", "d.h5", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert [path.name for path in dump.parent.iterdir()] == ["d.h5"]
