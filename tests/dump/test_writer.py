"""A dump is written whole or not at all, holds what format 1 says, and has the same bytes every time."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from support.processes_apart import write_two_seconds_apart
from tfdump.dump.target import check_space, check_target
from tfdump.dump.writer import DumpWriter, set_attribute, storage_for
from tfdump.errors import DumpError
from tfdump.tensors import NotCaptured, Ragged, Sparse, TensorInfo


def info(address: str, dtype: str = "float32", shape: tuple[int, ...] | None = None, order: int = 0) -> TensorInfo:
    return TensorInfo(address, address.partition(":")[0], f"path.{address}", ("Dense", "Layer"), order, dtype, shape)


def add(
    writer: DumpWriter,
    address: str,
    batches: list,
    *,
    dtype: str = "float32",
    axis0: str = "example",
    **options: object,
) -> None:
    """Write the batches of one tensor; the examples are the rows of all batches."""
    examples = sum(batch.shape[0] for batch in batches) if axis0 == "example" else 0
    collector = writer.collector(
        info(address, dtype), batches[0], axis0=axis0, examples=examples, batches=len(batches), **options
    )
    for batch in batches:
        collector.append(batch)
    writer.link("activations", info(address, dtype), collector, {})


def nothing_left_over(folder: Path, *expected: str) -> bool:
    return sorted(os.listdir(folder)) == sorted(expected)


# What the file holds


def test_links_are_in_the_order_of_writing_and_not_of_the_alphabet(tmp_path: Path) -> None:
    addresses = [f"layer{n}" for n in (5, 11, 2, 30, 1, 4, 9, 8, 7, 20, 3)]
    with DumpWriter(tmp_path / "d.h5") as writer:
        for address in addresses:
            add(writer, address, [np.ones((2, 1), np.float32)])
        writer.group("outputs")
        writer.group("inputs")
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file["activations"]) == addresses
        assert list(file) == ["activations", "outputs", "inputs"]


def test_a_dataset_has_the_attributes_of_the_format(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        record = TensorInfo("lstm@1:0", "lstm@1", "cells.0", ("LSTM", "RNN"), 7, "bfloat16", (-1, 3))
        values = np.ones((4, 3), ml_dtypes.bfloat16)
        collector = writer.collector(record, values, axis0="example", examples=4, batches=1)
        collector.append(values)
        writer.link("activations", record, collector, {"stat_nan": np.int64(0)})
    with h5py.File(tmp_path / "d.h5") as file:
        attributes = dict(file["activations/lstm@1:0"].attrs)
    assert attributes.pop("shape").tolist() == [-1, 3]
    assert attributes == {
        "address": "lstm@1:0",
        "layer": "lstm@1",
        "structure": "cells.0",
        "class": "LSTM",
        "order": 7,
        "axis0": "example",
        "dtype": "bfloat16",
        "stored_as": "float32",
        "stat_nan": 0,
    }


def test_a_dataset_stored_as_it_is_does_not_say_stored_as(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "a", [np.ones((4, 3), np.float32)])
    with h5py.File(tmp_path / "d.h5") as file:
        assert "stored_as" not in file["activations/a"].attrs
        assert "shape" not in file["activations/a"].attrs  # a tensor of unknown rank declares none


@pytest.mark.parametrize(
    ("dtype", "values", "stored"),
    [
        ("float64", np.array([[1e300, np.nan], [-np.inf, -0.0]]), "<f8"),
        ("float16", np.array([[1, 2]], np.float16), "<f2"),
        ("bfloat16", np.array([[1.5, -3e38]]).astype(ml_dtypes.bfloat16), "<f4"),
        ("float8_e4m3fn", np.array([[1.5, 448]]).astype(ml_dtypes.float8_e4m3fn), "<f2"),
        ("float8_e5m2", np.array([[1.5, np.inf]]).astype(ml_dtypes.float8_e5m2), "<f2"),
        ("int8", np.array([[-128, 127]], np.int8), "i1"),
        ("uint64", np.array([[0, 2**64 - 1]], np.uint64), "<u8"),
        ("int4", np.array([[-8, 7]]).astype(ml_dtypes.int4), "i1"),
        ("bool", np.array([[True, False]]), "?"),
        ("complex64", np.array([[1 + 2j, complex(np.nan, 1)]], np.complex64), "<c8"),
        ("float32", np.zeros((0, 3), np.float32), "<f4"),
        ("float32", np.zeros((3, 0), np.float32), "<f4"),
    ],
)
def test_values_of_every_dtype_come_back(tmp_path: Path, dtype: str, values: np.ndarray, stored: str) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "t", [values], dtype=dtype)
    with h5py.File(tmp_path / "d.h5") as file:
        dataset = file["activations/t"]
        assert dataset.dtype == np.dtype(stored)
        assert dataset.attrs["dtype"] == dtype
        np.testing.assert_array_equal(dataset[()], values.astype(stored))


def test_booleans_are_an_enum_of_false_and_true(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "t", [np.array([True])], dtype="bool")
    with h5py.File(tmp_path / "d.h5") as file:
        kind = file["activations/t"].id.get_type()
        assert kind.get_class() == h5py.h5t.ENUM
        assert [kind.get_member_name(n) for n in range(kind.get_nmembers())] == [b"FALSE", b"TRUE"]


def test_text_is_variable_length_utf8(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "t", [np.array([b"caf\xc3\xa9", b""], object), np.array(["日本"], object)], dtype="string")
    with h5py.File(tmp_path / "d.h5") as file:
        dataset = file["activations/t"]
        assert tuple(h5py.check_string_dtype(dataset.dtype)) == ("utf-8", None)
        assert dataset.asstr()[()].tolist() == ["café", "", "日本"]
        assert "stored_as" not in dataset.attrs


def test_a_wanted_dtype_is_recorded(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "t", [np.array([[0.1]], np.float32)], dtype="float32")
        record = info("h")
        collector = writer.collector(record, np.ones((1, 1)), axis0="example", examples=1, batches=1, dtype="float16")
        collector.append(np.array([[0.1]], np.float32))
        writer.link("activations", record, collector, {})
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["activations/h"].dtype == np.float16
        assert (file["activations/h"].attrs["dtype"], file["activations/h"].attrs["stored_as"]) == (
            "float32",
            "float16",
        )


def test_a_composite_carries_the_attributes_on_its_group(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "r", [Ragged(np.ones(3, ml_dtypes.bfloat16), (np.array([0, 1, 3]),))], dtype="bfloat16")
        add(writer, "s", [Sparse(np.ones(1, np.float32), np.array([[0, 2]]), (1, 3))])
        add(writer, "u", [np.ones((2, 2), np.float32), np.ones((3, 3), np.float32)], axis0="batch")
    with h5py.File(tmp_path / "d.h5") as file:
        group = file["activations"]
        assert [group[name].attrs["encoding"] for name in group] == ["ragged", "sparse", "stack"]
        assert [group[name].attrs["axis0"] for name in group] == ["example", "example", "batch"]
        assert group["r"].attrs["stored_as"] == "float32"
        assert group["s"].attrs["dense_shape"].tolist() == [1, 3]
        assert group["u"].attrs["address"] == "u"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_chunks_hold_whole_examples(tmp_path: Path, compression: str) -> None:
    with DumpWriter(tmp_path / "d.h5", storage=storage_for(compression, 1 << 10)) as writer:
        add(writer, "t", [np.ones((100, 3, 5), np.float32)])
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["activations/t"].chunks == (15, 3, 5)  # 60 bytes an example, at most 1 KiB, in 7 even chunks


def test_the_root_describes_the_run(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        missing = (NotCaptured("enc.cell", "runs inside a loop"),)
        writer.describe({"format": "tfdump", "examples": np.int64(3), "training": False}, '{"a": "é"}', missing)
    with h5py.File(tmp_path / "d.h5") as file:
        assert file.attrs["format"] == "tfdump"
        assert file.attrs["examples"] == 3
        assert file.attrs["training"] == np.False_
        assert json.loads(file.attrs["not_captured"]) == [{"address": "enc.cell", "reason": "runs inside a loop"}]
        assert file["config"].shape == ()
        assert json.loads(file["config"].asstr()[()]) == {"a": "é"}


def test_without_an_architecture_there_is_no_config(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.describe({}, None, ())
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file) == []
        assert json.loads(file.attrs["not_captured"]) == []


def test_a_config_above_64_kilobytes_is_kept_whole(tmp_path: Path) -> None:
    config = json.dumps(["layer"] * 50_000)
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.describe({}, config, ())
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["config"].asstr()[()] == config


def test_a_long_list_of_what_was_not_captured_moves_to_a_dataset(tmp_path: Path) -> None:
    missing = tuple(NotCaptured(f"layer{n}", "never called") for n in range(3000))
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.describe({}, None, missing)
    with h5py.File(tmp_path / "d.h5") as file:
        assert json.loads(file.attrs["not_captured"]) == {"see": "/not_captured"}
        assert len(json.loads(file["not_captured"].asstr()[()])) == 3000


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("naïve 層", "naïve 層"), ("a\0b", "a\ufffdb"), ("\ud800", "\\ud800"), ("", "")],
)
def test_text_of_any_kind_becomes_an_attribute(tmp_path: Path, text: str, stored: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        set_attribute(file, "text", text)
        assert file.attrs["text"] == stored


def test_a_dump_in_memory_stays_open_and_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with DumpWriter(None) as writer:
        add(writer, "t", [np.ones((2, 2), np.float32)])
    assert writer.file["activations/t"][()].tolist() == [[1, 1], [1, 1]]
    writer.file.close()
    assert nothing_left_over(tmp_path)


WRITE_A_DUMP = """
import sys
import numpy as np
from pathlib import Path
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.tensors import NotCaptured, Ragged, Sparse, TensorInfo

