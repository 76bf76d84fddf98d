"""`tfdump diff`: verdicts, formats, streams, bad input, and what it costs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from lxml import etree

from support.command import ROOT, Run
from support.made_dumps import Tensor, make_dump
from support.terminals import on_terminal

A = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
SCHEMA = etree.XMLSchema(etree.parse(ROOT / "tests" / "data" / "junit.xsd"))


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """`g.h5`, `same.h5`, and `n.h5`, of which the second layer of four differs and one is missing."""
    golden = {"conv": A, "relu\t1": A, "dense": A, "gone": A[::-1], "outputs/y": A}
    new = {"conv": A, "relu\t1": A + np.eye(4, 3, dtype="f4") / 8, "dense": A * 2, "more": A - 1, "outputs/y": A}
    make_dump(tmp_path / "g.h5", golden)
    make_dump(tmp_path / "same.h5", golden)
    make_dump(tmp_path / "n.h5", new)
    return tmp_path


def rows_of(text: str) -> list[dict[str, str]]:
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_no_difference(tfdump: Run, dumps: Path) -> None:
    done = tfdump("diff", "g.h5", "same.h5")
    assert (done.returncode, done.stderr) == (0, "g.h5 and same.h5 agree in 5 tensors\n")
    assert rows_of(done.stdout) == []
    quiet = tfdump("diff", "g.h5", "same.h5", "-q", "--format", "table")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert [row["verdict"] for row in rows_of(tfdump("diff", "g.h5", "same.h5", "--all").stdout)] == ["same"] * 5


def test_differences(tfdump: Run, dumps: Path) -> None:
    done = tfdump("diff", "g.h5", "n.h5")
    assert done.returncode == 1
    rows = rows_of(done.stdout)
    assert [(row["tensor"], row["new"], row["verdict"]) for row in rows] == [
        ("activations/relu\\t1", "", "differs"), ("activations/dense", "", "differs"),
        ("activations/gone", "", "missing"), ("", "activations/more", "extra"),
    ]  # fmt: skip
    furthest = np.max((A + np.eye(4, 3, dtype="f4") / 8).astype(float) - A)
    assert (rows[0]["failed"], rows[0]["max error"]) == ("3", repr(float(furthest)))
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "g.h5 and n.h5 differ: 2 of 4 tensors differ (1 missing, 1 extra); first diverging layer: relu"
    )
    assert tfdump("diff", "g.h5", "n.h5", "-q").stderr == done.stderr


def test_the_scale_that_is_printed_passes(tfdump: Run, dumps: Path) -> None:
    """Rounded up to three digits, for one tensor and for all."""
    done = tfdump("diff", "g.h5", "n.h5", "--allow-missing")
    each, every = done.stderr.split("--scale ")[1:]
    assert tfdump("diff", "g.h5", "n.h5", "--allow-missing", "--scale", every.split()[0]).returncode == 0
    selection = ("diff", "g.h5", "n.h5", "-l", "relu*")
    assert tfdump(*selection, "--scale", each.split()[0]).returncode == 0
    assert tfdump(*selection, "--scale", float(each.split()[0]) * 0.98).returncode == 1


def test_a_tolerance_is_advised_only_where_it_is_listened_to(tfdump: Run, tmp_path: Path) -> None:
    """Integers want one with a glob; nothing loosens bools, nor what --exact and --max-ulp judge."""
    numbers = {"ids": np.array([3, 4]), "zeros": np.zeros(2, int), "flags": np.array([True, False])}
    make_dump(tmp_path / "g.h5", numbers)
    make_dump(tmp_path / "n.h5", {"ids": np.array([3, 5]), "zeros": np.ones(2, int), "flags": np.array([True, True])})
    for name, remedy in (("ids", "--scale"), ("zeros", "--atol")):
        said = tfdump("diff", "g.h5", "n.h5", "-l", name).stderr
        value = said.split(f"{remedy} '")[1].split("'")[0]
        assert value.startswith("*=")
        assert tfdump("diff", "g.h5", "n.h5", "-l", name, remedy, value).returncode == 0
        for strict in (("--exact",), ("--max-ulp", 9)):
            assert "would have passed" not in tfdump("diff", "g.h5", "n.h5", "-l", name, *strict).stderr
    done = tfdump("diff", "g.h5", "n.h5", "-l", "flags", "--json")
    (item,) = json.loads(done.stdout)["items"]
    assert (item["comparison"]["scale"], "passed" in item["reason"]) == (None, False)
    both = tfdump("diff", "g.h5", "n.h5", "-l", "ids", "-l", "flags").stderr
    assert "all pass" not in both


def test_options_reach_the_comparison(tfdump: Run, dumps: Path) -> None:
    """Each option turns the verdict round."""
    base = ("diff", "g.h5", "n.h5", "-x", "gone", "-x", "more")
    assert tfdump(*base).returncode == 1
    assert tfdump(*base, "--ignore", "dense", "--atol", "relu*=0.2").returncode == 0
    assert tfdump(*base, "--rtol", "9", "--rtol", "dense=0.5").returncode == 1
    assert tfdump(*base, "--min-cosine", "0.9").returncode == 0
    assert tfdump(*base, "--max-ulp", "3").returncode == 1
    assert tfdump("diff", "g.h5", "same.h5", "--exact").returncode == 0
    (dumps / "map.tsv").write_text("gone\tmore\n")
    assert tfdump("diff", "g.h5", "n.h5", "-l", "gone", "--map", "map.tsv", "--scale", "9").returncode == 0
    np.savez(dumps / "r.npz", conv=A.T)
    plain = ("diff", "g.h5", "r.npz", "-l", "conv")
    assert tfdump(*plain).returncode == 1
    assert tfdump(*plain, "--transpose", "conv=1,0").returncode == 0
    make_dump(dumps / "nan.h5", {"a": Tensor(A * np.nan, shape=[-1, 3])})
    make_dump(dumps / "nan2.h5", {"a": Tensor(A * np.nan, shape=[-1, -1])})
    assert tfdump("diff", "nan.h5", "nan2.h5").returncode == 0
    assert tfdump("diff", "nan.h5", "nan2.h5", "--no-nan-equal").returncode == 1
    assert tfdump("diff", "nan.h5", "nan2.h5", "--check-attrs").returncode == 1
    assert tfdump(*base, env={"TFDUMP_DIFF_MIN_COSINE": "0.9"}).returncode == 0


def test_json(tfdump: Run, dumps: Path) -> None:
    make_dump(
        dumps / "inf.h5", {"conv": A, "relu\t1": A * np.float32(np.inf), "dense": A, "gone": A[::-1], "outputs/y": A}
    )
    done = tfdump("diff", "g.h5", "inf.h5", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (document["kind"], document["same"], document["first"]) == ("diff", False, "activations/relu\t1")
    item = document["items"][1]
    assert item["status"] == "differs"
    assert item["comparison"] | {"index": [0, 0], "new": "-Infinity", "unlike": 12, "scale": None} == item["comparison"]
    assert tfdump("diff", "g.h5", "inf.h5", "--format", "json").stdout == done.stdout


def test_junit_is_what_servers_read(tfdump: Run, dumps: Path) -> None:
    done = tfdump("diff", "g.h5", "n.h5", "--format", "junit", "--ignore", "dense")
    assert (done.returncode, done.stderr) == (1, "")
    root = etree.fromstring(done.stdout)
    SCHEMA.assertValid(root)
    cases = {(case.get("classname"), case.get("name")): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {
        ("activations", "conv"): [], ("activations", "relu\t1"): ["failure"], ("activations", "dense"): ["skipped"],
        ("activations", "gone"): ["failure"], ("activations", "more"): ["failure"], ("outputs", "y"): [],
    }  # fmt: skip
    assert "golden value: " in root.find(".//failure").text
    with pytest.raises(etree.DocumentInvalid):  # the schema can fail
        SCHEMA.assertValid(etree.fromstring("<testsuites><testsuite name='x'><testcase/></testsuite></testsuites>"))


def test_a_terminal_gets_an_aligned_table_without_empty_columns(dumps: Path) -> None:
    screen = on_terminal("diff", "g.h5", "n.h5", cwd=dumps, columns=200, stderr=False, NO_COLOR="1")
    assert screen.returncode == 1
    lines = screen.written.splitlines()
    assert lines[0].split()[:4] == ["tensor", "new", "class", "verdict"]
    assert lines[0].index("verdict") == lines[1].index("differs") == lines[3].index("missing")
    assert "\t" not in screen.written


def test_a_closed_pipe_keeps_the_verdict(dumps: Path) -> None:
    many = {f"layer{n}": A for n in range(400)}
    make_dump(dumps / "a.h5", many)
    make_dump(dumps / "b.h5", {name: values + 1 for name, values in many.items()})
    script = f"'{sys.executable}' -m tfdump diff a.h5 b.h5 | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=dumps, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert done.stderr.startswith("a.h5 and b.h5 differ: 400 of 400 tensors differ; first diverging layer: layer0")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("g.h5", "none.h5"), "no such file: none.h5"),
        (("g.h5", "text.h5"), "text.h5 is not an HDF5 file"),
        (("cut.h5", "g.h5"), "cut.h5 is truncated"),
        (("g.h5", "newer.h5"), "newer.h5 has format version 9"),
        (("g.h5", "."), ". is a folder"),
        (("g.h5", "linked.h5"), "is a link to another place"),
        (("g.h5", "weights.h5"), "nothing to compare: no name of g.h5"),
        (("g.h5", "empty.h5"), "empty.h5 holds no tensors"),
        (("g.h5", "others.h5"), "have different numbers of examples (examples: 4 and 9)"),
        (("g.h5", "bad.npz"), "bad.npz is not a readable .npz archive"),
        (("g.h5", "bad.npy"), "bad.npy is not a .npy array"),
        (("g.h5", "same.h5", "--rtol", "conv=x"), "'conv=x' is not [GLOB=]VALUE"),
        (("g.h5", "same.h5", "--rtol", "-1"), "is not a number of at least 0"),
        (("g.h5", "same.h5", "--exact", "--max-ulp", "1"), "exact and max-ulp cannot be combined"),
        (("g.h5", "same.h5", "--min-cosine", "2"), "--min-cosine"),
        (("g.h5", "same.h5", "--json", "--format", "tsv"), "exclude each other"),
        (("g.h5", "same.h5", "--map", "none.tsv"), "no such file: none.tsv"),
        (("g.h5", "same.h5", "-l", "cnv"), "no layer matches 'cnv'; near: 'conv'"),
        (("g.h5", "same.h5", "--ignore", "re:("), "is not a regular expression"),
        (("g.h5", "http://x/y.h5"), "is a URL"),
        (("g.h5",), "Missing argument 'NEW'"),
        (("huge.h5", "huge.h5"), "declares more values than the file holds"),
        (("broken.h5", "broken.h5"), "broken.h5: '/activations/a' is damaged"),
    ],
)
def test_trouble_is_one_line_and_status_2(tfdump: Run, dumps: Path, arguments: Any, complaint: str) -> None:
    (dumps / "text.h5").write_text("text")
    (dumps / "cut.h5").write_bytes((dumps / "g.h5").read_bytes()[:-900])
    (dumps / "bad.npz").write_bytes(b"PK")
    (dumps / "bad.npy").write_bytes(b"\x93NUMPY")
    make_dump(dumps / "newer.h5", {"a": A}, format_version=9)
    make_dump(dumps / "empty.h5", {})
    make_dump(dumps / "others.h5", {"conv": A}, examples=9)
    with h5py.File(make_dump(dumps / "linked.h5", {"a": A}), "a") as file:
        file["activations/conv"] = h5py.ExternalLink("g.h5", "/activations/conv")
    with h5py.File(dumps / "weights.h5", "w") as file:
        file["layers/conv/vars/0"] = A**3
    with h5py.File(make_dump(dumps / "huge.h5", {"a": A}), "a") as file:
        made = file["activations"].create_dataset("h", shape=(1 << 40,), dtype="f4", chunks=(1024,))
        made.attrs.update({"address": "h", "dtype": "float32"})
    noise = np.random.default_rng(0).random((4, 5000))
    make_dump(dumps / "broken.h5", {"a": noise}, storage={"compression": "gzip"})
    whole = bytearray((dumps / "broken.h5").read_bytes())
    whole[60000:90000] = bytes(30000)
    (dumps / "broken.h5").write_bytes(whole)
    done = tfdump("diff", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert complaint in line


def test_pairs_by_value_are_told_in_every_format(tfdump: Run, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4, 5, 6)).astype("f4")
    make_dump(tmp_path / "g.h5", {"a": A, "conv": values, "b": A * 2})
    make_dump(tmp_path / "n.h5", {"a": A, "node": values.transpose(0, 2, 1), "b": A * 3})
    done = tfdump("diff", "g.h5", "n.h5", "--all")
    assert done.returncode == 1
    rows = {row["tensor"]: row for row in rows_of(done.stdout)}
    assert {name: row["paired by"] for name, row in rows.items()} == {
        "activations/a": "", "activations/conv": "exact value (0,2,1)", "activations/b": "",
    }  # fmt: skip
    assert rows["activations/conv"]["new"] == "activations/node"
    assert "Note: paired by exact value: conv = node" in done.stderr
    assert "paired by value as if both sides hold the same examples" in done.stderr
    items = json.loads(tfdump("diff", "g.h5", "n.h5", "--json").stdout)["items"]
    assert [(item["paired_by"], item["layout"]) for item in items] == [
        ("address", ""), ("exact value", "0,2,1"), ("address", ""),
    ]  # fmt: skip
    document = etree.fromstring(tfdump("diff", "g.h5", "n.h5", "--format", "junit").stdout.encode())
    (told,) = (case.findtext("system-out") for case in document.iter("testcase") if case.get("name") == "conv")
    assert told == "paired by exact value (0,2,1) with activations/node"
    assert "exact value (0,2,1)" in tfdump("diff", "g.h5", "n.h5", "--all", "--format", "table").stdout
    assert "paired by" not in tfdump("diff", "g.h5", "n.h5", "--format", "table").stdout

    by_names = tfdump("diff", "g.h5", "n.h5", "--pair", "names")
    assert [row["verdict"] for row in rows_of(by_names.stdout)] == ["missing", "differs", "extra"]
    assert "Invalid value for '--pair'" in tfdump("diff", "g.h5", "n.h5", "--pair", "both").stderr
    assert tfdump("report", "g.h5", "n.h5", "--pair", "names", "-o", "names.html").stderr.count("1 missing, 1 extra")
    assert tfdump("report", "g.h5", "n.h5", "-o", "values.html").stderr.count("1 of 3 tensors differs")
    assert "paired by exact value, its axes in the order 0,2,1" in (tmp_path / "values.html").read_text()
    assert "need OTHER" in tfdump("report", "g.h5", "--pair", "names").stderr


def test_nothing_heavy_is_imported(dumps: Path) -> None:
    code = (
        "import sys; from tfdump.cli.main import run; assert run(['diff', 'g.h5', 'same.h5']) == 0; "
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'rich', 'ml_dtypes'}; "
        "heavy |= {'tfdump.run.activations', 'tfdump.inputs'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=dumps, check=True, capture_output=True)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks the kernel of Linux")
def test_memory_stays_flat_on_five_gigabytes(dumps: Path) -> None:
    """Chunks that were never written read as the fill value: 5 GB of neighboring numbers, and a last one far off."""
    rows, width = 20_000, 65_536
    for name, fill, last in (("big.h5", np.float32(0.5), 1.0), ("moved.h5", np.nextafter(np.float32(0.5), 1), 3.0)):
        make_dump(dumps / name, {"small": A})
        with h5py.File(dumps / name, "a") as file:
            made = file["activations"].create_dataset("big", shape=(rows, width), dtype="f4", chunks=(16, width),
                                                      fillvalue=fill)  # fmt: skip
            made[rows - 1, width - 1] = last
            made.attrs.update({"address": "big", "class": "Dense", "dtype": "float32", "order": 9})
            file["padding"] = np.zeros(1 << 20)  # a file that declares too much for its size is refused
    code = (  # not ru_maxrss, in which a child inherits the peak of its parent
        "from tfdump.cli.main import run; status = run(['diff', 'big.h5', 'moved.h5']); "
        "print(status, open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=dumps, capture_output=True, text=True, check=True)
    status, peak = done.stdout.splitlines()[-1].split()
    assert status == "1"
    assert "1 of 1310720000 elements, worst at [19999, 65535]: golden 1, new 3" in done.stderr
    assert int(peak) < 150_000


def test_addresses_that_were_overruled_are_told_in_every_format(tfdump: Run, tmp_path: Path) -> None:
    """Names that Keras made up, shifted by one; the second layer differs."""
    values = [A, A + 1, A + 2]
    for name, shift in (("g.h5", 0), ("n.h5", 1)):
        tensors = {f"dense_{n + shift}": Tensor(v + (shift * (n == 1)), structure=f"layers.{n}")
                   for n, v in enumerate(values)}  # fmt: skip
        make_dump(tmp_path / name, tensors)
    done = tfdump("diff", "g.h5", "n.h5", "--all")
    assert done.returncode == 1
    [note] = [line for line in done.stderr.splitlines() if line.startswith("Note: ")]
    assert note.startswith("Note: addresses ignored for 3 of 3 tensors, because structure, class and order count more")
    header, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [dict(zip(header, line, strict=True))["paired by"] for line in lines] == ["structure"] * 3
    items = json.loads(tfdump("diff", "g.h5", "n.h5", "--json").stdout)["items"]
    assert [item["new_name"] for item in items] == ["activations/dense_1", "activations/dense_2", "activations/dense_3"]
    assert {item["paired_by"] for item in items} == {"structure"}
    root = etree.fromstring(tfdump("diff", "g.h5", "n.h5", "--format", "junit").stdout)
    SCHEMA.assertValid(root)
    assert "paired by: structure" in root.find(".//failure").text
    assert root.find(".//system-out").text == "paired by structure with activations/dense_1"
    (tmp_path / "map.tsv").write_text("dense_1\tdense_1\n")  # the way out that the note names
    done = tfdump("diff", "g.h5", "n.h5", "--map", "map.tsv", "--all")
    assert "activations/dense_1\t\tDense" in done.stdout
    same = tfdump("diff", "g.h5", "g.h5", "--all")
    assert (same.stderr.count("Note"), same.stdout.count("address")) == (0, 0)
