"""`tfdump.ranges`: percentiles against numpy.percentile, scales and ratios against quantizers written by hand."""

import math
import warnings
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import tfdump
from support.check_dumps import functional, write_dump
from support.dumps import write_dump as write_every_kind
from tfdump.dump.reader import open_dump
from tfdump.errors import TfdumpError
from tfdump.quantization.records import PERCENTS, RangesReport, TensorRange

RANDOM = np.random.default_rng(7)
HEAVY = RANDOM.standard_t(3, (100, 5, 40)).astype("f4")
VALUES: dict[str, Any] = {
    "heavy": HEAVY,
    "rectified": np.maximum(RANDOM.standard_normal((300, 30)), 0).astype("f4"),
    "double": RANDOM.standard_normal((100, 50)) * 1e-3,
    "half": RANDOM.standard_normal((40, 30)).astype("f2"),
    "softmax": (10.0 ** RANDOM.uniform(-44, 0, (400, 25))).astype("f4"),
    "constant": np.full((20, 3), 6, "f4"),
    "negative": -np.abs(RANDOM.standard_normal((60, 7))).astype("f4") - 5,
    "zeros": np.zeros((5, 4), "f4"),
    "one": np.array([[0.3]], "f4"),
    "integers": RANDOM.integers(-100_000, 100_000, (70, 30)).astype("i4"),
    "bytes": RANDOM.integers(-128, 128, (70, 30)).astype("i1"),
    "large": RANDOM.standard_normal((50, 40)) * 1e300,
    "long": RANDOM.integers(-(2**50), 2**50, (30, 30)),
    "rare": np.concatenate([np.zeros(19_999), [3.0]]).astype("f4")[:, None],
}


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = {f"activations/{name}": values for name, values in VALUES.items()}
    return write_dump(tmp_path_factory.mktemp("ranges") / "d.h5", tensors)


@pytest.fixture(scope="module")
def ranges(dump: Path) -> dict[str, TensorRange]:
    report = tfdump.ranges(dump)
    assert not report.skipped
    return {one.tensor.removeprefix("activations/"): one for one in report.ranges}


def decibels(values: np.ndarray, quantized: np.ndarray) -> float:
    wide = values.astype(np.longdouble)
    with np.errstate(divide="ignore"):
        return (
            float(10 * np.log10(np.sum(wide**2) / np.sum((wide - quantized) ** 2)))
            if np.any(wide != quantized)
            else math.inf
        )


def quantized(values: np.ndarray, scale: float, zero_point: int, low: int, high: int) -> np.ndarray:
    """What integers stand for, one by one, with Python's own rounding (halves to even)."""
    steps = [min(max(round(float(x) / scale) + zero_point, low), high) for x in values.reshape(-1)]
    return (np.array(steps) - zero_point).reshape(values.shape) * scale


@pytest.mark.parametrize("name", VALUES)
def test_percentiles_are_those_of_numpy(name: str, ranges: dict[str, TensorRange]) -> None:
    one, values = ranges[name], VALUES[name].astype(np.float64)
    assert [p.percent for p in one.percentiles] == list(PERCENTS)
    assert [p.value for p in one.percentiles] == np.percentile(values, PERCENTS).tolist()
    assert {p.error for p in one.percentiles} == {0.0}
    counts = (values.size, 0, 0, int((values == 0).sum()))
    assert (one.count, one.nan, one.inf, one.zero) == counts
    assert (one.min, one.max) == (values.min(), values.max())


def test_what_does_not_fit_the_memory_is_read_several_times(dump: Path, ranges: dict[str, TensorRange]) -> None:
    calls: list[int] = []
    report = tfdump.ranges(dump, memory="1k", progress=lambda done, _: calls.append(done))
    assert repr(report.ranges) == repr(tuple(ranges.values()))  # NaN is not equal to itself
    assert len(calls) >= 3 * len(VALUES)


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("rare", "large")])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_and_ratios_are_those_of_a_quantizer_by_hand(
    name: str, bits: int, symmetric: bool, ranges: dict[str, TensorRange]
) -> None:
    values, most = VALUES[name].astype(np.float64), 2 ** (bits - 1) - 1
    ends = {"max": (values.min(), values.max()), "percentile": np.percentile(values, [100 - 99.99, 99.99])}
    for method, (low, high) in ends.items():
        one = ranges[name].integer(bits, symmetric, method)
        assert one is not None
        if symmetric:
            scale, zero_point = max(abs(low), abs(high)) / most or 1.0, 0
        else:
            scale = (max(high, 0) - min(low, 0)) / (2 * most + 1) or 1.0
            zero_point = round(-most - 1 - min(low, 0) / scale) if low != high or low else 0
        assert one.scale == pytest.approx(scale, rel=1e-12)
        assert one.zero_point == zero_point
        expected = quantized(values, one.scale, zero_point, -most if symmetric else -most - 1, most)
        assert one.sqnr == pytest.approx(decibels(values, expected), abs=1e-6)


