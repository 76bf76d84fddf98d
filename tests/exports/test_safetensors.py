"""`tfdump cat --format safetensors`: the library of the format reads the values, and would write the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from support.check_dumps import write_dump
from support.command import Run
from support.dumps import ARRAYS, RAGGED, SPARSE, SPLITS, STACK
from support.dumps import write_dump as write_every_kind
from support.example_names import photos, with_names
from tfdump.errors import DumpError
from tfdump.exports.safetensors import safetensors

NARROW = {
    "bfloat16": (ml_dtypes.bfloat16, "f4", "BF16"),
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, "f2", "F8_E4M3"),
    "float8_e5m2": (ml_dtypes.float8_e5m2, "f2", "F8_E5M2"),
}


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump with one tensor of every kind."""
    return write_every_kind(tmp_path_factory.mktemp("dump") / "d.h5")


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return dict(file.metadata())


def split(path: Path) -> tuple[int, list[tuple[str, object]], bytes]:
    """The length of the header, the items of the header in their order, and the values."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return size, list(json.loads(data[8 : 8 + size]).items()), data[8 + size :]


def test_the_bytes_of_a_dump_are_those_of_the_library(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    done = tfdump("cat", dump, "--all", "-o", "x.safetensors")
    assert done.stdout == "x.safetensors\n"
    arrays = {f"activations/{name}": values for name, values in ARRAYS.items() if name != "complex"}
    arrays["activations/brain"] = ARRAYS["brain"].astype(ml_dtypes.bfloat16)
    arrays |= {"activations/ragged%2Evalues": RAGGED, "activations/ragged.row_splits": SPLITS}
    arrays |= {"activations/sparse.values": SPARSE[0], "activations/sparse.indices": SPARSE[1]}
    arrays["activations/sparse.dense_shape"] = np.array([4, 2])
    arrays |= {f"activations/stack.{number}": item for number, item in enumerate(STACK)}
    arrays |= {"outputs/dense": ARRAYS["dense"] + 1, "outputs/logits": ARRAYS["dense"] * 2}
    with h5py.File(dump) as file:
        deep = file["activations/deep"]
        arrays |= {f"activations/deep.{part}": deep[part][()] for part in deep}
    metadata = metadata_of(tmp_path / "x.safetensors")
    assert metadata["model"] == "m.keras"
    assert json.loads(metadata["axis0"])["activations/stack"] == "batch"
    assert json.loads(metadata["dtype"])["activations/brain"] == "bfloat16"
    (tmp_path / "theirs.safetensors").write_bytes(save(arrays, metadata))  # whose metadata has no order
    ours, theirs = (split(tmp_path / f"{name}.safetensors") for name in ("x", "theirs"))
    assert ours == theirs
    assert [line.partition("'")[2] for line in done.stderr.splitlines()] == [
        "activations/complex' holds complex numbers, which most readers of safetensors do not take (use --format npz)",
        "activations/text' holds text, which safetensors does not have (use --format npz or csv)",
        "activations/statistics' has statistics and no values (it was dumped with --stats-only)",
        "activations/unreached' is not connected to the loss and has no gradient",
    ]


@pytest.mark.parametrize("name", NARROW)
def test_every_number_of_a_narrow_float_keeps_its_bits(tfdump: Run, tmp_path: Path, name: str) -> None:
    """All bit patterns, NaN and -0 among them, as the dump has them: upcast."""
    dtype, stored, code = NARROW[name]
    patterns = np.arange(1 << (8 * np.dtype(dtype).itemsize), dtype=f"u{np.dtype(dtype).itemsize}")
    wide = (patterns.astype("u4") << 16).view("f4")  # as bfloat16; a cast may make a signalling NaN a quiet one
    upcast = wide if name == "bfloat16" else patterns.view(dtype).astype(stored)
    described = {"dtype": name, "stored_as": np.dtype(stored).name}
    write_dump(tmp_path / "d.h5", {"activations/x": (upcast.reshape(-1, 4), described)})
    assert tfdump("cat", "d.h5", "x", "-o", "x.safetensors").returncode == 0
    path = tmp_path / "x.safetensors"
    shape = [len(patterns) // 4, 4]
    _, header, values = split(path)
    assert header[1] == ("x", {"dtype": code, "shape": shape, "data_offsets": [0, patterns.nbytes]})
    ours = np.frombuffer(values, dtype)
    if name == "bfloat16":
        assert ours.tobytes() == patterns.tobytes()
        return
    numbers = ~np.isnan(upcast)  # a dump has one NaN of float8, as ml_dtypes casts it
    np.testing.assert_array_equal(np.isnan(ours), ~numbers)
    assert ours[numbers].tobytes() == patterns[numbers].tobytes()


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("activations/x", {"reduce": "mean:1"}), ("gradients/weights/x", {}), ("activations/x", {"stored_as": "float64"})],
)
def test_what_bfloat16_may_not_hold_is_not_narrowed(
    tfdump: Run, tmp_path: Path, name: str, attributes: dict[str, str]
) -> None:
    """Means, sums over batches, and what `--dtype` stored."""
    values = np.array([1 / 3, -0.0, 2.0], attributes.get("stored_as", "float32"))
    described = {"dtype": "bfloat16", "stored_as": "float32"} | attributes
    write_dump(tmp_path / "d.h5", {name: (values, described)})
    assert tfdump("cat", "d.h5", "x", "-o", "x.safetensors").returncode == 0
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        assert file.get_tensor("x").dtype == values.dtype
        assert file.get_tensor("x").tobytes() == values.tobytes()


@pytest.mark.parametrize(("name", "value"), [("bfloat16", 1 / 3), ("float8_e5m2", 1.1), ("float8_e4m3fn", 1.1)])
def test_nothing_is_rounded(tfdump: Run, tmp_path: Path, name: str, value: float) -> None:
    """Values that the dtype does not have, in a dump that says it has."""
    values = np.array([2, value], NARROW[name][1])
    write_dump(tmp_path / "d.h5", {"activations/x": (values, {"dtype": name, "stored_as": values.dtype.name})})
    done = tfdump("cat", "d.h5", "x", "-o", "x.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"'x' holds values that {name} does not have, which is its dtype" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_pieces_payloads_and_signs_are_kept(tfdump: Run, tmp_path: Path) -> None:
    """More than a block, of any bits; in chunks, forward and backward."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, (400_000, 7), dtype="u4")
    bits[:2, 0] = 0x80000000, 0x7F800001
    values = bits.view("f4")
    path = write_dump(tmp_path / "d.h5", {"activations/x": np.zeros(1, "f4")})
    with h5py.File(path, "r+") as file:
        attributes = dict(file["activations/x"].attrs)
        del file["activations/x"]
        file["activations"].create_dataset("x", data=values, chunks=(10_000, 7)).attrs.update(attributes)
    for cut, expected in ((None, values), ("::-3,1:", values[::-3, 1:])):
        slicing = () if cut is None else (f"--slice={cut}",)
        assert tfdump("cat", "d.h5", "x", *slicing, "-f", "-o", "x.safetensors").returncode == 0
        with safe_open(tmp_path / "x.safetensors", "np") as file:
            read_back = file.get_tensor("x")
        assert read_back.shape == expected.shape
        assert read_back.tobytes() == expected.tobytes()
        assert metadata_of(tmp_path / "x.safetensors").get("slice") == cut


