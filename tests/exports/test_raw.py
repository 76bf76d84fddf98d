"""`tfdump cat --format bin`: raw bytes that NumPy reads with what the JSON beside them says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from support.check_dumps import write_dump
from support.command import Run
from support.dumps import ARRAYS, RAGGED, SPLITS
from support.dumps import write_dump as write_every_kind
from support.example_names import photos, with_names
from support.sharded_runs import EXAMPLES, SIZE, MadeRun, every_kind


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump with one tensor of every kind."""
    return write_every_kind(tmp_path_factory.mktemp("dump") / "d.h5")


def described(path: Path) -> dict[str, Any]:
    return json.loads(path.with_name(path.name + ".json").read_text())


def arrays_of(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """The arrays of a file as its description tells, by name and part."""
    data, arrays = path.read_bytes(), {}
    for item in described(path)["items"]:
        dtype = np.dtype(getattr(ml_dtypes, item["stored_as"], item["stored_as"])).newbyteorder("<")
        part = data[item["offset"] : item["offset"] + item["bytes"]]
        arrays[item["name"], item.get("part", "")] = np.frombuffer(part, dtype).reshape(item["shape"])
    return arrays


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "brain"])
def test_one_tensor_is_its_bytes(tfdump: Run, dump: Path, tmp_path: Path, name: str) -> None:
    assert tfdump("cat", dump, name, "-o", "x.bin").stdout == "x.bin\n"
    assert (tmp_path / "x.bin").read_bytes() == ARRAYS[name].tobytes()
    (item,) = described(tmp_path / "x.bin")["items"]
    expected = {"name": f"activations/{name}", "offset": 0, "bytes": ARRAYS[name].nbytes, "axis0": "example"}
    assert (
        item.items() >= (expected | {"shape": list(ARRAYS[name].shape), "stored_as": ARRAYS[name].dtype.name}).items()
    )


def test_one_file_holds_all_tensors(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "-o", "x.bin")
    assert done.returncode == 0
    assert "'activations/text' holds text, whose items have no fixed number of bytes" in done.stderr
    arrays = arrays_of(tmp_path / "x.bin")
    for name, values in ARRAYS.items():
        expected = values.astype(ml_dtypes.bfloat16) if name == "brain" else values
        assert arrays[f"activations/{name}", ""].tobytes() == expected.tobytes(), name
        assert arrays[f"activations/{name}", ""].shape == values.shape
    np.testing.assert_array_equal(arrays["activations/ragged", "row_splits"], SPLITS)
    np.testing.assert_array_equal(arrays["outputs/logits", ""], ARRAYS["dense"] * 2)
    description = described(tmp_path / "x.bin")
    assert all(item["offset"] % 16 == 0 for item in description["items"])
    assert description["origin"]["model"] == "m.keras"
    assert description["file"] == "x.bin"
    assert max(item["offset"] + item["bytes"] for item in description["items"]) == (tmp_path / "x.bin").stat().st_size


def test_a_folder_has_one_file_per_array(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    assert tfdump("cat", dump, "--all", "--format", "bin", "-o", "raw").returncode == 0
    expected = {
        "activations/ragged%2Evalues": (("activations/ragged", "values"), RAGGED),  # there is a tensor `ragged.values`
        "outputs/dense": (("outputs/dense", ""), ARRAYS["dense"] + 1),
    }
    for path, (name, values) in expected.items():
        (array,) = arrays_of(tmp_path / "raw" / f"{path}.bin").items()
        assert (array[0], array[1].tobytes()) == (name, values.tobytes())
    assert tfdump("cat", dump, "--all", "--format", "bin", "-f", "-o", "raw").returncode == 0  # all files are known
    (tmp_path / "raw/activations/mine.json").write_text("{}")
    refused = tfdump("cat", dump, "--all", "--format", "bin", "-f", "-o", "raw")
    assert "holds a file that tfdump did not write" in refused.stderr


def test_scales_follow_the_slice(tfdump: Run, tmp_path: Path) -> None:
    """Those of the channels that are left, along the axis where they are then."""
    values = np.arange(24, dtype="i1").reshape(2, 3, 4)
    scales, zeros = np.array([0.5, 0.25, 0.1], "f4"), np.array([-128, 3, 7])
    quantized = {"scale": scales, "zero_point": zeros, "quantized_axis": 1}
    write_dump(tmp_path / "d.h5", {"activations/q": (values, quantized)})
    for number, (cut, expected) in enumerate(
        {
            ":": {"scale": scales, "zero_point": zeros, "quantized_axis": 1},
            "1,::-1": {"scale": scales[::-1], "zero_point": zeros[::-1], "quantized_axis": 0},
            ":,1": {"scale": scales[1], "zero_point": 3},
        }.items()
    ):
        path = tmp_path / f"{number}.bin"
        assert tfdump("cat", "d.h5", "q", f"--slice={cut}", "-o", path.name).returncode == 0
        (item,) = described(path)["items"]
        told = {name: item.get(name) for name in ("scale", "zero_point", "quantized_axis") if name in item}
        assert {name: np.asarray(value, "f4").tolist() for name, value in told.items()} == {
            name: np.asarray(value, "f4").tolist() for name, value in expected.items()
        }
        assert described(path)["slice"] == cut


def test_standard_output_is_the_same_bytes(tfdump: Run, dump: Path) -> None:
    command = [sys.executable, "-m", "tfdump", "cat", str(dump), "conv", "--slice", "::-2,0", "--format", "bin"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == np.ascontiguousarray(ARRAYS["conv"][::-2, 0]).tobytes()
    assert done.stderr == b""


def test_an_existing_description_is_not_overwritten(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bin.json").write_text("mine")
    done = tfdump("cat", dump, "dense", "-o", "x.bin")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "output x.bin.json exists" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin.json"]
    assert tfdump("cat", dump, "dense", "-f", "-o", "x.bin").returncode == 0
    assert described(tmp_path / "x.bin")["items"][0]["bytes"] == 48


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("text", "-o", "x.bin"),
            "'text' holds text, whose items have no fixed number of bytes (use --format",
        ),
        (
            ("dense", "conv", "--format", "bin"),
            "arrays as bin need a description beside them (add -o FILE.bin)",
        ),
        (("--all", "--ids", "--format", "bin", "-o", "x"), "and .bin has no room for names"),
        (("--all", "--format", "bin"), "--all needs -o FOLDER or -o FILE"),
    ],
)
def test_what_cannot_be_written_is_one_line(tfdump: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    write_every_kind(tmp_path / "d.h5")
    with_names(tmp_path / "d.h5", photos(3)) if "--ids" in words else None
    done = tfdump("cat", "d.h5", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_a_folder_of_shards_is_written_as_one_run(tfdump: Run, tmp_path: Path) -> None:
    run = MadeRun(every_kind(), EXAMPLES, SIZE)
    run.write(tmp_path / "one.h5")
    run.write_shards(tmp_path / "shards", (8, EXAMPLES))
    for name in ("one.h5", "shards"):
        folder = tmp_path / f"of_{name}"
        folder.mkdir()
        for words in (("-o", "all.bin"), ("--format", "bin", "-o", "raw"), ("--format", "c", "-o", "c")):
            output = (*words[:-1], folder / words[-1])
            assert tfdump("cat", name, "--all", *output).returncode == 0
    one, joined = (tmp_path / f"of_{name}" for name in ("one.h5", "shards"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(joined) for path in joined.rglob("*") if path.is_file())
    assert len(files) > 2 * len(run.tensors)
    assert [name for name in files if (one / name).read_bytes() != (joined / name).read_bytes()] == []
