"""`tfdump import`: what `cat` writes and what devices print becomes a dump that `diff` takes."""

import json
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import tfdump as tfdump_package
from support.check_dumps import write_dump
from support.command import Run
from support.dumps import write_dump as write_every_kind
from support.example_names import photos, with_names
from support.sharded_runs import EXAMPLES, FIRST, SIZE, MadeRun, every_kind

RANDOM = np.random.default_rng(5)
WHOLE = {"axis0": "none"}
BRAIN = (RANDOM.integers(0, 1 << 8, (4, 5), "u4") << 16 | 0x3F800000).view("f4")
TENSORS: dict[str, Any] = {
    "activations/conv": RANDOM.normal(size=(4, 3, 2, 5)).astype("f4"),
    "activations/odd": np.array([np.nan, -np.inf, -0.0, 1e-45], "f4"),
    "activations/int8": (
        RANDOM.integers(-128, 128, (4, 6), "i1"),
        {"scale": np.float32(0.1), "zero_point": np.int64(-3)},
    ),
    "activations/half": RANDOM.normal(size=(4, 2)).astype("f2"),
    "activations/brain": (BRAIN, {"dtype": "bfloat16", "stored_as": "float32"}),
    "activations/flag": np.array([[True, False], [False, False], [True, True], [False, True]]),
    "activations/mixed": (RANDOM.normal(size=(2, 3)).astype("f4"), {"axis0": "batch"}),
    "activations/scalar": (np.float32(2.5), WHOLE),
    "activations/a:input": (RANDOM.integers(-(1 << 62), 1 << 62, (4, 2)), {"inputs": '["inputs/x"]'}),
    "outputs/conv": RANDOM.normal(size=(4, 2)),
    "weights/conv.kernel": (
        RANDOM.integers(-127, 128, (3, 4), "i1"),
        {"scale": RANDOM.random(4, "f4"), "zero_point": np.zeros(4, "i8"), "quantized_axis": 1, **WHOLE},
    ),
}
ROOT = {"examples": np.int64(4), "first_example": np.int64(10), "model": "m.keras", "inputs_sha256": '{"x": "12"}'}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "g.h5", TENSORS, config={"a": 1}, **ROOT)


def values_of(name: str) -> np.ndarray:
    entry = TENSORS[name]
    return np.asarray(entry[0] if isinstance(entry, tuple) else entry)


def listed(tmp_path: Path, folder: str) -> list[Path]:
    """The files of a folder that hold tensors."""
    lines = (tmp_path / folder / "index.tsv").read_text().splitlines()[1:]
    return [Path(folder) / line.split("\t")[0] for line in lines if line.split("\t")[0]]


