"""The fewest examples that fail together."""

import itertools

import pytest

from tfdump.side_by_side.shrink.fewest import fewest_examples


@pytest.mark.parametrize("needed", [{0}, {7}, {3}, {0, 7}, {2, 3, 5}, {0, 1, 2, 3, 4, 5, 6, 7}])
def test_what_is_needed_is_left(needed: set[int]) -> None:
    assert set(fewest_examples(range(8), lambda part: needed <= set(part))) == needed


def test_any_of_several_causes_is_enough() -> None:
    assert len(fewest_examples(range(100), lambda part: {17, 60} <= set(part) or 99 in part)) == 1


def test_nothing_can_be_left_out_of_the_result() -> None:
    def fails(part: object) -> bool:
        return sum(part) % 7 == 3  # type: ignore[call-overload]

    every = [1, 5, 9, 12, 20, 26]
    assert fails(every)
    result = fewest_examples(every, fails)
    assert fails(result)
    assert not any(fails(fewer) for fewer in itertools.combinations(result, len(result) - 1))
