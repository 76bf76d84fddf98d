"""Batches cover the examples once, and their size respects the model, the user and the memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.errors import TfdumpError
from tfdump.run.batching import Batches, choose_batch_size

MIB = 1024 * 1024


@given(st.integers(1, 50), st.integers(0, 500))
def test_batches_cover_every_example_once_and_in_order(size: int, examples: int) -> None:
    covered = [n for start, stop in Batches(size, examples) for n in range(start, stop)]
    assert covered == list(range(examples))


@given(st.integers(1, 50), st.integers(0, 500))
def test_the_number_of_batches_is_what_iteration_gives_and_only_the_last_is_short(size: int, examples: int) -> None:
    batches = list(Batches(size, examples))
    assert len(Batches(size, examples)) == len(batches)
    assert all(stop - start == size for start, stop in batches[:-1])


def linear(a_example: int):
    return lambda batch: batch * a_example


@pytest.mark.parametrize(
    ("a_example", "memory", "expected"),
    [
        (1, 10**9, 4096),
        (1000, 1000 * 4096, 4096),
        (1000, 1000 * 4096 - 1, 2048),
        (1000, 1000 * 100, 64),
        (1000, 1000, 1),
        (1000, 1, 1),
    ],
)
def test_automatic_size_is_the_largest_power_of_two_within_the_memory(
    a_example: int, memory: int, expected: int
) -> None:
    assert choose_batch_size(None, None, False, memory, linear(a_example)) == expected


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (4096, 4096),
        (262_143, 4096),
        (262_144, 8192),
        (524_287, 8192),
        (524_288, 16384),
        (10**9, 16384),
    ],
)
def test_of_very_many_small_examples_a_batch_may_be_larger(examples: int, expected: int) -> None:
    assert choose_batch_size(None, None, False, 10**9, linear(1), examples=examples) == expected
    assert choose_batch_size(None, None, False, 8 * 8192 - 1, linear(1), examples=examples) == 4096
    assert choose_batch_size(None, None, False, 8 * 16384 - 1, linear(1), examples=examples) == min(expected, 8192)
    assert choose_batch_size(None, None, False, 8 * 8192, linear(1), examples=examples) == min(expected, 8192)
    for most in (32, 4096):
        assert choose_batch_size(None, None, False, 10**9, linear(1), most, examples) == most
    assert choose_batch_size(100, None, False, 10**9, linear(1), examples=examples) == 100


def test_a_constant_part_of_the_memory_counts_too() -> None:
    assert choose_batch_size(None, None, False, 100, lambda batch: 90 + batch) == 8


def test_a_size_that_was_asked_for_is_taken_whatever_the_memory() -> None:
    assert choose_batch_size(5000, None, False, 1, linear(1000)) == 5000


def test_training_takes_32_whatever_the_memory() -> None:
    assert choose_batch_size(None, None, True, 1, linear(1000)) == 32
    assert choose_batch_size(7, None, True, 1, linear(1000)) == 7


@pytest.mark.parametrize("wanted", [None, 3])
@pytest.mark.parametrize("training", [False, True])
def test_a_fixed_batch_size_of_the_model_wins(wanted: int | None, training: bool) -> None:
    assert choose_batch_size(wanted, 3, training, 1, linear(1000)) == 3


def test_contradicting_a_fixed_batch_size_is_refused() -> None:
    with pytest.raises(TfdumpError, match="fixed batch size of 3"):
        choose_batch_size(4, 3, False, 1, linear(1))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000000", 1_000_000),
        ("256MiB", 256 * MIB),
        ("256mb", 256 * MIB),
        ("2G", 2048 * MIB),
        ("1.5 KiB", 1536),
        (" 3k ", 3072),
        ("1T", MIB * MIB),
        ("12B", 12),
        ("0", 0),
    ],
)
def test_bytes_are_read_with_units_of_1024(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "many", "-1", "1X", "1 2", "M", "1e9", "nan", "1..5"])
def test_what_is_no_number_of_bytes_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(TfdumpError, match=f"'{text}' is not a number of bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (256 * MIB, "256.0 MiB"),
        (3 * 1024 * MIB, "3.0 GiB"),
        (2 * MIB * MIB, "2.0 TiB"),
        (5000 * MIB * MIB, "5000.0 TiB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit(count: int, text: str) -> None:
    assert show_bytes(count) == text


@given(st.integers(0, 2**50))
def test_shown_bytes_can_be_read_again(count: int) -> None:
    assert parse_bytes(show_bytes(count)) == pytest.approx(count, rel=0.05)
