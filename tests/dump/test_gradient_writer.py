"""A dump of gradients: nested groups, steps, what the loss does not reach, and the loss itself."""

import shutil
import subprocess
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from support.processes_apart import write_two_seconds_apart
from tfdump.dump import layout
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.tensors import Ragged, Sparse, TensorInfo, Value

GROUPS = ["gradients/weights", "gradients/activations", "gradients/inputs", "weights"]


def info(address: str, dtype: str = "float32", shape: tuple[int, ...] | None = None) -> TensorInfo:
    return TensorInfo(address, address.rpartition(".")[0], f"path.{address}", ("Dense", "Layer"), 3, dtype, shape)


def add(writer: DumpWriter, group: str, record: TensorInfo, appended: list, **options: object) -> None:
    collector = writer.collector(record, appended[0], **{"examples": 7, "batches": 2} | options)
    for value in appended:
        collector.append(value)
    writer.link(group, record, collector, {"norm": np.float64(2.5)})


def tracks_order(group: h5py.Group) -> bool:
    flags = group.id.get_create_plist().get_link_creation_order()
    return flags == h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED


# Groups


def test_the_groups_of_gradients_stand_where_the_format_says() -> None:
    assert list(layout.TENSOR_GROUPS) == ["activations", "outputs", *GROUPS, "inputs"]
    assert (layout.GRADIENTS, layout.LOSS) == ("gradients", "loss")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_nested_groups_keep_the_order_in_which_they_were_named(tmp_path: Path, order: tuple[int, ...]) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        for number in order:
            assert writer.group(GROUPS[number]) is writer.group(GROUPS[number])
        writer.group("activations")
        writer.group("gradients")
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file) == ["gradients", "activations"]
        assert list(file["gradients"]) == [GROUPS[number].rpartition("/")[2] for number in order]
        assert all(tracks_order(group) for group in (file["gradients"], *file["gradients"].values()))


def test_links_in_nested_groups_are_in_the_order_of_writing(tmp_path: Path) -> None:
    addresses = [f"layer{n}.kernel" for n in (5, 11, 2, 30, 1, 4, 9, 8, 7, 20, 3)]
    with DumpWriter(tmp_path / "d.h5") as writer:
        for number, address in enumerate(addresses):
            if number % 2:
                writer.unconnected("gradients/weights", info(address), {})
            else:
                add(writer, "gradients/weights", info(address), [np.ones(2, np.float32)], axis0="none")
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file["gradients/weights"]) == addresses


# Steps


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_weight_at_every_step(tmp_path: Path, compression: str) -> None:
    steps = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    with DumpWriter(tmp_path / "d.h5", storage=storage_for(compression, 100)) as writer:
        add(writer, "weights", info("dense.kernel", shape=(4, 3)), list(steps), axis0="none", steps=5)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["weights/dense.kernel"]
        np.testing.assert_array_equal(item[()], steps)
        assert item.attrs["axis0"] == "step"
        assert item.attrs["shape"].tolist() == [4, 3]
        assert item.chunks == (2, 4, 3)  # 48 bytes a step, at most 100 a chunk


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("cuts", [[4], [1, 2, 6], [3, 6]])
def test_rows_of_examples_at_every_step(tmp_path: Path, compression: str, cuts: list[int]) -> None:
    steps = np.arange(84, dtype=np.float32).reshape(3, 7, 4)
    batches = [batch for step in steps for batch in np.split(step, cuts)]
    with DumpWriter(tmp_path / "d.h5", storage=storage_for(compression, 50)) as writer:
        add(writer, "gradients/inputs", info("image"), batches, axis0="example", steps=3)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/inputs/image"]
        np.testing.assert_array_equal(item[()], steps)
        assert item.attrs["axis0"] == "step"
        assert item.chunks == (1, 2, 4)  # 16 bytes a row in four even chunks; the last has a row to spare
        assert item.compression == (None if compression == "none" else "gzip")


def test_rows_of_every_step_are_cast_as_others_are(tmp_path: Path) -> None:
    steps = np.array([[[1.5], [-2]], [[3], [4]]]).astype(ml_dtypes.bfloat16)
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "gradients/activations", info("a", "bfloat16"), list(steps), axis0="example", examples=2, steps=2)
        add(writer, "weights", info("b", "bfloat16"), list(steps), axis0="none", steps=2, dtype="float16")
    with h5py.File(tmp_path / "d.h5") as file:
        for path, stored in {"gradients/activations/a": "float32", "weights/b": "float16"}.items():
            assert (file[path].dtype, file[path].attrs["stored_as"]) == (np.dtype(stored), stored)
            assert file[path][()].tolist() == [[[1.5], [-2]], [[3], [4]]]


