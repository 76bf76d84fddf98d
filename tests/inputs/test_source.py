"""A source hands out batches of what the model declares."""

import hashlib
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from tfdump.errors import InputError
from tfdump.inputs.ragged import SplitsReader
from tfdump.inputs.readers import ArrayReader, Hdf5Reader, Reader, open_npy
from tfdump.inputs.source import ReadingOptions, Source, pad_batch, parse_examples
from tfdump.tensors import InputSpec

X = np.arange(12, dtype=np.float32).reshape(6, 2)


def source(
    values: object, shape: tuple | None = (None, 2), dtype: str | None = "float32", **options: object
) -> tuple[Source, list[str]]:
    """A source of one input `x`, and the notes that it made."""
    notes: list[str] = []
    reader = values if hasattr(values, "read") else ArrayReader(values, "x.npy")
    return Source([InputSpec("x", shape, dtype)], {"x": reader}, ReadingOptions(**options), notes.append), notes


def ragged(rows: list[list], dtype: object = np.int32) -> SplitsReader:
    values = np.array([item for row in rows for item in row], dtype)
    return SplitsReader(ArrayReader(values, "v"), ArrayReader(np.cumsum([0, *map(len, rows)]), "s"), "ids")


def test_batches_are_the_rows_of_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    opened, notes = source(open_npy(tmp_path / "x.npy"))
    assert (opened.examples, opened.first_example, notes) == (6, 0, [])
    np.testing.assert_array_equal(opened.read(2, 5)["x"], X[2:5])
    assert opened.read(2, 5)["x"].dtype == np.float32


def test_the_bytes_of_an_example_are_the_more_of_those_read_and_those_that_the_model_takes() -> None:
    assert source(X)[0].example_bytes == 2 * 4
    assert source(X.astype(np.float64))[0].example_bytes == 2 * 8
    assert source(X.astype(np.int8))[0].example_bytes == 2 * 4
    assert source(np.zeros((3, 4, 5), np.uint8), (None, 4, 5), "uint8")[0].example_bytes == 20


def test_several_inputs_are_read_side_by_side() -> None:
    specs = [InputSpec("a", (None, 2), "float32"), InputSpec("b", (None,), "int32")]
    readers: dict[str, Reader] = {"a": ArrayReader(X, "a"), "b": ArrayReader(np.arange(6, dtype=np.int32), "b")}
    batch = Source(specs, readers, ReadingOptions(), print).read(4, 6)
    assert (batch["a"].tolist(), batch["b"].tolist()) == ([[8, 9], [10, 11]], [4, 5])


def test_an_optional_input_that_is_not_given_is_left_out() -> None:
    specs = [InputSpec("a", None, None), InputSpec("m", None, None, optional=True)]
    assert list(Source(specs, {"a": ArrayReader(X, "a")}, ReadingOptions(), print).read(0, 1)) == ["a"]


def test_different_numbers_of_examples_are_refused() -> None:
    specs = [InputSpec("a", None, None), InputSpec("b", None, None)]
    readers: dict[str, Reader] = {"a": ArrayReader(X, "a.npy"), "b": ArrayReader(X[:5], "b.npy")}
    with pytest.raises(InputError, match=r"a\.npy has 6, b\.npy has 5"):
        Source(specs, readers, ReadingOptions(), print)


# Shapes


@pytest.mark.parametrize("shape", [(None, 2), (None, None), (6, 2), None])
def test_open_and_undeclared_sizes_take_anything(shape: tuple | None) -> None:
    assert source(X, shape)[0].examples == 6


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (X, (None, 3)),
        (X, (None, 2, 2, 1)),
        (np.zeros((2, 3, 4), np.float32), (None, 2)),
        (np.zeros(5, np.float32), (None, 2)),
        (np.zeros((3, 4), np.float32), (None, 28, 28)),
    ],
)
def test_another_shape_is_refused_with_both(values: np.ndarray, shape: tuple) -> None:
    wanted = ", ".join("?" if size is None else str(size) for size in shape)
    with pytest.raises(InputError) as caught:
        source(values, shape)
    assert f"shape {values.shape}" in str(caught.value)
    assert f"'x' takes ({wanted})" in str(caught.value)


