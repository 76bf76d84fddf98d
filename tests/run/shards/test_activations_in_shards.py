"""The rows of all shards, one after the other, are bit for bit those of one run, and the states add up to it."""

import filecmp
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tfdump as api
from support.command import Run
from tfdump.dump.packing import fingerprint
from tfdump.dump.shards.manifest import Manifest, read_manifest
from tfdump.dump.shards.shard_file import read_shard_state, shard_name
from tfdump.tensors import Ragged, Sparse

pytestmark = pytest.mark.tensorflow

IMPORT = ("--import", str(Path(__file__).parents[2] / "support/row_models.py"))

CASES: dict[str, tuple[Any, ...]] = {
    "cnn": ("cnn.keras", "x.npy", "--batch-size", "4"),
    "inputs": ("cnn.keras", "x.npy", "--batch-size", "4", "--save-inputs", "--examples", "3:21", "--outputs"),
    "reduced": ("cnn.keras", "x.npy", "--batch-size", "4", "--reduce", "mean:spatial", "--dtype", "float16"),
    "statistics": ("cnn.keras", "x.npy", "--batch-size", "4", "--stats-only", "--stats", "quantiles"),
    "packed": ("cnn.keras", "x.npy", "--batch-size", "4", "--compression", "gzip", "--checksums", "--stats"),
    "mixing": ("mixing.keras", "rows.npy", "--batch-size", "5", "--trust-model", "--stats", "quantiles"),
    "words": ("words.keras", "lines.txt", "--batch-size", "2", "--save-inputs"),
    "ragged": ("tokens.keras", "ragged.npz", "--batch-size", "2", "--rnn-steps"),
    "photos": ("photos.keras", "photos", "--batch-size", "2"),
    "table": ("mixing.keras", "table.csv::a,b,c", "--batch-size", "3", "--trust-model"),
    "tflite": ("cnn.tflite", "x.npy", "--batch-size", "4"),
    "int8": ("int8.tflite", "x.npy", "--batch-size", "4", "--stats", "quantiles"),
    "onnx": ("net.onnx", "six.npy", "--batch-size", "4"),
    "turned": ("turned.onnx", "six.npy", "--batch-size", "4"),
    "fixed": ("fixed.keras", "six.npy", "--trust-model"),
    "padded": ("padded.keras", "six.npy", "--trust-model"),
    "odd": ("odd.keras", "odd.npy", "--batch-size", "4", *IMPORT, "--stats", "quantiles"),
    "eager": ("eager.keras", "odd.npy", "--batch-size", "4", *IMPORT),
}


def arguments(place: Path, case: str) -> list[str]:
    model, data, *options = CASES[case]
    return [str(place / model), str(place / data), *options]


def in_batches(tensor: Any, count: int, size: int) -> Iterator[Any]:
    """The values of a tensor of a dump, batch by batch."""
    kind, values = tensor.attributes["axis0"], tensor.read()
    values = nested(values) if isinstance(values, Ragged) else values
    for number in range(count):
        if kind == "none":
            yield values
        elif kind == "batch":
            yield item_of(values, number) if isinstance(values, Sparse) else values[number]
        else:
            yield rows_of(values, number * size, (number + 1) * size)


def nested(ragged: Ragged) -> list[Any]:
    """A ragged tensor as lists within lists."""
    items = ragged.values.tolist()
    for splits in reversed(ragged.row_splits):
        items = [items[start:stop] for start, stop in pairwise(splits)]
    return items


def rows_of(values: Any, start: int, stop: int) -> Any:
    if not isinstance(values, Sparse):
        return values[start:stop]
    inside = (values.indices[:, 0] >= start) & (values.indices[:, 0] < stop)
    rows = min(stop, values.dense_shape[0]) - start
    return Sparse(values.values[inside], values.indices[inside] - [start, 0], (rows, *values.dense_shape[1:]))


def item_of(stack: Sparse, number: int) -> Sparse:
    inside = stack.indices[:, 0] == number
    return Sparse(stack.values[inside], stack.indices[inside, 1:], stack.dense_shape[1:])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return bool(one == other)
    if isinstance(one, Sparse):  # a stack of batches has the shape of the largest one
        return fingerprint([one.values, one.indices]) == fingerprint([other.values, other.indices])
    return fingerprint([one]) == fingerprint([other])


def shards_of(folder: Path, manifest: Manifest) -> list[Path]:
    return [folder / shard_name(*bounds) for bounds in manifest.ranges]


