"""CSV files as inputs, against pandas."""

import csv
import io
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import pytest

from support.tables import one_matrix, readers_of
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.tables import csv_rows
from tfdump.tensors import InputSpec

AGE_SEX = [InputSpec("sex", (None, 1), "float32"), InputSpec("age", (None,), "float32")]


@pytest.fixture(params=[24, 64, 4 << 20])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few bytes, so that rows and cells lie across their ends."""
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", request.param)


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_csv(path: Path) -> pandas.DataFrame:
    return pandas.read_csv(path)


def rows_of(path: Path, columns: int, member: str = "") -> tuple[np.ndarray, NamedReader]:
    reader = one_matrix(f"{path}{member}", columns)
    return reader.read(0, reader.shape[0]), reader


def random_table(rows: int) -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "a": rng.standard_normal(rows),
            "b": rng.integers(-(10**12), 10**12, rows),
            "name": [f'x"{n}, \n{"é" * (n % 5)}' for n in range(rows)],
            "c": rng.random(rows) > 0.5,
        }
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("name", "separator"), [("data.csv.gz", ","), ("DATA.TSV.GZ", "\t")])
def test_a_compressed_table_is_that_of_pandas(tmp_path: Path, name: str, separator: str) -> None:
    table = random_table(300)
    table.to_csv(tmp_path / name, index=False, sep=separator, compression="gzip")
    reader = one_matrix(f"{tmp_path / name}::a,b,c", 3)
    expected = table[["a", "b", "c"]].to_numpy("float64")
    np.testing.assert_array_equal(reader.read(0, 300), expected)
    np.testing.assert_array_equal(reader.read(250, 260), expected[250:260])
    np.testing.assert_array_equal(reader.read(3, 5), expected[3:5])
    lines = np.cumsum([2, *(text.count("\n") + 1 for text in table["name"])])
    assert reader.names.read(0, 300) == [f"{name}:{line}" for line in lines[:-1]]


def test_a_compressed_table_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    random_table(300).to_csv(tmp_path / "data.csv.gz", index=False)
    whole = (tmp_path / "data.csv.gz").read_bytes()
    for data, reason in ((whole[:-100], "ends too early"), (b"a,b\n1,2\n", "incorrect header check")):
        path = write(tmp_path, data, "data.csv.gz")
        with pytest.raises(InputError, match=rf"^cannot decompress {re.escape(str(path))} behind byte .*{reason}"):
            open_arguments([str(path)])


@pytest.mark.usefixtures("small_blocks")
def test_all_numbers_are_those_of_pandas(tmp_path: Path) -> None:
    table = random_table(300)
    table.to_csv(tmp_path / "data.csv", index=False)
    expected = read_csv(tmp_path / "data.csv")[["a", "b", "c"]].to_numpy(float)
    values, reader = rows_of(tmp_path / "data.csv", 3)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(expected[:, 0], table["a"])
    for start, stop in ((0, 1), (7, 7), (290, 300), (3, 150), (149, 151), (0, 300)):
        np.testing.assert_array_equal(reader.read(start, stop), expected[start:stop])


@pytest.mark.usefixtures("small_blocks")
def test_text_is_what_the_cells_hold(tmp_path: Path) -> None:
    table = random_table(50)
    table.to_csv(tmp_path / "data.csv", index=False)
    (reader,) = readers_of(f"{tmp_path}/data.csv::name", [InputSpec("x", (None,), "string")])
    assert reader.read(0, 50).tolist() == table["name"].tolist()
    assert reader.read(33, 35).tolist() == table["name"].tolist()[33:35]


@pytest.mark.usefixtures("small_blocks")
def test_rows_are_named_by_the_lines_where_they_begin(tmp_path: Path) -> None:
    text = 'a,b\n1,2\n\n3,"x\n\ny"\n"""\n",5\r\n6,"a ""b"", c"\n\n\n7,8'
    lines = text.replace("\r", "").split("\n")
    path = write(tmp_path, text)
    (reader,) = readers_of(f"{path}::b", [InputSpec("x", (None,), "string")])
    assert isinstance(reader, NamedReader)
    assert reader.names.read(0, 5) == ["data.csv:2", "data.csv:4", "data.csv:7", "data.csv:9", "data.csv:12"]
    assert [lines[line - 1][:1] for line in (2, 4, 7, 9, 12)] == ["1", "3", '"', "6", "7"]
    assert reader.names.read(3, 9) == ["data.csv:9", "data.csv:12"]
    assert reader.read(0, 5).tolist() == ["2", "x\n\ny", "5", 'a "b", c', "8"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.usefixtures("small_blocks")
def test_every_line_ending_is_read(tmp_path: Path, ending: str) -> None:
    rows = [f"{n},{n}.5" for n in range(40)]
    path = write(tmp_path, ending.join(["a,b", *rows]) + ending)
    values, reader = rows_of(path, 2)
    np.testing.assert_array_equal(values, [[n, n + 0.5] for n in range(40)])
    assert reader.names.read(0, 1) + reader.names.read(39, 40) == ["data.csv:2", "data.csv:41"]


@pytest.mark.usefixtures("small_blocks")
def test_a_quote_inside_of_a_plain_cell_begins_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, 'what,n\n5" pipe,1\n6" pipe,2\nx,3\n' + '7" a ""b,4\n' * 20)
    values, reader = rows_of(path, 1, "::n")
    expected = read_csv(path)
    assert values.tolist() == expected["n"].tolist() == [1, 2, 3] + [4] * 20
    assert reader.names.read(22, 23) == ["data.csv:24"]


