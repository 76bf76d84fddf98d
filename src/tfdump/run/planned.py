"""A run before it starts: what the dump will hold, how large it will be, and how it is written.

Activation runs and gradient runs share these classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source
from tfdump.process.stages import Progress, silent_progress
from tfdump.run.batching import Batches
from tfdump.run.options import DumpOptions
from tfdump.run.output import data_attributes, open_writer, overhead_bytes, provenance
from tfdump.run.resume import RepeatableProbe, begin
from tfdump.tensors import NotCaptured, Note, PlannedTensor

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

FirstBatch = TypeVar("FirstBatch")
"""What the probe of a run returns for one batch."""

Options = TypeVar("Options", bound=DumpOptions)

Result = TypeVar("Result")
"""What a run returns when the dump is written."""


@dataclass(kw_only=True)
class RunPlan(Generic[FirstBatch]):
    """The batches, what each tensor is, and the addresses of the tensors whose values depend on the batch.

    `fixed` is the number of examples to which every call is padded, or None.
    """

    batches: Batches
    fixed: int | None
    tensors: list[PlannedTensor]
    depends_on_batch: list[str]
    first: FirstBatch | None = field(default=None, repr=False)

    @property
    def batch_size(self) -> int:
        """The number of examples that a call has."""
        return self.fixed or min(self.batches.size, self.batches.examples)

    def take_first(self) -> FirstBatch | None:
        """Return what the probe returned for the first batch, and forget it.

        The result can be used only once: the state of the model is the one after the first batch.
        """
        first, self.first = self.first, None
        return first


class RunProbe(RepeatableProbe, Protocol):
    """What every run asks of its probe."""

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The layers that the probe cannot capture, with the reasons."""


@dataclass(kw_only=True)
class PlannedRun(ABC, Generic[Options, Result]):
    """A model and its inputs, ready to be dumped; `kind` is the kind of the dump."""

    kind: ClassVar[str]

    loaded: "LoadedModel"
    source: Source
    probe: RunProbe
    options: Options
    note: Note

    @property
    @abstractmethod
    def planned(self) -> list[PlannedTensor]:
        """Every tensor that the dump will hold."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """The number of examples that a call has."""

    @property
    @abstractmethod
    def chunked(self) -> int:
        """The number of tensors that are stored in chunks; the others are stored in one piece."""

    @property
    @abstractmethod
    def filling(self) -> int:
        """The number of tensors among which the memory for unfinished chunks is divided."""

    @property
    @abstractmethod
    def journal_bytes(self) -> int:
        """About how many bytes a journal of all batches will take."""

    @abstractmethod
    def _attributes(self) -> dict[str, Any]:
        """Return the attributes of the root that only this kind of dump has."""

    @abstractmethod
    def _fill(self, writer: DumpWriter, root: Mapping[str, Any], progress: Progress, journal: Journal | None) -> Result:
        """Run the model over all examples, and write the dump with the attributes `root`."""

    @property
    def value_bytes(self) -> int:
        """About how many bytes the values will take without compression."""
        return sum(tensor.bytes for tensor in self.planned)

    @property
    def file_bytes(self) -> int:
        """About how many bytes the file will take without compression."""
        unchunked = len(self.planned) - self.chunked
        return self.value_bytes + overhead_bytes(self.chunked, self.loaded.config, unchunked)

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The layers of the model that will not be in the dump, with the reasons."""
        return (*self.loaded.not_loaded, *self.probe.not_captured)

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> DumpWriter:
        """Return the writer of the dump.

        `path` None makes the dump in memory. `alone` tells that no other run can write the same file.
        """
        options = self.options
        return open_writer(path, force, options.compression, options.run.memory, self.filling, options.checksums, alone)

    def write(
        self,
        writer: DumpWriter,
        command: str,
        progress: Progress = silent_progress,
        journal: Journal | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> Result:
        """Run the model over all examples and write the dump. The caller closes the writer.

        `command` is stored in the root as what made the dump, and `further` are more attributes of the root. A
        `journal` holds the batches that an interrupted run computed, and receives the other ones. Raises DumpError
        where the journal belongs to another run.
        """
        root = self.origin(command)
        training = self.options.run.training
        journal = begin(journal, self.probe, training, root, self.source, self.batch_size, self.note)
        return self._fill(writer, root | data_attributes(self.source) | dict(further or {}), progress, journal)

    def origin(self, command: str) -> dict[str, Any]:
        """Return the attributes of the root that tell what made the dump."""
        options = self.options
        root = provenance(
            self.kind, self.loaded, self.source, options.run, options.seed, options.stores_values, command
        )
        return root | self._attributes()
