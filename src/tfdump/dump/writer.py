"""Writes a dump: into a temporary file beside the target, which is renamed when it is complete."""

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.dtypes import STRING, dtype_name
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE, NONE, STEP
from tfdump.dump.checksums import DESCRIPTION, VALUES, crc_of, description_crc, seal
from tfdump.dump.collectors import ByExample, Collector, Constant, Finishing, Stack, anonymous_group, write_whole
from tfdump.dump.composites import SparseSteps, SparseValue, composite_of
from tfdump.dump.compression import ChunkQueue, filters_for
from tfdump.dump.disk.stream import DumpStream
from tfdump.dump.parts import holds_values
from tfdump.dump.quantization import large_arrays, place_of_array
from tfdump.dump.rows import Storage
from tfdump.dump.target import check_target, make_partial, move_into_place
from tfdump.dump.without_values import NoValues
from tfdump.errors import DumpError
from tfdump.files.byte_strings import BYTES, holds_bytes
from tfdump.tensors import Array, NotCaptured, Ragged, Sparse, TensorInfo, Value


def storage_for(compression: str, chunk_bytes: int = layout.CHUNK_BYTES, checksums: bool = False) -> Storage:
    """Return how to store values with `none`, `gzip` or `zstd`; raises DumpError if zstd is not installed."""
    filters, compress = filters_for(compression)
    return Storage(chunk_bytes, filters, checksums, None if compress is None else ChunkQueue(compress))


_NUMBERS = itertools.count()