def add(name, batches, axis0, dtype="float32"):
    record = TensorInfo(name, name, name, ("Layer",), 0, dtype, (-1, 3))
    examples = sum(len(b) for b in batches) if axis0 == "example" and dtype != "ragged" else 0
    collector = writer.collector(record, batches[0], axis0=axis0, examples=examples, batches=len(batches))
    for batch in batches:
        collector.append(batch)
    writer.link("activations", record, collector, {})

values = np.random.default_rng(0).normal(size=(1000, 3)).astype("f4")
with DumpWriter(Path(sys.argv[1]), storage=storage_for(sys.argv[2])) as writer:
    add("rows", [values[:600], values[600:]], "example")
    add("unequal", [values[:2], values[:2, :2]], "example")
    add("none", [values[0], values[0]], "none")
    add("stack", [values[0], values[1]], "batch")
    add("text", [np.array([b"a", b"bc"], object)], "example", "string")
    ragged = Ragged(values[:4, 0].copy(), (np.array([0, 1, 4]),))
    collector = writer.collector(TensorInfo("r", "r", "r", (), 0, "float32", None), ragged, axis0="example",
                                 examples=2, batches=1)
    collector.append(ragged)
    writer.link("activations", TensorInfo("r", "r", "r", (), 0, "float32", None), collector, {})
    writer.describe({"examples": np.int64(1000)}, "{}", (NotCaptured("x", "y"),))
