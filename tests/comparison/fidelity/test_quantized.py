"""What quantization has cost, against NumPy by hand: the ratio of signal to noise, steps, and the limit."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.command import Run
from support.made_dumps import Tensor, comparison_in, make_dump
from tfdump.comparison.fidelity.scales import Scales
from tfdump.comparison.verdict import Comparison, DiffReport
from tfdump.errors import DumpError, SelectionError, TfdumpError
from tfdump.testing import assert_dumps_match

RANDOM = np.random.default_rng(11)
X = RANDOM.standard_normal((4, 300, 7)).astype("f4")
STEPS = np.array([0.02, 0.05, 0.01, 0.03, 0.04, 0.015, 0.025], "f4")
ZEROS = np.array([3, -5, 0, 7, 1, -2, 4])


@pytest.fixture
def both(tmp_path: Path) -> Any:
    """Write two dumps and compare them."""
    return comparison_in(tmp_path)


def integers(x: np.ndarray, step: Any, zero: Any = 0, low: int = -128, high: int = 127) -> np.ndarray:
    return np.clip(np.rint(x.astype("f8") / step) + zero, low, high).astype("i1")


def real(q: np.ndarray, step: Any, zero: Any = 0) -> np.ndarray:
    return ((q.astype("i8") - zero).astype("f4") * np.float32(step)).astype("f4")


def decibels(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    return float(10 * np.log10((x * x).sum() / ((x - y) ** 2).sum()))


def told(report: DiffReport, name: str = "a") -> Comparison:
    (comparison,) = [one.comparison for one in report.tensors if one.shown_name == name]
    assert comparison is not None
    return comparison


def test_a_dequantized_tensor_tells_noise_steps_and_saturation(both: Any) -> None:
    q = integers(X, 0.01, 5)
    y = real(q, 0.01, 5)
    marks = {"scale": np.float32(0.01), "zero_point": np.int64(5), "quantized_dtype": "int8"}
    for sides in (({"a": X}, {"a": Tensor(y, **marks)}), ({"a": Tensor(y, **marks)}, {"a": X})):
        one = told(both(*sides, min_sqnr=5))
        signal, other = (np.asarray(getattr(side["a"], "values", side["a"])) for side in sides)
        assert one.sqnr == pytest.approx(decibels(signal, other), abs=1e-9)
        step = float(np.float32(0.01))
        assert one.steps == pytest.approx(np.max(np.abs(X.astype("f8") - y)) / step, rel=1e-12)
        beyond = 1 - np.mean(np.abs(X + 5.5 * step) <= 128 * step)
        assert 0 < beyond < 1
        assert one.saturated == pytest.approx(beyond)


def test_zeros_of_a_rectified_tensor_are_at_an_end_and_not_saturated(both: Any) -> None:
    x = np.maximum(X, 0)
    step = np.float32(x.max() / 255)
    q = integers(x, step, -128)
    one = told(both({"a": x}, {"a": Tensor(q, scale=step, zero_point=np.int64(-128))}, min_sqnr=10))
    assert (q == -128).mean() > 0.4
    assert one.saturated == 0
    assert one.steps == pytest.approx(0.5, abs=0.01)


def test_integers_with_a_scale_per_channel_are_compared_as_real_numbers(both: Any) -> None:
    q = integers(X, STEPS, ZEROS)
    y = real(q, STEPS, ZEROS)
    marks = {"scale": STEPS, "zero_point": ZEROS, "quantized_axis": np.int64(2)}
    report = both({"a": X, "plain": np.arange(4)}, {"a": Tensor(q, **marks), "plain": np.arange(4)}, min_sqnr=10)
    assert report.same
    assert any("holds quantized integers" in note for note in report.notes)
    one = told(report)
    assert one.sqnr == pytest.approx(decibels(X, y), abs=1e-9)
    assert one.steps == pytest.approx((np.abs(X.astype("f8") - y) / STEPS.astype("f8")).max(), rel=1e-12)
    turned = told(both({"a": np.moveaxis(X, 2, 1).copy()}, {"a": Tensor(q, **marks)}, min_sqnr=10, transpose="0,2,1"))
    assert turned.sqnr == pytest.approx(one.sqnr, abs=1e-9)
    assert turned.steps == pytest.approx(one.steps, rel=1e-12)
    assert not both({"a": X}, {"a": Tensor(q, **marks)}, exact=True).same


def test_integers_on_both_sides_are_equal_or_have_a_limit(both: Any) -> None:
    q = integers(X, 0.01)
    moved = (q + (np.arange(q.size).reshape(q.shape) % 50 == 0)).astype("i2")
    sides = {"a": Tensor(q, scale=0.01)}, {"a": Tensor(moved, scale=0.02)}
    report = both(*sides)
    assert not report.same
    assert told(report).sqnr == pytest.approx(decibels(real(q, 0.01), real(moved, 0.02)), abs=1e-5)
    largest = np.abs(real(q, 0.01).astype("f8") - real(moved, 0.02)).max()
    assert told(report).steps == pytest.approx(largest / 0.02, rel=1e-6)
    assert both(*sides, min_sqnr=-10).same
    assert told(both(*sides, min_sqnr=-10, atol={"*": 0})).failed > 0
    ids = {"a": np.arange(5)}, {"a": np.arange(5) + 1}
    report = both(*ids, min_sqnr=-100)
    assert not report.same
    assert told(report).sqnr is None


def test_plain_integers_are_in_the_scale_of_the_dump(tmp_path: Path) -> None:
    q = integers(X, 0.01)
    dump = make_dump(tmp_path / "g.h5", {"a": Tensor(q, scale=0.01)})
    near = q.copy()
    near[1, 2, 3] += 3
    one = told(tfdump.diff(dump, {"a": near}, min_sqnr=20))
    assert one.steps == pytest.approx(3, rel=1e-5)
    assert one.sqnr == pytest.approx(10 * math.log10((q.astype("f8") ** 2).sum() / 9), abs=1e-4)


def test_the_limit_replaces_tolerances_or_joins_them(both: Any) -> None:
    noisy = (X + np.float32(1e-2) * RANDOM.standard_normal(X.shape)).astype("f4")
    ratio = decibels(X, noisy)
    sides = {"a": X, "b": X}, {"a": noisy, "b": noisy}
    assert not both(*sides).same
    assert both(*sides, min_sqnr=ratio - 1e-6).same
    failing = both(*sides, min_sqnr=ratio + 1e-6)
    assert failing.count("differs") == 2
    assert f"SQNR {ratio:.4g} dB is below" in failing.summary
    assert "--scale" not in failing.summary
    assert [one.status for one in both(*sides, min_sqnr={"a": 10}).tensors] == ["same", "differs"]
    assert [one.status for one in both(*sides, min_sqnr={"*": 99, "a": 10}).tensors] == ["same", "differs"]
    assert not both(*sides, min_sqnr=10, rtol=1e-6).same
    assert both(*sides, min_sqnr=10, rtol=1, atol=1).same
    assert not both(*sides, min_sqnr=99, rtol=1, atol=1).same
    assert both(*sides, min_sqnr=10, min_cosine=0.9).same
    assert not both(*sides, min_sqnr=10, min_cosine=1).same
    assert not both(*sides, min_sqnr=10, max_ulp=1).same
    assert told(both(*sides, rtol=1, atol=1)).sqnr is None
    only_told = both(*sides, min_sqnr=-math.inf)
    assert not only_told.same
    assert told(only_told).sqnr == pytest.approx(ratio, abs=1e-9)


def test_ends_of_the_ratio_and_numbers_that_are_not_finite(both: Any) -> None:
    one = np.ones((4, 2), "f4")
    assert told(both({"a": one}, {"a": one}, min_sqnr=math.inf)).sqnr == math.inf
    assert told(both({"a": one * 0}, {"a": one}, min_sqnr=-1000)).sqnr == -math.inf
    assert math.isnan(told(both({"a": one * np.nan}, {"a": one * np.nan}, min_sqnr=30)).sqnr or 0.0)
    odd = X.copy()
    odd[0, 0, 0], odd[1, 1, 1] = np.nan, np.inf
    near = odd * np.float32(1.01)
    marks = {"scale": 0.01, "quantized_dtype": "int8"}
    report = both({"a": odd}, {"a": Tensor(near, **marks)}, min_sqnr=30)
    assert report.same
    finite = np.isfinite(odd)
    assert told(report).sqnr == pytest.approx(decibels(odd[finite], near[finite]), abs=1e-9)
    assert told(report).steps == pytest.approx(np.abs(odd[finite].astype("f8") - near[finite]).max() / 0.01)
    only = near.copy()
    only[0, 0, 0] = 1
    assert not both({"a": odd}, {"a": Tensor(only, **marks)}, min_sqnr=30).same
    pair = X[..., 0] + 1j * X[..., 1]
    other = pair * 1.01
    other[0, 0] = pair[0, 0] = complex(np.nan, 5)
    rest = (pair.ravel()[1:], other.ravel()[1:])
    wanted = 10 * np.log10((np.abs(rest[0]) ** 2).sum() / (np.abs(rest[0] - rest[1]) ** 2).sum())
    assert told(both({"a": pair}, {"a": other}, min_sqnr=30)).sqnr == pytest.approx(wanted, abs=1e-5)


def test_large_tensors_are_looked_at_in_pieces(both: Any) -> None:
    x = RANDOM.standard_normal((4, 50_000, 3)).astype("f4")
    steps = np.array([0.01, 0.02, 0.03], "f4")
    q = integers(x, steps)
    sides = {"a": x}, {"a": Tensor(q, scale=steps, quantized_axis=np.int64(2))}
    stored = {"storage": {"chunks": (1, 1000, 2)}}
    one = told(both(*sides, roots=(stored, {}), min_sqnr=5))
    assert one.sqnr == pytest.approx(decibels(x, real(q, steps)), abs=1e-9)
    assert one.steps == pytest.approx((np.abs(x - real(q, steps).astype("f8")) / steps.astype("f8")).max())
    rows = Tensor(q.reshape(4, -1, 3)[:, :, 0], scale=np.full(4, 0.01, "f4"), quantized_axis=np.int64(0))
    assert told(both({"a": x[:, :, 0]}, {"a": rows}, min_sqnr=5)).sqnr == pytest.approx(
        decibels(x[:, :, 0], real(q[:, :, 0], 0.01)), abs=1e-5
    )


def test_what_cannot_be_asked(both: Any) -> None:
    sides = {"a": X}, {"a": X}
    for wrong, message in ((math.nan, "min-sqnr nan is not"), ("x", "min_sqnr 'x' is not a number")):
        with pytest.raises(TfdumpError, match=message):
            both(*sides, min_sqnr=wrong)
    with pytest.raises(SelectionError, match="'b'"):
        both(*sides, min_sqnr={"b": 3})
    statistics = {f"stat_{name}": 1 for name in ("count", "min", "max", "mean", "std", "l2", "nan", "inf", "zero")}
    alone = Tensor(X[:0], values=False, computed_shape=np.array(X.shape), **(statistics | {"stat_count": 9}))
    with pytest.raises(DumpError, match="so an SQNR cannot"):
        both({"a": X}, {"a": alone}, min_sqnr=3)


@pytest.mark.parametrize(
    "marks",
    [{"scale": "x"}, {"scale": -1.0}, {"scale": np.nan}, {"scale": 0.1, "zero_point": 1e300},
     {"scale": STEPS, "zero_point": np.arange(3), "quantized_axis": np.int64(2)}],
)  # fmt: skip
def test_damaged_scales_are_an_error(both: Any, marks: dict[str, Any]) -> None:
    with pytest.raises(DumpError, match="activations/a"):
        both({"a": X}, {"a": Tensor(integers(X, 0.01), **marks)}, min_sqnr=3)


def test_the_assertion_for_pytest_takes_the_limit() -> None:
    assert_dumps_match({"a": X}, {"a": X * 1.01}, min_sqnr=39)
    with pytest.raises(AssertionError, match="SQNR 40 dB is below 41 dB"):
        assert_dumps_match({"a": X}, {"a": X * np.float32(1.01)}, min_sqnr={"a": 41})


def test_scales_of_another_shape_tell_no_steps() -> None:
    scales = Scales(np.ones((1, 3)), np.zeros((1, 3)), -128, 127)
    assert scales.fit((5, 3))
    assert not scales.fit((5, 4))
    assert not scales.fit((3,))


def test_the_columns_of_the_command(tfdump: Run, tmp_path: Path) -> None:
    q = integers(X, 0.01, 5)
    make_dump(tmp_path / "g.h5", {"a": X, "b": X})
    make_dump(tmp_path / "n.h5", {"a": Tensor(q, scale=np.float32(0.01), zero_point=np.int64(5)), "b": X})
    done = tfdump("diff", "g.h5", "n.h5", "--min-sqnr", "a=10", "--all")
    assert done.returncode == 0, done.stderr
    heads, first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert heads[-3:] == ["reason", "sqnr", "steps"]
    assert float(first[-2]) == pytest.approx(decibels(X, real(q, 0.01, 5)), abs=1e-9)
    assert float(first[-1]) > 100
    assert second[-2:] == ["", ""]
    record = json.loads(tfdump("diff", "g.h5", "n.h5", "--min-sqnr", "99", "--json").stdout)
    assert record["items"][0]["comparison"]["sqnr"] == float(first[-2])
    assert record["items"][1]["comparison"]["sqnr"] == "Infinity"
    failed = tfdump("diff", "g.h5", "n.h5", "--min-sqnr", "99", "--format", "junit")
    assert failed.returncode == 1
    assert "is below 99 dB" in failed.stdout
    assert "steps: " in failed.stdout
    wrong = tfdump("diff", "g.h5", "n.h5", "--min-sqnr", "a=loud")
    assert wrong.returncode == 2
    assert "'a=loud' is not [GLOB=]DB" in wrong.stderr
