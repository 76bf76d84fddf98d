"""What half precision would do to numbers, against the cast itself."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tfdump
from support.check_dumps import normal, of, the, write_dump

CASTS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def edges() -> np.ndarray:
    """The numbers around every limit, and ones of every size."""
    limits = [
        65504,
        65519.996,
        65520,
        65536,
        3.3895e38,
        (2 - 2.0**-8) * 2.0**127,
        2.0**-24,
        2.0**-25,
        2.0**-133,
        2.0**-134,
        1e-45,
        0,
    ]
    exact = np.array(limits, np.float32)
    near = np.concatenate([np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))])
    sizes = np.float32(10.0) ** np.arange(-44, 38, dtype=np.float32)
    with np.errstate(over="ignore"):
        numbers = np.concatenate([exact, near, sizes, [np.nan, np.inf]]).astype(np.float32)
    return np.concatenate([numbers, -numbers])[:, None]


@pytest.mark.parametrize("name", CASTS)
def test_counts_and_places_are_those_of_the_cast(tmp_path: Path, name: str) -> None:
    values = edges()
    with np.errstate(over="ignore"):
        cast = values.astype(CASTS[name]).astype(np.float32)
    over = np.isinf(cast) & np.isfinite(values)
    under = (cast == 0) & (values != 0)
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": values}), underflow_share=0)
    for mask, what in ((over, "overflow"), (under, "underflow")):
        finding = the(report, f"{name}-{what}")
        assert finding.count == mask.sum() > 0
        assert finding.index == tuple(np.argwhere(mask)[0].tolist())
        assert finding.value == values[finding.index]
    assert the(report, f"{name}-underflow").of == np.count_nonzero(values)


def test_float64_overflows_too(tmp_path: Path) -> None:
    values = np.array([[1.0, 1e300], [65519.9, 65520.0]])
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": values}))
    assert (the(report, "float16-overflow").count, the(report, "bfloat16-overflow").count) == (2, 1)


def test_moderate_numbers_pass(tmp_path: Path) -> None:
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": normal(20, 3)}), fail_on="all")
    assert (report.findings, report.failed) == ((), False)


def test_a_few_tiny_numbers_pass(tmp_path: Path) -> None:
    values = np.ones((100, 2), np.float32)
    values[1, 1] = values[:3, 0] = 1e-9
    path = write_dump(tmp_path / "d.h5", {"activations/a": (values, {"axis0": "none"})})
    assert of(tfdump.check(path, underflow_share=0.03), "float16-underflow") == []
    assert the(tfdump.check(path, underflow_share=0.02), "float16-underflow").count == 4


@pytest.mark.parametrize(("dtype", "asked"), [("float16", set()), ("bfloat16", {"float16-overflow"})])
def test_what_is_half_already_is_not_asked_whether_it_fits(tmp_path: Path, dtype: str, asked: set[str]) -> None:
    values = np.array([[1e38], [1.0]], np.float32) if dtype == "bfloat16" else np.array([[6e4], [6e-8]], np.float16)
    further = {"dtype": dtype, "stored_as": values.dtype.name}
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": (values, further)}))
    assert {finding.check for finding in report.findings} == asked


def test_what_was_stored_in_float16_cannot_tell_what_vanished(tmp_path: Path) -> None:
    further = {"dtype": "float32", "stored_as": "float16"}
    report = tfdump.check(write_dump(tmp_path / "d.h5", {"activations/a": (normal(3, 2, dtype="float16"), further)}))
    reasons = {item.check: item.reason for item in report.skipped}
    assert reasons["float16-underflow"] == reasons["bfloat16-overflow"] == "it was stored as float16"
