"""A dump of gradients is read by nested group, with its loss and with what the loss does not reach."""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError
from tfdump.tensors import Sparse, TensorInfo

KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3)
ROWS = np.arange(24, dtype=np.float32).reshape(2, 4, 3)


def plain_gradients(path: Path) -> h5py.File:
    """A dump of gradients without tensors, made with h5py alone."""
    file = h5py.File(path, "w", track_order=True)
    file.attrs.update(format="tfdump", format_version=1, kind="gradients", not_captured="[]", examples=4)
    gradients = file.create_group("gradients", track_order=True)
    for name in ("weights", "activations", "inputs"):
        gradients.create_group(name, track_order=True)
    return file


def describe(item: h5py.Dataset | h5py.Group, **attributes: object) -> None:
    name = item.name.rpartition("/")[2]
    item.attrs.update({"address": name, "layer": name, "dtype": "float32", "axis0": "none", "order": 0} | attributes)


@pytest.fixture
def dump(tmp_path: Path) -> Iterator[Dump]:
    with plain_gradients(tmp_path / "d.h5") as file:
        weights, rest = file["gradients/weights"], file["gradients"]
        describe(weights.create_dataset("z.kernel", data=KERNEL), norm=22.5)
        describe(weights.create_dataset("head.bias", shape=(0, 3), dtype="f4"), connected=False)
        sparse = weights.create_group("embedding.embeddings")
        sparse["values"], sparse["indices"] = KERNEL[:2], np.array([[7], [7]])
        describe(sparse, encoding="sparse", dense_shape=np.array([9, 3]), norm=np.float64("nan"))
        describe(weights.create_dataset("steps", data=ROWS), axis0="step", norm=np.array([1.5, np.inf]))
        describe(rest["activations"].create_dataset("z", data=ROWS), axis0="step")
        describe(rest["inputs"].create_dataset("image", data=KERNEL), axis0="example")
        describe(rest["inputs"].create_dataset("z", data=KERNEL), axis0="example")
        describe(file.create_group("weights").create_dataset("z.kernel", data=ROWS), axis0="step")
        file["loss"] = np.array([3.0, 2.5])
    with open_dump(tmp_path / "d.h5") as dump:
        yield dump


def test_iteration_runs_through_the_gradients_of_weights_first(dump: Dump) -> None:
    assert list(dump) == [
        "z.kernel",
        "head.bias",
        "embedding.embeddings",
        "steps",
        "gradients/activations/z",
        "gradients/inputs/image",
        "gradients/inputs/z",
        "weights/z.kernel",
    ]
    assert len(dump) == 8


def test_every_name_of_the_iteration_leads_to_its_tensor(dump: Dump) -> None:
    for name, tensor in zip(dump, dump.tensors(), strict=True):
        assert (dump[name].group, dump[name].address) == (tensor.group, tensor.address)


def test_a_nested_group_is_named_by_its_path(dump: Dump) -> None:
    assert dump["z"].group == "gradients/activations"
    assert dump["gradients/inputs/z"].group == "gradients/inputs"
    assert dump["gradients/weights/z.kernel"].group == "gradients/weights"
    np.testing.assert_array_equal(dump["weights/z.kernel"].read(), ROWS)
    np.testing.assert_array_equal(dump["image"][1:, 0], KERNEL[1:, 0])


@pytest.mark.parametrize("name", ["gradients", "gradients/weights", "inputs/z", "gradients/z", "", "/", "loss"])
def test_what_is_no_tensor_has_no_name(dump: Dump, name: str) -> None:
    assert name not in dump


def test_a_sparse_gradient_is_read_as_it_was_written(dump: Dump) -> None:
    gradient = dump["embedding.embeddings"].read()
    assert isinstance(gradient, Sparse)
    np.testing.assert_array_equal(gradient.values, KERNEL[:2])
    assert (gradient.indices.tolist(), gradient.dense_shape) == ([[7], [7]], (9, 3))
    assert dump["embedding.embeddings"].shape == (9, 3)


def test_an_unconnected_gradient_is_known_and_cannot_be_read(dump: Dump) -> None:
    tensor = dump["head.bias"]
    assert (tensor.connected, tensor.shape, len(tensor)) == (False, (0, 3), 0)
    for read in (tensor.read, lambda: tensor[:], lambda: np.asarray(tensor)):
        with pytest.raises(DumpError, match=r"^'head\.bias' is not connected to the loss and has no gradient$"):
            read()
    assert all(other.connected for other in dump.tensors() if other.address != "head.bias")


def test_norms_are_numbers_where_they_were_stored(dump: Dump) -> None:
    assert (dump["z.kernel"].norm, dump["z"].norm, dump["steps"].norm) == (22.5, None, [1.5, np.inf])
    assert np.isnan(dump["embedding.embeddings"].norm)


@pytest.mark.parametrize("values", [np.float64(0.25), np.array([3.0, np.nan, 1.0]), np.zeros(0), np.float32([0.5])])
def test_the_loss_is_an_array_of_float64(tmp_path: Path, values: np.ndarray) -> None:
    with plain_gradients(tmp_path / "d.h5") as file:
        file["loss"] = values
    with open_dump(tmp_path / "d.h5") as dump:
        assert isinstance(dump.loss, np.ndarray)
        assert (dump.loss.shape, dump.loss.dtype) == (np.shape(values), np.float64)
        np.testing.assert_array_equal(dump.loss, values)


def test_a_loss_that_was_compressed_later_is_read(tmp_path: Path) -> None:
    with plain_gradients(tmp_path / "d.h5") as file:
        file.create_dataset("loss", data=np.zeros(1_000_000), compression="gzip", compression_opts=9)
    assert (tmp_path / "d.h5").stat().st_size < 100_000
    with open_dump(tmp_path / "d.h5") as dump:
        np.testing.assert_array_equal(dump.loss, np.zeros(1_000_000))