@pytest.mark.parametrize("layout", ["bin", "csv", "npy"])
def test_what_cat_writes_is_the_same_dump(tfdump: Run, golden: Path, tmp_path: Path, layout: str) -> None:
    assert tfdump("cat", "g.h5", "--all", "--format", layout, "-o", "files").returncode == 0
    done = tfdump("import", *listed(tmp_path, "files"), "--like", "g.h5", "-o", "d.h5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "d.h5\n", "")
    with h5py.File(golden) as old, h5py.File(tmp_path / "d.h5") as new:
        for name in TENSORS:
            np.testing.assert_array_equal(new[name][()], values_of(name))
            assert new[name].dtype == old[name].dtype
            attributes = {key: np.asarray(value).tolist() for key, value in new[name].attrs.items()}
            expected = {key: np.asarray(value).tolist() for key, value in old[name].attrs.items()}
            assert attributes == attributes | expected
        assert [list(new[group]) for group in ("activations", "outputs")] == [
            list(old[group]) for group in ("activations", "outputs")
        ]
        assert new.attrs["runtime"] == "device"
        assert (new.attrs["examples"], new.attrs["first_example"]) == (4, 10)
        assert new.attrs["inputs_sha256"] == old.attrs["inputs_sha256"]
        assert json.loads(new["config"][()]) == {"a": 1}
        assert "/" not in new.attrs["command"].replace("outputs/", "")
    assert tfdump("diff", "g.h5", "d.h5", "--exact").returncode == 0


@pytest.mark.parametrize("name", ["activations/int8", "activations/brain", "outputs/conv"])
def test_one_other_value_is_named(tfdump: Run, golden: Path, tmp_path: Path, name: str) -> None:
    assert tfdump("cat", "g.h5", "--all", "--format", "bin", "-o", "files").returncode == 0
    path = tmp_path / "files" / f"{name}.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert tfdump("import", *listed(tmp_path, "files"), "--like", "g.h5", "-o", "d.h5").returncode == 0
    done = tfdump("diff", "g.h5", "d.h5", "--exact")
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["tensor", name]


def test_names_of_files_are_addresses(tfdump: Run, golden: Path, tmp_path: Path) -> None:
    """In a folder of the group, with dots, as a C identifier, percent-encoded, the end of an address, and by hand."""
    files = {
        "outputs.conv.bin": "outputs/conv",
        "activations_conv.bin": "activations/conv",
        "int8.raw": "activations/int8",
        "a%3Ainput.bin": "activations/a:input",
        "kernel.dat": "weights/conv.kernel",
        "mine.bin": "activations/half",
        "flag=1.bin": "activations/flag",
    }
    for file, name in files.items():
        (tmp_path / file).write_bytes(values_of(name).tobytes())
    given = ["activations/half=mine.bin" if file == "mine.bin" else file for file in files]
    given = ["flag=flag=1.bin" if file == "flag=1.bin" else file for file in given]
    done = tfdump("import", *given, "--like", "g.h5", "-o", "d.h5")
    assert done.returncode == 0
    assert "4 of 11 tensors have no file: odd, brain, mixed, scalar (compare with --allow-missing)" in done.stderr
    with h5py.File(tmp_path / "d.h5") as new:
        for name in files.values():
            np.testing.assert_array_equal(new[name][()], values_of(name))
        assert [item["address"] for item in json.loads(new.attrs["not_captured"])] == [
            "odd",
            "brain",
            "mixed",
            "scalar",
        ]
        assert "activations/half=mine.bin" in new.attrs["command"]
    assert tfdump("diff", "g.h5", "d.h5", "--exact", "--allow-missing").returncode == 0


def test_fewer_examples(tfdump: Run, golden: Path, tmp_path: Path) -> None:
    with_names(golden, photos(4), [0, 1, 1, 0], ["cat", "dog"])
    (tmp_path / "conv.bin").write_bytes(values_of("activations/conv")[1:3].tobytes())
    refused = tfdump("import", "conv.bin", "--like", "g.h5", "-o", "d.h5")
    assert refused.stderr == (
        "Error: conv.bin: 120 values (4 x 3 x 2 x 5) of float32, 480 bytes, are expected for 'conv', and it has 60 in "
        "240 bytes (these are 2 examples: --examples START:STOP says which)\n"
    )
    done = tfdump("import", "conv.bin", "--like", "g.h5", "--examples", "11:13", "-o", "d.h5")
    assert "the dump holds examples 11 to 12: compare it with a dump of the same ones" in done.stderr
    with h5py.File(tmp_path / "d.h5") as new:
        np.testing.assert_array_equal(new["activations/conv"][()], values_of("activations/conv")[1:3])
        assert (new.attrs["examples"], new.attrs["first_example"]) == (2, 11)
        assert "inputs_sha256" not in new.attrs
        assert new["examples/id"].asstr()[()].tolist() == photos(4)[1:3]
        assert new["examples/label"][()].tolist() == [1, 1]
        assert new["examples/classes"].asstr()[()].tolist() == ["cat", "dog"]


def test_another_dtype_and_byte_order(tfdump: Run, golden: Path, tmp_path: Path) -> None:
    """What a device computed in half precision is judged as such."""
    half = values_of("activations/conv").astype(">f2")
    (tmp_path / "conv.bin").write_bytes(half.tobytes())
    words = ("conv.bin", "--like", "g.h5", "--dtype", "float16", "--byte-order", "big", "-o", "d.h5")
    assert tfdump("import", *words).returncode == 0
    with h5py.File(tmp_path / "d.h5") as new:
        assert new["activations/conv"].attrs["dtype"] == "float16"
        np.testing.assert_array_equal(new["activations/conv"][()], half)
    assert tfdump("diff", "g.h5", "d.h5", "--allow-missing").returncode == 0
    brain = BRAIN.astype(ml_dtypes.bfloat16)
    (tmp_path / "brain.bin").write_bytes(brain.view("u2").astype(">u2").tobytes())
    assert tfdump("import", "brain.bin", "--like", "g.h5", "--byte-order", "big", "-f", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as new:
        assert new["activations/brain"][()].tobytes() == BRAIN.tobytes()


BELOW = [[0, 0], [0, 0], [0, -1]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("odd", "[nan, -INF, -0.0, 1.4e-45]", values_of("activations/odd")),
        ("odd", "odd = ", None),
        ("odd", "{1.5f,\r\n .25F, 0x1.8p+1, -3}", [1.5, 0.25, 3, -3]),
        ("odd", "\ufeff1 2\n\n3 4\n", [1, 2, 3, 4]),
        ("flag", "true FALSE 0 1 1 1 0 0", [[1, 0], [0, 1], [1, 1], [0, 0]]),
        ("half", "(1 2) (3 4)\n(5 6) (7 8)", [[1, 2], [3, 4], [5, 6], [7, 8]]),
        ("outputs/conv", "1 2 3 4 5 6 7 8", [[1, 2], [3, 4], [5, 6], [7, 8]]),
        (
            "a:input",
            "0xffffffffffffffff, 9007199254740993LL 0 0 0 0 0 -1",
            [[-1, 9007199254740993], [0, 0], [0, 0], [0, -1]],
        ),
        ("int8", "0xFF 0x80 0x7f 0xffffff80 -128 127" + " 0" * 18, [[-1, -128, 127, -128, -128, 127], *[[0] * 6] * 3]),
    ],
)
def test_text_of_a_console(tfdump: Run, golden: Path, tmp_path: Path, name: str, text: str, expected: Any) -> None:
    (tmp_path / "serial.log").write_text(text, "utf-8", newline="")
    done = tfdump("import", f"{name}=serial.log", "--like", "g.h5", "-o", "d.h5")
    if expected is None:
        assert "line 1: 'odd' is not a number" in done.stderr
        return
    assert done.returncode == 0
    with h5py.File(tmp_path / "d.h5") as new:
        full = name if "/" in name else f"activations/{name}"
        np.testing.assert_array_equal(new[full][()], expected)
        assert new[full].dtype == values_of(full).dtype


def test_the_text_of_a_windows_console(tfdump: Run, golden: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("1 2\r\n3 4\r\n", "utf-16", newline="")
    assert tfdump("import", "odd.txt", "--like", "g.h5", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as new:
        assert new["activations/odd"][()].tolist() == [1, 2, 3, 4]


INT8 = " 0" * 23
"""The numbers behind the first one."""


@pytest.mark.parametrize(
    ("file", "data", "words", "said"),
    [
        ("odd.bin", b"1234567", (), "are expected for 'odd', and it has 1 in 7 bytes, which is no whole number"),
        ("odd.bin", b"", (), "and it has 0 in 0 bytes"),
        ("odd.txt", b"1 2 3 4 5", (), "4 values of float32 are expected for 'odd', and it has 5 (look at"),
        ("odd.txt", b"1 2\n3 \xff\n", (), r"odd.txt: line 2: '\xff' is not a number"),
        ("odd.txt", b"1 2\n3 4 ms\n", (), "odd.txt: line 2: 'ms' is not a number (leave only the numbers of 'odd'"),
        ("odd.txt", b"1_0 2 3 4", (), "'1_0' is not a number"),
        ("odd.txt", b"12f 2 3 4", (), "'12f' is not a number"),
        ("odd.txt", b"0x3f800000 2 3 4", (), "is a hexadecimal integer, which may be bits or a number"),
        ("odd.txt", b"1e39 2 3 4", (), "1e+39 is too large for float32"),
        ("odd.txt", b"1e400 2 3 4", (), "line 1: '1e400' is too large for any dtype (leave only"),
        ("odd.txt", b"1 2 3\n0x1p5000", (), "odd.txt: line 2: '0x1p5000' is too large for any dtype"),
        ("odd.txt", b"1" * 5000, (), f"line 1: '{'1' * 57}...' is too large for any dtype"),
        ("odd.txt", b"\x1b[32m1 2 3 4\0", (), r"odd.txt: line 1: '\x1b' is not a number"),
        ("int8.txt", b"-" + b"1" * 5000, (), f"'-{'1' * 56}...' is not within int8, -128 to 127"),
        ("odd.bin", b"1234", ("--dtype", "int8"), "int8 means integers, and 'odd' holds real numbers (float32"),
        ("int8.bin", b"", ("--dtype", "float32"), "(int8; the golden values must be of the same kind: dump"),
        ("int8.txt", f"128{INT8}".encode(), (), "'128' is not within int8, -128 to 127"),
        ("int8.txt", f"0.5{INT8}".encode(), (), "'0.5' is not an integer, and the values are int8"),
        ("int8.txt", f"0x100{INT8}".encode(), (), "'0x100' has more bits than int8"),
        ("flag.bin", b"\0\1\2\0\0\0\0\0", (), "2 is not a truth value"),
        ("half.csv", b"1,2,3,4\n5,6,7,8\n", (), "line 1 has 4 values, and a row of 'half' has 2"),
        ("half.csv", b"id,[0],[1]\na,1,2\n", (), "line 1: the first column is the names of examples"),
        ("half.csv", b"[0],[1]\n1,2\n", (), "are expected for 'half', and it has 2 (these are 1"),
        ("hafl.bin", b"", (), "'hafl'; near: 'half', 'flag' (say which one it is: ADDRESS=hafl.bin)"),
        ("half.xyz", b"", (), "'half.xyz' does not say what it holds (end it in .bin"),
        ("odd.bin", b"", ("--examples", "0:2"), "--examples 0:2 is not within g.h5, which has 10:14"),
        ("odd.npy", b"no", (), "odd.npy is not a .npy array"),
        ("odd.bin", b"", ("odd.txt",), "'activations/odd' is in two files: odd.bin and odd.txt"),
        ("odd.bin", b"", ("hidden=odd.bin",), "odd.bin: g.h5 has no tensor 'hidden'"),
        ("odd.bin", None, (), "no such device file: odd.bin"),
    ],
)  # fmt: skip
def test_bad_files_are_one_line(
    tfdump: Run, golden: Path, tmp_path: Path, file: str, data: bytes | None, words: tuple[str, ...], said: str
) -> None:
    if data is not None:
        (tmp_path / file).write_bytes(data)
    there = sorted(tmp_path.iterdir())
    done = tfdump("import", file, *words, "--like", "g.h5", "-o", "d.h5")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 6), "f4"), "int8.npy: its dtype float32 means real numbers, and 'int8' holds integers"),
        (np.full((4, 6), 300), "int8.npy: 300 is not within int8, the dtype of 'int8'"),
        (np.zeros((6, 4), "i1"), "int8.npy: its shape is (6, 4), and 'int8' has (4, 6)"),
        (np.zeros((4, 5), "i1"), "24 values (4 x 6) of int8 are expected for 'int8', and it has 20"),
    ],
)
def test_bad_arrays_are_one_line(tfdump: Run, golden: Path, tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "int8.npy", array)
    done = tfdump("import", "int8.npy", "--like", "g.h5", "-o", "d.h5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


@pytest.mark.parametrize("shape", [(4, 6), (24,), (4, 1, 6)])
def test_arrays_that_fit(tfdump: Run, golden: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "int8.npy", values_of("activations/int8").astype("i8").reshape(shape))
    assert tfdump("import", "int8.npy", "--like", "g.h5", "-o", "d.h5").returncode == 0
    assert tfdump("diff", "g.h5", "d.h5", "--exact", "--allow-missing").returncode == 0


def test_a_dump_of_statistics_can_be_the_golden_one(tfdump: Run, tmp_path: Path) -> None:
    """Its shapes are enough; the values are compared with its statistics."""
    values = RANDOM.normal(size=(4, 3)).astype("f4")
    statistics = {"count": 12, "min": values.min(), "max": values.max(), "mean": values.mean(dtype="f8"),
                  "std": values.std(dtype="f8"), "l2": np.linalg.norm(values.astype("f8")), "nan": 0, "inf": 0,
                  "zero": 0}  # fmt: skip
    described = {f"stat_{name}": np.int64(n) if isinstance(n, int) else np.float64(n) for name, n in statistics.items()}
    described |= {"values": False, "computed_shape": np.array([4, 3])}
    write_dump(tmp_path / "g.h5", {"activations/x": (np.zeros((0, 3), "f4"), described)}, stats_only=True, examples=4)
    for factor, status in ((1, 0), (2, 1)):
        (tmp_path / "x.bin").write_bytes((values * np.float32(factor)).tobytes())
        assert tfdump("import", "x.bin", "--like", "g.h5", "-f", "-o", "d.h5").returncode == 0
        assert tfdump("diff", "g.h5", "d.h5").returncode == status


def test_what_cannot_be_imported_is_said(tfdump: Run, tmp_path: Path) -> None:
    write_every_kind(tmp_path / "g.h5")
    (tmp_path / "x.txt").write_text("1")
    for name, said in (
        ("ragged", "'ragged' is ragged and consists of several arrays"), ("text", "'text' holds text"),
        ("unreached", "'unreached' has no values that a file could hold"), ("complex", "holds complex numbers"),
    ):  # fmt: skip
        done = tfdump("import", f"{name}=x.txt", "--like", "g.h5", "-o", "d.h5")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    assert (
        "output g.h5 is the file that the dump is made from"
        in tfdump("import", "x.txt", "--like", "g.h5", "-f", "-o", "g.h5").stderr
    )


def test_arrays_in_python(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays and files by address, and files by their names."""
    monkeypatch.chdir(tmp_path)
    Path("half.bin").write_bytes(values_of("activations/half").tobytes())
    flags = values_of("activations/flag")
    with pytest.warns(tfdump_package.TfdumpWarning, match="9 of 11 tensors have no file"):
        path = tfdump_package.import_dump({"flag": flags, "half": "half.bin"}, like=golden, output="d.h5")
    with tfdump_package.open(path) as dump:
        np.testing.assert_array_equal(dump["flag"], flags)
        np.testing.assert_array_equal(dump["half"], values_of("activations/half"))
        assert dump.attributes["command"] == "tfdump.import_dump"
    with pytest.warns(tfdump_package.TfdumpWarning, match="10 of 11"):
        tfdump_package.import_dump("half.bin", golden, "d.h5", force=True)
    for files, words in (
        ({"flag": flags[:1]}, "'flag': 8 values (4 x 2) of bool are expected for 'flag', and it has 2 (these are 1"),
        ({"int8": flags}, "'int8': its dtype bool means truth values, and 'int8' holds integers"),
        ({}, "no files or arrays are given, so there is nothing to import"),
        ([], "no files or arrays are given, so there is nothing to import"),
        (3, "files 3 are neither files nor arrays by address"),
    ):
        with pytest.raises(tfdump_package.TfdumpError) as error:
            tfdump_package.import_dump(files, golden, "e.h5")
        assert words in str(error.value)
    assert not Path("e.h5").exists()


def test_the_dump_of_a_shard_is_no_shard(tfdump: Run, tmp_path: Path) -> None:
    """Its values are those of the device, so merging must not take it for the shard that it is like."""
    run = MadeRun(every_kind(), EXAMPLES, SIZE)
    run.write_shards(tmp_path / "shards", (8, EXAMPLES))
    (shard, _) = sorted((tmp_path / "shards").glob("*.h5"))
    assert tfdump("cat", shard, "dense", "-o", "dense.bin").returncode == 0
    for like in (shard, tmp_path / "shards"):
        rows = () if like == shard else ("--examples", f"{FIRST}:{FIRST + 8}")
        assert tfdump("import", "dense.bin", "--like", like, *rows, "-f", "-o", "d.h5").returncode == 0
        with h5py.File(shard) as golden, h5py.File(tmp_path / "d.h5") as device:
            assert "shard_of" in golden.attrs
            assert not {"shard_of", "threads"} & set(device.attrs)
            assert (device.attrs["examples"], device.attrs["first_example"]) == (8, FIRST)
            np.testing.assert_array_equal(device["activations/dense"][()], golden["activations/dense"][()])
