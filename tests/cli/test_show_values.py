"""`tfdump show DUMP ADDRESS`: values in a pipe, in JSON and on a terminal; the table with a selection and --stats."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.command import Run
from support.dumps import ARRAYS, DEEP, RAGGED, SPLITS, STACK, TEXTS, describe, empty_dump, write_dump
from support.terminals import on_terminal


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "d.h5")


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def shown_on_terminal(dump: Path, *arguments: object) -> str:
    """What `tfdump show` writes to a terminal of 100 columns."""
    screen = on_terminal("show", dump, *arguments, cwd=dump.parent, columns=100)
    assert screen.returncode == 0, screen.written
    return screen.written


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "conv"])
def test_a_pipe_gets_every_value_with_its_index(tfdump: Run, dump: Path, name: str) -> None:
    header, *rows = rows_of(tfdump("show", dump, name).stdout)
    assert header == ["tensor", "index", "value"]
    values = ARRAYS[name]
    assert len(rows) == values.size
    read = {"c": complex, "f": float, "b": "True".__eq__}.get(values.dtype.kind, int)
    for tensor, index, value in rows:
        assert tensor == f"activations/{name}"
        place = tuple(map(int, index.split(","))) if index else ()
        assert np.array([read(value)]).astype(values.dtype).tobytes() == values[place].tobytes() or value == "nan"


def test_a_slice_keeps_the_indices_of_the_tensor(tfdump: Run, dump: Path) -> None:
    rows = rows_of(tfdump("show", dump, "conv", "--slice", "-1,::2,1,7:5:-1").stdout)[1:]
    expected = [(49, i, 1, k) for i in (0, 2) for k in (7, 6)]
    assert [tuple(map(int, row[1].split(","))) for row in rows] == expected
    assert [np.float32(row[2]) for row in rows] == [ARRAYS["conv"][place] for place in expected]
    (again,) = rows_of(tfdump("show", dump, "conv", "--slice", rows[0][1]).stdout)[1:]
    assert again == rows[0]


def test_composites_have_rows_items_and_coordinates(tfdump: Run, dump: Path) -> None:
    def numbers_of(name: str, *arguments: str) -> dict[str, float]:
        return {row[1]: float(row[2]) for row in rows_of(tfdump("show", dump, name, *arguments).stdout)[1:]}

    ragged = {
        f"{row},{n - SPLITS[row]},{axis}": RAGGED[n, axis]
        for row in range(3)
        for n in range(SPLITS[row], SPLITS[row + 1])
        for axis in range(2)
    }
    assert numbers_of("ragged") == ragged
    assert numbers_of("ragged", "--slice", "2,-1") == {"2,4,0": 10.0, "2,4,1": 11.0}
    assert numbers_of("deep") == dict(zip(("0,0,0", "0,0,1", "1,1,0", "1,1,1", "1,1,2"), DEEP[0].tolist(), strict=True))
    assert numbers_of("sparse") == {"1,0": 7, "1,1": 8, "3,0": 9, "3,1": 10}
    stack = {f"{n},{i},{j}": item[i, j] for n, item in enumerate(STACK) for i, j in np.ndindex(item.shape)}
    assert numbers_of("stack") == stack
    assert numbers_of("stack", "--slice", "3,0") == {"3,0,0": 3.0, "3,0,1": 3.0}


def test_text_stays_one_cell(tfdump: Run, dump: Path) -> None:
    values = [row[2] for row in rows_of(tfdump("show", dump, "text").stdout)[1:]]
    assert values == [text.replace("\t", "\\t").replace("\n", "\\n") for text in TEXTS]


def test_several_addresses_and_globs(tfdump: Run, dump: Path) -> None:
    def tensors(*addresses: str) -> list[str]:
        rows = rows_of(tfdump("show", dump, *addresses).stdout)[1:]
        return list(dict.fromkeys(row[0] for row in rows))

    assert tensors("scalar", "outputs/dense", "dense") == ["activations/scalar", "outputs/dense", "activations/dense"]
    assert tensors("int*", "int8") == [f"activations/{name}" for name in ("int8", "int64", "int32")]
    assert tensors("outputs/*") == ["outputs/dense", "outputs/logits"]
    assert tensors("dense") == ["activations/dense"]
    assert "no tensor that matches 'nothing*'" in tfdump("show", dump, "nothing*").stderr


def test_what_has_no_values_is_said(tfdump: Run, dump: Path) -> None:
    done = tfdump("show", dump, "unreached", "statistics")
    assert (done.returncode, done.stdout) == (0, "tensor\tindex\tvalue\n")
    assert "Note: 'unreached' is not connected to the loss and has no gradient" in done.stderr
    assert "Note: 'statistics' has statistics and no values" in done.stderr
    document = json.loads(tfdump("show", dump, "unreached", "--json").stdout)
    assert document["items"][0]["values"] is None
    assert document["items"][0]["reason"].startswith("is not connected")
    refused = tfdump("show", dump, "scalar", "unreached", "--slice", "...")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_json_is_nested_lists(tfdump: Run, dump: Path) -> None:
    document = json.loads(tfdump("show", dump, "conv", "dense", "--slice", "1:3", "--json").stdout)
    assert {name: document[name] for name in ("schema_version", "kind", "file", "slice")} == {
        "schema_version": 1,
        "kind": "values",
        "file": str(dump),
        "slice": "1:3",
    }
    for item, name in zip(document["items"], ("conv", "dense"), strict=True):
        assert np.array_equal(np.array(item["values"], "f4"), ARRAYS[name][1:3])
        assert (item["shape"], item["class"]) == (list(ARRAYS[name].shape), "Dense")


def test_json_of_every_kind(tfdump: Run, dump: Path) -> None:
    text = tfdump("show", dump, "*", "--json").stdout
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    items = {f"{item['group']}/{item['address']}": item for item in document["items"]}
    assert items["activations/odd"]["values"][:4] == ["NaN", "Infinity", "-Infinity", -0.0]
    assert items["activations/complex"]["values"] == [[1.0, 2.0], ["-Infinity", -0.0]]
    assert items["activations/flag"]["values"] == [[True, False]]
    assert items["activations/scalar"]["values"] == 2.5
    assert items["activations/empty"]["values"] == []
    assert items["activations/text"]["values"] == TEXTS
    assert items["activations/ragged"]["parts"] == {"values": RAGGED.tolist(), "row_splits": SPLITS.tolist()}
    assert items["activations/stack"]["parts"]["10"] == STACK[10].tolist()
    assert items["activations/sparse"]["dense_shape"] == [4, 2]


def test_a_terminal_gets_what_numpy_shows(dump: Path) -> None:
    """The same text as NumPy's own of the whole array, and how much of it that is."""
    shown = shown_on_terminal(dump, "conv")
    with np.printoptions(edgeitems=2, threshold=0, linewidth=99):
        expected = np.array2string(ARRAYS["conv"], max_line_width=99)
    assert expected in shown
    assert "192 of 4,800 values (--slice selects others, and a pipe gets all)" in shown
    assert "shape      (50, 4, 3, 8)" in shown


