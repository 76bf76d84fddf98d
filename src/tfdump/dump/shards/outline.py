"""A dump of a whole run without its values: names, shapes, attributes and small texts, in memory."""

from typing import Any

import h5py

from tfdump.dump import layout
from tfdump.dump.collectors import Attributes, anonymous_group
from tfdump.dump.compression import filters_for
from tfdump.dump.rows import RowDataset, Storage
from tfdump.dump.shards.joined_arrays import JoinedArray
from tfdump.dump.shards.joined_records import JoinedRun
from tfdump.dump.shards.stored_forms import StoredForm
from tfdump.dump.writer import DumpWriter


def outline(run: JoinedRun) -> h5py.File:
    """Return the file of a whole run in memory, in which no dataset of a tensor has values."""
    manifest = run.manifest
    storage = Storage(layout.chunk_bytes_for(manifest.memory, manifest.filling), filters_for(manifest.compression)[0])
    writer = DumpWriter(None, storage=storage)
    if manifest.kind == layout.ACTIVATIONS:
        writer.group(layout.ACTIVATIONS)
    for tensor in run.tensors:
        writer.link(tensor.group, tensor.info, Declared(writer.file, tensor.form, storage), tensor.extra)
    write_unconnected_and_loss(run, writer)
    for tensor in run.further:
        writer.link(tensor.group, tensor.info, Declared(writer.file, tensor.form, storage), tensor.extra)
    writer.describe(run.root, manifest.config, run.not_captured)
    return writer.file


class Declared:
    """The datasets of a tensor as one run would have made them, without values."""

    def __init__(self, file: h5py.File, form: StoredForm, storage: Storage) -> None:
        self._file = file
        self._form = form
        self._storage = storage

    def finish(self) -> tuple[h5py.Dataset | h5py.Group, Attributes]:
        """Return the unnamed dataset or group, and its attributes."""
        datasets = {name: self._declare(array) for name, array in self._form.arrays.items()}
        attributes: dict[str, Any] = dict(self._form.attributes)
        if not self._form.is_group:
            return datasets[""], attributes
        group = anonymous_group(self._file)
        for name, dataset in datasets.items():
            group[name] = dataset
        return group, attributes

    def _declare(self, array: JoinedArray) -> h5py.Dataset:
        shape = array.shape
        filtered = self._storage.filters and shape and 0 not in shape
        if not array.pieces and not (filtered and (array.whole is not None or array.memory is not None)):
            return self._file.create_dataset(None, shape=shape, dtype=array.dtype)
        rows = None if array.grows else shape[0]
        dataset = RowDataset(self._file, array.dtype, shape[1:], rows, self._storage).dataset
        if array.grows:
            dataset.resize(shape[0], axis=0)
        return dataset


def write_unconnected_and_loss(run: JoinedRun, writer: DumpWriter) -> None:
    """Write what has no values or few, and only a dump of gradients has."""
    for tensor in run.unconnected:
        writer.unconnected(tensor.group, tensor.info, tensor.extra)
    if run.loss is not None:
        writer.loss(run.loss.values, run.loss.attributes)
