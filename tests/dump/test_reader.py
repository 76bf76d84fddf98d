"""A dump reads as a mapping from addresses to tensors; what is not a dump is refused."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.dump.parts import load_filter
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.tensors import NotCaptured, Ragged, Sparse, TensorInfo

DENSE = np.arange(12, dtype=np.float32).reshape(4, 3)
TEXT = h5py.string_dtype("utf-8")


def plain_dump(path: Path) -> h5py.File:
    """An empty dump of format 1, made with h5py alone."""
    file = h5py.File(path, "w", track_order=True)
    file.attrs.update(format="tfdump", format_version=1, kind="activations", not_captured="[]", examples=4)
    for name in ("activations", "outputs", "inputs"):
        file.create_group(name, track_order=True)
    return file


def describe(item: h5py.Dataset | h5py.Group, **attributes: object) -> None:
    name = item.name.rpartition("/")[2]
    item.attrs.update({"address": name, "layer": name, "dtype": "float32", "axis0": "example", "order": 0} | attributes)


@pytest.fixture
def dump(tmp_path: Path) -> Iterator[Dump]:
    """A dump with one tensor of every kind, made with h5py alone."""
    with plain_dump(tmp_path / "d.h5") as file:
        layers = file["activations"]
        describe(layers.create_dataset("z.dense", data=DENSE), stat_count=12, stat_mean=5.5)
        describe(layers.create_dataset("a", data=np.array([1.5], "f4")), dtype="bfloat16", stored_as="float32")
        describe(layers.create_dataset("scalar", data=np.float32(2)), axis0="none")
        describe(layers.create_dataset("text", data=["é", "b"], dtype=TEXT), dtype="string")
        describe(layers.create_dataset("word", data="é", dtype=TEXT), dtype="string", axis0="none")
        describe(layers.create_dataset("flag", data=[True, False]), dtype="bool")
        empty = layers.create_dataset("statistics", shape=(0, 3), dtype="f4")
        describe(empty, values=False, computed_shape=np.array([4, 3]), stat_nan=0)
        ragged = layers.create_group("ragged")
        ragged["values"] = np.array([1, 2, 3], "f4")
        ragged["row_splits"] = [0, 1, 3]
        describe(ragged, encoding="ragged")
        words = layers.create_group("words")
        words.create_dataset("values", data=["a", "é", "c"], dtype=TEXT)
        words["row_splits"] = [0, 1, 3]
        describe(words, encoding="ragged", dtype="string")
        sparse = layers.create_group("sparse")
        sparse["values"] = np.array([7], "f4")
        sparse["indices"] = [[3, 1]]
        describe(sparse, encoding="sparse", dense_shape=np.array([4, 3]))
        stack = layers.create_group("stack", track_order=True)
        for n in range(11):
            stack[str(n)] = np.full((2, 1 + n % 2), n, "f4")
        describe(stack, encoding="stack", axis0="batch")
        describe(file["outputs"].create_dataset("a", data=DENSE[:, 0]))
        describe(file["outputs"].create_dataset("logits", data=DENSE))
        file.create_dataset("config", data='{"name": "é"}', dtype=TEXT)
    with open_dump(tmp_path / "d.h5") as dump:
        yield dump


def test_iteration_runs_through_the_activations_and_then_the_outputs(dump: Dump) -> None:
    assert list(dump)[:3] == ["z.dense", "a", "scalar"]
    assert list(dump)[-2:] == ["outputs/a", "outputs/logits"]
    assert len(dump) == len(list(dump)) == 13
    assert [tensor.address for tensor in dump.tensors()][-2:] == ["a", "logits"]


def test_every_name_of_the_iteration_leads_to_its_tensor(dump: Dump) -> None:
    for name, tensor in zip(dump, dump.tensors(), strict=True):
        assert (dump[name].group, dump[name].address) == (tensor.group, tensor.address)


def test_an_address_is_looked_up_in_the_activations_first(dump: Dump) -> None:
    assert dump["a"].group == "activations"
    assert dump["outputs/a"].group == "outputs"
    assert dump["activations/a"].group == "activations"
    assert dump["logits"].group == "outputs"


def test_an_unknown_address_is_an_error_with_near_names(dump: Dump) -> None:
    with pytest.raises(DumpError, match=r"no tensor 'dense'; near: 'z\.dense'"):
        dump["dense"]


def test_the_dump_answers_as_a_mapping(dump: Dump) -> None:
    assert "z.dense" in dump
    assert "outputs/logits" in dump
    assert "nothing" not in dump
    assert dump.get("nothing") is None


def test_an_array_is_read_whole_by_slice_and_as_numpy(dump: Dump) -> None:
    tensor = dump["z.dense"]
    np.testing.assert_array_equal(tensor.read(), DENSE)
    np.testing.assert_array_equal(tensor[1:3, ::2], DENSE[1:3, ::2])
    np.testing.assert_array_equal(np.asarray(tensor), DENSE)
    np.testing.assert_array_equal(np.asarray(tensor, dtype=np.float64), DENSE.astype(np.float64))
    assert (tensor.shape, len(tensor), tensor.dtype, tensor.encoding) == ((4, 3), 4, "float32", None)


def test_a_scalar_has_no_length(dump: Dump) -> None:
    assert (dump["scalar"].shape, len(dump["scalar"]), dump["scalar"].read()) == ((), 0, 2.0)


def test_the_dtype_is_that_of_the_model_and_the_stored_one_is_known(dump: Dump) -> None:
    assert (dump["a"].dtype, dump["a"].stored_dtype) == ("bfloat16", "float32")
    assert (dump["z.dense"].dtype, dump["z.dense"].stored_dtype) == ("float32", "float32")


def test_text_is_read_as_str(dump: Dump) -> None:
    assert dump["text"].read().tolist() == ["é", "b"]
    assert dump["text"][1:].tolist() == ["b"]
    assert dump["word"].read().tolist() == "é"


def test_booleans_are_read_as_booleans(dump: Dump) -> None:
    assert dump["flag"].read().dtype == np.bool_


def test_statistics_are_what_the_attributes_say(dump: Dump) -> None:
    assert dump["z.dense"].statistics == {"count": 12, "mean": 5.5}
    assert dump["a"].statistics is None


def test_a_tensor_without_values_keeps_its_shape_and_refuses_to_be_read(dump: Dump) -> None:
    tensor = dump["statistics"]
    assert (tensor.shape, tensor.has_values, tensor.statistics) == ((4, 3), False, {"nan": 0})
    for read in (tensor.read, lambda: tensor[0]):
        with pytest.raises(DumpError, match="--stats-only"):
            read()


def test_a_ragged_tensor_is_read_with_its_offsets(dump: Dump) -> None:
    ragged = dump["ragged"].read()
    assert isinstance(ragged, Ragged)
    assert (ragged.values.tolist(), ragged.row_splits[0].tolist()) == ([1, 2, 3], [0, 1, 3])
    assert dump["ragged"].shape == (2, -1)


def test_ragged_text_is_read_as_str_too(dump: Dump) -> None:
    assert dump["words"].read().values.tolist() == ["a", "é", "c"]


def test_a_sparse_tensor_is_read_with_its_indices(dump: Dump) -> None:
    sparse = dump["sparse"].read()
    assert isinstance(sparse, Sparse)
    assert (sparse.values.tolist(), sparse.indices.tolist(), sparse.dense_shape) == ([7], [[3, 1]], (4, 3))
    assert dump["sparse"].shape == (4, 3)


def test_a_stack_is_read_as_a_list_in_order(dump: Dump) -> None:
    items = dump["stack"].read()
    assert [float(item[0, 0]) for item in items] == list(range(11))
    assert dump["stack"].shape == (11, 2, -1)


def test_a_composite_cannot_be_sliced(dump: Dump) -> None:
    with pytest.raises(DumpError, match="stored as ragged"):
        dump["ragged"][0]


def test_the_config_is_the_architecture(dump: Dump) -> None:
    assert dump.config == {"name": "é"}
    assert dump.not_captured == ()
    assert dump.attributes["examples"] == 4


def test_a_dump_without_config_has_none(tmp_path: Path) -> None:
    plain_dump(tmp_path / "d.h5").close()
    with open_dump(tmp_path / "d.h5") as dump:
        assert dump.config is None
        assert list(dump) == []


@pytest.mark.parametrize("count", [1, 3000])
def test_what_was_not_captured_comes_back_however_long_the_list(tmp_path: Path, count: int) -> None:
    missing = tuple(NotCaptured(f"layer{n}", "never called") for n in range(count))
    with DumpWriter(tmp_path / "d.h5") as writer:
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, missing)
    with open_dump(tmp_path / "d.h5") as dump:
        assert dump.not_captured == missing


def test_what_the_writer_wrote_is_what_is_read(tmp_path: Path) -> None:
    record = TensorInfo("lstm%2E:%69nput", "lstm%2E", "s", ("LSTM",), 3, "float32", (-1, 3))
    with DumpWriter(tmp_path / "d.h5") as writer:
        collector = writer.collector(record, DENSE, axis0="example", examples=4, batches=1)
        collector.append(DENSE)
        writer.link("activations", record, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
    with open_dump(tmp_path / "d.h5") as dump:
        tensor = dump["lstm%2E:%69nput"]
        assert tensor.attributes["shape"] == [-1, 3]
        np.testing.assert_array_equal(tensor.read(), DENSE)


def test_closing_lets_go_of_the_file(tmp_path: Path) -> None:
    plain_dump(tmp_path / "d.h5").close()
    with open_dump(tmp_path / "d.h5"):
        pass
    h5py.File(tmp_path / "d.h5", "a").close()


# What is not a dump


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"format": "other"}, "not a dump of tfdump"), ({"format_version": 2}, "format version 2.*reads 1")],
)
def test_another_format_and_a_newer_version_are_refused(tmp_path: Path, change: dict, complaint: str) -> None:
    with plain_dump(tmp_path / "d.h5") as file:
        file.attrs.update(change)
    with pytest.raises(DumpError, match=complaint):
        open_dump(tmp_path / "d.h5")
    h5py.File(tmp_path / "d.h5", "a").close()  # it was closed again


def test_an_hdf5_file_of_something_else_is_refused(tmp_path: Path) -> None:
    h5py.File(tmp_path / "d.h5", "w").close()
    with pytest.raises(DumpError, match=r"d\.h5 is an HDF5 file, but not a dump"):
        open_dump(tmp_path / "d.h5")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=r"no such file: .*none\.h5"):
        open_dump(tmp_path / "none.h5")


@pytest.mark.parametrize("kind", ["soft", "external", "virtual"])
def test_a_tensor_that_lies_elsewhere_is_not_read(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        describe(file.create_dataset("t", data=DENSE))
    with plain_dump(tmp_path / "d.h5") as file:
        if kind == "soft":
            file["activations/t"] = h5py.SoftLink("/outputs/t")
            describe(file["outputs"].create_dataset("t", data=DENSE))
        elif kind == "external":
            file["activations/t"] = h5py.ExternalLink("secret.h5", "/t")
        else:
            layout = h5py.VirtualLayout((4, 3), "f4")
            layout[:] = h5py.VirtualSource("secret.h5", "t", (4, 3))
            describe(file["activations"].create_virtual_dataset("t", layout))
    with open_dump(tmp_path / "d.h5") as dump, pytest.raises(DumpError, match=r"link to another place|virtual"):
        dump["t"]


@pytest.mark.parametrize("how", ["dump['t'][:]", "dump['t'].read()"])
def test_zstd_is_read_by_a_process_that_did_not_write_it(tmp_path: Path, how: str) -> None:
    values = np.arange(1000, dtype=np.float32)
    with DumpWriter(tmp_path / "d.h5", storage=storage_for("zstd")) as writer:
        info = TensorInfo("t", "t", "t", (), 0, "float32", None)
        collector = writer.collector(info, values, axis0="example", examples=1000, batches=1)
        collector.append(values)
        writer.link("activations", info, collector, {})
        writer.describe({"format": "tfdump", "format_version": np.int64(1)}, None, ())
    code = f"import tfdump\nwith tfdump.open({str(tmp_path / 'd.h5')!r}) as dump: print({how}.sum())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "499500.0\n"


def test_zstd_without_its_filter_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("t", data=np.arange(9), chunks=(3,), **hdf5plugin.Zstd())
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)
        with pytest.raises(DumpError, match=r"pip install 'tfdump\[zstd\]'"):
            load_filter(dataset)