def test_a_terminal_shows_small_arrays_whole_and_every_kind(dump: Path) -> None:
    shown = shown_on_terminal(dump, "dense", "text", "ragged", "deep", "sparse", "stack", "unreached", "brain", "empty")
    assert np.array2string(ARRAYS["dense"]) in shown
    assert "dtype      bfloat16 as float32" in shown
    assert "no values: it is not connected to the loss and has no gradient" in shown
    assert "long" * 15 + "…'" in shown
    assert "3 of 3 rows" in shown
    assert "6 of 11 items" in shown
    assert "2 of 2 stored entries" in shown
    assert "[3]  [ 9. 10.]" in shown
    sliced = shown_on_terminal(dump, "conv", "--slice", "0,0,0,:3")
    assert f"slice 0,0,0,:3, shape (3,)\n{np.array2string(ARRAYS['conv'][0, 0, 0, :3])}\n" in sliced


def test_the_table_takes_a_selection(tfdump: Run, dump: Path) -> None:
    def listed(*arguments: str) -> list[str]:
        return [row[0] for row in rows_of(tfdump("show", dump, *arguments).stdout)[1:]]

    assert listed("-l", "int*", "-x", "int8") == ["activations/int64", "activations/int32"]
    assert listed("-l", "logits") == listed("-l", "outputs/*", "-x", "dense") == ["outputs/logits"]
    assert len(listed("-l", "type:Dense")) == len(listed())
    document = json.loads(tfdump("show", dump, "-l", "scalar", "--json").stdout)
    assert [item["address"] for item in document["items"]] == ["scalar"]
    refused = tfdump("show", dump, "-l", "densse")
    assert refused.returncode == 2
    assert "no layer matches 'densse'; near: 'dense'" in refused.stderr


