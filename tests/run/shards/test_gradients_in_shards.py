"""The sums of all shards, added by NumPy, are the gradients of one run, and rows are those of one run bit for bit."""

import filecmp
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfdump as api
from support.command import Run
from support.tiny_models import floats
from tfdump.accumulators.statistics import ExactNorm, ExactStatistics
from tfdump.dump.packing import fingerprint
from tfdump.dump.shards.gradient_sums import (
    CombinedSum,
    PartialSum,
    loss_of,
    norm_of_all,
    read_numbers,
    read_regularization,
)
from tfdump.dump.shards.manifest import Manifest, read_manifest
from tfdump.dump.shards.shard_file import read_shard_state, shard_name
from tfdump.errors import DumpError

pytestmark = pytest.mark.tensorflow

BOTH = ("--wrt", "weights", "--wrt", "activations")

CASES: dict[str, tuple[str, ...]] = {
    "weights": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4"),
    "everything": (
        "dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--wrt", "weights", "--wrt", "activations",
        "--wrt", "inputs", "--examples", "3:21",
    ),
    "norms": (
        "dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--norms-only", "--wrt", "weights", "--wrt", "inputs",
    ),
    "examples": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--per-example"),
    "half": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--stats", "quantiles", "--dtype", "float16"),
    "table": ("words.keras", "ids.npy", "labels.npy", "--batch-size", "3", "--sparse"),
    "masked": ("masked.keras", "steps.npy", "next.npy", "--batch-size", "4", "--reduction", "mean"),
    "unconnected": (
        "heads.keras", "x.npy", "--objective", "first[0]", "--batch-size", "4", *BOTH, "--checksums",
        "--compression", "gzip",
    ),
    "regular": ("regular.keras", "ids.npy", "labels.npy", "--batch-size", "3", "--sparse", "--stats"),
    "mixed": ("mixed.keras", "x.npy", "y.npy", "--batch-size", "4", *BOTH, "--norms-only"),
    "statistics": (
        "mixed.keras", "x.npy", "y.npy", "--batch-size", "4", *BOTH, "--stats-only", "--stats", "quantiles",
    ),
    "eager": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--eager", *BOTH),
    "one_batch": ("dense.keras", "x.npy", "y.npy", "--batch-size", "8", "--per-example", "--norms-only"),
    "zstd": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--compression", "zstd"),
    "zstd_examples": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--compression", "zstd", "--per-example"),
    "named": (
        "dense.keras", "x.npy", "--targets", "named.csv", "--id-column", "who", "--batch-size", "4",
    ),
    "weighted": ("dense.keras", "x.npy", "y.npy", "--batch-size", "4", "--sample-weight", "w.npy"),
}  # fmt: skip


def randomized(model: keras.Model, loss: Any = "mse") -> keras.Model:
    random = np.random.default_rng(4)
    model.set_weights([random.normal(0, 0.5, weight.shape).astype("f4") for weight in model.get_weights()])
    model.compile(loss=loss)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(6)
    x = keras.Input((5,), name="x")
    hidden = layers.Dense(7, "tanh", kernel_regularizer="l2", name="hidden")(x)
    randomized(keras.Model(x, layers.Dense(2, name="out")(hidden))).save(folder / "dense.keras")
    shared = layers.Dense(5, "tanh", name="shared")
    heads = [layers.Dense(2, name=name)(shared(shared(x))) for name in ("first", "second")]
    randomized(keras.Model(x, heads)).save(folder / "heads.keras")
    mixed = layers.Dense(7, "tanh", name="hidden", dtype="mixed_float16")(x)
    randomized(keras.Model(x, layers.Dense(2, name="out", dtype="mixed_float16")(mixed))).save(folder / "mixed.keras")
    for name, regularizer in (("words", None), ("regular", "l2")):
        ids = keras.Input((4,), dtype="int32", name="ids")
        vectors = layers.Embedding(50, 3, embeddings_regularizer=regularizer, name="table")(ids)
        out = layers.Dense(3, "softmax", name="out")(layers.GlobalAveragePooling1D(name="pool")(vectors))
        randomized(keras.Model(ids, out), "sparse_categorical_crossentropy").save(folder / f"{name}.keras")
    steps = keras.Input((6, 2), name="steps")
    masked = layers.Masking(name="mask")(steps)
    states = layers.LSTM(3, return_sequences=True, name="lstm")(masked)
    randomized(keras.Model(steps, layers.Dense(2, name="next")(states))).save(folder / "masked.keras")
    arrays = {
        "x": floats(23, 5) * 3, "y": floats(23, 2), "w": random.random(23).astype("f4"),
        "ids": random.integers(0, 9, (14, 4)).astype("i4"), "labels": random.integers(0, 3, 14).astype("i4"),
        "steps": floats(18, 6, 2), "next": floats(18, 6, 2),
    }  # fmt: skip
    for number, length in enumerate(random.integers(1, 7, 18)):
        arrays["steps"][number, length:] = 0
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    rows = (f"p{number},{a},{b}" for number, (a, b) in enumerate(arrays["y"]))
    (folder / "named.csv").write_text("\n".join(("who,a,b", *rows)))
    return folder


