"""`tfdump layers` and `tfdump show`: tables, TSV, JSON, pipes that close."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.forked import forked_python
from support.terminals import on_terminal

pytestmark = pytest.mark.tensorflow

DIGITS = (SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy")


@pytest.fixture
def dump(tfdump: Run, tmp_path: Path) -> Path:
    assert tfdump("activations", *DIGITS, "--stats", "-o", "d.h5").returncode == 0
    return tmp_path / "d.h5"


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_layers_lists_addresses_in_execution_order(tfdump: Run) -> None:
    rows = rows_of(tfdump("layers", DIGITS[0]).stdout)
    assert rows[0] == ["address", "class", "shape", "dtype", "parameters", "bytes/example"]
    assert rows[1] == ["conv1", "Conv2D", "(?, 8, 8, 16)", "float32", str(3 * 3 * 16 + 16), str(8 * 8 * 16 * 4)]
    assert [row[0] for row in rows[1:4]] == ["conv1", "bn1", "relu1"]
    assert ["add", "Add"] in [row[:2] for row in rows]


def test_layers_shows_what_a_selection_would_dump(tfdump: Run) -> None:
    rows = rows_of(tfdump("layers", SAMPLES / "siamese.keras", "-l", "encoder*", "-x", "type:Flatten").stdout)
    listed = [row[0] for row in rows[1:]]
    assert listed == [f"{call}{part}" for call in ("encoder", "encoder@1") for part in (".conv", ".features", "")]
    depth = rows_of(tfdump("layers", SAMPLES / "siamese.keras", "--depth", "1").stdout)
    assert all("." not in row[0] for row in depth[1:])


def test_layers_as_json(tfdump: Run) -> None:
    document = json.loads(tfdump("layers", SAMPLES / "text_gru.keras", "--json").stdout)
    assert (document["schema_version"], document["kind"]) == (1, "layers")
    items = {item["address"]: item for item in document["items"]}
    assert items["bidirectional.forward_gru"]["class"] == "GRU"
    assert items["bidirectional.forward_gru"]["shape"] == [None, None, 12]
    assert items["bidirectional.forward_gru"]["bytes_per_example"] is None
    missing = [item["address"] for item in document["not_captured"]]
    assert "bidirectional.forward_gru.gru_cell" in missing


def test_layers_of_a_model_that_declares_nothing_asks_for_an_input(tfdump: Run, tmp_path: Path) -> None:
    """A subclassed model that was never built: its layers are known only on data."""
    (tmp_path / "lazy.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable()\n"
        "class Lazy(keras.Model):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.scale = keras.layers.Rescaling(2.0, name='scale')\n"
        "    def call(self, x):\n"
        "        return self.scale(x)\n"
    )
    save = "import lazy; lazy.Lazy().save('lazy.keras')"
    subprocess.run([*forked_python(), "-c", save], cwd=tmp_path, check=True, capture_output=True)
    np.save(tmp_path / "x.npy", np.ones((3, 5), "float32"))
    refused = tfdump("layers", "lazy.keras", "--import", "lazy.py")
    assert refused.returncode == 2
    assert "add an INPUT" in refused.stderr
    listed = tfdump("layers", "lazy.keras", "x.npy", "--import", "lazy.py")
    assert rows_of(listed.stdout)[1][:3] == ["scale", "Rescaling", "(?, 5)"]


def test_show_lists_tensors_with_statistics(tfdump: Run, dump: Path) -> None:
    rows = rows_of(tfdump("show", dump).stdout)
    assert rows[0] == ["tensor", "class", "shape", "dtype", "min", "max", "mean", "std", "l2", "nan", "inf", "zero"]
    assert rows[1][:4] == ["activations/conv1", "Conv2D", "(300, 8, 8, 16)", "float32"]
    assert rows[-1][0] == "outputs/predictions"


def test_show_provenance_and_json(tfdump: Run, dump: Path) -> None:
    provenance = dict(rows_of(tfdump("show", dump, "--provenance").stdout))
    assert provenance["model"] == "digits_cnn.keras"
    assert provenance["examples"] == "300"
    document = json.loads(tfdump("show", dump, "--json").stdout)
    assert (document["schema_version"], document["kind"]) == (1, "dump")
    assert document["items"][0]["shape"] == [300, 8, 8, 16]
    assert document["items"][0]["statistics"]["nan"] == 0
    assert document["provenance"]["format_version"] == 1


def test_json_writes_nan_and_infinity_as_text(tfdump: Run, tmp_path: Path) -> None:
    x = np.load(DIGITS[1])[:2]
    x[0] = np.nan
    np.save(tmp_path / "nan.npy", x)
    tfdump("activations", DIGITS[0], "nan.npy", "--examples", "0:1", "--stats", "-o", "n.h5")
    text = tfdump("show", "n.h5", "--json").stdout
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["items"][0]["statistics"]["min"] == "NaN"


def test_show_does_not_import_tensorflow(dump: Path) -> None:
    code = (
        "import sys; from tfdump.cli.main import run; run(['show', sys.argv[1]]); "
        "assert not {'tensorflow', 'keras', 'rich'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(dump)], check=True, capture_output=True)


def test_show_refuses_what_is_no_dump(tfdump: Run, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "newer.h5", "w") as file:
        file.attrs["format"], file.attrs["format_version"] = "tfdump", 99
    for name, words in {
        "other.h5": "not a dump of tfdump",
        "newer.h5": "format version 99",
        "missing.h5": "no such file",
    }.items():
        done = tfdump("show", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_a_closed_pipe_ends_quietly_with_status_0(dump: Path) -> None:
    script = f"'{sys.executable}' -m tfdump show --json '{dump}' | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_terminal_gets_an_aligned_table(dump: Path) -> None:
    """Columns start at the same place in every line, and numbers are shortened."""
    screen = on_terminal("show", dump, cwd=dump.parent, columns=200, NO_COLOR="1")
    assert screen.returncode == 0
    lines = screen.written.splitlines()
    header = next(line for line in lines if line.startswith("tensor "))
    conv = next(line for line in lines if line.startswith("activations/conv1"))
    assert header.index("class") == conv.index("Conv2D")
    assert header.index("shape") == conv.index("(300")
    assert "\t" not in conv
    assert any(line.startswith("model ") and line.endswith("digits_cnn.keras") for line in lines)


def test_the_advice_for_a_pattern_that_matches_no_operation_lists_the_operations(tfdump: Run) -> None:
    model, labels = SAMPLES / "wine_mlp.keras", SAMPLES / "wine_labels.npy"
    for command in (["activations", model, SAMPLES / "wine.npy"], ["layers", model],
                    ["gradients", model, SAMPLES / "wine.npy", labels, "--wrt", "activations"]):  # fmt: skip
        said = tfdump(*command, "--ops", "-l", "*:op.Nope").stderr
        advice = said.partition("list them: ")[2].rstrip(")\n").replace("MODEL", str(model))
        assert ":op." in tfdump(*advice.split()[1:]).stdout, said