def test_statistics_are_computed_where_there_are_none(tfdump: Run, dump: Path) -> None:
    header, *rows = rows_of(tfdump("show", dump, "--stats").stdout)
    table = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    conv, double = table["activations/conv"], ARRAYS["double"]
    values = ARRAYS["conv"].astype("f8")
    expected = {"min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std()}
    for name, number in (expected | {"l2": np.sqrt((values**2).sum())}).items():
        assert float(conv[name]) == pytest.approx(number, rel=1e-12, abs=1e-15)
    assert (table["activations/odd"]["nan"], table["activations/odd"]["inf"]) == ("1", "2")
    assert float(table["activations/double"]["max"]) == double[np.isfinite(double)].max()
    assert float(table["activations/sparse"]["mean"]) == 8.5
    assert float(table["activations/ragged"]["max"]) == 11
    assert float(table["activations/stack"]["max"]) == 10
    assert table["activations/text"]["mean"] == table["activations/unreached"]["mean"] == ""
    assert table["activations/statistics"]["mean"] == "0.5"
    items = json.loads(tfdump("show", dump, "--stats", "-l", "dense", "-l", "statistics", "--json").stdout)["items"]
    assert items[0]["statistics"]["zero"] == 1
    assert items[0]["statistics_of"] == "stored values"
    assert "statistics_of" not in items[1]


@pytest.mark.parametrize("arguments", [("conv",), ("conv", "--json"), ()])
def test_a_reader_that_goes_away_ends_it_quietly(dump: Path, arguments: tuple[str, ...]) -> None:
    script = f"'{sys.executable}' -m tfdump show '{dump}' {' '.join(arguments)} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dense", "--stats"), "belong to the table (leave ADDRESS out)"),
        (("dense", "-l", "x"), "belong to the table (leave ADDRESS out)"),
        (("dense", "--provenance"), "belong to the table (leave ADDRESS out)"),
        (("--slice", "0"), "--slice needs the ADDRESS of a tensor"),
        (("dens",), "has no tensor 'dens'; near: 'dense'"),
        (("dense", "--slice", "0,0,0"), "has 3 axes, and 'dense' has 2"),
        (("scalar", "dense", "--slice", "0"), "has 1 axes, and 'scalar' has 0"),
        (("dense", "--slice", ":,3"), "3 is out of range for axis 1 of 'dense', which is from -3 to 2"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tfdump: Run, dump: Path, arguments: tuple[str, ...], words: str) -> None:
    done = tfdump("show", dump, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_values_are_shown_without_tensorflow(dump: Path) -> None:
    code = (
        "import sys; from tfdump.cli.main import run; run(['show', sys.argv[1], 'conv']); "
        "run(['cat', sys.argv[1], 'conv']); "
        "assert not {'tensorflow', 'keras', 'rich', 'matplotlib'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(dump)], check=True, capture_output=True)


def test_the_end_of_an_address_is_enough_where_only_one_tensor_has_it(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "e.h5") as file:
        for number, name in enumerate(("block.mha:attention_scores", "block.norm", "other.norm", "norm2")):
            describe(file["activations"].create_dataset(name, data=np.full(2, number, "f4")), "float32")
    for end, value in (("attention_scores", "0.0"), ("mha:attention_scores", "0.0"), ("block.norm", "1.0")):
        rows = rows_of(tfdump("show", "e.h5", end).stdout)[1:]
        assert [row[2] for row in rows] == [value, value], end
        assert tfdump("cat", "e.h5", end, "--format", "csv", "--no-header").stdout == f"{value}\n{value}\n"
    several = tfdump("show", "e.h5", "norm")
    assert (several.returncode, several.stdout) == (2, "")
    assert several.stderr == (
        "Error: e.h5 has 2 tensors that end in 'norm': 'activations/block.norm', 'activations/other.norm' "
        "(write out one of them)\n"
    )
    for part in ("orm", "scores", ""):
        assert tfdump("show", "e.h5", part).returncode == 2
