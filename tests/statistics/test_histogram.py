"""Histograms of any size: the same counts as NumPy's of the whole array, whatever the pieces are."""

import numpy as np
import pytest

from tfdump.plots.pictures.text import text_histogram
from tfdump.statistics.histogram import histogram_of

RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize("pieces", [1, 3, 17])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "c8"])
def test_counts_equal_those_of_numpy(pieces: int, dtype: str) -> None:
    values = (RANDOM.normal(size=4001) * 1000).astype(dtype)
    histogram = histogram_of(lambda: np.array_split(values, pieces), 32)
    numbers = np.abs(values.astype("c16")) if dtype == "c8" else values.astype("f8")
    counts, edges = np.histogram(numbers, 32)
    np.testing.assert_array_equal(histogram.counts, counts)
    np.testing.assert_allclose(histogram.edges, edges)
    assert histogram.zero == int((values == 0).sum())
    assert histogram.total == 4001


def test_what_is_no_number_is_counted_apart() -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf, -np.inf, 0.0, -0.0])
    histogram = histogram_of(lambda: [values], 4)
    assert (histogram.nan, histogram.above, histogram.below, histogram.zero, histogram.finite, histogram.total) == (
        1,
        1,
        2,
        2,
        3,
        7,
    )


def test_whole_numbers_of_a_small_range_get_a_bin_each() -> None:
    histogram = histogram_of(lambda: [np.array([3, 5, 5, 9], "u1")])
    assert histogram.whole
    assert histogram.counts.tolist() == [1, 0, 2, 0, 0, 0, 1]
    assert histogram.edges.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]
    assert histogram_of(lambda: [np.array([True, False, True])]).counts.tolist() == [1, 2]
    assert not histogram_of(lambda: [np.array([0, 10_000])]).whole


@pytest.mark.parametrize(
    ("values", "counts"),
    [([2.5, 2.5], [2]), ([0.0], [1]), ([np.nan], []), ([], []), ([1.0, np.nextafter(1, 2)], [2])],
)
def test_ranges_of_no_width(values: list[float], counts: list[int]) -> None:
    histogram = histogram_of(lambda: [np.array(values)])
    assert histogram.counts[histogram.counts > 0].tolist() == counts


def test_a_range_wider_than_float64_holds() -> None:
    histogram = histogram_of(lambda: [np.array([-1.7e308, 1.7e308, 0.0])], 4)
    assert histogram.counts.sum() == 3
    assert np.isfinite(histogram.edges).all()


def test_the_text_has_a_line_a_bin_and_fits_the_width() -> None:
    values = np.concatenate([np.zeros(90), np.ones(10) * 4, [np.nan] * 2])
    lines = text_histogram(histogram_of(lambda: [values], 4), 60).splitlines()
    assert [line.split()[-1] for line in lines] == ["90", "0", "0", "10", "2"]
    assert lines[-1].lstrip().startswith("NaN")
    assert all(len(line) <= 60 for line in lines)
    longest, shorter = (line.count("█") for line in (lines[0], lines[3]))
    assert shorter == longest * 10 // 90
    assert "█" not in lines[1]


def test_the_text_in_ascii_and_of_whole_numbers() -> None:
    text = text_histogram(histogram_of(lambda: [np.array([1, 1, 2])]), 40, blocks=False)
    assert text.isascii()
    assert [line.split()[0] for line in text.splitlines()] == ["1", "2"]
    assert text.splitlines()[0].count("#") == 2 * text.splitlines()[1].count("#")
    assert text_histogram(histogram_of(lambda: []), 40) == "no values\n"