@pytest.mark.parametrize("shape", [(None, 2, 3), (None, None, 3), (None, None, None)])
def test_an_array_of_one_rank_less_is_one_example_with_a_note(shape: tuple) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    opened, notes = source(values, shape)
    assert opened.examples == 1
    np.testing.assert_array_equal(opened.read(0, 1)["x"], values[None])
    assert len(notes) == 1
    assert "one example" in notes[0]


@pytest.mark.parametrize("kind", ["npy", "hdf5", "memory"])
def test_a_single_number_is_one_example_of_an_input_without_axes(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "x.npy", np.float32(7))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        reader: Reader = {
            "npy": lambda: open_npy(tmp_path / "x.npy"),
            "hdf5": lambda: Hdf5Reader(file.create_dataset("x", data=np.float32(7)), "d.h5::/x"),
            "memory": lambda: ArrayReader(np.float32(7), "x"),
        }[kind]()
        assert source(reader, (None,))[0].read(0, 1)["x"].tolist() == [7.0]


def test_plain_numbers_are_examples_of_an_input_of_one_unit() -> None:
    opened, notes = source(np.arange(5, dtype=np.float32), (None, 1))
    assert (opened.examples, notes) == (5, [])
    assert opened.read(1, 3)["x"].tolist() == [[1], [2]]


def test_a_list_of_rows_is_a_row_of_units_where_the_last_axis_is_one() -> None:
    opened, _ = source(X, (None, 2, 1))
    assert (opened.examples, opened.read(0, 2)["x"].tolist()) == (6, [[[0], [1]], [[2], [3]]])


def test_a_single_number_is_refused_where_nothing_is_declared() -> None:
    with pytest.raises(InputError, match="single number"):
        source(np.float32(1), None)


@pytest.mark.parametrize("shape", [(0, 2), (0, 0)])
def test_no_examples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"x\.npy has no examples"):
        source(np.zeros(shape, np.float32), None)


# Dtypes


@pytest.mark.parametrize(
    ("have", "wanted"),
    [
        ("float64", "float32"),
        ("int64", "int32"),
        ("uint8", "float32"),
        ("bool", "int32"),
        ("float32", "bfloat16"),
        ("int32", "bool"),
        ("float64", "bool"),
    ],
)
def test_a_cast_is_made_with_a_note_that_names_both(have: str, wanted: str) -> None:
    opened, notes = source(np.ones((2, 2), have), dtype=wanted)
    values = opened.read(0, 2)["x"]
    assert values.dtype == np.dtype(getattr(ml_dtypes, wanted, None) or wanted)
    assert values.astype(float).tolist() == [[1, 1], [1, 1]]
    assert notes == [f"x.npy is cast from {have} to {wanted} for the input 'x'"]


@pytest.mark.parametrize(("have", "wanted"), [(">f4", "float32"), ("<i8", "int64")])
def test_another_byte_order_is_no_cast(have: str, wanted: str) -> None:
    opened, notes = source(np.ones((2, 2), have), dtype=wanted, strict_dtype=True)
    assert notes == []
    assert opened.read(0, 2)["x"].dtype.isnative


def test_strict_dtype_refuses_a_cast() -> None:
    with pytest.raises(
        InputError, match=r"x\.npy is float64, the input 'x' takes float32, and --strict-dtype allows no cast"
    ):
        source(np.ones((2, 2)), strict_dtype=True)


def test_a_number_that_is_no_boolean_is_found_when_its_batch_is_read() -> None:
    mask = np.zeros((6, 2), np.int64)
    mask[4, 1] = 2
    opened, notes = source(mask, dtype="bool")
    assert opened.read(0, 4)["x"].dtype == bool
    assert notes == ["x.npy is cast from int64 to bool for the input 'x'"]
    with pytest.raises(InputError, match=r"x\.npy: 2 in row 4 at \[1\] is neither 0 nor 1"):
        opened.read(4, 6)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
def test_strict_dtype_refuses_numbers_for_booleans(dtype: str) -> None:
    with pytest.raises(
        InputError, match=rf"x\.npy is {dtype}, the input 'x' takes bool, and --strict-dtype allows no cast"
    ):
        source(np.ones((2, 2), dtype), dtype="bool", strict_dtype=True)


