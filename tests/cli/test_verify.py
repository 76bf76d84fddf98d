"""`tfdump check --verify`: the verdict on the bytes of a dump, as a table, TSV, JSON, JUnit and exit status."""

import json
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest

from support.command import Run
from tfdump.dump.checksums import Verified
from tfdump.dump.reader import open_dump
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.tensors import TensorInfo

ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def make(path: Path, checksums: bool = True) -> Path:
    with DumpWriter(path, storage=storage_for("none", checksums=checksums)) as writer:
        for order, name in enumerate(("first", "second")):
            info = TensorInfo(name, name, name, ("Layer",), order, "float32", (-1, 4))
            collector = writer.collector(info, ROWS + order, axis0="example", examples=50, batches=1)
            collector.append(ROWS + order)
            writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
    return path


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A dump with one bit of `second` flipped."""
    data = bytearray(make(tmp_path / "d.h5").read_bytes())
    data[data.index((ROWS + 1).tobytes()) + 100] ^= 8
    (tmp_path / "d.h5").write_bytes(data)
    return tmp_path / "d.h5"


def test_a_whole_dump_passes(tfdump: Run, tmp_path: Path) -> None:
    make(tmp_path / "d.h5")
    done = tfdump("check", "d.h5", "--verify")
    assert (done.returncode, done.stdout) == (0, "dataset\tbytes\tstored\tfound\tproblem\n")
    assert done.stderr == "Note: verified 3 checksums over 1.6 KiB: no problems\n"


def test_a_flipped_bit_fails_and_is_named(tfdump: Run, damaged: Path) -> None:
    done = tfdump("check", "d.h5", "--verify", "-q")
    assert (done.returncode, done.stderr) == (1, "")
    _, line = done.stdout.splitlines()
    name, size, stored, results, problem = line.split("\t")
    assert (name, size, problem) == ("activations/second", "800", "its values changed")
    with h5py.File(damaged) as file:
        assert int(stored, 16) == file[name].attrs["crc32"] != int(results, 16)


def test_the_verdict_as_json_and_junit(tfdump: Run, damaged: Path) -> None:
    results = json.loads(tfdump("check", "d.h5", "--verify", "--json").stdout)
    assert (results["kind"], results["failed"], results["verified"]) == ("verify", True, 3)
    assert [item["name"] for item in results["items"]] == ["activations/second"]
    suite = ElementTree.fromstring(tfdump("check", "d.h5", "--verify", "--format", "junit").stdout)
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {"activations/first": [], "activations/second": ["failure"], "/": []}


def test_trouble_is_one_line(tfdump: Run, damaged: Path) -> None:
    make(damaged.with_name("plain.h5"), checksums=False)
    damaged.with_name("short.h5").write_bytes(damaged.read_bytes()[:3000])
    for arguments, message in (
        (["plain.h5"], "plain.h5 holds no checksums (make it with --checksums)"),
        (["short.h5"], "short.h5 is truncated"),
        (["nowhere.h5"], "no such file"),
        (["d.h5", "-l", "first"], "--verify reads the whole file"),
    ):
        done = tfdump("check", *arguments, "--verify")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr


def test_verification_returns_records(tmp_path: Path) -> None:
    with open_dump(make(tmp_path / "d.h5")) as dump:
        results = list(dump.verify())
    first = results[0]
    assert isinstance(first, Verified)
    assert (first.name, first.bytes, first.problem) == ("activations/first", 800, None)
    assert first.stored == first.computed
