"""A folder of shards reads as the dump of one run; shards that are missing, damaged or of another run are named."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support.sharded_runs import EXAMPLES, SIZE, Made, MadeRun, activations, every_kind, named, widens
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.shards.merge import merge_shards
from tfdump.dump.shards.open_shards import MOST_OPEN
from tfdump.errors import DumpError
from tfdump.quantization.ranges import ranges
from tfdump.run.options import store_options

RUN = MadeRun([*every_kind(), widens()], EXAMPLES, SIZE, names=named(), lengths={"x": np.arange(EXAMPLES)})
NAMES = [f"{tensor.group}/{tensor.name}" for tensor in RUN.tensors]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run as `one.h5`, and in shards of two, three and one batches."""
    folder = tmp_path_factory.mktemp("run")
    RUN.write(folder / "one.h5")
    RUN.write_shards(folder / "shards", (8, 20, 22))
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[tuple[Dump, Dump]]:
    """The dump of one run, and the folder of shards."""
    with open_dump(folder / "one.h5") as one, open_dump(folder / "shards") as joined:
        yield one, joined


def flat(value: Any) -> list[Any]:
    """The arrays of a value."""
    if isinstance(value, list):
        return value
    parts = {name: getattr(value, name) for name in ("values", "row_splits", "indices") if hasattr(value, name)}
    arrays = [parts.pop("values", value), *parts.pop("row_splits", ()), *parts.values()]
    return [np.asarray(array) for array in arrays]


def test_it_tells_the_same_of_the_run(pair: tuple[Dump, Dump]) -> None:
    one, joined = pair
    assert joined.attributes == one.attributes
    assert joined.groups == one.groups
    assert joined.not_captured == one.not_captured
    assert joined.depends_on_batch == one.depends_on_batch
    assert joined.config == one.config
    assert list(joined) == list(one)
    assert joined.loss is None


@pytest.mark.parametrize("name", [*NAMES, "inputs/x:lengths"])
def test_a_tensor_is_that_of_one_run(pair: tuple[Dump, Dump], name: str) -> None:
    expected, tensor = (dump[name] for dump in pair)
    assert tensor.attributes == expected.attributes
    assert (tensor.shape, tensor.dtype, tensor.stored_dtype) == (expected.shape, expected.dtype, expected.stored_dtype)
    for values, wanted in zip(flat(tensor.read()), flat(expected.read()), strict=True):
        assert values.dtype == wanted.dtype
        np.testing.assert_array_equal(values, wanted)
    for part, other in zip(tensor.parts(), expected.parts(), strict=True):
        assert (part.name, part.shape, part.chunks, part.piece_bytes) == (
            other.name, other.shape, other.chunks, other.piece_bytes,
        )  # fmt: skip
        assert list(part.keys(40)) == list(other.keys(40))
        for key, values in part.blocks(40):
            np.testing.assert_array_equal(values, other.read(key))
            if not part.is_text:
                into = np.empty(values.shape, part.dtype)
                part.read_into(key, into)
                np.testing.assert_array_equal(into, values)


