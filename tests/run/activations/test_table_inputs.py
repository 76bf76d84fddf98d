"""Runs on tables and text: the values of Keras on what pandas reads, with the names of the rows."""

import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas
import pytest

from support.command import Run

ROWS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one of them with inputs by name, and a table in four formats."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "id": range(1000, 1000 + ROWS),
            "age": rng.standard_normal(ROWS).astype(np.float32),
            "town": rng.choice(["Ulm", "Köln", 'a "b", c'], ROWS),
            "sex": rng.integers(0, 2, ROWS),
            "fare": rng.standard_normal(ROWS).astype(np.float32),
        }
    )
    table.to_csv(folder / "data.csv", index=False)
    table.to_csv(folder / "data.tsv", index=False, sep="\t")
    table.to_parquet(folder / "data.parquet", row_group_size=70, index=False)
    table.to_feather(folder / "data.feather")
    (folder / "towns.txt").write_text("\n".join(table["town"]))
    inputs = [
        keras.Input((1,), name="sex"),
        keras.Input((1,), name="town", dtype="string"),
        keras.Input((1,), name="age"),
    ]
    lookup = keras.layers.StringLookup(vocabulary=["Ulm", "Köln", 'a "b", c'], output_mode="one_hot", name="lookup")
    joined = keras.layers.Concatenate(name="joined")([inputs[0], lookup(inputs[1]), inputs[2]])
    named = keras.Model(inputs, keras.layers.Dense(3, name="last")(joined))
    matrix = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu", name="first"), keras.layers.Dense(2)])
    text = keras.Sequential([keras.Input((1,), dtype="string"), lookup])
    for name, model in (("named", named), ("matrix", matrix), ("text", text)):
        model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
        model.save(folder / f"{name}.keras")
    return folder


def read_table(folder: Path) -> pandas.DataFrame:
    return pandas.read_csv(folder / "data.csv")


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["data.csv", "data.tsv", "data.parquet", "data.feather"])
def test_inputs_by_name_give_the_values_of_keras(folder: Path, tfdump: Run, name: str, tmp_path: Path) -> None:
    ended = tfdump("activations", folder / "named.keras", folder / name, "--batch-size", 64, "-o", "d.h5")
    assert ended.returncode == 0, ended.stderr
    table = read_table(folder)
    model = keras.models.load_model(folder / "named.keras")
    columns = {column: table[column].to_numpy().reshape(-1, 1) for column in ("sex", "town", "age")}
    columns = {key: np.array(value.tolist()) for key, value in columns.items()}
    expected = model({key: keras.ops.convert_to_tensor(value) for key, value in columns.items()}, training=False)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_allclose(file["outputs/last"][()], np.asarray(expected), rtol=1e-5, atol=1e-5)
        names = file["examples/id"].asstr()[()].tolist()
    first = 2 if name.endswith("sv") else 0
    assert names == [f"{name}:{first + row}" for row in range(ROWS)]


