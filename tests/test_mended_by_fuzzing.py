"""What fuzzing found, small: each of these was once a mistake of tfdump's own, or words beside the one line."""

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.made_dumps import Tensor, make_dump
from support.mutations import members, packed
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError, InputError, TfdumpError
from tfdump.files.hdf5 import check_attributes, raised_by_hdf5
from tfdump.inputs.arguments import open_arguments

pytestmark = pytest.mark.filterwarnings("error")  # pytest would keep them from stderr, where a user reads them

ROWS = np.ones((4, 3), "f4")
STATISTICS = {"count": 12, "min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0, "l2": 3.5, "nan": 0, "inf": 0, "zero": 0}


def refused(run: Run, *arguments: object) -> str:
    done = run(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    assert done.stderr.startswith("Error: ")
    assert "a bug in tfdump" not in done.stderr
    return done.stderr


# Attributes of a dump


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("class", 3, "is not text"),
        ("layer", [1, 2], "is not text"),
        ("axis0", h5py.Empty("f4"), "is not text"),
        ("order", "x", "is not a whole number"),
        ("order", np.nan, "is not a whole number"),
        ("connected", [0, 1], "is not a whole number"),
        ("shape", 1.5, "is not a shape"),
        ("shape", [-7], "is not a shape"),
        ("computed_shape", np.zeros((2, 2)), "is not a shape"),
        ("norm", "large", "is neither a number nor one number per step"),
        ("norm", [[1.0], [2.0]], "is neither a number nor one number per step"),
        ("stat_mean", "x", "is not a number"),
        ("stat_nan", -1, "is not a number of elements"),
        ("stat_nan", 13, "its statistics count more elements than it has"),
        ("encoding", "ragged", "its attribute 'encoding' is 'ragged'"),
        ("dtype", "flaot32", "data type"),
        ("dtype", "string", "say that it holds string, and it holds float32"),
        ("dtype", "complex64", "say that it holds complex64, and it holds float32"),
    ],
)
def test_an_attribute_of_another_kind(tfdump: Run, tmp_path: Path, name: str, value: object, reason: str) -> None:
    statistics = {f"stat_{key}": number for key, number in STATISTICS.items()}
    make_dump(tmp_path / "d.h5", {"dense": Tensor(ROWS, **statistics)})
    with open_dump(tmp_path / "d.h5") as dump:
        assert dump["dense"].shape == (4, 3)
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file["activations/dense"].attrs[name] = value
    for command in (("show", "d.h5"), ("check", "d.h5"), ("diff", "d.h5", "d.h5"), ("cat", "d.h5", "dense")):
        assert reason in refused(tfdump, *command)


@pytest.mark.parametrize(("name", "value"), [("examples", "four"), ("first_example", 0.5), ("per_example", [1])])
def test_an_attribute_of_the_file_of_another_kind(tfdump: Run, tmp_path: Path, name: str, value: object) -> None:
    make_dump(tmp_path / "d.h5", {"dense": ROWS}, **{name: value})
    for command in ("show", "check"):
        assert f"its attribute '{name}' is not a whole number" in refused(tfdump, command, "d.h5")


def test_parts_of_another_kind_and_groups_without_an_encoding(tfdump: Run, tmp_path: Path) -> None:
    parts = {"values": np.zeros(3, "V2"), "row_splits": np.array([0, 3])}
    make_dump(tmp_path / "d.h5", {"r": Tensor(parts, encoding="ragged", dtype="float32")})
    assert "it holds void16" in refused(tfdump, "show", "d.h5", "--stats")
    make_dump(tmp_path / "d.h5", {"r": Tensor({"values": ROWS})})
    assert "'encoding' is None" in refused(tfdump, "show", "d.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process has, to limit it")
