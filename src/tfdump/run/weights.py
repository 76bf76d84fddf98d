"""The weights of a model in a dump: which of them, and how they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfdump.address import Selection
from tfdump.argument_kinds import flag, one_of
from tfdump.dump.axis0 import NONE
from tfdump.dump.collectors import Collector
from tfdump.dump.compression import COMPRESSIONS
from tfdump.dump.writer import DumpWriter
from tfdump.files.limits import allowed
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.not_captured import tell_not_captured
from tfdump.run.options import StoreOptions, store_options
from tfdump.run.output import open_writer, origin_attributes, overhead_bytes
from tfdump.run.sinks import TensorSink, stored_size
from tfdump.tensors import NotCaptured, Note, PlannedTensor, TensorInfo, Value

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.weights.records import WeightTensor

WEIGHT_OVERHEAD, STATISTICS_OVERHEAD = 1000, 650
"""Bytes of the attributes of a weight, and of its statistics; measured on the sample models."""


@dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """Which weights are dumped, and how they are stored.

    `dequantize` stores quantized weights as the real numbers that they stand for, and `optimizer` adds the variables of
    the optimizer.
    """

    selection: Selection = field(default_factory=Selection)
    dequantize: bool = False
    optimizer: bool = False
    store: StoreOptions = field(default_factory=StoreOptions)
    compression: str = "none"
    checksums: bool = False


def weight_options(
    selection: Selection,
    *,
    dequantize: Any = False,
    optimizer: Any = False,
    dtype: Any = None,
    compression: Any = "none",
    checksums: Any = False,
    stats: Any = False,
    stats_only: Any = False,
) -> WeightOptions:
    """Return the options of a dump of weights.

    The arguments are those of the command line and of `tfdump.weights`. Raises TfdumpError for an argument that is not
    valid, and for those that exclude each other.
    """
    options = WeightOptions(
        selection=selection,
        dequantize=flag("dequantize", dequantize),
        optimizer=flag("optimizer", optimizer),
        store=store_options(None, dtype, stats, stats_only),
        compression=one_of("compression", compression, COMPRESSIONS) or "none",
        checksums=flag("checksums", checksums),
    )
    options.store.check(options.compression)
    return options


@dataclass(frozen=True)
class WeightRun:
    """The weights of a model, ready to be dumped; `planned` describes `tensors` in the same order."""

    kind: ClassVar[str] = "weights"

    loaded: "LoadedModel"
    options: WeightOptions
    tensors: "tuple[WeightTensor, ...]"
    planned: tuple[PlannedTensor, ...]
    not_captured: tuple[NotCaptured, ...]
    note: Note

    @property
    def value_bytes(self) -> int:
        """The bytes that the values take without compression."""
        return sum(tensor.bytes for tensor in self.planned)

    @property
    def file_bytes(self) -> int:
        """About how many bytes the file will take without compression."""
        each = WEIGHT_OVERHEAD + (STATISTICS_OVERHEAD if self.options.store.statistics else 0)
        arrays = (value for tensor in self.tensors for _, value in tensor.info.attributes)
        attributes = sum(value.nbytes for value in arrays if isinstance(value, np.ndarray))
        return self.value_bytes + overhead_bytes(0, self.loaded.config) + each * len(self.planned) + attributes

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> DumpWriter:
        """Return the writer of the dump; `path` None makes the dump in memory."""
        options = self.options
        return open_writer(path, force, options.compression, DEFAULT_MEMORY, 1, options.checksums, alone)

    def write(self, writer: DumpWriter, command: str, progress: Progress = silent_progress) -> None:
        """Read the weights one by one and write the dump. The caller closes the writer."""
        overflowed = 0
        with allowed(self.loaded.max_bytes):
            for number, tensor in enumerate(self.tensors):
                overflowed += self._write(writer, tensor)
                writer.check()
                raise_waiting()
                progress(number + 1, len(self.tensors))
        if overflowed:
            self.note(
                f"{overflowed} finite values are too large for --dtype {self.options.store.dtype} and became infinite"
            )
        root = origin_attributes(self.kind, self.loaded, self.options.store.values, command)
        writer.describe(root, self.loaded.config, self.not_captured)

    def _write(self, writer: DumpWriter, tensor: "WeightTensor") -> int:
        """Write one tensor; return how many finite values became infinite."""
        store = self.options.store

        def opened(info: TensorInfo, value: Value, axis0: str) -> Collector:
            return writer.collector(
                info, value, axis0=axis0, examples=0, batches=1, dtype=store.dtype, values=store.values
            )

        sink = TensorSink(tensor.group, tensor.info, NONE, store, opened)
        sink.add(tensor.read(), 0)
        collector, extra = sink.finish()
        assert collector is not None, "the only value was stored"
        writer.link(tensor.group, sink.info, collector, extra)
        return sink.overflowed


def plan_weights(loaded: "LoadedModel", options: WeightOptions, note: Note, stage: Stage = silent_stage) -> WeightRun:
    """Find the weights of a model and select among them. The model stays as it is.

    Raises ModelError for a model whose weights cannot be read, and SelectionError for a pattern that matches nothing.
    """
    from tfdump.model.weights.opening import weights_in
    from tfdump.model.weights.records import WeightRequest

    stage("Tracing the model")
    with allowed(loaded.max_bytes):
        weights = weights_in(loaded, WeightRequest(options.dequantize, options.optimizer), note)
    missing = (*loaded.not_loaded, *weights.not_captured)
    reasons = {item.address: item.reason for item in missing}
    positions = options.selection.choose([tensor.candidate for tensor in weights.tensors], reasons, weights.advice)
    tell_not_captured(missing, note)
    tensors = tuple(weights.tensors[position] for position in positions)
    return WeightRun(loaded, options, tensors, tuple(_planned(tensors, options.store)), missing, note)


def _planned(tensors: "Sequence[WeightTensor]", store: StoreOptions) -> list[PlannedTensor]:
    return [
        PlannedTensor(tensor.group, tensor.info, NONE, tensor.info.shape or (), stored_size(tensor.info, store))
        for tensor in tensors
    ]