def test_inputs_take_the_columns_of_their_names(tmp_path: Path) -> None:
    path = write(tmp_path, "age,name,sex,fare\n22,a,0,7.25\n38,b,1,71.5\n")
    sex, age = readers_of(str(path), AGE_SEX)
    assert (sex.read(0, 2).tolist(), age.read(0, 2).tolist()) == ([0, 1], [22, 38])
    assert (sex.shape, sex.dtype, sex.label) == ((2,), np.int64, f"{path}::sex")


CELLS = [
    *("1", "2.5", "NA", "", 'a"b', 'a""', "é", '"a\nb"', '"a""b"', '"\r\n"', '"a,b"', '"""\n"', ' "x', '"x"y', '"x" '),
]
"""Cells with all sorts of quotes and line breaks."""


def table_of_cells(seed: int) -> str:
    rng = random.Random(seed)
    rows = [f"{rng.choice(CELLS)},{rng.choice(CELLS)}" for _ in range(rng.randrange(1, 40))]
    return "a,b\n" + "".join(row + rng.choice(["\n", "\n", "\r\n", "\r", "\n\n"]) for row in rows)


def begins(text: str) -> list[int]:
    """The lines in which rows begin, by Python's own reader."""
    reader = csv.reader(io.StringIO(text, newline=""))
    lines, before = [], 0
    for row in reader:
        if row:
            lines.append(before + 1)
        before = reader.line_num
    return lines[1:]


@pytest.mark.usefixtures("small_blocks")
def test_cells_are_those_of_pandas_and_lines_those_of_python(tmp_path: Path) -> None:
    specs = [InputSpec("a", (None,), "string"), InputSpec("b", (None,), "string")]
    for seed in range(60):
        text = table_of_cells(seed)
        path = write(tmp_path, text)
        expected = pandas.read_csv(path, dtype=str, keep_default_na=False)
        for reader in readers_of(str(path), specs):
            assert isinstance(reader, NamedReader)
            assert reader.read(0, len(expected)).tolist() == expected[reader.label[-1]].tolist(), text
            assert reader.names.read(0, len(expected)) == [f"data.csv:{line}" for line in begins(text)], text


def test_tabs_separate_the_columns_of_tsv_files(tmp_path: Path) -> None:
    values, reader = rows_of(write(tmp_path, "a\tb\n1\t2\n3\t4\n", "data.tsv"), 2)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert reader.names.read(1, 2) == ["data.tsv:3"]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("::c,a", [[3, 1], [6, 4]]),
        ("::b", [2, 5]),
        ("::-a", [[2, 3], [5, 6]]),
        ("::-a,-b", [3, 6]),
        ("::a, b", [[1, 2], [4, 5]]),
    ],
)
def test_columns_can_be_named_or_left_out(tmp_path: Path, member: str, expected: list[object]) -> None:
    path = write(tmp_path, "a,b,c,d\n1,2,3,x\n4,5,6,y\n")
    (reader,) = readers_of(f"{path}{member}", [InputSpec("x", None, None)])
    assert reader.read(0, 2).tolist() == expected


