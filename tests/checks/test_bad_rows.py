"""Which rows are bad: noted in one pass, compared with NumPy over the whole array."""

from pathlib import Path

import numpy as np
import pytest

from support.check_dumps import normal, write_dump
from tfdump.checks.bad_rows import MOST_ROWS, BadRows
from tfdump.checks.records import Thresholds
from tfdump.checks.sweep import Sweep, Wanted
from tfdump.dump.reader import open_dump


def swept_rows(path: Path, values: np.ndarray, axis0: str = "example") -> dict[str, BadRows]:
    write_dump(path, {"activations/a": (values, {"axis0": axis0})})
    with open_dump(path) as dump:
        return Sweep(dump["a"], Wanted(), Thresholds(), 0).run().bad_rows


@pytest.mark.parametrize("shape", [(5000,), (3000, 1), (400, 7, 11), (90, 5000), (3, 300_000), (2, 5, 700_001)])
@pytest.mark.parametrize("share", [0.0, 1e-5, 1e-3, 0.3, 1.0])
def test_the_rows_are_those_of_the_whole_array(tmp_path: Path, shape: tuple[int, ...], share: float) -> None:
    values = normal(*shape)
    draw = np.random.default_rng(1).random(shape)
    values[draw < share] = np.nan
    values[(draw > 0.9999) & (draw >= share)] = -np.inf
    rows = swept_rows(tmp_path / "d.h5", values)
    for name, mask in (("nan", np.isnan(values)), ("inf", np.isinf(values))):
        expected = np.flatnonzero(mask.reshape(shape[0], -1).any(axis=1))
        assert rows[name].numbers.tolist() == expected[:MOST_ROWS].tolist()
        assert rows[name].known_until == (expected[MOST_ROWS] if len(expected) > MOST_ROWS else None)


def test_complex_numbers_have_bad_rows(tmp_path: Path) -> None:
    values = normal(9, 4).astype(np.complex64)
    values[3, 1] = complex(0, np.nan)
    assert swept_rows(tmp_path / "d.h5", values)["nan"].numbers.tolist() == [3]


def test_only_tensors_with_a_row_per_example_have_them(tmp_path: Path) -> None:
    values = np.full((4, 3), np.nan, np.float32)
    assert swept_rows(tmp_path / "d.h5", values, axis0="none") == {}


def test_what_remains_is_known_to_be_good_in_the_other() -> None:
    rows = BadRows(np.array([1, 4, 6, 9, 12]))
    assert rows.without(BadRows(np.array([4, 5]))).numbers.tolist() == [1, 6, 9, 12]
    assert rows.without(BadRows(np.array([1, 5]), known_until=9)).numbers.tolist() == [4, 6]
    assert rows.without(rows).first is None
    assert rows.first == 1
