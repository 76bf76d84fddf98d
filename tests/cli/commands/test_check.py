"""`tfdump check`: its table, its verdict in every format, its exit status, its one line of trouble."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tfdump as library
from support.check_dumps import normal, write_dump
from support.command import Run

HEADER = ["check", "tensor", "count", "of", "first example", "index", "value", "message"]


def faulty(path: Path) -> Path:
    """NaN in the second of three layers, a dead unit in the first, and text."""
    relu = np.maximum(normal(20, 3), 0)
    relu[:, 1] = 0
    bad = normal(20, 3, seed=1)
    bad[17, 2] = np.nan
    tensors = {
        "activations/block1.relu": (relu, {"class": "ReLU"}),
        "activations/block2.bn": (bad, {"class": "BatchNormalization"}),
        "activations/words": np.array(["a"] * 20, dtype=object),
    }
    return write_dump(path, tensors)


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_a_finding_that_fails_is_status_1_and_names_the_origin(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", faulty(tmp_path / "d.h5"))
    assert done.returncode == 1
    dead = "1 of 3 units are zero for every example, at every position: 1"
    assert rows_of(done.stdout) == [
        HEADER,
        ["nan", "activations/block2.bn", "1", "60", "17", "17,2", "nan", "1 of 60 values are NaN"],
        ["dead", "activations/block1.relu", "1", "3", "", "", "0.0", dead],
    ]
    assert done.stderr.splitlines() == [
        "Note: not checked, because it is string and has no numbers: activations/words",
        "Note: checked 2 of 3 tensors: 2 findings, 1 of --fail-on nan,inf",
        "NaN first appears in 'block2.bn' (example 17); everything before it is clean",
    ]
    quiet = tfdump("check", "-q", "d.h5")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, done.stdout, "")


@pytest.mark.parametrize(
    ("fail_on", "status"), [("none", 0), ("inf", 0), ("dead", 1), ("inf,dead", 1), ("all", 1), ("nan", 1)]
)
def test_what_fails_is_chosen(tfdump: Run, tmp_path: Path, fail_on: str, status: int) -> None:
    assert tfdump("check", faulty(tmp_path / "d.h5"), "--fail-on", fail_on).returncode == status


def test_a_selection_checks_less(tfdump: Run, tmp_path: Path) -> None:
    path = faulty(tmp_path / "d.h5")
    for arguments in (("-l", "block1*"), ("-x", "block2.*"), ("-l", "type:ReLU"), ("-l", "activations/block1.relu")):
        done = tfdump("check", path, *arguments)
        assert (done.returncode, [row[1] for row in rows_of(done.stdout)[1:]]) == (0, ["activations/block1.relu"])


def test_thresholds_are_options(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", faulty(tmp_path / "d.h5"), "--dead-examples", 21, "--fail-on", "dead")
    assert done.returncode == 0
    assert "because 20 examples are too few to call a unit dead (--dead-examples): dead of" in done.stderr


def test_json_has_the_records_of_python(tfdump: Run, tmp_path: Path) -> None:
    path = faulty(tmp_path / "d.h5")
    document = json.loads(tfdump("check", path, "--json").stdout)
    report = library.check(path)
    assert (document["kind"], document["failed"], document["fail_on"]) == ("check", True, ["nan", "inf"])
    assert [(f["check"], f["tensor"], f["units"]) for f in document["items"]] == [
        (f.check, f.tensor, list(f.units)) for f in report.findings
    ]
    assert document["items"][0] == {
        "check": "nan", "tensor": "activations/block2.bn", "count": 1, "of": 60, "example": 17, "index": [17, 2],
        "value": "NaN", "message": "1 of 60 values are NaN", "units": [],
    }  # fmt: skip
    assert document["origins"][0]["message"] == report.origins[0].message
    assert document["thresholds"]["vanish_ratio"] == 1e-3
    assert [tensor["reason"] for tensor in document["tensors"]].count(None) == 2


def test_junit_has_a_case_a_tensor(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", faulty(tmp_path / "d.h5"), "--format", "junit", "--fail-on", "nan,dead")
    assert done.returncode == 1
    (suite,) = ElementTree.fromstring(done.stdout)
    cases = {case.get("name"): case for case in suite}
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "1")
    failure = cases["activations/block2.bn"][0]
    assert (failure.get("message"), failure.text) == (
        "nan: 1 of 60 values are NaN",
        "NaN first appears in 'block2.bn' (example 17); everything before it is clean",
    )
    assert cases["activations/words"][0].tag == "skipped"


def branches(path: Path) -> Path:
    """Two branches with an origin each, one of NaN and Inf, and what reads both."""
    read, first, second = normal(20, 3), normal(20, 3, seed=1), normal(20, 3, seed=2)
    read[17] = [-0.5, 0, 2]
    first[17, :2], second[4, 0] = [np.nan, -np.inf], np.nan
    tensors = {
        "inputs/x": normal(20, 3),
        "activations/read": (read, {"inputs": '["inputs/x"]'}),
        "activations/norm": (first, {"inputs": '["read"]', "operation": "Log", "source": "my_layers.py:42"}),
        "activations/ratio": (second, {"inputs": '["read"]', "class": "TrueDivide"}),
        "activations/head": (first + second, {"inputs": '["norm", "ratio"]'}),
        "activations/tail": (first + second, {"inputs": '["head"]'}),
    }
    return write_dump(path, tensors)


def test_every_origin_is_told_and_has_a_record(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", branches(tmp_path / "d.h5"), "--json")
    ratio = f"{float(normal(20, 3)[4, 0]):.6g}"
    expected = [
        "NaN starts in 'norm' (Log, my_layers.py:42), example 17: its input 'read' is -0.5 there",
        f"NaN starts in 'ratio' (TrueDivide), example 4: its input 'read' is {ratio} there",
        "Inf starts in 'norm' (Log, my_layers.py:42), example 17: its input 'read' is 0 there",
    ]
    assert done.stderr.splitlines()[-3:] == expected
    document = json.loads(done.stdout)
    assert [origin["message"] for origin in document["origins"]] == expected
    assert document["origins"][0] == {
        "check": "nan", "tensor": "activations/norm", "example": 17, "index": [17, 0], "message": expected[0],
        "operation": "Log", "source": "my_layers.py:42", "certain": True,
        "inputs": [{
            "tensor": "activations/read", "reason": None, "index": [17, 0], "value": -0.5, "region": "example",
            "count": 3, "zeros": 1, "infinities": 0, "not_numbers": 0, "minimum": -0.5, "maximum": 2.0,
        }],
    }  # fmt: skip
    assert [origin.message for origin in library.check(tmp_path / "d.h5").origins] == expected
    only = tfdump("check", "d.h5", "--fail-on", "inf")
    assert [line for line in only.stderr.splitlines() if "starts" in line] == [expected[2]]


def test_junit_has_all_origins_of_a_tensor(tfdump: Run, tmp_path: Path) -> None:
    (suite,) = ElementTree.fromstring(tfdump("check", branches(tmp_path / "d.h5"), "--format", "junit").stdout)
    texts = {case.get("name"): case[0].text for case in suite if len(case)}
    messages = [origin.message for origin in library.check(tmp_path / "d.h5").origins]
    assert texts == {
        "activations/norm": f"{messages[0]}\n{messages[2]}", "activations/ratio": messages[1],
        "activations/head": None, "activations/tail": None,
    }  # fmt: skip


def test_a_terminal_gets_an_aligned_table(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("check", faulty(tmp_path / "d.h5"), "--format", "table")
    assert done.stdout.splitlines()[0].split() == " ".join(HEADER).split()
    assert "\t" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.h5",), "no such file: no.h5"),
        (("empty.h5",), "empty.h5 holds no tensors, so there is nothing to check"),
        (("text.h5",), "text.h5 is not an HDF5 file"),
        (("d.h5", "--fail-on", "nam"), "no check 'nam'; near: 'nan'"),
        (("d.h5", "--fail-on", ""), "no check ''"),
        (("d.h5", "-l", "blok1*"), "no layer matches 'blok1*'"),
        (("d.h5", "--vanish-ratio", "2"), "--vanish-ratio 2.0 is not a number between 0 and 1"),
        (("d.h5", "--explode-norm", "nan"), "--explode-norm nan is not a number from 0 up"),
        (("d.h5", "--json", "--format", "tsv"), "exclude each other"),
        (("odd.h5",), "odd.h5: 'config' is damaged"),
    ],
)
def test_trouble_is_one_line_and_status_2(
    tfdump: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    faulty(tmp_path / "d.h5")
    write_dump(tmp_path / "empty.h5", {})
    write_dump(tmp_path / "odd.h5", {"activations/a": normal(3, 3)}, config='["not", {"a": "model"')
    (tmp_path / "text.h5").write_text("no")
    done = tfdump("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("config", ['{"config": 3}', '{"config": {"layers": [{"config": []}]}}'])
def test_an_odd_configuration_tells_nothing(tfdump: Run, tmp_path: Path, config: str) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/a.b": normal(20, 3)}, config=config)
    assert tfdump("check", path).returncode == 0


@pytest.mark.parametrize("config", ["[1, 2]", '"text"', "null"])
def test_a_configuration_that_describes_no_model_is_damage(tfdump: Run, tmp_path: Path, config: str) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/a.b": normal(20, 3)}, config=config)
    done = tfdump("check", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("'config' is damaged: it describes no model\n")


def test_python_names_thresholds_that_do_not_exist() -> None:
    with pytest.raises(library.TfdumpError, match=r"no threshold 'vanish_ration'; near: 'vanish_ratio'"):
        library.check("d.h5", vanish_ration=1.0)


def test_an_open_dump_stays_open(tmp_path: Path) -> None:
    with library.open(faulty(tmp_path / "d.h5")) as dump:
        assert library.check(dump).failed
        assert dump["block1.relu"].shape == (20, 3)


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from tfdump.cli.main import run; status = run(sys.argv[1:]); "
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'pandas', 'rich'} & set(sys.modules); "
        "sys.exit(99 if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code, "check", faulty(tmp_path / "d.h5")], capture_output=True)
    assert done.returncode == 1, done.stderr