@pytest.mark.parametrize(
    "name", ["heavy", "rectified", "double", "half", "softmax", "negative", "one", "bytes", "rare"]
)
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_search_leaves_about_the_least_error(name: str, symmetric: bool, ranges: dict[str, TensorRange]) -> None:
    values = VALUES[name].astype(np.float64)
    best = max(
        decibels(values, quantize_between(values, values.min() * a, values.max() * b, symmetric))
        for a, b in ([(s, s) for s in np.geomspace(0.02, 1, 300)] if symmetric else
                     [(s, t) for s in np.geomspace(0.1, 1, 16) for t in np.geomspace(0.1, 1, 16)])
    )  # fmt: skip
    by_error, by_max = (ranges[name].integer(8, symmetric, method) for method in ("mse", "max"))
    assert by_error is not None
    assert by_max is not None
    assert by_error.sqnr is not None
    assert by_max.sqnr is not None
    assert by_error.sqnr >= by_max.sqnr
    assert by_error.sqnr >= best - 0.25 or best == math.inf
    assert (by_error.method, by_error.bits) == ("mse", 8)


def quantize_between(values: np.ndarray, low: float, high: float, symmetric: bool) -> np.ndarray:
    if symmetric:
        scale = max(-low, high) / 127
        return np.clip(np.rint(values / scale), -127, 127) * scale
    low, high = min(low, 0), max(high, 0)
    scale = (high - low) / 255
    zero_point = np.rint(-128 - low / scale)
    return (np.clip(np.rint(values / scale) + zero_point, -128, 127) - zero_point) * scale


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("large", "long", "integers")])
def test_narrower_floats_are_those_of_their_definition(name: str, ranges: dict[str, TensorRange]) -> None:
    values = VALUES[name].astype(np.float64)
    parameters = {"float16": (10, -14), "bfloat16": (7, -126), "float8_e4m3": (3, -6), "float8_e5m2": (2, -14)}
    for dtype, (mantissa, least) in parameters.items():
        with np.errstate(divide="ignore"):
            exponents = np.maximum(np.floor(np.log2(np.abs(values))), least)
        steps = 2.0 ** (exponents - mantissa)
        one = ranges[name].float_loss(dtype)
        assert one is not None
        assert one.sqnr == pytest.approx(decibels(values, np.rint(values / steps) * steps), abs=1e-9)
        assert one.overflowed == 0


def test_what_does_not_fit_a_narrower_float(tmp_path: Path) -> None:
    edges = [65519.9, 65520, 448, 464, 464.1, 57344, 61439, 61440, 3.397e38, -1e5]
    values = np.array(edges, "f4")
    (one,) = tfdump.ranges(write_dump(tmp_path / "d.h5", {"activations/x": values}), show="float").ranges
    overflowed = {loss.dtype: loss.overflowed for loss in one.floats}
    with np.errstate(over="ignore"):
        halves = int(np.isinf(values.astype("f2")).sum())
        brains = int(np.isinf(values.astype(ml_dtypes.bfloat16)).sum())
    assert overflowed == {"float16": halves, "bfloat16": brains, "float8_e4m3": 8, "float8_e5m2": 5}
    assert (halves, brains) == (3, 1)
    saturated = np.minimum(np.abs(values), 448) * np.sign(values)
    saturated = saturated.astype(ml_dtypes.float8_e4m3fn).astype("f8")
    loss = one.float_loss("float8_e4m3")
    assert loss is not None
    assert loss.sqnr == pytest.approx(decibels(values.astype("f8"), saturated), abs=1e-9)