KEYS: list[Any] = [
    (), 0, -1, 21, slice(None), slice(3, 21), slice(1, None, 3), slice(9, 9), slice(6, 9), (Ellipsis, 1), (Ellipsis,),
    (slice(7, 22, 5), 2), (5, slice(1, 3)), [0, 7, 8, 21], (slice(None), slice(0, 3, 2)), np.arange(22) % 3 == 1,
    np.int64(8),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("name", ["dense", "text"])
def test_a_slice_is_that_of_one_run(pair: tuple[Dump, Dump], name: str, key: Any) -> None:
    if name == "text" and isinstance(key, tuple) and len(key) == 2:
        return
    expected, values = (dump[name][key] for dump in pair)
    np.testing.assert_array_equal(values, expected)
    assert values.dtype == expected.dtype


@pytest.mark.parametrize("name", ["mixed", "varies_between"])
def test_batches_are_sliced_too(pair: tuple[Dump, Dump], name: str) -> None:
    for key in (slice(1, 6, 2), 4, (slice(0, 5),)):
        np.testing.assert_array_equal(pair[1][name][key], pair[0][name][key])


def test_wrong_keys_are_errors_as_in_h5py(pair: tuple[Dump, Dump]) -> None:
    for key, error in ((22, IndexError), ((0, 0, 0), ValueError), (slice(None, None, -1), ValueError)):
        with pytest.raises(error):
            pair[0]["dense"][key]
        with pytest.raises(error):
            pair[1]["dense"][key]


def test_the_examples_are_those_of_one_run(pair: tuple[Dump, Dump]) -> None:
    one, joined = (dump.examples for dump in pair)
    assert one is not None
    assert joined is not None
    assert joined.read(0, EXAMPLES) == one.read(0, EXAMPLES)
    assert joined.row("photos/9.jpg") == 9
    assert joined.class_counts == one.class_counts
    assert pair[1].example_id(121) == pair[0].example_id(121) == "photos/\\xff.jpg"


def test_statistics_are_those_of_one_run(tmp_path: Path) -> None:
    run = replace(RUN, store=store_options(stats="quantiles", stats_only=True))
    run.write(tmp_path / "one.h5")
    run.write_shards(tmp_path / "shards", (4, 16, 22))
    with open_dump(tmp_path / "one.h5") as one, open_dump(tmp_path / "shards") as joined:
        for name in NAMES:
            assert repr(joined[name].attributes) == repr(one[name].attributes)  # NaN is not itself
            assert joined[name].shape == one[name].shape
            with pytest.raises(DumpError, match="has statistics and no values"):
                joined[name].read()
        told, expected = (replace(ranges(dump), dump="") for dump in (joined, one))
        assert repr(told) == repr(expected)
        (dense,) = (one for one in told.ranges if one.tensor == "activations/dense")
        assert dense.percentile(50) is not None


@pytest.mark.parametrize("histogram", [None, [0, 0, "text"], [0, 2**18, ""], 1])
def test_a_damaged_histogram_of_a_shard_is_named(tmp_path: Path, histogram: Any) -> None:
    run = MadeRun(every_kind()[:1], EXAMPLES, SIZE, store=store_options(stats="quantiles"))
    folder = run.write_shards(tmp_path / "shards", (8, 22))
    with h5py.File(shards_of(folder)[1], "a") as file:
        state = json.loads(file["shard/state"][()])
        state["tensors"][0]["statistics"]["quantiles"] = histogram
        del file["shard/state"]
        file["shard/state"] = json.dumps(state)
    with pytest.raises(DumpError, match=rf"{shards_of(folder)[1].name}: '/shard' is damaged: ."):
        open_dump(folder)


def test_checksums_are_those_of_the_shards(tmp_path: Path) -> None:
    folder = replace(RUN, checksums=True, tensors=every_kind()[:1]).write_shards(tmp_path / "shards", (8, 22))
    with open_dump(folder) as dump:
        results = list(dump.verify())
    assert {item.name.partition(":")[0] for item in results} == {path.name for path in folder.glob("shard-*")}
    assert not any(item.problem for item in results)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A folder of shards that a test may damage."""
    return Path(shutil.copytree(folder / "shards", tmp_path / "copy"))


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.h5"))


def test_a_missing_shard_is_named_with_how_to_make_it(copy: Path) -> None:
    first, second, _ = shards_of(copy)
    second.unlink()
    with pytest.raises(DumpError, match=rf"lacks 1 of 3 shards: {second.name} \(examples 108 to 119\) .*--shard 2/3"):
        open_dump(copy)
    first.unlink()
    with pytest.raises(DumpError, match="lacks 2 of 3 shards"):
        open_dump(copy)


def test_a_shard_that_overlaps_others_is_named(copy: Path) -> None:
    shutil.copy(shards_of(copy)[0], copy / "shard-000000000104-000000000112.h5")
    with pytest.raises(DumpError, match=r"shard-000000000104-000000000112\.h5 overlaps the shards of manifest\.json"):
        open_dump(copy)


def test_a_shard_of_another_run_is_named(copy: Path, tmp_path: Path) -> None:
    other = replace(RUN, depends_on_batch=("mixed",)).write_shards(tmp_path / "other", (8, 20, 22))
    shutil.copy(shards_of(other)[1], shards_of(copy)[1])
    with pytest.raises(DumpError, match=rf"{shards_of(copy)[1].name} is not the shard of this run: its shard_of"):
        open_dump(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.__delitem__("activations/text"),
        lambda file: file.__delitem__("shard"),
        lambda file: file.__setitem__("shard/state", 1) if file.pop("shard/state") else None,
        lambda file: file["shard"].__setitem__("state", "{}") if file["shard"].pop("state") else None,
    ],
    ids=["no tensor", "no state", "state is a number", "state is empty"],
)
def test_a_damaged_shard_is_named(copy: Path, damage: Any) -> None:
    with h5py.File(shards_of(copy)[1], "a") as file:
        damage(file)
    with pytest.raises(DumpError, match=shards_of(copy)[1].name):
        open_dump(copy)


def test_rows_that_are_missing_are_no_fill_values(copy: Path) -> None:
    with h5py.File(shards_of(copy)[1], "a") as file:
        attributes = dict(file["activations/dense"].attrs)
        del file["activations/dense"]
        file["activations"].create_dataset("dense", data=np.zeros((5, 3), "f4")).attrs.update(attributes)
    with (
        open_dump(copy) as dump,
        pytest.raises(DumpError, match=r"'activations/dense' is damaged: its shape is \(5, 3\)"),
    ):
        dump["dense"].read()
    with pytest.raises(
        DumpError, match=rf"{shards_of(copy)[1].name}: 'activations/dense' is damaged: its shape is \(5"
    ):
        merge_shards(copy, copy / "merged.h5")


@pytest.mark.parametrize("text", [b"", b"text"])
def test_a_shard_that_is_no_hdf5_file_is_named_with_how_to_make_it(copy: Path, text: bytes) -> None:
    shards_of(copy)[1].write_bytes(text)
    with pytest.raises(DumpError, match=r"is not an HDF5 file .move it away, and the same command makes the shard"):
        open_dump(copy)


def test_a_link_out_of_a_shard_is_not_followed(copy: Path) -> None:
    with h5py.File(shards_of(copy)[1], "a") as file:
        del file["activations/text"]
        file["activations/text"] = h5py.ExternalLink(shards_of(copy)[0].name, "/activations/text")
    with pytest.raises(DumpError, match="is a link to another place, which is not followed"):
        open_dump(copy)


def test_a_shard_that_is_replaced_while_it_is_read_is_named(copy: Path, tmp_path: Path) -> None:
    place = shards_of(copy)[1]
    dump = open_dump(copy)
    dump["dense"].read()
    shutil.copy(place, tmp_path / "new.h5")
    os.replace(tmp_path / "new.h5", place)
    with pytest.raises(DumpError, match=f"{place.name} was changed while it was being read"):
        dump.check_unchanged()
    dump.close()


def change(item: dict[str, Any], **changed: Any) -> str:
    return json.dumps(item | changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda item: "{", "is damaged"),
        (lambda item: "[]", "is no manifest of shards"),
        (lambda item: change(item, format_version=2), "has format version 2"),
        (lambda item: change(item, examples=10**30), "is damaged"),
        (lambda item: change(item, ranges=[[100, 108], [104, 122]]), "is damaged"),
        (lambda item: "[" * 100_000, "is damaged"),
    ],
    ids=["no JSON", "a list", "a newer one", "huge", "overlaps", "deep"],
)
def test_a_manifest_that_is_none_is_named(copy: Path, text: Any, message: str) -> None:
    path = copy / "manifest.json"
    path.write_text(text(json.loads(path.read_text())))
    with pytest.raises(DumpError, match=f"manifest.json {message}"):
        open_dump(copy)


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
import os, numpy as np, tfdump
with tfdump.open(sys.argv[1]) as dump:
    whole = dump["x"].read()
    rows = dump["x"][::7]
    opened = len(os.listdir("/proc/self/fd"))
    report = tfdump.ranges(dump, per_channel=True, show=["range", "int8"], memory="100")
    assert len(os.listdir("/proc/self/fd")) <= opened
    backward = [float(dump["x"][row, 0]) for row in range(399, -1, -50)]
assert np.array_equal(whole[:, 0], np.arange(400)), whole[:5]
assert np.array_equal(rows, whole[::7])
assert [(one.channel, one.min, one.percentile(50).value, one.max) for one in report.ranges] == [
    (channel, 0, 199.5, 399) for channel in range(2)
]
assert backward == [399 - 50 * n for n in range(8)]
print(opened)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_many_shards_are_read_with_few_open_files(tmp_path: Path) -> None:
    values = np.repeat(np.arange(400, dtype="f4"), 2).reshape(400, 2)
    run = MadeRun(activations({"x": values}, 400, 2), 400, 2)
    folder = run.write_shards(tmp_path / "shards", range(2, 401, 2))
    done = subprocess.run([sys.executable, "-c", FEW_FILES, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= MOST_OPEN + 10


def test_scales_that_no_attribute_can_hold_are_those_of_one_run(tmp_path: Path) -> None:
    scales = np.random.default_rng(3).random(2000)
    integers = [np.full((4, 2000), number, np.int8) for number in (2, -3)]
    attributes = (("scale", scales), ("zero_point", np.int64(1)), ("quantized_axis", np.int64(1)))
    run = MadeRun([Made("wide", integers, dtype="int8", attributes=attributes)], 8, 4, checksums=True)
    run.write(tmp_path / "one.h5")
    run.write_shards(tmp_path / "shards", (4, 8))
    with open_dump(tmp_path / "shards") as joined:
        tensor = joined["wide"]
        assert "scale" not in tensor.attributes
        assert tensor.quantization is not None
        real = tensor.quantization.dequantized(tensor[2:6])
        assert all(result.problem is None for result in joined.verify())
    np.testing.assert_array_equal(real, np.outer([1, 1, -4, -4], scales).astype("f4"))
    merge_shards(tmp_path / "shards", tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