def test_standard_output_is_the_same_file(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    command = ["cat", str(dump), "dense", "outputs/dense", "brain", "--format", "safetensors"]
    done = subprocess.run([sys.executable, "-m", "tfdump", *command], capture_output=True, check=True)
    assert tfdump(*command, "-o", "x.safetensors").returncode == 0
    assert (tmp_path / "x.safetensors").read_bytes() == done.stdout
    assert done.stderr == b""
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        assert sorted(file.keys()) == ["activations/dense", "brain", "outputs/dense"]  # namesakes bear their groups
        np.testing.assert_array_equal(file.get_tensor("outputs/dense"), ARRAYS["dense"] + 1)


def test_a_name_that_the_format_uses_is_written_in_full(tfdump: Run, tmp_path: Path) -> None:
    write_dump(tmp_path / "d.h5", {"activations/__metadata__": np.ones(2, "f4")})
    assert tfdump("cat", "d.h5", "__metadata__", "-o", "x.safetensors").returncode == 0
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        assert file.keys() == ["activations/__metadata__"]


def test_ids_are_metadata_and_labels_an_array(tfdump: Run, tmp_path: Path) -> None:
    values = np.arange(12, dtype="f4").reshape(6, 2)
    path = write_dump(tmp_path / "d.h5", {"activations/x": values, "activations/é": values})
    with_names(path, ['"é"\n', *photos(5)], [0, 0, 1, 1, 1, 0], ["cat", "dog"])
    assert tfdump("cat", path, "x", "é", "--ids", "--slice=1:4", "-o", "x.safetensors").returncode == 0
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        metadata = file.metadata()
        assert sorted(file.keys()) == ["examples/label", "x", "é"]
        assert file.get_tensor("examples/label").tolist() == [0, 1, 1]
    assert json.loads(metadata["examples/id"]) == photos(5)[:3]
    assert json.loads(metadata["examples/classes"]) == ["cat", "dog"]
    assert tfdump("cat", path, "--all", "--ids", "-o", "all.safetensors").returncode == 0
    assert json.loads(metadata_of(tmp_path / "all.safetensors")["examples/id"])[0] == '"é"\n'
    assert tfdump("cat", path, "x", "-o", "none.safetensors").returncode == 0
    assert "examples/id" not in metadata_of(tmp_path / "none.safetensors")


def test_a_header_has_a_limit() -> None:
    with pytest.raises(DumpError, match=r"safetensors has room for 100,000,000 \(leave --ids out, add --rows-per"):
        next(safetensors([], {"examples/id": " " * 100_000_000}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("complex",), "'complex' holds complex numbers, which most readers of safetensors do not take"),
        (("dense", "text"), "'text' holds text, which safetensors does not have (use --format npz or csv)"),
        (("dense", "--ids"), "does not tell the names of its examples"),
        (("dense", "--no-header"), "--no-header belongs to --format csv"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    tfdump: Run, dump: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = tfdump("cat", dump, *words, "-o", "x.safetensors")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
