"""Writes the shards of a run as the one file that one run would have written, with the same bytes.

The batches go through the writer in the order in which one run computes them, so that the writer makes the same chunks
in the same places.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfdump.dtypes import dtype_name
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.collectors import ChangingCollector, Collector, Finishing
from tfdump.dump.rows import Storage
from tfdump.dump.shards.joined_arrays import JoinedPart
from tfdump.dump.shards.joined_gradients import UNCONNECTED, stored_float
from tfdump.dump.shards.joined_records import JoinedRun, JoinedTensor
from tfdump.dump.shards.joined_run import CALLED_LATE, join_shards
from tfdump.dump.shards.manifest import MANIFEST, is_shard_folder, read_manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.outline import Declared, write_unconnected_and_loss
from tfdump.dump.shards.replay import batches_in_shard
from tfdump.dump.target import check_target
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.errors import DumpError
from tfdump.files.paths import as_argument, check_path
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.tensors import Note, TensorInfo, Value

_READ_BYTES = 1 << 22
"""Bytes of one tensor that are read at once, unless there are too many tensors for `_ALL_BYTES`."""

_ALL_BYTES = 1 << 28

_OPEN = 1
"""Shards that are open at once: one is read after the other."""

_NAMES = 1 << 16
"""Names of examples that one run stores at once."""


def merge_shards(
    folder: Path, path: Path, force: bool = False, note: Note = lambda _: None, progress: Progress = silent_progress
) -> None:
    """Write the shards of a folder as one dump.

    `note` is called with what one run would have told about its tensors, and `progress` with the examples written and
    all examples. Raises DumpError where a shard is missing, damaged or of another run, and where the bytes of one run
    cannot be made from the shards.
    """
    check_path(folder, "folder", DumpError)
    if not folder.is_dir():
        raise DumpError(f"{folder} is not a folder (name the folder of the shards)")
    if not is_shard_folder(folder):
        raise DumpError(
            f"{folder} is no folder of shards: it has no {MANIFEST} (shards are made with --shards: tfdump activations "
            f"MODEL INPUT --shards {as_argument(folder)})"
        )
    manifest = read_manifest(folder)
    cache = 0 if manifest.compression == "none" else None  # whole chunks are read, and none twice
    shards = OpenShards(folder, manifest, _OPEN, cache)
    try:
        check_target(path, force, shards.paths)
        run = join_shards(shards)
        _refuse(run)
        with _open_writer(path, force, run) as writer:
            _write(run, writer, progress)
            shards.check_unchanged()
        for text in run.notes:
            note(text)
    finally:
        shards.close()


def _refuse(run: JoinedRun) -> None:
    """Raise DumpError where one run would have written values that no shard has."""
    partial = {address: reason for address, reason in run.partial.items() if reason not in (CALLED_LATE, UNCONNECTED)}
    if partial:
        address, reason = next(iter(partial.items()))
        more = f" and {len(partial) - 1} more tensors" if len(partial) > 1 else ""
        raise DumpError(
            f"{run.shards.folder} cannot be merged: '{address}'{more} could not be stored as a whole ({reason}), and "
            f"one run leaves traces of such values in its file (leave it out of the run: -x '{address}')"
        )

    for tensor in run.tensors:
        if tensor.state is not None and tensor.state.reduced and tensor.state.widened:
            address = tensor.info.address
            raise DumpError(
                f"{run.shards.folder} cannot be merged: the dtype of '{address}' changes, and shards keep only the "
                f"reduced values (leave it out of the run: -x '{address}')"
            )


def _open_writer(path: Path, force: bool, run: JoinedRun) -> DumpWriter:
    manifest = run.manifest
    chunk_bytes = layout.chunk_bytes_for(manifest.memory, manifest.filling)
    return DumpWriter(path, force=force, storage=storage_for(manifest.compression, chunk_bytes, manifest.checksums))


def _write(run: JoinedRun, writer: DumpWriter, progress: Progress) -> None:
    replayed = [_ReplayedTensor(run, tensor, writer) for tensor in run.tensors]
    with ThreadPoolExecutor(1, "tfdump-read") as thread:
        _replay(run, replayed, writer, progress, thread)
    if run.manifest.kind == layout.ACTIVATIONS:
        writer.group(layout.ACTIVATIONS)
    for tensor in replayed:
        raise_waiting()
        writer.link(tensor.joined.group, tensor.joined.info, tensor.collector, tensor.joined.extra)
    write_unconnected_and_loss(run, writer)
    _write_further(run, writer)
    writer.describe(run.root, run.manifest.config, run.not_captured)
    raise_waiting()


def _replay(
    run: JoinedRun,
    replayed: "list[_ReplayedTensor]",
    writer: DumpWriter,
    progress: Progress,
    thread: ThreadPoolExecutor,
) -> None:
    """Put the batches of all tensors through their collectors."""
    stored = [tensor for tensor in replayed if tensor.has_values and tensor.joined.state is not None]
    most_bytes = min(_READ_BYTES, _ALL_BYTES // max(1, len(stored)))
    done, first = 0, 1
    for number in range(len(run.shards.paths)):
        sizes = run.shards.batch_sizes(number)
        batches = [tensor.batches(number, most_bytes, thread) for tensor in stored]
        for batch, size in enumerate(sizes, first):
            raise_waiting()
            progress(done, run.manifest.examples)
            for tensor, values in zip(stored, batches, strict=True):
                tensor.append(next(values), batch)
            writer.check()
            done += size
        first += len(sizes)
    progress(done, run.manifest.examples)
    for tensor in replayed:
        tensor.append_sum()


class _ReplayedTensor:
    """One tensor whose batches go through the same collectors as in one run."""

    def __init__(self, run: JoinedRun, joined: JoinedTensor, writer: DumpWriter) -> None:
        self.joined = joined
        self.has_values = bool(joined.form.attributes.get("values", True))
        self._run = run
        self._state = joined.state
        self._summed = joined.summed
        self._writer = writer
        self._stored = ChangingCollector(self._open)
        wanted = stored_float(run.manifest, joined.info.dtype)
        self._dtype = None if joined.group == layout.INPUTS else wanted

    def _open(self, info: TensorInfo, value: Value, axis0: str) -> Collector:
        manifest = self._run.manifest
        return self._writer.collector(
            info,
            value,
            axis0=axis0,
            examples=manifest.examples,
            batches=-(-manifest.examples // manifest.batch_size),
            dtype=self._dtype,
        )

    def batches(self, number: int, most_bytes: int, thread: ThreadPoolExecutor) -> Iterator[Value]:
        """Yield the values of all batches of a shard; the thread reads ahead."""
        assert self._state is not None
        path = f"{self.joined.group}/{self.joined.info.address}"
        lent = self._run.manifest.compression == "none"  # else chunks wait to be compressed
        axis0 = str(self._state.shards[number])
        return batches_in_shard(self._run.shards, number, path, axis0, most_bytes, thread if lent else None)

    def append(self, value: Value, batch: int) -> None:
        """Add the value of a batch, counted from 1. A reduction may have changed its dtype."""
        assert self._state is not None
        info, axis0 = self._state.at(batch)
        if self._state.reduced and isinstance(value, np.ndarray):
            info = replace(info, dtype=dtype_name(value.dtype))
        self._stored.append(value, info, axis0)

    def append_sum(self) -> None:
        """Add the gradient of a weight, which one run stores after the last batch."""
        if self._summed is not None and self.has_values:
            self._stored.append(self._summed.value, self.joined.info, NONE)

    @property
    def collector(self) -> Finishing:
        """What ends as the dataset or group of the tensor."""
        if self._stored.collector is not None:
            return self._stored.collector
        return Declared(self._writer.file, self.joined.form, Storage())


def _write_further(run: JoinedRun, writer: DumpWriter) -> None:
    """Write what is beside the tensors."""
    for further in run.further:
        writer.link(further.group, further.info, _collected(run, further, writer), further.extra)


def _collected(run: JoinedRun, further: JoinedTensor, writer: DumpWriter) -> Collector:
    """Return the rows of what is beside the tensors, in a collector."""
    array = further.form.arrays[""]
    rows = array.shape[0]
    part = JoinedPart("", array, run.shards)
    first = part.read((slice(0, 1),)) if rows else np.zeros((0,), array.dtype)
    collector = writer.collector(
        further.info, first, axis0=EXAMPLE, examples=rows, batches=-(-rows // _NAMES) if _is_names(further) else 1
    )
    for start in range(0, rows, _NAMES):
        raise_waiting()
        collector.append(part.read((slice(start, start + _NAMES),)))
    return collector


def _is_names(further: JoinedTensor) -> bool:
    return (further.group, further.info.address) == (layout.EXAMPLES, layout.EXAMPLE_ID)