def test_what_belongs_to_the_batch_is_stacked_over_all_steps(tmp_path: Path) -> None:
    values = [np.full((2, 2), n, np.float32) for n in range(6)]
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "gradients/activations", info("similarity"), values, axis0="batch", batches=2, steps=3)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/activations/similarity"]
        np.testing.assert_array_equal(item[()], np.stack(values))
        assert (item.attrs["axis0"], item.maxshape) == ("batch", (6, 2, 2))


def test_one_step_has_a_step_axis_too(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "weights", info("scale"), [np.array(2, np.float32)], axis0="none", steps=1)
        add(writer, "gradients/inputs", info("x"), [np.ones((7, 2), np.float32)], axis0="example", steps=1)
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["weights/scale"][()].tolist() == [2]
        assert file["gradients/inputs/x"].shape == (1, 7, 2)


@pytest.mark.parametrize(
    ("axis0", "shape", "computed"), [("none", (7, 2), [3, 7, 2]), ("example", (7, 2), [3, 7, 2]), ("batch", (), [3])]
)
def test_without_values_the_shape_of_all_steps_is_kept(
    tmp_path: Path, axis0: str, shape: tuple[int, ...], computed: list[int]
) -> None:
    values = [np.full(shape, n, np.float32) for n in range(3)]
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "weights", info("w"), values, axis0=axis0, batches=1, steps=3, values=False)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["weights/w"]
        assert item.attrs["computed_shape"].tolist() == computed
        assert item.attrs["axis0"] == ("batch" if axis0 == "batch" else "step")
        assert item.size == 0


@pytest.mark.parametrize(
    "value",
    [Ragged(np.ones(3, np.float32), (np.array([0, 1, 3]),)), Sparse(np.ones(1, "f4"), np.array([[0, 2]]), (1, 3))],
)
def test_ragged_and_sparse_examples_have_no_steps(tmp_path: Path, value: Value) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer, pytest.raises(DumpError, match=r"'a\.b' is ragged or sparse"):
        writer.collector(info("a.b"), value, axis0="example", examples=2, batches=1, steps=2)


# Sparse


def test_a_sparse_gradient_is_a_group_with_the_attributes(tmp_path: Path) -> None:
    value = Sparse(np.ones((2, 3), ml_dtypes.bfloat16), np.array([[4], [4]]), (9, 3))
    record = info("embedding.embeddings", "bfloat16", (9, 3))
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "gradients/weights", record, [value], axis0="none")
        add(writer, "weights", record, [value, value], axis0="none", steps=2)
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/weights/embedding.embeddings"]
        assert list(item) == ["values", "indices"]
        assert tracks_order(item)
        assert item["values"][()].tolist() == [[1, 1, 1], [1, 1, 1]]
        assert item["indices"][()].tolist() == [[4], [4]]
        attributes = dict(item.attrs)
        assert attributes.pop("dense_shape").tolist() == attributes.pop("shape").tolist() == [9, 3]
        assert attributes == {
            "address": "embedding.embeddings",
            "layer": "embedding",
            "structure": "path.embedding.embeddings",
            "class": "Dense",
            "order": 3,
            "axis0": "none",
            "encoding": "sparse",
            "dtype": "bfloat16",
            "stored_as": "float32",
            "norm": 2.5,
        }
        assert file["weights/embedding.embeddings"].attrs["dense_shape"].tolist() == [2, 9, 3]
        assert file["weights/embedding.embeddings/indices"][()].tolist() == [[0, 4], [0, 4], [1, 4], [1, 4]]


# What the loss does not reach


@pytest.mark.parametrize(
    ("shape", "stored"), [((5, 3), (0, 3)), ((-1, -1, 4), (0, 0, 4)), ((5,), (0,)), ((), (0,)), (None, (0,))]
)
def test_an_unconnected_tensor_is_a_zero_length_dataset(
    tmp_path: Path, shape: tuple[int, ...] | None, stored: tuple[int, ...]
) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.unconnected("gradients/weights", info("head.bias", "bfloat16", shape), {"trainable": True})
    with h5py.File(tmp_path / "d.h5") as file:
        item = file["gradients/weights/head.bias"]
        assert (item.shape, item.dtype) == (stored, np.float32)
        assert item.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE
        attributes = dict(item.attrs)
        assert tuple(attributes.pop("shape", [-9])) == (shape if shape is not None else (-9,))
        assert attributes == {
            "address": "head.bias",
            "layer": "head",
            "structure": "path.head.bias",
            "class": "Dense",
            "order": 3,
            "axis0": "none",
            "connected": False,
            "dtype": "bfloat16",
            "stored_as": "float32",
            "trainable": True,
        }


