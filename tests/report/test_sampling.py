"""Which values a report reads of a dump that is larger than what it may read."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tfdump.report.sampling import evenly_spaced_keys, shares_of


def test_everything_is_read_where_it_fits() -> None:
    assert shares_of([10, 20, 30], 60) == [None, None, None]
    assert shares_of([10, 20, 30], None) == [None, None, None]


def test_small_tensors_are_read_whole_and_large_ones_share_what_is_left() -> None:
    sizes = [100 << 20, 1 << 10, 200 << 20, 50 << 10]
    shares = shares_of(sizes, 10 << 20)
    assert shares[1] >= sizes[1]
    assert shares[3] >= sizes[3]
    left = (10 << 20) - sizes[1] - sizes[3]
    assert shares[0] == left // 2
    assert shares[2] == left - left // 2
    assert sum(min(size, share) for size, share in zip(sizes, shares, strict=True)) <= 10 << 20


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 1 << 18),
)
def test_pieces_are_inside_apart_and_about_as_many_bytes_as_asked(
    shape: tuple[int, ...], itemsize: int, share: int
) -> None:
    seen = np.zeros(shape, int)
    for key in evenly_spaced_keys(shape, itemsize, share):
        assert len(key) == len(shape)
        seen[key] += 1
    assert seen.max() == 1
    assert 1 <= seen.sum() * itemsize <= max(share, 4096)


def test_pieces_are_spread_over_the_whole_array() -> None:
    keys = evenly_spaced_keys((100_000, 64), 4, 1 << 20)
    starts = np.array([key[0].start for key in keys])
    assert np.histogram(starts, 10, (0, 100_000))[0].min() >= 4
    read = sum(math.prod(piece.stop - piece.start for piece in key) for key in keys) * 4
    assert (1 << 20) * 0.9 <= read <= 1 << 20


def test_a_pattern_that_repeats_with_the_examples_is_not_hit_at_one_phase_alone() -> None:
    """Every example is cut into four pieces; each of the four has to be read of some."""
    keys = evenly_spaced_keys((1000, 1 << 18), 4, 64 << 20)
    parts = np.array([key[1].start for key in keys])
    _, counts = np.unique(parts, return_counts=True)
    assert len(counts) == 4
    assert counts.max() <= 1.3 * counts.min()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_an_empty_array_has_no_pieces(shape: tuple[int, ...]) -> None:
    assert evenly_spaced_keys(shape, 4, 100) == []