class DumpWriter:
    """A dump that is being written; a context manager that leaves either the whole file or none.

    With `path` None, the dump is made in memory and stays open as `file` after `finish`. `alone` tells that no other
    run can write the same file. `texts_as_bytes` has the names of text tensors that HDF5 strings could not hold.
    """

    def __init__(
        self, path: Path | None, *, force: bool = False, storage: Storage | None = None, alone: bool = False
    ) -> None:
        self._storage = storage or Storage()
        self._force = force
        self._groups: dict[str, h5py.Group] = {}
        self.texts_as_bytes: list[str] = []
        self._target = check_target(path, force) if path is not None else None
        self._shown = path
        self._partial = make_partial(self._target, alone) if self._target is not None else None
        try:
            self._stream = DumpStream(self._partial) if self._partial is not None else None
            self.file = _create(self._stream)
        except BaseException:
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
            raise

    @property
    def partial(self) -> Path | None:
        """The temporary file; None for a dump in memory, and when the dump is complete or discarded."""
        return self._partial

    def check(self) -> None:
        """Raise what went wrong while writing. Called now and then, so that a full disk ends the run early."""
        if self._stream is not None:
            self._stream.raise_failure()

    def collector(
        self,
        info: TensorInfo,
        first: Value,
        *,
        axis0: str,
        examples: int,
        batches: int,
        dtype: str | None = None,
        values: bool = True,
        steps: int | None = None,
    ) -> Collector:
        """Return what collects the batches of one tensor, whose first value is `first`.

        `axis0` is `example`, `none` (a constant, as far as is known) or `batch`. `dtype` replaces the dtype of real
        floats. Without `values`, only the shape is stored. A sparse `none` has one value.

        With `steps`, the tensor gets a leading step axis: a `none` is appended once per step, and the batches of other
        tensors come again at every step, all batches of one step before those of the next. A `batch` stays one stack of
        all batches of all steps. Raises DumpError for ragged and sparse examples, which cannot have steps.
        """
        stored = layout.stored_dtype(info.dtype, dtype)
        common = (self.file, stored, self._storage)
        if not values:
            return NoValues(self.file, stored, axis0, steps)
        if isinstance(first, Sparse) and axis0 == NONE:
            return SparseValue(*common) if steps is None else SparseSteps(*common)
        if isinstance(first, (Ragged, Sparse)):
            if steps is not None:
                name = info.address
                raise DumpError(f"'{name}' is ragged or sparse and cannot have steps (leave it out: -x '{name}')")
            return composite_of(first, axis0)(*common)
        if axis0 == EXAMPLE:
            return ByExample(*common, examples, steps)
        if axis0 == NONE:
            return Constant(*common, batches) if steps is None else Stack(*common, steps, STEP)
        return Stack(*common, batches * (steps or 1))

    def link(self, group: str, info: TensorInfo, collector: Finishing, extra: Mapping[str, Any]) -> None:
        """Give a finished tensor its name in `group`, which is created if needed, and its attributes."""
        item, attributes = collector.finish()
        self._link(group, info, item, attributes, extra)

    def unconnected(self, group: str, info: TensorInfo, extra: Mapping[str, Any]) -> None:
        """Link a tensor that the loss does not depend on: zero rows, and the attribute `connected`, which is False."""
        tail = tuple(max(size, 0) for size in (info.shape or ())[1:])
        dataset = self.file.create_dataset(None, shape=(0, *tail), dtype=layout.stored_dtype(info.dtype))
        self._link(group, info, dataset, {"axis0": NONE}, {**extra, "connected": False})

    def _link(
        self,
        group: str,
        info: TensorInfo,
        item: h5py.Dataset | h5py.Group,
        attributes: dict[str, Any],
        extra: Mapping[str, Any],
    ) -> None:
        stored = item.dtype if isinstance(item, h5py.Dataset) else item.get("values", item.get("0")).dtype
        as_bytes = info.dtype == STRING and any(holds_bytes(part.dtype) for part in _parts(item))
        if self._storage.checksums and isinstance(item, h5py.Dataset) and VALUES not in item.attrs:
            seal(item, 0)  # without values
        attributes |= {
            "address": info.address,
            "layer": info.layer,
            "structure": info.structure,
            "class": info.class_name,
            "order": info.order,
            "dtype": info.dtype,
            **flow_attributes(info),
            **dict(info.attributes),
            **extra,
        }
        if info.shape is not None:
            attributes["shape"] = np.array(info.shape, np.int64)
        if dtype_name(stored) != info.dtype:
            attributes["stored_as"] = dtype_name(stored)
        if as_bytes:
            attributes["stored_as"] = BYTES
            self.texts_as_bytes.append(f"{group}/{info.address}")
        for name, values in large_arrays(attributes).items():
            self.side_array(f"{place_of_array(name, group)}/{info.address}", values)
            del attributes[name]
        for name, value in attributes.items():
            set_attribute(item, name, value)
        self.group(group)[info.address] = item

    def group(self, name: str) -> h5py.Group:
        """Return the group of this path below the root, created level by level when first asked for."""
        if name not in self._groups:
            above, _, last = name.rpartition("/")
            parent = self.group(above) if above else self.file
            self._groups[name] = anonymous_group(self.file)
            parent[last] = self._groups[name]
        return self._groups[name]

    def loss(self, values: npt.NDArray[np.float64], attributes: Mapping[str, Any]) -> None:
        """Write the loss, a scalar or one number per step or example, with its attributes."""
        dataset = self.file.create_dataset(layout.LOSS, data=np.asarray(values, np.float64))
        if self._storage.checksums:
            seal(dataset, crc_of(np.asarray(values, np.float64)))
        for name, value in attributes.items():
            set_attribute(dataset, name, value)

    def describe(self, root: Mapping[str, Any], config: str | None, not_captured: tuple[NotCaptured, ...]) -> None:
        """Write the attributes of the root, the model's architecture (JSON), and what was not captured.

        Text that is too long for an attribute becomes a dataset, and the attribute refers to it.
        """
        missing = json.dumps([{"address": item.address, "reason": item.reason} for item in not_captured])
        for name, value in {**root, layout.NOT_CAPTURED: missing}.items():
            if isinstance(value, str) and len(value.encode()) > layout.LARGEST_ATTRIBUTE_BYTES:
                self._text(name, value)
                set_attribute(self.file, name, json.dumps({"see": f"/{name}"}))
            else:
                set_attribute(self.file, name, value)
        if config is not None:
            self._text(layout.CONFIG, config)

    def _text(self, name: str, text: str) -> h5py.Dataset:
        """Store text as a dataset in the root; without a name if that is empty."""
        data = text.replace("\0", "�")
        dataset = self.file.create_dataset(name or None, data=data, dtype=h5py.string_dtype("utf-8"))
        if self._storage.checksums:
            seal(dataset, crc_of(np.array(data, object)))
        return dataset

    def side_text(self, path: str, text: str) -> None:
        """Store text that is no tensor under a path of at least one group and a name."""
        group, _, name = path.rpartition("/")
        self.group(group)[name] = self._text("", text)

    def side_array(self, path: str, values: Array) -> None:
        """Store an array that is no tensor of the model, in its own dtype, under a path as `side_text` does."""
        group, _, name = path.rpartition("/")
        self.group(group)[name] = write_whole(self.file, values, values.dtype, self._storage)

    def finish(self) -> None:
        """Close the file and move it into place; a dump in memory stays open."""
        self._storage.drain()
        self._storage.close()
        if self._storage.checksums:
            self.file.attrs.create(DESCRIPTION, np.uint32(description_crc(self.file)))
        if self._partial is None or self._target is None or self._stream is None:
            return
        self.file.close()
        self.check()
        self._stream.close()
        try:
            move_into_place(self._partial, self._target, self._force)
        except FileExistsError:
            raise DumpError(
                f"output {self._shown} was made by another run meanwhile (choose another with -o)"
            ) from None
        self._partial = None

    def abort(self) -> None:
        """Discard what was written."""
        self._storage.close()
        self.file.close()
        if self._stream is not None:
            self._stream.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._partial = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.finish()
            except BaseException as failure:
                self.abort()
                self._explain(failure)
                raise
            return
        self.abort()
        if error is not None:
            self._explain(error)

    def _explain(self, error: BaseException) -> None:
        """Raise DumpError for an error of the file system while writing."""
        if isinstance(error, OSError) and error.errno is not None:
            raise DumpError(f"cannot write {self._shown}: {os.strerror(error.errno)}") from error