@pytest.mark.tensorflow
def test_all_numbers_are_one_matrix(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    dumps = []
    for number, name in enumerate(("data.csv", "data.parquet", "data.parquet::age,sex,fare", "data.feather::-id")):
        arguments = ["--examples", "70:290", "-o", f"{number}.h5"]
        ended = tfdump("activations", folder / "matrix.keras", f"{folder / name}", *arguments)
        assert ended.returncode == 0, ended.stderr
        assert ("not read: 'town' (text); 'id' (by its name an id)" in ended.stderr) is ("::" not in name)
        with h5py.File(tmp_path / f"{number}.h5") as file:
            dumps.append(file["activations/first"][()])
            assert file["examples/id"].asstr()[0].endswith(":72" if number == 0 else ":70")
    kernel, bias = keras.models.load_model(folder / "matrix.keras").get_layer("first").get_weights()
    rows = read_table(folder)[["age", "sex", "fare"]].to_numpy(np.float32)[70:290]
    np.testing.assert_allclose(dumps[0], np.maximum(rows @ kernel + bias, 0), rtol=1e-5, atol=1e-5)
    for other in dumps[1:]:
        np.testing.assert_array_equal(other, dumps[0])


@pytest.mark.tensorflow
def test_the_same_command_writes_the_same_bytes(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        ended = tfdump("activations", folder / "named.keras", folder / "data.csv", "--force", "-o", "d.h5")
        assert ended.returncode == 0, ended.stderr
        contents.append((tmp_path / "d.h5").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.tensorflow
def test_lines_of_text_are_the_input_of_a_text_layer(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    ended = tfdump("activations", folder / "text.keras", folder / "towns.txt", "-o", "d.h5")
    assert ended.returncode == 0, ended.stderr
    towns = read_table(folder)["town"].tolist()
    places = {"Ulm": 1, "Köln": 2, 'a "b", c': 3}
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["activations/lookup"][()], np.eye(4)[[places[town] for town in towns]])
        assert file["examples/id"].asstr()[299] == "towns.txt:300"


@pytest.mark.tensorflow
def test_text_is_refused_where_numbers_are_needed(folder: Path, tfdump: Run) -> None:
    ended = tfdump("activations", folder / "matrix.keras", folder / "towns.txt")
    assert ended.returncode == 2
    assert "towns.txt holds text" in ended.stderr or "towns.txt has shape (300,)" in ended.stderr


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "data.csv::agee",
            "has no column 'agee'; near: 'age', 'fare' (its columns: 'id', 'age', 'town', 'sex', 'fare')",
        ),
        ("data.parquet::age,town,sex", "data.parquet::town holds text, and numbers are needed here"),
        ("bad.csv", "'b' is text because of '4,0' in line 3"),
        ("cut.csv", "line 3 has 1 cell, and the first line has 3 names: '3'"),
        ("empty.csv", "empty.csv has no rows below the names of its columns"),
        ("damaged.parquet", "cannot read "),
        ("missing.csv", "no such input file: "),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, tfdump: Run, tmp_path: Path, argument: str, message: str) -> None:
    (folder / "bad.csv").write_text('a,b,c\n1,2,3\n1,"4,0",3\n')
    (folder / "cut.csv").write_text("a,b,c\n1,2,3\n3\n")
    (folder / "empty.csv").write_text("a,b,c\n")
    (folder / "damaged.parquet").write_bytes((folder / "data.parquet").read_bytes()[:3000])
    ended = tfdump("activations", folder / "matrix.keras", folder / argument, "-o", "d.h5")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: ")
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.tensorflow
def test_layers_and_a_trial_run_read_tables_too(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    ended = tfdump("layers", folder / "named.keras", folder / "data.parquet")
    assert ended.returncode == 0, ended.stderr
    ended = tfdump("activations", folder / "named.keras", folder / "data.csv", "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.tensorflow
def test_a_run_that_was_interrupted_goes_on(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    arguments = ["activations", folder / "matrix.keras", folder / "data.csv", "--batch-size", 32, "-o", "d.h5"]
    ended = tfdump(*arguments, "--resume")
    assert ended.returncode == 0, ended.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert len(file["examples/id"]) == ROWS


@pytest.mark.tensorflow
def test_python_reads_tables_too(folder: Path) -> None:
    import tfdump

    with pytest.warns(tfdump.TfdumpWarning, match="not read"):
        found = tfdump.activations(folder / "matrix.keras", folder / "data.parquet")
    kernel, bias = keras.models.load_model(folder / "matrix.keras").get_layer("first").get_weights()
    rows = read_table(folder)[["age", "sex", "fare"]].to_numpy(np.float32)
    np.testing.assert_allclose(found["first"], np.maximum(rows @ kernel + bias, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_a_column_can_name_the_rows(folder: Path, tfdump: Run, tmp_path: Path, name: str) -> None:
    for column in ("id", "town"):
        arguments = ["--id-column", column, "--examples", "60:80", "-o", f"{column}.h5"]
        ended = tfdump("activations", folder / "matrix.keras", folder / name, *arguments)
        assert ended.returncode == 0, ended.stderr
        with h5py.File(tmp_path / f"{column}.h5") as file:
            names = file["examples/id"].asstr()[()].tolist()
        assert names == read_table(folder)[column].astype(str).tolist()[60:80]


@pytest.mark.tensorflow
def test_what_is_wrong_with_names_of_rows(folder: Path, tfdump: Run) -> None:
    (folder / "names.csv").write_text("a,b,c,n\n1,2,3,x\n1,2,3,\n")
    np.save(folder / "x.npy", np.zeros((2, 3), "float32"))
    for argument, column, message in (
        ("names.csv", "n", "names.csv::n is empty in line 3, and names the rows (fill the cell)"),
        ("names.csv", "m", "names.csv has no column 'm' (its columns: 'a', 'b', 'c', 'n')"),
        ("x.npy", "n", "--id-column is a column of a table"),
    ):
        ended = tfdump("activations", folder / "matrix.keras", folder / argument, "--id-column", column)
        assert ended.returncode == 2, argument
        assert "Error:" in ended.stderr.splitlines()[-1]
        assert message in ended.stderr


@pytest.mark.tensorflow
def test_names_of_inputs_and_of_targets_are_compared(folder: Path, tfdump: Run, tmp_path: Path) -> None:
    table = read_table(folder).head(6)
    table.to_csv(tmp_path / "x.csv", index=False)
    swapped = table.iloc[[0, 1, 3, 2, 4, 5]]
    for name, rows in (("same", table), ("swapped", swapped), ("nameless", swapped.drop(columns="id"))):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    np.save(tmp_path / "x.npy", table[["age", "sex", "fare"]].to_numpy("float32"))
    command = ["gradients", "--loss", "mse", "--id-column", "id", "--norms-only", "-f", "-o", "g.h5"]
    note = (
        "Note: the rows of x.csv::age,sex,fare and swapped.csv::age,fare go together by their order, and their names "
        "differ, first in example 2: '1002' and '1003' (sort both alike)\n"
    )
    for inputs, targets, is_noted in (
        ("x.csv", "same", False),
        ("x.csv", "nameless", False),
        ("x.csv", "swapped", True),
        ("x.npy", "swapped", False),
    ):
        ended = tfdump(*command, folder / "matrix.keras", inputs, "--targets", f"{targets}.csv::age,fare")
        assert ended.returncode == 0, ended.stderr
        assert (note in ended.stderr, "go together" in ended.stderr) == (is_noted, is_noted), (inputs, targets)
    with h5py.File(tmp_path / "g.h5") as file:
        assert file["examples/id"].asstr()[()].tolist() == ["1000", "1001", "1003", "1002", "1004", "1005"]
    ended = tfdump(*command, folder / "matrix.keras", "x.npy", "--targets", "nameless.csv::age,fare")
    assert ended.returncode == 2
    assert "nameless.csv has no column 'id'" in ended.stderr


PEAK = """
import sys
from pathlib import Path
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec
specs = [InputSpec("x", (None, 4), "float32")]
source = Source(specs, match(open_arguments([sys.argv[1]]), specs), ReadingOptions(), print)
for start in range(0, source.examples, 4096):
    source.read(start, min(start + 4096, source.examples))
source.identity.read(source.examples - 5, source.examples)
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000)
"""


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, ending: str) -> None:
    peaks = []
    for rows in (600_000, 2_000_000):
        table = pandas.DataFrame(np.random.default_rng(0).integers(0, 1000, (rows, 4)), columns=list("abcd"))
        path = tmp_path / f"{rows}.{ending}"
        if ending == "csv":
            table.to_csv(path, index=False)
        else:
            (table.to_parquet if ending == "parquet" else table.to_feather)(path)
        done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 20, peaks  # MB; the further rows take 45 MB