def test_a_column_may_have_commas_in_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, '"a,b",-c,a\n1,2,3\n')
    (reader,) = readers_of(f"{path}::a,b", [InputSpec("x", None, None)])
    assert reader.read(0, 1).tolist() == [1]
    (reader,) = readers_of(f"{path}::-c", [InputSpec("x", None, None)])
    assert reader.read(0, 1).tolist() == [2]


def test_columns_of_ids_and_text_are_left_out_with_a_note(tmp_path: Path) -> None:
    path = write(tmp_path, ",PassengerId,age,name,fare\n0,1,22,a,7\n1,2,38,b,8\n")
    values, reader = rows_of(path, 2)
    assert values.tolist() == [[22, 7], [38, 8]]
    assert list(reader.remarks(0, 2)) == [
        f"columns of {path} that are not read: 'name' (text); '', 'PassengerId' (by their names ids)"
    ]
    values, reader = rows_of(path, 4)
    assert values.tolist() == [[0, 1, 22, 7], [1, 2, 38, 8]]


def test_rows_of_pixels_get_the_shape_of_the_input(tmp_path: Path) -> None:
    path = write(tmp_path, "p0,p1,p2,p3\n1,2,3,4\n5,6,7,8\n")
    (reader,) = readers_of(str(path), [InputSpec("x", (None, 2, 2, 1), "float32")])
    np.testing.assert_array_equal(reader.read(0, 2), np.arange(1, 9).reshape(2, 2, 2, 1))
    assert reader.shape == (2, 2, 2, 1)


@pytest.mark.usefixtures("small_blocks")
def test_empty_cells_are_nan_as_in_pandas(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,t\n1,2,x\n,NA,NA\n3,null,\n4,5,z\n")
    values, reader = rows_of(path, 2)
    np.testing.assert_array_equal(values, read_csv(path)[["a", "b"]].to_numpy())
    assert values.dtype == np.float64
    assert reader.remarks(0, 4)[-2:] == [
        f"{path}::a is empty in line 3, and becomes NaN there",
        f"{path}::b is empty in 2 of 4 rows, the first in line 3, and becomes NaN there",
    ]
    assert [note for note in reader.remarks(3, 4) if "NaN" in note] == []
    (text,) = readers_of(f"{path}::t", [InputSpec("x", (None,), "string")])
    assert text.read(0, 4).tolist() == ["x", "NA", "", "z"]


def test_integers_have_no_empty_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "a\n1\n2\nNA\n")
    (reader,) = readers_of(f"{path}::a", [InputSpec("x", (None,), "int32")])
    assert reader.read(0, 2).tolist() == [1, 2]
    with pytest.raises(InputError, match=re.escape(f"{path}::a is empty in line 4, and the model takes whole numbers")):
        reader.read(0, 3)


def test_numbers_are_text_for_an_input_of_text(tmp_path: Path) -> None:
    path = write(tmp_path, "zip\n007\n1e3\n")
    (reader,) = readers_of(str(path), [InputSpec("zip", (None, 1), "string")])
    assert reader.read(0, 2).tolist() == ["007", "1e3"]


@pytest.mark.parametrize("name", ["0,1,2", "400,410,420"])
def test_names_that_are_numbers_are_told(tmp_path: Path, name: str) -> None:
    _, reader = rows_of(write(tmp_path, f"{name}\n1,2,3\n"), 3)
    notes = [note for note in reader.remarks(0, 1) if "taken as the names" in note]
    assert len(notes) == (name == "400,410,420")


def test_the_mark_of_utf8_and_empty_lines_come_before_the_names(tmp_path: Path) -> None:
    values, reader = rows_of(write(tmp_path, b"\xef\xbb\xbf\n\r\na,b\n1,2\n"), 2)
    assert (values.tolist(), reader.names.read(0, 1)) == ([[1, 2]], ["data.csv:4"])


