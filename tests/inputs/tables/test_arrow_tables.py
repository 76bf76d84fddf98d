"""Parquet and Feather files as inputs, against pandas."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from support.tables import one_matrix, readers_of
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.matching import match
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.inputs.tables import arrow_tables
from tfdump.tensors import InputSpec

ROWS = 1000
FLOAT = [InputSpec("x", None, "float32")]
TEXT = [InputSpec("x", (None,), "string")]

Write = Callable[[pa.Table | pandas.DataFrame], Path]


@pytest.fixture(params=["parquet", "parquet without statistics", "feather"])
def write(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a table in row groups and record batches of some rows, which are read in smaller pieces."""
    monkeypatch.setattr(arrow_tables, "_MOST_ROWS", 96)

    def written(table: pa.Table | pandas.DataFrame) -> Path:
        table = pa.Table.from_pandas(table) if isinstance(table, pandas.DataFrame) else table
        if request.param == "feather":
            feather.write_feather(table, tmp_path / "data.feather", chunksize=300)
            return tmp_path / "data.feather"
        statistics = request.param == "parquet"
        parquet.write_table(table, tmp_path / "data.parquet", row_group_size=300, write_statistics=statistics)
        return tmp_path / "data.parquet"

    return written


def random_table() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "a": rng.standard_normal(ROWS).astype(np.float32),
            "name": [f"é{n}" for n in range(ROWS)],
            "b": rng.integers(-100, 100, ROWS).astype(np.int16),
            "kind": pandas.Categorical(rng.choice(["cat", "dog"], ROWS)),
            "c": rng.random(ROWS) > 0.5,
            "when": pandas.Timestamp("2026-01-01"),
        }
    )


def test_all_numbers_are_those_of_pandas_in_any_range(write: Write) -> None:
    table = random_table()
    expected = table[["a", "b", "c"]].to_numpy(np.float32)
    reader = one_matrix(str(write(table)), 3)
    assert (reader.shape, reader.dtype) == ((ROWS, 3), np.float32)
    for start, stop in ((0, 2), (0, ROWS), (990, ROWS), (5, 5), (95, 301), (299, 300), (500, 700), (100, 101)):
        np.testing.assert_array_equal(reader.read(start, stop), expected[start:stop])


def test_columns_become_inputs_by_name_and_text_stays_text(write: Write) -> None:
    table = random_table()
    specs = [
        InputSpec("kind", (None,), "string"),
        InputSpec("b", (None, 1), "int32"),
        InputSpec("name", None, "string"),
    ]
    kind, b, name = readers_of(str(write(table)), specs)
    for start, stop in ((0, 400), (0, 10), (950, ROWS)):
        assert kind.read(start, stop).tolist() == table["kind"].tolist()[start:stop]
        assert name.read(start, stop).tolist() == table["name"].tolist()[start:stop]
        assert b.read(start, stop).tolist() == table["b"].tolist()[start:stop]
    assert b.dtype == np.int16


def test_rows_are_named_by_their_numbers(write: Write) -> None:
    path = write(random_table())
    reader = one_matrix(f"{path}::b", 1)
    assert reader.names.read(0, 2) == [f"{path.name}:0", f"{path.name}:1"]
    assert reader.names.read(999, ROWS) == [f"{path.name}:999"]


def test_empty_cells_are_nan_as_in_pandas(write: Write) -> None:
    column = pa.array([1, 2, None, 4] * 250, pa.int16())
    path = write(pa.table({"a": column, "b": pa.array([True, None] * 500), "c": np.arange(ROWS, dtype=np.float16)}))
    read = pandas.read_parquet if path.suffix == ".parquet" else pandas.read_feather
    expected = read(path).to_numpy(np.float64, na_value=np.nan)
    reader = one_matrix(str(path), 3)
    np.testing.assert_array_equal(reader.read(0, ROWS), expected)
    assert reader.dtype == np.float32
    assert reader.remarks(3, ROWS)[-2:] == [
        f"{path}::a is empty in 249 of 997 rows, the first in row 6, and becomes NaN there",
        f"{path}::b is empty in 499 of 997 rows, the first in row 3, and becomes NaN there",
    ]
    (reader,) = readers_of(f"{path}::a", [InputSpec("x", (None,), "int32")])
    assert reader.read(0, 2).tolist() == [1, 2]
    with pytest.raises(InputError, match=re.escape(f"{path}::a is empty in row 302, and the model takes whole")):
        reader.read(300, 400)


