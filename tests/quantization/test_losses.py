"""What a quantized model loses, layer by layer, against noise of known power, and the layers that should stay float."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump as library
from support.command import Run
from support.made_dumps import Tensor, make_dump
from tfdump.errors import DumpError, SelectionError, TfdumpError
from tfdump.quantization.losses import LossReport, TensorLoss

RANDOM = np.random.default_rng(3)
SHAPE = (4, 50, 6)
MARKS = {"scale": 0.01, "zero_point": np.int64(0), "quantized_dtype": "int8"}


def noisy(x: np.ndarray, sqnr: float) -> np.ndarray:
    """Return numbers with noise of this ratio in dB, up to the rounding of float32."""
    noise = RANDOM.standard_normal(x.shape)
    power = (x.astype("f8") ** 2).sum() * 10 ** (-sqnr / 10)
    return (x + noise * math.sqrt(power / (noise**2).sum())).astype("f4")


def read(*addresses: str) -> dict[str, Any]:
    return {"inputs": json.dumps(addresses)}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x -> a -> b -> (fused) -> c, and d of a and c; `e` is a float layer of the quantized model."""
    folder = tmp_path_factory.mktemp("losses")
    values = {name: (RANDOM.standard_normal(SHAPE) * 0.4).astype("f4") for name in "xabcde"}
    graph = {"a": read("inputs/x"), "b": read("a"), "fused": read("b"), "c": read("fused"), "d": read("a", "c"),
             "e": read("d")}  # fmt: skip
    ratios = {"x": 60, "a": 40, "b": 25, "c": 24, "d": 23.9, "e": 3}
    golden = {name: Tensor(values.get(name, values["c"]), **graph[name]) for name in graph}
    golden["inputs/x"] = Tensor(values["x"])
    new = {name: Tensor(noisy(values[name], ratios[name]), **(MARKS if name != "e" else {})) for name in "abcde"}
    new["inputs/x"] = Tensor(noisy(values["x"], 60), **MARKS)
    make_dump(folder / "g.h5", golden)
    make_dump(folder / "n.h5", new)
    return folder


@pytest.fixture(scope="module")
def report(dumps: Path) -> LossReport:
    return library.quantization_losses(dumps / "g.h5", dumps / "n.h5")


def of(report: LossReport) -> dict[str, TensorLoss]:
    return {one.tensor.removeprefix("activations/"): one for one in report.losses}


def test_tensors_are_listed_by_their_loss_with_that_of_their_inputs(report: LossReport) -> None:
    assert [one.tensor for one in report.losses] == [
        *(f"activations/{name}" for name in "edcba"), "inputs/x"
    ]  # fmt: skip
    losses = of(report)
    assert {name: one.sqnr for name, one in losses.items()} == pytest.approx(
        {"e": 3, "d": 23.9, "c": 24, "b": 25, "a": 40, "inputs/x": 60}, abs=1e-3
    )
    assert {name: one.input_sqnr for name, one in losses.items()} == pytest.approx(
        {"e": 23.9, "d": 24, "c": 25, "b": 40, "a": 60, "inputs/x": None}, abs=1e-3
    )
    own = {name: -10 * math.log10(10 ** (-after / 10) - 10 ** (-before / 10))
           for name, before, after in (("b", 40, 25), ("c", 25, 24), ("d", 24, 23.9))}  # fmt: skip
    assert {name: losses[name].own_sqnr for name in own} == pytest.approx(own, abs=0.02)
    assert losses["c"].through == ("activations/fused",)
    assert (losses["e"].steps, losses["e"].saturated) == (None, None)
    assert [losses[name].place for name in "abcde"] == sorted(losses[name].place for name in "abcde")
    assert dict(report.skipped) == {"fused": "only the golden side has it"}


def test_a_layer_should_stay_in_float_if_it_adds_noise_itself(dumps: Path, report: LossReport) -> None:
    assert report.keep_float == ("activations/b",)  # c and d pass on what they get, and e is in float already
    strict = library.quantization_losses(dumps / "g.h5", dumps / "n.h5", min_sqnr=50)
    assert strict.keep_float == ("activations/a", "activations/b")
    assert not library.quantization_losses(dumps / "g.h5", dumps / "n.h5", min_sqnr=20).keep_float


