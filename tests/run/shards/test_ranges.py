"""Runs are divided between batches: every example is in one shard."""

import pytest

from tfdump.errors import TfdumpError
from tfdump.run.batching import Batches
from tfdump.run.shards.plan import batches_of_part
from tfdump.run.shards.ranges import Division, ShardPart, divide, parse_part


@pytest.mark.parametrize("first", [0, 37])
@pytest.mark.parametrize("examples", [1, 31, 32, 33, 1000])
@pytest.mark.parametrize("division", [Division(), Division(parts=1), Division(shard_examples=33)])
def test_every_example_is_in_one_shard_that_begins_with_a_batch(first: int, examples: int, division: Division) -> None:
    ranges = divide(first, Batches(32, examples), division)
    assert [number for start, stop in ranges for number in range(start, stop)] == list(range(first, first + examples))
    assert all((start - first) % 32 == 0 for start, _ in ranges)
    assert all(stop > start for start, stop in ranges)


def test_parts_differ_by_one_batch() -> None:
    assert divide(0, Batches(10, 95), Division(parts=4)) == ((0, 20), (20, 50), (50, 70), (70, 95))
    assert len(divide(0, Batches(1, 1000), Division())) == 16
    assert len(divide(0, Batches(100, 1000), Division())) == 10


def test_the_examples_of_a_shard_are_rounded_up_to_batches() -> None:
    assert divide(7, Batches(10, 45), Division(shard_examples=11)) == ((7, 27), (27, 47), (47, 52))


def test_more_parts_than_batches_are_refused() -> None:
    with pytest.raises(TfdumpError, match=r"there are 3 batches of 10 examples, .*divide by 3 at most"):
        divide(0, Batches(10, 25), Division(parts=4))


def test_a_part_is_read() -> None:
    assert parse_part("3/100") == ShardPart(3, 100)
    assert parse_part(" 1 / 1 ") == ShardPart(1, 1)


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/4", "a/b", "1/2/3", "-1/4", "1.0/2", "१/२", "9" * 10 + "/" + "9" * 10]
)
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(TfdumpError, match="is not K/N"):
        parse_part(text)


@pytest.mark.parametrize("text", ["0/4", "5/4", "0/0"])
def test_a_part_outside_is_refused(text: str) -> None:
    with pytest.raises(TfdumpError, match="K is from 1 to N"):
        parse_part(text)


def test_the_batches_of_a_part_are_those_of_the_whole_run() -> None:
    whole = Batches(10, 45)
    batches = [
        (part.before + number, start + first, start + behind)
        for start, stop in divide(0, whole, Division(parts=3))
        for part in [batches_of_part(whole, start, stop)]
        for number, (first, behind) in enumerate(part)
    ]
    assert batches == [(number, *bounds) for number, bounds in enumerate(whole)]
    assert batches_of_part(whole, 10, 20).in_whole_run == whole.in_whole_run == 5