def test_text_has_no_empty_cells(write: Write) -> None:
    path = write(pa.table({"t": ["x", None, "y"], "d": pa.array(["x", "", None]).dictionary_encode()}))
    (reader,) = readers_of(f"{path}::t", TEXT)
    assert reader.read(2, 3).tolist() == ["y"]
    with pytest.raises(InputError, match=re.escape(f"{path}::t is empty in row 1, and the model takes text here")):
        reader.read(0, 3)
    (reader,) = readers_of(f"{path}::d", TEXT)
    assert reader.read(0, 2).tolist() == ["x", ""]
    with pytest.raises(InputError, match="is empty in row 2"):
        reader.read(2, 3)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 3)])
def test_lists_are_rows_of_numbers(write: Write, kind: pa.DataType) -> None:
    fixed = pa.types.is_fixed_size_list(kind)
    rows = [[n, n + 1, n + 2] if fixed else list(range(n % 5)) for n in range(ROWS)]
    path = write(pa.table({"text": ["x"] * ROWS, "token_ids": pa.array(rows, kind)}))
    (reader,) = readers_of(str(path), [InputSpec("token_ids", (None, None), "int32")])
    assert isinstance(reader, RaggedReader)
    assert isinstance(reader, NamedReader)
    assert reader.lengths.tolist() == [len(row) for row in rows]
    for start, stop in ((0, 7), (295, 305), (999, ROWS)):
        padded = [[*row, *[0] * (reader.longest - len(row))] for row in rows[start:stop]]
        assert reader.read(start, stop).tolist() == padded
    assert reader.names.read(3, 4) == [f"{path.name}:3"]
    (alone,) = readers_of(str(path), [InputSpec("x", (None, None), "int32")])
    np.testing.assert_array_equal(alone.read(0, 50), reader.read(0, 50))


@pytest.mark.parametrize("empty", [None, [1, None]])
def test_lists_are_not_empty(write: Write, empty: list[int | None] | None) -> None:
    path = write(pa.table({"t": pa.array([[1, 2], [], [3], empty, [4]], pa.list_(pa.int64()))}))
    (reader,) = readers_of(f"{path}::t", FLOAT)
    assert reader.read(0, 3).tolist() == [[1, 2], [0, 0], [3, 0]]
    with pytest.raises(InputError, match=re.escape(f"{path}::t is empty in row 3 (fill the cell)")):
        reader.read(2, 5)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("::when", "{path}::when is of type timestamp["),
        ("::name", "{path}::name holds text, and numbers are needed here"),
        ("::a,name", "{path}::name holds text, and numbers are needed here"),
        ("::x", "{path} has no column 'x' (its columns: 'a', 'name', 'b', 'kind', 'c', 'when')"),
    ],
)
def test_what_is_wrong_with_a_column(write: Write, member: str, message: str) -> None:
    path = write(random_table())
    with pytest.raises(InputError, match=re.escape(message.format(path=path))):
        readers_of(f"{path}{member}", FLOAT)


def test_numbers_are_no_text(write: Write) -> None:
    path = write(random_table())
    readers = match(open_arguments([f"{path}::b"]), TEXT)
    with pytest.raises(InputError, match=re.escape(f"{path}::b holds integers (int16), and the input 'x' takes text")):
        Source(TEXT, readers, ReadingOptions(), lambda text: None)


def test_a_table_without_rows(write: Write) -> None:
    path = write(pa.table({"a": pa.array([], pa.int8())}))
    with pytest.raises(InputError, match=re.escape(f"{path} has no rows")):
        one_matrix(str(path), 1)


def test_damaged_files(write: Write) -> None:
    path = write(random_table())
    data = path.read_bytes()
    for damaged in (b"", data[:1000], data[:-1], b"PAR1" + bytes(100), b"ARROW1" + bytes(100), bytes(50)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=re.escape(str(path))):
            one_matrix(str(path), 3).read(0, ROWS)


def test_every_byte_may_be_wrong(write: Write) -> None:
    path = write(random_table()[["a", "b", "c"]])
    data = path.read_bytes()
    for place in range(3, len(data), len(data) // 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with suppress(InputError):  # any other exception is a failure
            reader = one_matrix(str(path), 3)
            reader.remarks(0, reader.shape[0])
            assert len(reader.read(0, reader.shape[0])) == reader.shape[0]


def test_the_first_version_of_feather_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data.feather"
    path.write_bytes(b"FEA1" + bytes(100))
    with pytest.raises(InputError, match="is of version 1 of Feather"):
        one_matrix(str(path), 1)
