"""`tfdump show` of a dump of gradients: its loss, its norms, and what the loss does not reach."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.command import Run
from support.terminals import on_terminal

LONG = [1.0 / n for n in range(1, 20_001)]


def write_gradients(path: Path, loss: object = None, norms: bool = True) -> Path:
    """A dump of two gradients, of which one does not exist, made with h5py alone."""
    common = {"class": "Dense", "dtype": "float32", "axis0": "none", "order": 0}
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update(format="tfdump", format_version=1, kind="gradients", not_captured="[]", loss="mse")
        weights = file.create_group("gradients/weights", track_order=True)
        kernel = weights.create_dataset("dense.kernel", data=np.ones((4, 3), "f4"))
        kernel.attrs.update(common | {"address": "dense.kernel"} | ({"norm": 12**0.5} if norms else {}))
        bias = weights.create_dataset("head.bias", shape=(0,), dtype="f4")
        bias.attrs.update(common | {"address": "head.bias", "connected": False, "shape": np.array([5])})
        if loss is not None:
            file["loss"] = np.array(loss)
    return path


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_the_table_has_norms_and_says_what_is_not_connected(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("show", write_gradients(tmp_path / "g.h5", 0.5))
    assert rows_of(done.stdout) == [
        ["tensor", "class", "shape", "dtype", "norm"],
        ["gradients/weights/dense.kernel", "Dense", "(4, 3)", "float32", repr(12**0.5)],
        ["gradients/weights/head.bias", "Dense", "not connected", "float32", ""],
    ]


def test_without_norms_there_is_no_such_column(tfdump: Run, tmp_path: Path) -> None:
    done = tfdump("show", write_gradients(tmp_path / "g.h5", norms=False))
    assert rows_of(done.stdout)[0] == ["tensor", "class", "shape", "dtype"]


@pytest.mark.parametrize(
    ("norms", "shown"), [([1 / 3, 2.0, 40.0], "0.3333333333333333 .. 40.0"), ([7.0], "7.0 .. 7.0"), ([], "")]
)
def test_the_norms_of_many_steps_are_one_cell(tfdump: Run, tmp_path: Path, norms: list[float], shown: str) -> None:
    path = write_gradients(tmp_path / "g.h5")
    with h5py.File(path, "a") as file:
        file["gradients/weights/dense.kernel"].attrs["norm"] = np.array(norms)
    assert rows_of(tfdump("show", path).stdout)[1][-1] == shown
    assert json.loads(tfdump("show", path, "--json").stdout)["items"][0]["norm"] == norms


def test_who_asks_for_the_loss_as_a_tensor_is_told_how_to_print_it(tfdump: Run, tmp_path: Path) -> None:
    path = write_gradients(tmp_path / "g.h5", 0.5)
    done = tfdump("show", path, "loss")
    assert (done.returncode, done.stdout) == (2, "")
    remedy = done.stderr.split("(print it: tfdump ")[1].rstrip(")\n")
    assert tfdump(*remedy.split(), "--format", "csv").stdout == "value\n0.5\n"


@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        (0.1, "0.1"),
        ([3.5, 2.0, 0.25], "3 values, 3.5 .. 0.25"),
        (LONG, f"20000 values, 1.0 .. {1 / 20000}"),
        ([2.5], "2.5"),
        (np.zeros(0), "0 values"),
        (np.nan, "nan"),
    ],
)
def test_the_provenance_has_the_loss(tfdump: Run, tmp_path: Path, loss: object, shown: str) -> None:
    rows = rows_of(tfdump("show", write_gradients(tmp_path / "g.h5", loss), "--provenance").stdout)
    assert dict(rows)["loss"] == "mse"
    assert dict(rows)["loss_value"] == shown
    assert len(rows) == len(dict(rows))


def test_a_dump_without_loss_shows_none(tfdump: Run, tmp_path: Path) -> None:
    path = write_gradients(tmp_path / "g.h5")
    assert "loss_value" not in dict(rows_of(tfdump("show", path, "--provenance").stdout))
    assert "loss_values" not in json.loads(tfdump("show", path, "--json").stdout)["provenance"]


@pytest.mark.parametrize(("loss", "listed"), [(0.1, [0.1]), ([3.0, np.nan], [3.0, "NaN"]), (LONG, LONG)])
def test_the_json_has_every_value_of_the_loss(tfdump: Run, tmp_path: Path, loss: object, listed: list) -> None:
    document = json.loads(tfdump("show", write_gradients(tmp_path / "g.h5", loss), "--json").stdout)
    assert document["provenance"]["loss_values"] == listed
    kernel, bias = document["items"]
    assert (kernel["group"], kernel["shape"], kernel["norm"]) == ("gradients/weights", [4, 3], 12**0.5)
    assert "connected" not in kernel
    assert (bias["connected"], bias["shape"], bias["declared_shape"]) == (False, [0], [5])


def test_a_terminal_gets_the_loss_and_the_norms(tmp_path: Path) -> None:
    path = write_gradients(tmp_path / "g.h5", [3.0, 2.0])
    screen = on_terminal("show", path, cwd=tmp_path)
    assert screen.returncode == 0
    lines = [line.split() for line in screen.plain.splitlines()]
    assert ["loss_value", "2", "values,", "3.0", "..", "2.0"] in lines
    assert ["dense.kernel", "Dense", "(4,", "3)", "float32", "3.4641"] in lines
    assert ["head.bias", "Dense", "not", "connected", "float32", "-"] in lines


@pytest.mark.parametrize("arguments", [("--provenance",), ("--json",)])
def test_a_loss_that_is_no_number_is_trouble(tfdump: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = tfdump("show", write_gradients(tmp_path / "g.h5", np.zeros((2, 2))), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'loss' is damaged" in done.stderr