@pytest.mark.parametrize("command", [("show", "d.h5"), ("diff", "d.h5", "d.h5"), ("check", "d.h5")])
def test_a_text_that_says_to_be_longer_than_the_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    make_dump(tmp_path / "d.h5", {"dense": ROWS})
    data = bytearray((tmp_path / "d.h5").read_bytes())
    heap = struct.pack("<Q", data.find(b"GCOL"))  # where texts are; behind the length of each stands this address
    place = data.find(struct.pack("<I", len("dense")) + heap)
    assert place > 0
    struct.pack_into("<I", data, place, 480 << 20)
    (tmp_path / "d.h5").write_bytes(data)
    # in a process of its own, whose peak of memory is that of this one command
    code = (
        "import sys; from tfdump.cli.main import run; status = run(sys.argv[1:]);"
        "print(status, open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True)
    status, kilobytes = map(int, done.stdout.split())
    assert (status, done.stderr.count("\n")) == (2, 1)
    assert "is damaged: Can't synchronously read data" in done.stderr
    assert kilobytes < 200 << 10


def test_a_dataset_of_lists(tfdump: Run, tmp_path: Path) -> None:
    make_dump(tmp_path / "d.h5", {"dense": ROWS})
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        attributes = dict(file["activations/dense"].attrs)
        del file["activations/dense"]
        file["activations"].create_dataset("dense", (2,), h5py.vlen_dtype(np.int32)).attrs.update(attributes)
    refused(tfdump, "show", "d.h5", "--stats")


def test_statistics_of_which_some_are_missing_are_not_compared(tfdump: Run, tmp_path: Path) -> None:
    for name, statistics in (("a.h5", STATISTICS), ("b.h5", {"mean": 1.0})):
        attributes = {f"stat_{key}": value for key, value in statistics.items()}
        bare = Tensor(ROWS[:0], values=False, computed_shape=np.array([4, 3]), **attributes)
        make_dump(tmp_path / name, {"dense": ROWS, "bare": bare})
    done = tfdump("diff", "a.h5", "b.h5")
    assert done.returncode == 0
    assert "1 not compared" in done.stderr


def test_a_signalling_nan_is_counted_in_silence(tfdump: Run, tmp_path: Path) -> None:
    values = np.array([1, 0x7F800001], "u4").view("f4")
    values[:1] = 1
    make_dump(tmp_path / "d.h5", {"dense": values})
    done = tfdump("show", "d.h5", "--stats")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split("\t")[-3] == "1"  # nan, inf, zero


def test_half_precision_that_the_attributes_call_single_is_checked_in_silence(tfdump: Run, tmp_path: Path) -> None:
    make_dump(tmp_path / "d.h5", {"dense": Tensor(np.array([1, 6e4, 0, 2], "f2"), dtype="float32")})
    done = tfdump("check", "d.h5", "--fail-on", "nan,inf")
    assert (done.returncode, "overflow" in done.stdout) == (0, False)


# HDF5


def plain_file(path: Path, change: Callable[[bytes], bytes]) -> Path:
    with h5py.File(path, "w") as file:
        file["dense"] = ROWS
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("mark", [b"SNOD", b"TREE", b"HEAP"])
def test_a_damaged_group(tfdump: Run, tmp_path: Path, mark: bytes) -> None:
    path = plain_file(tmp_path / "x.h5", lambda data: data.replace(mark, b"XXXX"))
    for member in ("", "::dense"):
        with pytest.raises(InputError, match="is damaged"):
            [argument.reader for argument in open_arguments([f"{path}{member}"])]
    assert "is damaged" in refused(tfdump, "diff", "x.h5", "x.h5")


def test_what_h5py_raises_late_is_told_from_what_others_raise(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("mine")

    make_dump(tmp_path / "d.h5", {"dense": ROWS})
    with pytest.raises(KeyError, match="mine"), open_dump(tmp_path / "d.h5"):
        fail()
    with pytest.raises(DumpError, match=r"d\.h5 is damaged"), open_dump(tmp_path / "d.h5") as dump:
        dump._file["nothing"]
    with pytest.raises(KeyError) as caught:
        {}["x"]
    assert not raised_by_hdf5(caught.value)


def test_an_attribute_without_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = h5py.Empty("f4")
        check_attributes(file, TfdumpError)


@pytest.mark.tensorflow
def test_a_legacy_model_with_an_empty_attribute(tfdump: Run, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = h5py.Empty("S1")
    refused(tfdump, "layers", "m.h5")


# Archives


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", [["a"], {"a": 1}])
def test_a_registered_name_that_is_no_text(tfdump: Run, tmp_path: Path, name: object) -> None:
    content = members((SAMPLES / "wine_mlp.keras").read_bytes())
    config = json.loads(content["config.json"])
    config["config"]["layers"][2]["registered_name"] = name
    content["config.json"] = json.dumps(config).encode()
    (tmp_path / "m.keras").write_bytes(packed(list(content.items())))
    assert "cannot load m.keras" in refused(tfdump, "layers", "m.keras")


@pytest.mark.tensorflow
def test_weights_that_point_far_behind_their_end(tfdump: Run, tmp_path: Path) -> None:
    content = members((SAMPLES / "wine_mlp.keras").read_bytes())
    weights = bytearray(content["model.weights.h5"])
    driver = 8 + 8 + 8 + 8 + 8 + 8  # of a superblock of version 0: the addresses of base, free space, end, driver
    assert weights[8] == 0
    weights[driver : driver + 8] = struct.pack("<Q", 0xB81A0165A9EAE1FF)
    content["model.weights.h5"] = bytes(weights)
    (tmp_path / "m.keras").write_bytes(packed(list(content.items()), zipfile.ZIP_DEFLATED))
    assert "is damaged" in refused(tfdump, "layers", "m.keras")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=ROWS)
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), good.read("x.npy"))
    (argument,) = open_arguments([str(tmp_path / "x.npz")])
    np.testing.assert_array_equal(argument.reader.read(0, 4), ROWS)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=ROWS)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, entry + 8, 0x800)  # its name is UTF-8
    data[entry + 46] = 0xFF
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"is not a readable \.npz archive"):
        open_arguments([str(tmp_path / "x.npz")])


@pytest.mark.tensorflow
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_compressed_architecture(tfdump: Run, tmp_path: Path, method: int) -> None:
    shutil.copy(SAMPLES / "wine_mlp.keras", tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name in good.namelist():
            archive.writestr(zipfile.ZipInfo(name), good.read(name), method if name == "config.json" else None)
        start = archive.getinfo("config.json").header_offset + 30 + len("config.json")
    data = bytearray((tmp_path / "m.keras").read_bytes())
    data[start + 12 : start + 40] = b"\xff" * 28
    (tmp_path / "m.keras").write_bytes(data)
    refused(tfdump, "layers", "m.keras")