def test_tensors_without_scales_all_count_where_none_is_quantized(tmp_path: Path) -> None:
    x = RANDOM.standard_normal(SHAPE).astype("f4")
    counts = {f"stat_{name}": 1 for name in ("count", "min", "max", "mean", "std", "l2", "nan", "inf", "zero")}
    statistics = Tensor(x[:0], values=False, computed_shape=np.array(x.shape), **(counts | {"stat_count": x.size}))
    ids = np.arange(4)
    make_dump(tmp_path / "g.h5", {"a": x, "zero": x * 0, "same": x, "odd": x * np.nan, "ids": ids, "told": statistics})
    make_dump(tmp_path / "n.h5", {"a": noisy(x, 10), "zero": x, "same": x, "odd": x * np.nan, "ids": ids, "told": x})
    report = library.quantization_losses(tmp_path / "g.h5", tmp_path / "n.h5")
    assert [one.tensor.split("/")[1] for one in report.losses] == ["zero", "a", "same", "odd"]
    losses = of(report)
    assert (losses["zero"].sqnr, losses["zero"].own_sqnr) == (-math.inf, -math.inf)
    assert (losses["same"].sqnr, losses["same"].own_sqnr) == (math.inf, math.inf)
    assert math.isnan(losses["odd"].sqnr)
    assert report.keep_float == ("activations/a", "activations/zero")
    assert dict(report.skipped) == {"ids": "it has no real numbers", "told": "one side has no values"}


def test_selection_lists_fewer_tensors_and_tells_the_same(dumps: Path, report: LossReport) -> None:
    some = library.quantization_losses(dumps / "g.h5", dumps / "n.h5", layers=["b", "d"])
    assert [one.tensor for one in some.losses] == ["activations/d", "activations/b"]
    assert set(some.losses) <= set(report.losses)
    with pytest.raises(SelectionError, match="nothing"):
        library.quantization_losses(dumps / "g.h5", dumps / "n.h5", layers="nothing")


def test_what_cannot_be_told(dumps: Path, tmp_path: Path) -> None:
    with pytest.raises(TfdumpError, match="min_sqnr nan is not"):
        library.quantization_losses(dumps / "g.h5", dumps / "n.h5", min_sqnr=math.nan)
    make_dump(tmp_path / "i.h5", {"a": np.arange(4)})
    with pytest.raises(DumpError, match=r"no tensor of real numbers in common.*\(a: it has no real numbers\)"):
        library.quantization_losses(tmp_path / "i.h5", tmp_path / "i.h5")


def test_the_command_writes_the_same(tfdump: Run, dumps: Path, report: LossReport, monkeypatch: Any) -> None:
    monkeypatch.chdir(dumps)
    done = tfdump("ranges", str(dumps / "g.h5"), str(dumps / "n.h5"))
    assert done.returncode == 0, done.stderr
    heads, *rows = (line.split("\t") for line in done.stdout.splitlines())
    table = [dict(zip(heads, row, strict=True)) for row in rows]
    assert [row["tensor"] for row in table] == [one.tensor for one in report.losses]
    assert [float(row["own sqnr"]) for row in table] == [one.own_sqnr for one in report.losses]
    assert [row["tensor"] for row in table if row["keep in float"]] == ["activations/b"]
    assert "keep in float (own SQNR below 30 dB, and as much noise added as received): b\n" in done.stderr
    record = json.loads(tfdump("ranges", str(dumps / "g.h5"), str(dumps / "n.h5"), "--json").stdout)
    assert (record["kind"], record["keep_float"], record["min_sqnr"]) == ("losses", ["activations/b"], 30)
    assert [one["sqnr"] for one in record["items"]] == [one.sqnr for one in report.losses]
    low = tfdump("ranges", str(dumps / "g.h5"), str(dumps / "n.h5"), "--min-sqnr", "24.5")
    assert "but the noise of several adds up: the SQNR is below 24.5 dB in 3 of 6" in low.stderr
    none = tfdump("ranges", str(dumps / "g.h5"), str(dumps / "n.h5"), "--min-sqnr", "2")
    assert "no layer has to stay in float: no SQNR is below 2 dB" in none.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("g.h5", "n.h5", "--per-channel"), "--per-channel tells about one dump (leave QUANTIZED out"),
        (("g.h5", "n.h5", "--show", "int8"), "--show tells about one dump"),
        (("g.h5", "--min-sqnr", "3"), "--min-sqnr needs QUANTIZED (give two dumps"),
        (("g.h5", "absent.h5"), "absent.h5"),
    ],
)
def test_options_that_do_not_go_together(tfdump: Run, dumps: Path, options: tuple[str, ...], message: str) -> None:
    done = tfdump("ranges", *(str(dumps / word) if word.endswith(".h5") else word for word in options))
    assert done.returncode == 2
    assert message in done.stderr