def arguments(place: Path, case: str) -> list[str]:
    return [str(place / word) if Path(word).suffix in (".keras", ".npy", ".csv") else word for word in CASES[case]]


@pytest.fixture(scope="module")
def dumps(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run and the shards of a case, the second of which is made first."""
    from tfdump.cli import main

    made: dict[str, tuple[Path, Path]] = {}

    def make(case: str) -> tuple[Path, Path]:
        if case not in made:
            folder = tmp_path_factory.mktemp(case)
            one, shards = folder / "one.h5", folder / "shards"
            words = ["gradients", *arguments(place, case)]
            assert main.run([*words, "-o", str(one)]) == 0
            assert main.run([*words, "--shards", str(shards), "--shard", "2/3"]) == 0
            assert main.run([*words, "--shards", str(shards)]) == 0
            made[case] = one, shards
        return made[case]

    return make


def opened(folder: Path) -> tuple[Manifest, list[h5py.File]]:
    manifest = read_manifest(folder)
    return manifest, [h5py.File(folder / shard_name(*bounds)) for bounds in manifest.ranges]


def wide_sum(shards: list[h5py.File], address: str) -> np.ndarray:
    """The sum over the shards, and the regularization, added by NumPy in the longest float."""
    group = [shard[f"shard/sums/{address}"] for shard in shards]
    parts = [item[name][()] for item in group for name in ("high", "low") if name in item]
    own = shards[0].get(f"shard/regularization/gradients/{address}")
    return np.sum(np.array([*parts, *([] if own is None else [own[()]])], np.longdouble), axis=0)


SUMMED = ["weights", "everything", "norms", "examples", "half", "table", "masked", "weighted"]


@pytest.mark.parametrize("case", SUMMED)
def test_sums_of_shards_are_the_gradients_of_one_run(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    manifest, shards = opened(folder)
    assert len(shards) == 3
    states = [read_shard_state(shard).tensors for shard in shards]
    with api.open(one) as whole:
        for place, tensor in enumerate(manifest.plan.tensors):
            address = tensor.info.address
            item = whole[f"{tensor.group}/{address}"]
            stored, attributes = item.read(), item.attributes
            assert [state[place]["address"] for state in states] == [address] * 3
            if "sum" not in states[0][place]:
                rows = np.concatenate([shard[f"{tensor.group}/{address}"][()] for shard in shards])
                assert fingerprint([rows]) == fingerprint([stored])
                norm = ExactNorm()
                for state in states:
                    norm.merge(ExactNorm.of_state(state[place]["attributes"]))
                assert norm.norm == attributes["norm"]
                continue
            assert [state[place]["sum"]["terms"] for state in states] == [
                len(manifest.batches_of(*bounds)) for bounds in manifest.ranges
            ]
            total = wide_sum(shards, address)
            assert attributes["norm"] == pytest.approx(float(np.sqrt((total**2).sum())), rel=1e-14)
            if case == "norms":
                assert stored == np.float32(attributes["norm"])
            elif case == "table" and address.startswith("table"):
                touched = np.any([shard[f"shard/sums/{address}/touched"][()] for shard in shards], axis=0)
                np.testing.assert_array_equal(stored.indices[:, 0], np.flatnonzero(touched))
                np.testing.assert_array_equal(stored.values, total.astype("f4")[touched])
            else:
                np.testing.assert_array_equal(stored, total.astype("f4").astype(stored.dtype))


@pytest.mark.parametrize("case", ["weights", "half", "table"])
def test_sums_combine_to_the_bits_of_one_run(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    manifest, shards = opened(folder)
    states = [read_shard_state(shard).tensors for shard in shards]
    addresses = [tensor.info.address for tensor in manifest.plan.tensors]
    _, gradients = read_regularization(shards[0], addresses)
    assert (case == "table") == (not gradients)
    norms = []
    with api.open(one) as whole:
        for place, tensor in enumerate(manifest.plan.tensors):
            address = tensor.info.address
            combined = CombinedSum()
            for shard, state in zip(shards, states, strict=True):
                combined.add(PartialSum.read(shard, address, state[place]["sum"]["terms"]))
            if address in gradients:
                combined.add_regularization(gradients[address])
            wide, rounded = combined.result(tensor.info.dtype)
            item = whole[f"{tensor.group}/{address}"]
            norm = ExactNorm()
            norm.add(wide)
            norms.append(norm.norm)
            assert norm.norm == item.attributes["norm"]
            if combined.touched is None:
                assert fingerprint([rounded.astype(item.stored_dtype)]) == fingerprint([item.read()])
            if case == "half":
                statistics = ExactStatistics()
                statistics.add(rounded)
                assert vars(statistics.result()) == item.statistics
        assert norm_of_all(norms) == whole.attributes["gradient_norm"]


@pytest.mark.parametrize("case", [case for case in SUMMED if case != "examples"])
def test_the_loss_of_one_run_follows_from_the_numbers(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    manifest, shards = opened(folder)
    further = manifest.plan.further
    numbers = np.concatenate([read_numbers(shard) for shard in shards])
    regularization, _ = read_regularization(shards[0], [])
    assert not any("shard/regularization" in shard for shard in shards[1:])
    divisors = np.array([float.fromhex(number) for number in further["divisors"]])
    loss = loss_of(numbers, divisors, [float.fromhex(number) for number in further["term_weights"]], regularization)
    with h5py.File(one) as whole:
        assert loss == whole["loss"][()]
        assert whole["loss"].attrs.get("regularization") == regularization
        assert bool(regularization) == (case not in ("table", "masked"))
        parts = sum(float(shard["loss"][()]) for shard in shards) + (regularization or 0.0)
        assert parts == pytest.approx(loss, rel=1e-12)


def test_losses_of_examples_are_those_of_one_run(dumps: Any) -> None:
    one, folder = dumps("examples")
    _, shards = opened(folder)
    assert not any("shard/numbers" in shard for shard in shards)
    with h5py.File(one) as whole:
        np.testing.assert_array_equal(np.concatenate([shard["loss"][()] for shard in shards]), whole["loss"][()])
        left_out = [item["loss"].attrs["regularization_left_out"] for item in (whole, *shards)]
        assert len(set(left_out)) == 1


def test_the_divisor_of_a_masked_loss_is_that_of_all_examples(dumps: Any, place: Path) -> None:
    _, folder = dumps("masked")
    steps = np.load(place / "steps.npy")
    divisors = [float.fromhex(number) for number in read_manifest(folder).plan.further["divisors"]]
    assert divisors == [np.any(steps != 0, axis=-1).sum()]


def test_the_manifest_has_the_reduction_of_the_loss(dumps: Any) -> None:
    _, folder = dumps("masked")
    assert read_manifest(folder).options["reduction"] == "mean"


@pytest.mark.parametrize("case", CASES)
def test_shards_merge_to_the_bytes_of_one_run(dumps: Any, case: str, tmp_path: Path) -> None:
    one, folder = dumps(case)
    api.merge(folder, tmp_path / "merged.h5")
    assert filecmp.cmp(one, tmp_path / "merged.h5", shallow=False)


@pytest.mark.parametrize("case", ["zstd", "zstd_examples"])
def test_a_process_that_only_merges_loads_the_filter(
    dumps: Any, case: str, tfdump_process: Run, tmp_path: Path
) -> None:
    one, folder = dumps(case)
    done = tfdump_process("merge", folder, "-o", "merged.h5")
    assert (done.returncode, done.stderr) == (0, "")
    assert filecmp.cmp(one, tmp_path / "merged.h5", shallow=False)


@pytest.mark.parametrize("case", ["weights", "examples"])
def test_numbers_of_the_loss_that_are_missing_are_named(dumps: Any, case: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dumps(case)[1], tmp_path / "copy"))
    path = sorted(folder.glob("shard-*"))[1]
    with h5py.File(path, "r+") as file:
        name = "shard/numbers" if case == "weights" else "loss"
        values, attributes = file[name][1:], dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values).attrs.update(attributes)
    with pytest.raises(DumpError, match=rf"{path.name}: the loss is damaged: its numbers have the shape"):
        api.open(folder)


def without_checksums(item: Any) -> dict[str, Any]:
    """The attributes of a dump or a tensor that are not about the bytes of one file."""
    return {name: value for name, value in item.attributes.items() if not name.startswith("crc32")}


@pytest.mark.parametrize("case", CASES)
def test_shards_read_as_one_run(dumps: Any, case: str) -> None:
    one, folder = dumps(case)
    with api.open(one) as whole, api.open(folder) as joined:
        assert without_checksums(joined) == without_checksums(whole)
        assert joined.groups == whole.groups
        assert joined.loss_axis == whole.loss_axis
        np.testing.assert_array_equal(joined.loss, whole.loss)
        for tensor, expected in zip(joined.tensors(), whole.tensors(), strict=True):
            assert without_checksums(tensor) == without_checksums(expected)
            if expected.connected and expected.has_values:
                assert fingerprint([tensor.read()]) == fingerprint([expected.read()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", "2", "--learning-rate", "0.1"), "--shards excludes --steps"),
        (("--training",), "--shards excludes --training"),
    ],
)
def test_what_needs_all_examples_is_refused(tfdump: Run, place: Path, options: tuple[str, ...], message: str) -> None:
    done = tfdump("gradients", *arguments(place, "weights"), *options, "--shards", "shards")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_loss_that_couples_examples_is_refused(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((5,), name="x")
    randomized(keras.Model(x, layers.Dense(2, activity_regularizer="l2", name="out")(x))).save(tmp_path / "add.keras")
    np.save(tmp_path / "x.npy", floats(8, 5))
    np.save(tmp_path / "y.npy", floats(8, 2))
    done = tfdump("gradients", "add.keras", "x.npy", "y.npy", "--batch-size", "2", "--shards", "shards")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --shards: the loss couples the examples of a batch: layers add losses")
    assert not (tmp_path / "shards" / "manifest.json").exists()
