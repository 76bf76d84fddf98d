"""Which examples are looked at: in no order in which a rotation, a reversal or a sort of the batch hides."""

import itertools

import numpy as np
import pytest

from tfdump.run.first_looks import alone_place, first_places, last_places, moved_places


@pytest.mark.parametrize("examples", range(1, 20))
def test_places_are_those_of_examples_and_never_as_many_as_in_the_batch(examples: int) -> None:
    assert len(first_places(examples)) == 2
    assert max(first_places(examples)) < examples
    for many in range(1, examples + 1):
        places = last_places(many, examples)
        assert max(places) < examples
        assert len(places) != many
        assert len(places) in ((2, 4) if many > 2 else (2, 3))


@pytest.mark.parametrize("many", range(2, 12))
def test_the_last_example_is_among_them(many: int) -> None:
    assert many - 1 in last_places(many, many)


def repeats(total: int) -> list[tuple[int, ...]]:
    """How often each example may be repeated so that there are as many rows as examples, once each left out."""
    counts = itertools.product(range(4), repeat=total)
    return [these for these in counts if sum(these) == total and set(these) != {1}]


def shows(counts: tuple[int, ...], places: tuple[int, ...]) -> bool:
    """Whether the rows at these places, repeated so, are other than those of the whole batch."""
    whole = np.repeat(np.arange(len(counts)), counts)
    look = np.repeat(places, np.array(counts)[list(places)])
    return len(look) != len(places) or (whole[list(places)] != look).any()


@pytest.mark.parametrize("examples", range(3, 9))
def test_two_looks_show_any_repeats_that_cancel_out_in_a_small_batch(examples: int) -> None:
    looks = first_places(examples), last_places(examples, examples)
    assert [counts for counts in repeats(examples) if not any(shows(counts, places) for places in looks)] == []


@pytest.mark.parametrize("fixed", range(3, 8))
def test_so_does_another_order_of_a_fixed_batch_beside_one_example_alone(fixed: int) -> None:
    looks = moved_places(fixed), (alone_place(fixed),) * fixed
    assert [counts for counts in repeats(fixed) if not any(shows(counts, places) for places in looks)] == []


@pytest.mark.parametrize("fixed", range(4, 9))
def test_another_order_shows_rotations_reversals_and_swaps_of_halves(fixed: int) -> None:
    places = list(moved_places(fixed))
    assert sorted(places) == list(range(fixed))
    rows = np.arange(fixed)
    orders = [np.roll(rows, step) for step in range(1, fixed)]
    orders += [np.roll(rows[::-1], step) for step in range(fixed)]
    for order in orders:
        assert (np.array(places)[order] != order[places]).any(), order
