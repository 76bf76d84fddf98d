"""The activations of a model over its inputs: planned, and written to a dump."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.address import Selection
from tfdump.captures import Captures
from tfdump.dump import layout
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import Given
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.run.activations.plan import Plan, make_plan
from tfdump.run.activations.write import planned_inputs, write_dump
from tfdump.run.options import RunOptions, StoreOptions
from tfdump.run.output import open_writer, overhead_bytes, provenance, tell_not_captured
from tfdump.run.planned import Planned
from tfdump.run.resume import begin
from tfdump.tensors import NotCaptured, Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.runnable import RunnableProbe


@dataclass(frozen=True)
class ActivationOptions:
    """Everything that decides which activations are computed, how, and what is stored of them."""

    selection: Selection = field(default_factory=Selection)
    outputs: bool | None = None
    seed: int = 0
    eager: bool = False
    dequantize: bool = False
    compression: str = "none"
    checksums: bool = False
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    run: RunOptions = field(default_factory=RunOptions)
    store: StoreOptions = field(default_factory=StoreOptions)
    captures: Captures = field(default_factory=Captures)

    @property
    def with_outputs(self) -> bool:
        """Whether the final outputs are stored too: where no layer was chosen, or when asked for."""
        return self.outputs if self.outputs is not None else not self.selection.selects_layers


@dataclass
class ActivationRun:
    """A model and its inputs, looked at and ready to be dumped."""

    loaded: "LoadedModel"
    source: Source
    probe: "RunnableProbe"
    plan: Plan
    options: ActivationOptions
    note: Note

    @property
    def planned(self) -> list[Planned]:
        """Every tensor that the dump will hold, inputs included."""
        return [*self.plan.tensors, *planned_inputs(self.source, self.options.store)]

    @property
    def value_bytes(self) -> int:
        """About how many bytes the values will take without compression."""
        return sum(tensor.bytes for tensor in self.planned)

    @property
    def file_bytes(self) -> int:
        """About how many bytes the file will take without compression."""
        return self.value_bytes + overhead_bytes(len(self.planned), self.loaded.config)

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> DumpWriter:
        """Return the writer of the dump; None makes it in memory. `alone`: no other run can write the same one."""
        options = self.options
        count = len(self.plan.tensors)
        return open_writer(path, force, options.compression, options.run.memory, count, options.checksums, alone)

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The layers that the model owns and that will not be in the dump."""
        return (*self.loaded.not_loaded, *self.probe.not_captured)

    @property
    def kept_bytes(self) -> int:
        """About how many bytes a journal of all batches will take."""
        return self.value_bytes

    def write(
        self,
        writer: DumpWriter,
        command: str,
        progress: Progress = silent_progress,
        journal: Journal | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> None:
        """Run the model over all examples and write the dump; the caller closes the writer.

        A `journal` gives the batches that an interrupted run left, and keeps the others. `further` are more
        attributes of the root. Raises DumpError where the journal is that of another run.
        """
        options = self.options
        root = provenance(
            layout.ACTIVATIONS, self.loaded, self.source, options.run, options.seed, options.store.values, command
        )
        size = self.plan.batch_size
        journal = begin(journal, self.probe, options.run.training, root, self.source, size, self.note)
        write_dump(
            self.probe,
            self.source,
            self.plan,
            self.options.store,
            writer,
            root | dict(further or {}),
            self.loaded.config,
            self.note,
            progress,
            journal,
            self.loaded.not_loaded,
        )


@dataclass
class OpenedActivations:
    """A model and its inputs, opened: the probe is traced, and a run can be planned with it any number of times."""

    loaded: "LoadedModel"
    source: Source
    probe: "RunnableProbe"
    fixed: int | None
    options: ActivationOptions
    note: Note

    def plan(self) -> ActivationRun:
        """Look at a few examples, and return the run.

        Raises ModelError where the model fails on them, and where there is nothing to dump: a layer by itself, which
        has none inside, without its output.
        """
        options = self.options
        plan = make_plan(self.probe, self.source, self.fixed, options.run, options.store, self.note)
        if not plan.tensors and not self.probe.not_captured:
            name = getattr(self.loaded.model, "name", self.loaded.name)
            raise ModelError(
                f"the {self.loaded.class_name} '{name}' has no layers inside, so there is nothing to dump (give the "
                f"model that it is part of, and layers='{name}')"
            )
        tell_not_captured((*self.loaded.not_loaded, *self.probe.not_captured), self.note)
        return ActivationRun(self.loaded, self.source, self.probe, plan, options, self.note)


def probe_activations(
    loaded: "LoadedModel", given: Sequence[Given], options: ActivationOptions, note: Note
) -> OpenedActivations:
    """Open a model and its inputs; closing the probe leaves the model as it was.

    Raises InputError where the inputs do not fit, and SelectionError where a pattern matches nothing.
    """
    from tfdump.model.probe import Request
    from tfdump.model.runnable import open_source, probe_source

    signature, source = open_source(loaded.model, given, options.reading, note)
    request = Request(
        options.selection,
        options.with_outputs,
        options.run.training,
        options.seed,
        options.eager,
        options.captures,
        options.dequantize,
    )
    probe = probe_source(loaded.model, signature, source, request, note)
    return OpenedActivations(loaded, source, probe, signature.batch_size, options, note)


@contextmanager
def open_activations(
    loaded: "LoadedModel",
    given: Sequence[Given],
    options: ActivationOptions,
    note: Note,
    stage: Stage = silent_stage,
) -> Iterator[ActivationRun]:
    """Open a model and its inputs, and plan the run; the model is left as it was at the end.

    `stage` is called with what goes on, which can take minutes. Raises InputError where the inputs do not fit,
    SelectionError where a pattern matches nothing, and ModelError where the model fails on them.
    """
    with allowed(loaded.max_bytes):
        stage("Tracing the model")
        opened = probe_activations(loaded, given, options, note)
        with opened.probe:
            stage("Looking at the first batches")
            yield opened.plan()