def test_a_linked_tensor_says_nothing_of_being_connected(tmp_path: Path) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        add(writer, "gradients/weights", info("w"), [np.ones(2, np.float32)], axis0="none")
    with h5py.File(tmp_path / "d.h5") as file:
        assert "connected" not in file["gradients/weights/w"].attrs


# The loss


@pytest.mark.parametrize("values", [np.array(0.1), np.array([0.5, np.nan, -np.inf]), np.zeros(0), np.arange(300_000.0)])
def test_the_loss_is_written_with_its_attributes(tmp_path: Path, values: np.ndarray) -> None:
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.loss(values, {"axis0": "step", "reduction": "sum"})
    with h5py.File(tmp_path / "d.h5") as file:
        assert (file["loss"].shape, file["loss"].dtype) == (values.shape, np.float64)
        np.testing.assert_array_equal(file["loss"][()], values)
        assert dict(file["loss"].attrs) == {"axis0": "step", "reduction": "sum"}


# The same bytes

WRITE_GRADIENTS = """
import sys
import numpy as np
from pathlib import Path
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.tensors import Sparse, TensorInfo

def add(group, name, values, axis0, steps=None, has_values=True):
    record = TensorInfo(name, name, name, ("Layer",), 0, "float32", (-1, 3))
    collector = writer.collector(record, values[0], axis0=axis0, examples=500, batches=2, steps=steps,
                                 values=has_values)
    for value in values:
        collector.append(value)
    writer.link(group, record, collector, {"norm": np.float64(1.5)})

rng = np.random.default_rng(0)
values = rng.normal(size=(3, 500, 3)).astype("f4")
batches = [batch for step in values for batch in (step[:300], step[300:])]
sparse = Sparse(values[0], rng.integers(0, 99, (500, 1)), (99, 3))
with DumpWriter(Path(sys.argv[1]), storage=storage_for(sys.argv[2], 1 << 10)) as writer:
    add("gradients/weights", "constant", [values[0]], "none")
    add("gradients/weights", "sparse", [sparse], "none")
    add("gradients/weights", "sparse_steps", [sparse, sparse], "none", 2)
    add("gradients/inputs", "rows", batches, "example", 3)
    add("gradients/activations", "stack", batches[::2] * 2, "batch", 3)
    add("gradients/activations", "unequal", batches, "batch", 3)
    add("gradients/activations", "shape", batches, "example", 3, has_values=False)
    add("weights", "kernel", list(values), "none", 3)
    writer.unconnected("gradients/weights", TensorInfo("u", "u", "u", (), 0, "float32", (-1, 3)), {})
    writer.loss(np.array([3.0, 2.0, 1.0]), {"axis0": "step"})
    writer.describe({"format": "tfdump", "format_version": np.int64(1), "kind": "gradients"}, "{}", ())
"""


@pytest.fixture(scope="module")
def gradients_two_seconds_apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dumps of the same gradients, made by processes that started more than two seconds apart."""
    return write_two_seconds_apart(WRITE_GRADIENTS, tmp_path_factory.mktemp("twice"))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_two_processes_write_the_same_gradients(gradients_two_seconds_apart: Path, compression: str) -> None:
    first = gradients_two_seconds_apart / f"first.{compression}.h5"
    second = gradients_two_seconds_apart / f"second.{compression}.h5"
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_gradients_of_those_processes_are_the_values(gradients_two_seconds_apart: Path, compression: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 500, 3)).astype("f4")
    with h5py.File(gradients_two_seconds_apart / f"first.{compression}.h5") as file:
        assert list(file) == ["gradients", "weights", "loss", "config"]
        assert list(file["gradients"]) == ["weights", "inputs", "activations"]
        assert list(file["gradients/weights"]) == ["constant", "sparse", "sparse_steps", "u"]
        np.testing.assert_array_equal(file["gradients/inputs/rows"][()], values)
        np.testing.assert_array_equal(file["weights/kernel"][()], values)
        np.testing.assert_array_equal(file["gradients/weights/sparse/indices"][()], rng.integers(0, 99, (500, 1)))
        assert file["gradients/activations/shape"].attrs["computed_shape"].tolist() == [3, 500, 3]
        assert len(file["gradients/activations/unequal"]) == 6


@pytest.mark.parametrize("tool", ["h5ls", "h5dump"])
def test_the_tools_of_hdf5_read_gradients(gradients_two_seconds_apart: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    options = ["-r"] if tool == "h5ls" else []
    done = subprocess.run(
        [tool, *options, gradients_two_seconds_apart / "first.none.h5"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "sparse_steps" in done.stdout