def test_float64_is_rounded_once(tmp_path: Path) -> None:
    """Just above the middle of two bfloat16: as float32, it is the middle itself, which is rounded down."""
    values = np.array([1 + 2**-8 + 2**-40, -1 - 2**-8 - 2**-40, 1 + 2**-4 + 2**-40])
    (one,) = tfdump.ranges(write_dump(tmp_path / "d.h5", {"activations/x": values}), show="float").ranges
    loss, narrow = one.float_loss("bfloat16"), one.float_loss("float8_e4m3")
    assert loss is not None
    assert narrow is not None
    assert loss.sqnr == pytest.approx(decibels(values, np.array([1 + 2**-7, -1 - 2**-7, 1.0625])), abs=1e-9)
    assert narrow.sqnr == pytest.approx(decibels(values, np.array([1, -1, 1.125])), abs=1e-9)


def test_halves_are_rounded_to_even(tmp_path: Path) -> None:
    values, rounded = np.array([0.5, 1.5, 2.5, -0.5, -3.5, 127]), np.array([0, 2, 2, 0, -4, 127])
    (one,) = tfdump.ranges(write_dump(tmp_path / "d.h5", {"activations/x": values}), show="int8").ranges
    way = one.integer(8, True, "max")
    assert way is not None
    assert way.scale == 1
    assert way.sqnr == pytest.approx(decibels(values, rounded), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "integer_bits"),
    [
        ([0.0], 1), ([1.0], 2), ([0.999], 1), ([-1.0], 1), ([-1.001], 2), ([7.9, -8], 4), ([8, -8], 5), ([0.01], -5),
        ([-0.5], 0), ([-0.25], -1), ([1e6], 21),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bits", [8, 16])
def test_fixed_point_holds_the_range_and_no_bit_is_wasted(
    tmp_path: Path, values: list[float], integer_bits: int, bits: int
) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/x": np.array(values, "f8")})
    (one,) = tfdump.ranges(path, show="bits", bits=bits).ranges
    fixed = one.fixed_point
    assert fixed is not None
    assert (fixed.integer_bits, fixed.fraction_bits) == (integer_bits, bits - integer_bits)
    assert fixed.type_name == f"ap_fixed<{bits},{integer_bits}>"
    codes = [math.floor(value * 2.0 ** (bits - integer_bits)) for value in values]
    assert all(-(2 ** (bits - 1)) <= code < 2 ** (bits - 1) for code in codes)
    truncated = np.array(codes) * 2.0 ** (integer_bits - bits)
    assert fixed.sqnr == pytest.approx(decibels(np.array(values), truncated), abs=1e-6)


def test_the_largest_and_the_smallest_float64_do_not_fall_out_of_the_ratio(tmp_path: Path) -> None:
    most, least = np.finfo(np.float64).max, 5e-324
    tensors = {
        "activations/mask": np.array([[-most, most, -most, 1.0]]),
        "activations/lowest": np.full((2, 2), -most),
        "activations/tiny": least * np.arange(-60, 60).reshape(40, 3),
        "activations/far": np.array([[-1e-300, 1e300]]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask, lowest, tiny, far = tfdump.ranges(write_dump(tmp_path / "d.h5", tensors)).ranges
    for one in (mask, lowest):
        by_max = one.integer(8, symmetric=True, method="max")
        assert by_max is not None
        assert by_max.sqnr is not None
        assert by_max.sqnr > 300  # the values are the ends of the range
        assert one.fixed_point is not None
        assert one.fixed_point.sqnr is not None
        assert one.fixed_point.sqnr > 90
    for symmetric in (True, False):  # 120 values, each a multiple of the least scale
        by_max = tiny.integer(8, symmetric, "max")
        assert by_max is not None
        assert (by_max.scale, by_max.sqnr) == (least, math.inf)
    assert far.fixed_point is not None
    step = math.ldexp(1, -far.fixed_point.fraction_bits)  # the negative value is rounded down to one step
    expected = np.array([[-step, math.floor(1e300 / step) * step]])
    assert far.fixed_point.sqnr == pytest.approx(decibels(tensors["activations/far"], expected))


def test_what_is_not_finite_is_counted_and_left_out(tmp_path: Path) -> None:
    values = np.array([[np.nan, 1.0], [np.inf, -3.0], [-np.inf, 0.0]], "f4")
    tensors = {
        "activations/x": values,
        "activations/nan": np.full((2, 2), np.nan, "f4"),
        "activations/none": values[:0],
    }
    x, nan, none = tfdump.ranges(write_dump(tmp_path / "d.h5", tensors)).ranges
    assert (x.count, x.nan, x.inf, x.zero, x.min, x.max) == (6, 1, 2, 1, -3.0, 1.0)
    assert [p.value for p in x.percentiles] == np.percentile([1.0, -3.0, 0.0], PERCENTS).tolist()
    loss = x.float_loss("float16")
    assert loss is not None
    assert loss.sqnr == math.inf
    for one in (nan, none):
        assert math.isnan(one.min)
        assert all(math.isnan(p.value) for p in one.percentiles)
        assert (one.integers, one.floats, one.fixed_point) == ((), (), None)


def channel_dump(path: Path) -> Path:
    config = functional(
        ("Conv2D", "first", {"data_format": "channels_first"}), ("Conv2D", "last", {"data_format": "channels_last"})
    )
    values = RANDOM.standard_normal((6, 4, 5, 3)).astype("f4")
    step = {"scale": np.array([0.5, 2.0, 1.0, 0.25], "f4"), "zero_point": np.array([0, 1, -1, 3]), "quantized_axis": 1,
            "axis0": "none"}  # fmt: skip
    return write_dump(
        path,
        {
            "activations/first": (values, {"class": "Conv2D"}),
            "activations/last": (values, {"class": "Conv2D"}),
            "activations/flat": (values[:, 0, 0, 0], {"class": "Reshape"}),
            "weights/first.kernel": (values, {"axis0": "none"}),
            "weights/first.quantized": (RANDOM.integers(-128, 128, (3, 4)).astype("i1"), step),
            "weights/first.scalar": (np.array(2.0, "f4"), {"axis0": "none"}),
        },
        config,
    )


@pytest.mark.parametrize("memory", ["256M", 1000, 100], ids=["at once", "some channels", "one by one"])
def test_channels_are_those_of_the_configuration(tmp_path: Path, memory: Any) -> None:
    path = channel_dump(tmp_path / "d.h5")
    report = tfdump.ranges(path, per_channel=True, memory=memory, show="range,int8")
    with h5py.File(path) as file:
        arrays = {name: file[name][()] for name in ("activations/first", "activations/last", "weights/first.kernel")}
        integers = file["weights/first.quantized"][()]
    scale, zero_point = np.array([0.5, 2.0, 1.0, 0.25]), np.array([0, 1, -1, 3])
    arrays["weights/first.quantized"] = (integers.astype("f8") - zero_point) * scale
    axes = {"activations/first": 1, "weights/first.quantized": 1}
    for name, array in arrays.items():
        channels = [one for one in report.ranges if one.tensor == name]
        rows = np.moveaxis(array, axes.get(name, -1), 0).astype("f8")
        assert [one.channel for one in channels] == list(range(len(rows)))
        for one, row in zip(channels, rows, strict=True):
            assert [p.value for p in one.percentiles] == np.percentile(row, PERCENTS).tolist()
            by_max = one.integer(8, True, "max")
            assert by_max is not None
            assert by_max.scale == np.abs(row).max() / 127
    whole = {one.tensor: one for one in report.ranges if one.channel is None}
    assert set(whole) == {"activations/flat", "weights/first.scalar"}
    sentence = "it has no axis of channels, so this is the range of the whole tensor"
    assert [name for name, note in report.notes if note == sentence] == list(whole)


def test_channels_of_more_pieces_than_one(tmp_path: Path) -> None:
    values = RANDOM.standard_normal((3, 1_200_000)).astype("f4")
    values[:, 700_000] += 9
    path = write_dump(
        tmp_path / "d.h5", {"weights/k": (values, {"axis0": "none"}), "weights/t": (values.T.copy(), {"axis0": "none"})}
    )
    report = tfdump.ranges(path, layers="t", per_channel=True, show="range")
    assert [one.max for one in report.ranges] == values.max(axis=1).tolist()
    with h5py.File(path, "r+") as file:
        file["weights/k"].attrs["quantized_axis"] = 0
    for memory in (1 << 28, 5_000_000, 100):
        report = tfdump.ranges(path, layers="k", per_channel=True, show="range", memory=memory)
        assert [one.min for one in report.ranges] == values.min(axis=1).tolist()


def test_every_kind_of_tensor_has_a_range_or_a_reason(tmp_path: Path) -> None:
    report = tfdump.ranges(write_every_kind(tmp_path / "d.h5"))
    skipped = {name.removeprefix("activations/"): reason for name, reason in report.skipped}
    assert skipped == {
        "complex": "it is complex64 and is complex",
        "text": "it is string and has no numbers",
        "statistics": "it has no values, and its statistics are not complete",
        "unreached": "it is not connected to the loss",
    }
    ranges = {one.tensor.removeprefix("activations/"): one for one in report.ranges}
    assert (ranges["ragged"].min, ranges["ragged"].max, ranges["ragged"].count) == (0, 11, 12)
    assert (ranges["sparse"].max, ranges["sparse"].count) == (10, 4)
    assert ("activations/sparse", "it is sparse, and only the stored entries count") in report.notes
    assert (ranges["stack"].min, ranges["stack"].max) == (0, 10)
    assert (ranges["flag"].min, ranges["flag"].max) == (0, 1)
    per_channel = tfdump.ranges(tmp_path / "d.h5", per_channel=True, layers=["ragged", "stack"])
    assert [one.channel for one in per_channel.ranges] == [0, 1, None]


def test_quantized_reduced_and_narrowed_tensors_are_described(tmp_path: Path) -> None:
    integers = RANDOM.integers(-128, 128, (30, 4)).astype("i1")
    halves = RANDOM.standard_normal((8, 4)).astype("f2")
    steps = RANDOM.uniform(0.5, 2, (30, 4)).astype("f4")
    index, of_groups = RANDOM.integers(0, 3, 30), RANDOM.uniform(0.5, 2, (3, 4)).astype("f4")
    groups = {"scale": of_groups, "zero_point": np.ones((3, 4)), "group_index": index, "group_axes": np.array([0])}
    tensors = {
        "activations/q": (integers, {"scale": 0.5, "zero_point": 3}),
        "activations/real": (halves.astype("f4"), {"scale": 0.5, "zero_point": 3, "quantized_dtype": "int8"}),
        "activations/r": (halves.astype("f4"), {"reduce": "mean:spatial"}),
        "activations/n": (halves, {"dtype": "float32", "stored_as": "float16"}),
        "activations/g": (integers, groups),
        "activations/k": (integers, {"quantization": "int4"}),
        "activations/b": (integers, {"scale": steps, "zero_point": 0}),
    }
    report = tfdump.ranges(write_dump(tmp_path / "d.h5", tensors))
    assert report.ranges[0].min == (integers.min() - 3.0) * 0.5
    assert report.ranges[1].min == halves.min()
    assert report.notes == (
        ("activations/q", "its integers were dequantized by its scale and zero point"),
        ("activations/r", "its values were reduced (mean:spatial) before they were stored"),
        ("activations/n", "its values were stored as float16 and computed as float32"),
        ("activations/g", "its integers were dequantized by its scale and zero point"),
        ("activations/b", "its integers were dequantized by its scale and zero point"),
    )
    by_name = {one.tensor.removeprefix("activations/"): one for one in report.ranges}
    for name, real in {"g": (integers - np.float32(1)) * of_groups[index], "b": integers * steps}.items():
        assert (by_name[name].min, by_name[name].max) == (real.min(), real.max())
    reason = "the scales of its integers are not known (dump it with --dequantize)"
    assert report.skipped == (("activations/k", reason),)


def test_integers_of_32_bits_stand_for_the_numbers_of_dequantized_weights(tmp_path: Path) -> None:
    bias = RANDOM.integers(-(2**31), 2**31, (50, 3)).astype("i4")
    steps = RANDOM.uniform(1e-9, 1e-8, 3).astype("f4")
    path = write_dump(tmp_path / "d.h5", {"weights/b": (bias, {"scale": steps, "quantized_axis": 1, "axis0": "none"})})
    with open_dump(path) as dump:
        (tensor,) = dump.tensors()
        assert tensor.quantization is not None
        real = tensor.quantization.dequantized(bias)
    ranges = tfdump.ranges(path, per_channel=True).ranges
    assert [(one.min, one.max) for one in ranges] == [(row.min(), row.max()) for row in real.T]
    for one, row in zip(ranges, real.T.astype("f8"), strict=True):
        assert [p.value for p in one.percentiles] == np.percentile(row, PERCENTS).tolist()


def test_a_sound_histogram_is_read(tmp_path: Path) -> None:
    (one,) = tfdump.ranges(write_dump(tmp_path / "d.h5", {"activations/x": (np.ones((6, 4)), COUNTED)})).ranges
    assert [p.value for p in one.percentiles][::6] == [-1, 1]


STATISTICS = {"stat_count": 24, "stat_min": -1.0, "stat_max": 1.0, "stat_nan": 0, "stat_inf": 0, "stat_zero": 0,
              "values": False, "computed_shape": np.array([6, 4])}  # fmt: skip
ONE = (1023 << 7) + 1  # the bin of 1.0
COUNTED = STATISTICS | {"quantile_bins": [-ONE, ONE], "quantile_counts": [12, 12], "quantile_shift": 45}
GROUPS = {"scale": np.ones((2, 6)), "group_index": np.array([0, 1, 0, 1]), "group_axes": np.array([1])}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"scale": np.ones(4), "quantized_axis": 7}, "its attribute 'quantized_axis' is 7, and it has 2 axes"),
        ({"scale": np.ones(3), "quantized_axis": 1}, "could not be broadcast"),
        ({"scale": "big"}, "could not convert"),
        (GROUPS | {"group_index": np.array([0, 1, 2, 0])}, "its 'group_index' names groups other than the 2 that"),
        (GROUPS | {"group_axes": np.array([2])}, r"its attribute 'group_axes' is \[2\], and it has 2 axes"),
        ({"scale": 0.5, "quantized_dtype": "int5000"}, "'quantized_dtype' is 'int5000', which has not 1 to 64 bits"),
        (GROUPS | {"input_scale": np.zeros(4)}, "its scale is not positive"),
        (COUNTED | {"quantile_counts": [1, 24]}, "its histogram counts 25 values, and its statistics 24"),
        (COUNTED | {"stat_max": 5.0}, "does not begin and end at its minimum -1.0 and maximum 5.0"),
        (STATISTICS | {"stat_min": 3.0}, "its finite values are from 3.0 to 1.0"),
        (STATISTICS | {"stat_max": np.nan}, "its finite values are from -1.0 to nan"),
        (STATISTICS | {"quantile_bins": [2, 1], "quantile_counts": [1, 1], "quantile_shift": 45}, "not a histogram"),
    ],
)
def test_damaged_attributes_are_one_line(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/x": (np.ones((6, 4), "i1"), attributes)})
    with pytest.raises(TfdumpError, match=rf"activations/x'? is damaged: .*{message}"):
        tfdump.ranges(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"show": "rnage"}, "show 'rnage': choose from range, bits, int8, int16, float or all"),
        ({"show": ()}, "show nothing"),
        ({"bits": 0}, "bits 0 is not a whole number of at least 1"),
        ({"bits": 129}, "bits 129 is not between 1 and 128"),
        ({"bits": None}, "bits None is not between"),
        ({"percentile": 50}, "percentile 50 is not above 50"),
        ({"percentile": "high"}, "percentile 'high' is not a number"),
        ({"memory": "much"}, "'much' is not a number of bytes"),
        ({"memory": 0}, "memory 0 is not"),
        ({"progress": 1}, "progress 1 is not callable"),
        ({"layers": "conv"}, "no "),
    ],
)
def test_wrong_arguments_are_explained(dump: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TfdumpError, match=message):
        tfdump.ranges(dump, **arguments)


def test_only_what_is_asked_for_is_told(dump: Path) -> None:
    def of(show: str) -> TensorRange:
        return tfdump.ranges(dump, layers="heavy", show=show).ranges[0]

    assert [bool(part) for part in (of("range").percentiles, of("bits").percentiles)] == [True, False]
    assert {one.bits for one in of("int8,bits").integers} == {8}
    assert len(of("int16").integers) == 6
    assert of("float").integers == ()
    assert of("all") == of("range,bits,int8,int16,float")


def test_progress_counts_values(dump: Path) -> None:
    calls: list[tuple[int, int]] = []
    report: RangesReport = tfdump.ranges(dump, layers="heavy", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (HEAVY.size, HEAVY.size)
    assert (report.bits, report.percentile) == (16, 99.99)