def flow_attributes(info: TensorInfo) -> dict[str, str]:
    """Return the attributes `inputs` and `operands`, without those that are not known or too long for an attribute."""
    lists = {layout.READ: info.inputs, layout.OPERANDS: info.operands}
    texts = {name: json.dumps(addresses) for name, addresses in lists.items() if addresses is not None}
    return {name: text for name, text in texts.items() if len(text) <= layout.LARGEST_ATTRIBUTE_BYTES}


def set_attribute(target: h5py.Group | h5py.Dataset, name: str, value: Any) -> None:
    """Write one attribute: text as UTF-8, numbers as they are, and an array in its own dtype."""
    if isinstance(value, str):
        value = value.replace("\0", "�").encode("utf-8", "backslashreplace").decode()
    target.attrs.create(name, value)


def _parts(tensor: h5py.Dataset | h5py.Group) -> list[h5py.Dataset]:
    """Return the datasets of a tensor that hold values."""
    return [tensor] if isinstance(tensor, h5py.Dataset) else [tensor[name] for name in tensor if holds_values(name)]


def _create(stream: DumpStream | None) -> h5py.File:
    """Create an HDF5 file that keeps the order of its links and stores no times; in memory if `stream` is None."""
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    if stream is None:
        access.set_fapl_core(1 << 20, False)
    else:
        access.set_fileobj_driver(h5py.h5fd.fileobj_driver, stream)
    name = b"tfdump-%d" % next(_NUMBERS)  # HDF5 opens no name twice, even in memory
    return h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))