@pytest.fixture(scope="module")
def dumps(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run and the shards of a case; the first shard that is made is the second one, in a process' own time."""
    from tfdump.cli import main

    made: dict[str, tuple[Path, Path]] = {}

    def make(case: str) -> tuple[Path, Path]:
        if case not in made:
            folder = tmp_path_factory.mktemp(case)
            one, shards = folder / "one.h5", folder / "shards"
            words = ["activations", *arguments(place, case)]
            assert main.run([*words, "-o", str(one)]) == 0
            assert main.run([*words, "--shards", str(shards), "--shard", "2/3"]) == 0
            assert main.run([*words, "--shards", str(shards)]) == 0
            made[case] = one, shards
        return made[case]

    return make


@pytest.mark.parametrize("case", [case for case in CASES if case != "statistics"])
def test_the_rows_are_those_of_one_run(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    manifest = read_manifest(folder)
    size = int(dict(manifest.root)["batch_size"])
    assert len(manifest.ranges) == 3
    with api.open(one) as whole:
        names = [f"{group}/{address}" for group, addresses in whole.groups.items() for address in addresses]
        batches = {name: in_batches(whole[name], -(-manifest.examples // size), size) for name in names}
        for path, bounds in zip(shards_of(folder, manifest), manifest.ranges, strict=True):
            with api.open(path) as shard:
                assert shard.attributes["first_example"] == bounds[0]
                there = [f"{group}/{address}" for group, addresses in shard.groups.items() for address in addresses]
                assert there == names
                for name in names:
                    for value in in_batches(shard[name], len(manifest.batches_of(*bounds)), size):
                        assert same(value, next(batches[name])), (name, bounds)
        assert not [name for name in names if next(batches[name], None) is not None]


@pytest.mark.parametrize("case", ["words", "photos", "table", "ragged"])
def test_what_is_beside_the_tensors_is_that_of_one_run(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    manifest = read_manifest(folder)
    with h5py.File(one) as whole:
        for path in [*(f"examples/{name}" for name in ("id", "label")), "inputs/ids:lengths"]:
            parts = []
            for shard in shards_of(folder, manifest):
                with h5py.File(shard) as file:
                    parts += [file[path][()]] if path in file else []
            assert len(parts) == (len(manifest.ranges) if path in whole else 0), path
            if parts:
                np.testing.assert_array_equal(np.concatenate(parts), whole[path][()])
        assert ("examples/id" in whole) == manifest.identity


@pytest.mark.parametrize("case", CASES)
def test_the_root_of_one_run_is_in_the_manifest(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    root = dict(read_manifest(folder).root)
    with h5py.File(one) as whole:
        assert set(whole.attrs) - {"padding", "depends_on_batch", "not_captured", "crc32_description"} == set(root)
        for name, value in root.items():
            assert np.asarray(whole.attrs[name]).dtype == np.asarray(value).dtype or isinstance(value, str), name
            assert whole.attrs[name] == value


def test_the_command_in_a_shard_is_that_of_one_run(dumps: Any) -> None:
    one, folder = dumps("cnn")
    with h5py.File(one) as whole:
        for path in shards_of(folder, read_manifest(folder)):
            with h5py.File(path) as shard:
                assert shard.attrs["command"] == whole.attrs["command"]
                assert shard.attrs["shard_of"] == read_manifest(folder).id


def test_the_state_has_what_merging_needs(dumps: Any, place: Path) -> None:
    _, folder = dumps("mixing")
    manifest = read_manifest(folder)
    x = np.load(place / "rows.npy")
    states = []
    for path in shards_of(folder, manifest):
        with h5py.File(path) as file:
            states.append(read_shard_state(file))
    assert [state.batches for state in states] == [len(manifest.batches_of(*bounds)) for bounds in manifest.ranges]
    planned = [(tensor.group, tensor.info.address) for tensor in manifest.plan.tensors]
    for state in states:
        assert [(item["group"], item["address"]) for item in state.tensors] == planned
        by_address = {item["address"]: item for item in state.tensors if item["group"] == "activations"}
        assert by_address["total"]["kind"]["axis0"] == "batch"
        assert by_address["constant"]["constant"] is not None
        assert by_address["total"]["constant"] is None
    assert len({item["constant"] for state in states for item in state.tensors if item["address"] == "constant"}) == 1
    sizes = [state.tensors[1]["kind"]["sizes"] for state in states]
    assert manifest.plan.tensors[1].info.address == "centered"
    assert sizes == [[5, 3], [5, 3], [-1, 3]]
    assert len(x) == 23


def test_the_numbers_of_batches_are_those_of_the_whole_run(dumps: Any) -> None:
    _, folder = dumps("odd")
    kinds = []
    for path in shards_of(folder, read_manifest(folder)):
        with h5py.File(path) as file:
            kinds.append({item["address"]: item["kind"] for item in read_shard_state(file).tensors})
    assert [kind["positive"]["departure"] for kind in kinds] == [None, [2, 1, 4], [3, 2, 4]]
    assert [kind["late"]["axis0"] for kind in kinds] == ["none", "none", "none"]


def test_constants_that_differ_between_shards_have_other_hashes(dumps: Any) -> None:
    _, folder = dumps("odd")
    hashes = []
    for path in shards_of(folder, read_manifest(folder)):
        with h5py.File(path) as file:
            hashes += [item["constant"] for item in read_shard_state(file).tensors if item["address"] == "late"]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("case", ["cnn", "statistics", "inputs", "turned", "int8"])
def test_ranges_are_those_of_one_run(dumps: Any, case: str, tfdump: Run) -> None:
    one, folder = dumps(case)
    whole, joined = (tfdump("ranges", path, "--per-channel", "--memory", "1k") for path in (one, folder))
    assert (whole.returncode, joined.returncode) == (0, 0), joined.stderr
    assert (joined.stdout, joined.stderr) == (whole.stdout, whole.stderr)
    assert len(joined.stdout.splitlines()) > 3


def test_losses_of_quantization_are_those_of_one_run(dumps: Any) -> None:
    whole, joined = (
        api.quantization_losses(golden, new) for golden, new in zip(dumps("cnn"), dumps("int8"), strict=True)
    )
    assert joined.losses == whole.losses
    assert any(one.steps for one in joined.losses)


def test_statistics_are_those_of_the_values_of_the_shard(dumps: Any) -> None:
    _, folder = dumps("statistics")
    _, whole = dumps("cnn")
    for path in shards_of(folder, read_manifest(folder)):
        with h5py.File(path) as shard, h5py.File(whole / path.name) as values:
            for name in ("conv", "norm", "out"):
                numbers = values[f"activations/{name}"][()].astype("f8")
                stored = shard[f"activations/{name}"].attrs
                assert stored["stat_count"] == numbers.size
                np.testing.assert_allclose(stored["stat_mean"], numbers.mean(), rtol=1e-12)
                assert (stored["stat_min"], stored["stat_max"]) == (numbers.min(), numbers.max())
                assert shard[f"activations/{name}"].shape[0] == 0


def test_the_same_command_makes_the_same_bytes(dumps: Any, place: Path, tfdump: Run, tmp_path: Path) -> None:
    _, folder = dumps("cnn")
    done = tfdump("activations", *arguments(place, "cnn"), "--shards", "again", "--shard-examples", "8")
    assert (done.returncode, done.stdout) == (0, "again\n")
    assert "3 shards, 3 written now, none missing" in done.stderr
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_the_manifest_names_no_folder(dumps: Any, place: Path) -> None:
    for case in ("photos", "odd", "table"):
        _, folder = dumps(case)
        text = (folder / "manifest.json").read_text()
        assert str(place) not in text
        assert json.loads(text)["examples"] > 0


def test_the_models_of_fixed_sizes_and_turned_axes_are_what_they_are_for(dumps: Any) -> None:
    padding = {}
    for case in ("fixed", "padded"):
        _, folder = dumps(case)
        paths = shards_of(folder, read_manifest(folder))
        padding[case] = []
        for path in paths:
            with h5py.File(path) as file:
                padding[case].append(int(file.attrs.get("padding", 0)))
    assert padding == {"fixed": [0, 0, 0], "padded": [0, 0, 2]}
    _, folder = dumps("turned")
    for path in shards_of(folder, read_manifest(folder)):
        with h5py.File(path) as file:
            axes = {name: item.attrs.get("stored_axes") for name, item in file["activations"].items()}
            assert [list(order) for order in axes.values() if order is not None] == [[1, 0]], axes


@pytest.mark.parametrize("case", CASES)
def test_shards_merge_to_the_bytes_of_one_run(dumps: Any, case: str, tmp_path: Path) -> None:
    one, folder = dumps(case)
    api.merge(folder, tmp_path / "merged.h5")
    assert filecmp.cmp(one, tmp_path / "merged.h5", shallow=False)