"""


@pytest.fixture(scope="module")
def dumps_two_seconds_apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dumps of the same tensors, made by processes that started more than two seconds apart."""
    return write_two_seconds_apart(WRITE_A_DUMP, tmp_path_factory.mktemp("twice"))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_two_processes_write_the_same_bytes(dumps_two_seconds_apart: Path, compression: str) -> None:
    first = dumps_two_seconds_apart / f"first.{compression}.h5"
    second = dumps_two_seconds_apart / f"second.{compression}.h5"
    assert first.read_bytes() == second.read_bytes()


def test_the_comparison_of_bytes_can_fail(tmp_path: Path) -> None:
    """HDF5's own times do make files of the same data differ."""
    for name in ("a", "b"):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("t", data=[1], track_times=True)
        if name == "a":
            time.sleep(1.1)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("tool", ["h5ls", "h5dump"])
def test_the_tools_of_hdf5_read_a_dump(dumps_two_seconds_apart: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    options = ["-r"] if tool == "h5ls" else []
    done = subprocess.run([tool, *options, dumps_two_seconds_apart / "first.none.h5"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "rows" in done.stdout


# Whole or not at all


class Trouble(Exception):
    """Something that goes wrong in the middle."""


def break_off(target: Path, trouble: type[BaseException], **options: bool) -> None:
    with DumpWriter(target, **options) as writer:
        add(writer, "t", [np.ones((100, 100), np.float32)])
        raise trouble


@pytest.mark.parametrize("trouble", [Trouble, KeyboardInterrupt, MemoryError, SystemExit])
def test_trouble_in_the_middle_leaves_no_file(tmp_path: Path, trouble: type[BaseException]) -> None:
    with pytest.raises(trouble):
        break_off(tmp_path / "d.h5", trouble)
    assert nothing_left_over(tmp_path)


def test_trouble_in_the_middle_leaves_an_existing_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    target.write_bytes(b"precious")
    with pytest.raises(Trouble):
        break_off(target, Trouble, force=True)
    assert target.read_bytes() == b"precious"
    assert nothing_left_over(tmp_path, "d.h5")


def test_nothing_has_the_name_of_the_dump_before_it_is_whole(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "t", [np.ones((2, 2), np.float32)])
        assert not (tmp_path / "d.h5").exists()
        assert [Path(name).suffix for name in os.listdir(tmp_path)] == [".partial"]
    assert nothing_left_over(tmp_path, "d.h5")


def test_an_existing_file_is_refused_without_force(tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    target.write_bytes(b"precious")
    with pytest.raises(DumpError, match=r"d\.h5 exists .*-f"):
        DumpWriter(target)
    assert target.read_bytes() == b"precious"
    assert nothing_left_over(tmp_path, "d.h5")


def test_force_replaces_an_existing_file(tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    target.write_bytes(b"old")
    with DumpWriter(target, force=True) as writer:
        add(writer, "t", [np.ones((2, 2), np.float32)])
    assert h5py.is_hdf5(target)
    assert nothing_left_over(tmp_path, "d.h5")


def test_a_file_made_by_another_run_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    writer = DumpWriter(target)
    add(writer, "t", [np.ones((2, 2), np.float32)])
    target.write_bytes(b"theirs")
    with pytest.raises(DumpError, match="made by another run"), writer:
        pass
    assert target.read_bytes() == b"theirs"
    assert nothing_left_over(tmp_path, "d.h5")


def test_a_symbolic_link_is_resolved_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.h5").symlink_to(tmp_path / "real" / "d.h5")
    with DumpWriter(tmp_path / "link.h5") as writer:
        add(writer, "t", [np.ones((2, 2), np.float32)])
    assert (tmp_path / "link.h5").is_symlink()
    assert h5py.is_hdf5(tmp_path / "real" / "d.h5")
    assert nothing_left_over(tmp_path, "link.h5", "real")
    assert nothing_left_over(tmp_path / "real", "d.h5")


def test_the_target_of_a_symbolic_link_is_not_overwritten_without_force(tmp_path: Path) -> None:
    (tmp_path / "real.h5").write_bytes(b"precious")
    (tmp_path / "link.h5").symlink_to("real.h5")
    with pytest.raises(DumpError, match="exists"):
        check_target(tmp_path / "link.h5", force=False)
    assert check_target(tmp_path / "link.h5", force=True) == (tmp_path / "real.h5").resolve()


def test_a_loop_of_symbolic_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "b.h5").symlink_to("a.h5")
    with pytest.raises(DumpError, match=r"a\.h5"):
        check_target(tmp_path / "a.h5", force=False)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_not_a_regular_file_is_refused_even_by_force(tmp_path: Path, kind: str, force: bool) -> None:
    target = tmp_path / "target" if kind != "device" else Path(os.devnull)
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    with pytest.raises(DumpError, match="not a regular file"):
        check_target(target, force=force)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=f"output folder {tmp_path / 'no'} does not exist"):
        DumpWriter(tmp_path / "no" / "d.h5")


def test_a_name_that_is_too_long_is_an_error_of_the_dump(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="File name too long"):
        DumpWriter(tmp_path / ("x" * 300))


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with DumpWriter(Path("d.h5")):
        pass
    assert nothing_left_over(tmp_path, "d.h5")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with DumpWriter(tmp_path / "d.h5"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "d.h5").stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DumpError, match="Permission denied"):
            DumpWriter(tmp_path / "d.h5")
    finally:
        tmp_path.chmod(0o700)


FILL_THE_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.tensors import TensorInfo

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
record = TensorInfo("t", "t", "t", (), 0, "float32", None)
values = np.random.default_rng(0).normal(size=(256, 1024)).astype("f4")
try:
    with DumpWriter(Path(sys.argv[1]), force=True, storage=storage_for(sys.argv[3])) as writer:
        collector = writer.collector(record, values, axis0="example", examples=1024, batches=4)
        for _ in range(4):
            collector.append(values)
        writer.link("activations", record, collector, {})
        writer.describe({}, "{}", ())
except DumpError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("limit", [0, 1000, 1 << 20, 3_500_000])
def test_a_full_disk_is_named_and_leaves_everything_as_it_was(tmp_path: Path, limit: int, compression: str) -> None:
    target = tmp_path / "d.h5"
    target.write_bytes(b"precious")
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(target), str(limit), compression], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, f"cannot write {target}: {os.strerror(errno.EFBIG)}\n"), done.stderr
    assert done.stderr == ""
    assert target.read_bytes() == b"precious"
    assert nothing_left_over(tmp_path, "d.h5")


def test_room_on_the_disk_is_looked_at_before(tmp_path: Path) -> None:
    check_space(tmp_path / "d.h5", 1)
    with pytest.raises(DumpError, match=r"would take 1024\.0 TiB, and .* left"):
        check_space(tmp_path / "d.h5", 1 << 50)


def test_a_missing_zstd_filter_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(DumpError, match=r"pip install 'tfdump\[zstd\]'"):
        storage_for("zstd")