WRONG = {
    "a,b\n": "{path} has no rows below the names of its columns",
    "": "{path} is empty (0 bytes)",
    "\n\n": "{path} has no rows below the names of its columns",
    "a,b\n1,2\n3\n": "{path}: line 3 has 1 cell, and the first line has 2 names: '3'",
    'a,b\n1,"2\n"\n\n3,4\n5,6,7\n': "{path}: line 6 has 3 cells, and the first line has 2 names: '5,6,7'",
    'a,b\n1,2\n3,"4\n5,6\n': '{path}: the cell that begins with " in line 3 never ends',
    "a;b\n1;2\n": "{path} has no column of numbers (its columns: 'a;b'), and the input 'x' takes 2",
    b"\xff\xfea\x00,\x00b\x00\n\x001\x00": "{path} is UTF-16 text (save it as UTF-8)",
    b"a,\xe9\n1,2\n": "{path}: line 1 is not UTF-8 (byte 0xe9; save the file as UTF-8)",
    "a,b\n1,2\n3,abc\n4,5\n": "{path} has 1 column of numbers ('a'), and the input 'x' takes 2; 'b' is text because of "
    "'abc' in line 3 (name the columns: {path}::a,..., or leave some out: {path}::-a)",
    "a,b,c\n1,2,3\n": "{path} has 3 columns of numbers ('a', 'b', 'c'), and the input 'x' takes 2 (name the columns: "
    "{path}::a,..., or leave some out: {path}::-a)",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text)[:20])
def test_what_is_wrong_with_a_table(tmp_path: Path, text: str | bytes) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match="^" + re.escape(WRONG[text].format(path=path)) + "$"):
        one_matrix(str(path), 2)


def test_text_that_is_not_utf8_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,n\nx,1\n\xe9,2\n")
    values, _ = rows_of(path, 1)
    assert values.tolist() == [1, 2]
    (reader,) = readers_of(f"{path}::a", [InputSpec("x", (None,), "string")])
    with pytest.raises(InputError, match=r"data.csv: line 3 is not UTF-8 \(byte 0xe9"):
        reader.read(0, 1)


@pytest.mark.parametrize(
    ("member", "specs", "message"),
    [
        ("::agee", AGE_SEX[:1], "{path} has no column 'agee'; near: 'age', 'age.1' (its columns: {names})"),
        ("::age.1", AGE_SEX[:1], "{path} has 2 columns 'age.1' (give them different names)"),
        ("", AGE_SEX, "{path} has no column 'sex'; near: 'Sex' (its columns: {names})"),
        ("::Sex", AGE_SEX[:1], "{path}::Sex: 'm' in line 3 is no number (mend the cell, or empty it)"),
        ("::-age,-xyz", AGE_SEX[:1], "{path} has no column 'xyz' (its columns: {names})"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_column(tmp_path: Path, member: str, specs: Sequence[InputSpec], message: str) -> None:
    path = write(tmp_path, "age,Sex,age.1,age.1\n1,0,2,3\n1,m,2,3\n")
    with pytest.raises(
        InputError, match="^" + re.escape(message.format(path=path, names="'age', 'Sex', 'age.1', 'age.1'")) + "$"
    ):
        readers_of(f"{path}{member}", specs)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n3,4\n")
    reader = one_matrix(str(path), 2)
    write(tmp_path, "a,b\n1,2\n")
    with pytest.raises(InputError, match="has changed since its rows were counted"):
        reader.read(0, 2)


def test_a_folder_with_such_a_name_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "data.csv").mkdir()
    with pytest.raises(InputError, match=r"data.csv is a folder, not an input file"):
        open_arguments([str(tmp_path / "data.csv")])


def test_a_column_can_be_text_for_one_input_and_numbers_for_another(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n01,2\n03,4\n")
    (array,) = open_arguments([f"{path}::a"])
    (text,) = array.for_inputs([InputSpec("x", (None,), "string")])
    (numbers,) = array.for_inputs([InputSpec("y", (None,), "float32")])
    assert text.reader.read(0, 2).tolist() == ["01", "03"]
    assert numbers.reader.read(0, 2).tolist() == [1, 3]
    assert text.reader.read(0, 2).tolist() == ["01", "03"]