def test_a_ragged_mask_is_padded_with_false() -> None:
    opened, _ = source(ragged([[1, 0, 1], [1]]), (None, None), "bool")
    assert opened.read(0, 2)["x"].tolist() == [[True, False, True], [True, False, False]]
    with pytest.raises(InputError, match="the pad value 2 does not fit into bool"):
        source(ragged([[1], []]), (None, None), "bool", pad_value=2)


def test_text_for_numbers_and_floats_for_ids_are_refused() -> None:
    with pytest.raises(InputError, match=r"holds text, and the input 'x' takes .*float32"):
        source(np.array([["a", "b"]]))
    with pytest.raises(InputError, match=r"float32\).*int32\)"):
        source(X, dtype="int32")


@pytest.mark.parametrize("dtype", [[("a", "f4"), ("b", "i4")], "datetime64[s]", "V8"])
def test_records_and_dates_are_refused(dtype: object) -> None:
    with pytest.raises(InputError, match="holds data"):
        source(np.zeros((2, 2), dtype))


def test_an_undeclared_dtype_is_kept_but_for_float64() -> None:
    assert source(np.ones((2, 2), np.int16), dtype=None)[0].read(0, 1)["x"].dtype == np.int16
    opened, notes = source(np.ones((2, 2)), dtype=None)
    assert opened.read(0, 1)["x"].dtype == np.float32
    assert len(notes) == 1


@pytest.mark.parametrize(
    "text", [np.array([["é"], ["b"]]), np.array([[b"\xc3\xa9"], [b"b"]], object), np.array([[b"a"], [b"b"]])]
)
def test_text_is_handed_out_as_objects(text: np.ndarray) -> None:
    values = source(text, (None, 1), "string")[0].read(0, 2)["x"]
    assert values.dtype == object
    assert values.tolist() == text.tolist()


def test_a_number_that_does_not_fit_is_named_by_its_row_in_the_file() -> None:
    values = np.zeros((6, 2))
    values[4, 1] = 1e300
    opened, _ = source(values, examples=(3, None))
    with pytest.raises(InputError, match=r"1e\+300 in row 4"):
        opened.read(0, 3)


# Examples


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("0:100", (0, 100)), ("50:", (50, None)), (":5", (None, 5)), (":", (None, None)), ("-3:-1", (-3, -1))],
)
def test_a_range_of_examples_is_read(text: str, bounds: tuple) -> None:
    assert parse_examples(text) == bounds


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "1.5:2", ":x"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"--examples '{text}' is not START:STOP"):
        parse_examples(text)


@pytest.mark.parametrize("bounds", [(0, 3), (2, None), (None, 2), (-2, None), (1, -1), (4, 99), (-99, 1), (None, None)])
def test_a_range_takes_what_a_slice_takes(bounds: tuple) -> None:
    opened, _ = source(X, examples=bounds)
    expected = X[slice(*bounds)]
    assert opened.examples == len(expected)
    np.testing.assert_array_equal(opened.read(0, opened.examples)["x"], expected)
    assert X[opened.first_example].tolist() == expected[0].tolist()


@pytest.mark.parametrize(("bounds", "shown"), [((6, None), "6:"), ((3, 3), "3:3"), ((4, 2), "4:2"), ((None, 0), ":0")])
def test_a_range_without_examples_is_refused(bounds: tuple, shown: str) -> None:
    with pytest.raises(InputError, match=f"--examples {shown} selects none of the 6 examples"):
        source(X, examples=bounds)


def test_the_first_examples_are_repeated_where_there_are_too_few() -> None:
    opened, _ = source(X, examples=(4, None))
    assert opened.first(1)["x"].tolist() == [[8, 9]]
    assert opened.first(4)["x"].tolist() == [[8, 9], [10, 11], [10, 11], [10, 11]]


def test_a_batch_is_padded_with_its_last_example() -> None:
    batch = {"x": X[:2], "t": np.array([b"a", b"b"], object)}
    assert pad_batch(batch, 3)["x"].tolist() == [[0, 1], [2, 3], [2, 3]]
    assert pad_batch(batch, 3)["t"].tolist() == [b"a", b"b", b"b"]
    assert pad_batch(batch, 2)["x"] is batch["x"]


# Ragged inputs