def test_a_dump_without_loss_has_none(tmp_path: Path) -> None:
    plain_gradients(tmp_path / "d.h5").close()
    with open_dump(tmp_path / "d.h5") as dump:
        assert dump.loss is None
        assert list(dump) == []
        assert list(dump.groups) == ["gradients/weights", "gradients/activations", "gradients/inputs"]


def test_a_dump_in_memory_is_read_before_it_is_closed() -> None:
    record = TensorInfo("e", "e", "e", ("Embedding",), 0, "float32", (9, 3))
    with DumpWriter(None) as writer:
        collector = writer.collector(
            record, Sparse(KERNEL, np.zeros((4, 1), int), (9, 3)), axis0="none", examples=1, batches=1
        )
        collector.append(Sparse(KERNEL, np.array([[1], [0], [8], [8]]), (9, 3)))
        writer.link("gradients/weights", record, collector, {"norm": np.float64(np.sqrt(2))})
        writer.unconnected("gradients/weights", TensorInfo("u", "u", "u", (), 1, "int32", (2, -1)), {})
        writer.loss(np.arange(10_000.0), {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
    dump = Dump(writer.file, "memory")
    gradient = dump["e"].read()
    assert isinstance(gradient, Sparse)
    np.testing.assert_array_equal(gradient.values, KERNEL)
    assert (gradient.indices.tolist(), gradient.dense_shape) == ([[1], [0], [8], [8]], (9, 3))
    assert (dump["e"].norm, dump["u"].connected, dump["u"].shape) == (2**0.5, False, (0, 0))
    np.testing.assert_array_equal(dump.loss, np.arange(10_000.0))
    dump.close()


# Files of strangers


def external_storage(file: h5py.File) -> None:
    file.create_dataset("loss", (4,), "f8", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.create_group("loss"),
        lambda file: file.create_dataset("loss", data="a lot"),
        lambda file: file.create_dataset("loss", data=np.zeros((2, 2))),
        lambda file: file.create_dataset("loss", data=np.array([1, 2])),
        lambda file: file.create_dataset("loss", data=h5py.Empty("f8")),
        lambda file: file.create_dataset("loss", data=np.zeros(2, [("a", "f8")])),
        lambda file: file.create_dataset("loss", (1 << 40,), "f8", chunks=(1 << 10,)),
        lambda file: file.create_dataset("loss", (1 << 40,), "f8", chunks=(1 << 10,), compression="gzip"),
        lambda file: file.__setitem__("loss", h5py.SoftLink("/gradients/weights")),
        lambda file: file.__setitem__("loss", h5py.ExternalLink("/etc/passwd", "/x")),
        external_storage,
    ],
)
def test_a_loss_that_is_none_is_an_error_of_the_dump(tmp_path: Path, harm: Callable[[h5py.File], None]) -> None:
    with plain_gradients(tmp_path / "d.h5") as file:
        harm(file)
    with open_dump(tmp_path / "d.h5") as dump, pytest.raises(DumpError):
        _ = dump.loss


@pytest.mark.parametrize("path", ["gradients", "gradients/weights", "weights", "activations"])
@pytest.mark.parametrize("kind", ["soft", "external", "dataset", "scalar"])
def test_groups_that_lie_elsewhere_or_are_none_are_refused(tmp_path: Path, path: str, kind: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        describe(file.create_group("weights").create_dataset("t", data=KERNEL))
    with plain_gradients(tmp_path / "d.h5") as file:
        if path in file:
            del file[path]
        file[path] = {
            "soft": h5py.SoftLink("/elsewhere"),
            "external": h5py.ExternalLink("secret.h5", "/"),
            "dataset": np.zeros(3),
            "scalar": 1.0,
        }[kind]
        file.create_group("elsewhere/weights")
    with pytest.raises(DumpError, match=r"link to another place|not a group"):
        open_dump(tmp_path / "d.h5")


@pytest.mark.parametrize("norm", ["much", ["a", "b"], [[1.0, 2.0]], h5py.Empty("f8")])
def test_a_norm_that_is_no_number_is_damage(tmp_path: Path, norm: object) -> None:
    with plain_gradients(tmp_path / "d.h5") as file:
        describe(file["gradients/weights"].create_dataset("t", data=KERNEL), norm=norm)
    with open_dump(tmp_path / "d.h5") as dump, pytest.raises(DumpError, match="damaged"):
        dump["t"]


@pytest.mark.parametrize("encoding", ["sparse", "ragged", "stack"])
@pytest.mark.parametrize("kind", ["soft", "external", "missing", "group"])
def test_the_parts_of_a_composite_are_in_the_file_itself(tmp_path: Path, encoding: str, kind: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = KERNEL
    with plain_gradients(tmp_path / "d.h5") as file:
        file["inside"] = KERNEL
        group = file["gradients/weights"].create_group("t")
        describe(group, encoding=encoding, dense_shape=np.array([9, 3]))
        name = "0" if encoding == "stack" else "values"
        if kind == "group":
            group.create_group(name)
        elif kind != "missing" or encoding == "stack":
            group[name] = h5py.SoftLink("/inside") if kind == "soft" else h5py.ExternalLink("secret.h5", "/x")
        group["indices" if encoding == "sparse" else "row_splits"] = np.array([[0]] if encoding == "sparse" else [0, 1])
    with open_dump(tmp_path / "d.h5") as dump, pytest.raises(DumpError):
        dump["t"].read()