def test_a_ragged_input_is_padded_with_a_note_and_keeps_its_lengths() -> None:
    opened, notes = source(ragged([[1], [2, 3], []]), (None, None), "int32", pad_value=9)
    assert opened.read(0, 3)["x"].tolist() == [[1, 9], [2, 3], [9, 9]]
    assert opened.lengths["x"].tolist() == [1, 2, 0]
    assert notes == ["ids is ragged: padded to 2 with 9"]


def test_a_ragged_input_is_padded_to_the_length_that_the_model_declares() -> None:
    assert source(ragged([[1], [2, 3]]), (None, 4), "int32")[0].read(1, 2)["x"].tolist() == [[2, 3, 0, 0]]


def test_a_ragged_input_is_padded_to_the_length_that_was_asked_for() -> None:
    assert source(ragged([[1], [2, 3]]), (None, None), "int32", pad_to=3)[0].read(0, 1)["x"].tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(("shape", "pad_to"), [((None, 1), None), ((None, None), 1)])
def test_a_row_that_is_too_long_is_named(shape: tuple, pad_to: int | None) -> None:
    with pytest.raises(InputError, match="row 1 has 2 elements and does not fit into 1"):
        source(ragged([[1], [2, 3]]), shape, "int32", pad_to=pad_to)


def test_rows_of_equal_lengths_need_no_note() -> None:
    assert source(ragged([[1, 2], [3, 4]]), (None, None), "int32")[1] == []


def test_lengths_are_those_of_the_chosen_examples() -> None:
    opened, _ = source(ragged([[1], [2, 3], [4, 5, 6]]), (None, None), "int32", examples=(1, 2))
    assert opened.lengths["x"].tolist() == [2]
    assert opened.read(0, 1)["x"].tolist() == [[2, 3, 0]]


def test_a_fractional_pad_value_survives_in_a_float_input() -> None:
    opened, _ = source(ragged([[1], [2, 3]]), (None, None), "float32", pad_value=0.5)
    assert opened.read(0, 1)["x"].tolist() == [[1.0, 0.5]]


@pytest.mark.parametrize(("value", "dtype"), [(0.5, "int32"), (-1, "uint8"), (float("nan"), "int32"), (1e10, "int32")])
def test_a_pad_value_that_the_input_cannot_hold_is_refused(value: float, dtype: str) -> None:
    with pytest.raises(InputError, match=r"pad"):
        source(ragged([[1], [2, 3]], dtype), (None, None), dtype, pad_value=value)[0].read(0, 2)


def test_an_array_has_no_lengths() -> None:
    assert source(X)[0].lengths == {}


@pytest.mark.parametrize(("dtype", "quantization"), [("float32", None), ("int8", (0.5, 3))])
def test_the_hashes_are_of_the_numbers_in_the_file_whatever_the_model_takes(
    dtype: str, quantization: tuple[float, int] | None
) -> None:
    x = np.random.default_rng(0).integers(0, 9, (12, 3)).astype("f4")
    spec = InputSpec("x", (None, 3), dtype, quantization=quantization)

    def hashes(array: np.ndarray) -> list[str]:
        reading = ReadingOptions(examples=(2, None))
        return Source([spec], {"x": ArrayReader(array, "x")}, reading, lambda note: None).hashes(8)

    by_hand = hashlib.sha256(x[2:10].astype("<f8").tobytes()).hexdigest()
    assert hashes(x) == hashes(x.astype("f8")) == [by_hand]
    assert hashes(x + 1) != [by_hand]


def test_text_is_hashed_with_its_lengths() -> None:
    """So that `ab`, `c` and `a`, `bc` differ."""
    for words in (["ab", "c"], ["a", "bc"]):
        opened, _ = source(np.array(words), (None,), "string")
        expected = b"".join(f"{len(word)}\0{word}".encode() for word in words)
        assert opened.hashes(8) == [hashlib.sha256(expected).hexdigest()]


def test_the_padding_of_ragged_rows_is_not_hashed() -> None:
    rows = [[1, 2], [3], [4, 5, 6]]
    expected = hashlib.sha256(np.array([1, 2, 3, 4, 5, 6], "<f8").tobytes()).hexdigest()
    for pad_to in (3, 7):
        opened, _ = source(ragged(rows), (None, None), "int32", pad_to=pad_to, pad_value=9)
        assert opened.hashes(8) == [expected]
