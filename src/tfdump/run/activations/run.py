"""The activations of a model over its inputs: planned, and written to a dump."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfdump.dump import layout
from tfdump.dump.journal import Journal
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.files.limits import allowed
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.source import Source
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.run.activations.one_example import bytes_of_example, write_example
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.activations.plan import ActivationPlan, plan_activations
from tfdump.run.activations.search import BadExample, search_batches
from tfdump.run.activations.write import CALLED_LATE, OpenDump, planned_inputs, write_batches, write_dump
from tfdump.run.not_captured import tell_not_captured
from tfdump.run.output import data_attributes, overhead_bytes
from tfdump.run.pixel_ranges import tell_pixel_ranges
from tfdump.run.planned import PlannedRun
from tfdump.tensors import Note, PlannedTensor, Value

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.runnable import RunnableProbe


@dataclass(kw_only=True)
class ActivationRun(PlannedRun[ActivationOptions, None]):
    """A model and its inputs, looked at and ready to be dumped."""

    kind = layout.ACTIVATIONS

    probe: "RunnableProbe"
    plan: ActivationPlan

    @property
    def planned(self) -> list[PlannedTensor]:
        """Every tensor that the dump will hold, inputs included."""
        return [*self.plan.tensors, *planned_inputs(self.source, self.options.store)]

    @property
    def batch_size(self) -> int:
        """The number of examples that a call has."""
        return self.plan.batch_size

    @property
    def chunked(self) -> int:
        """The number of tensors that are stored in chunks: all of them."""
        return len(self.planned)

    @property
    def filling(self) -> int:
        """The number of tensors among which the memory for unfinished chunks is divided: all but the inputs."""
        return len(self.plan.tensors)

    @property
    def journal_bytes(self) -> int:
        """About how many bytes a journal of all batches will take."""
        return self.value_bytes

    def _attributes(self) -> dict[str, Any]:
        return {}

    def _fill(self, writer: DumpWriter, root: Mapping[str, Any], progress: Progress, journal: Journal | None) -> None:
        write_dump(self.probe, self.source, self.plan, self.open_dump(writer, root), progress, journal)

    def open_dump(self, writer: DumpWriter, root: Mapping[str, Any]) -> OpenDump:
        """Return the dump that a writer writes, with the attributes of its root so far."""
        loaded = self.loaded
        return OpenDump(writer, root, self.options.store, loaded.config, loaded.not_loaded, self.note)

    def write_values(self, writer: DumpWriter, command: str, batches: Sequence[tuple[list[Value | None], int]]) -> None:
        """Write the dump of batches that were computed: the values of each, and the number of its examples.

        The caller closes the writer.
        """
        root = self.origin(command) | data_attributes(self.source)
        write_batches(batches, self.probe, self.source, self.plan, self.open_dump(writer, root))

    def search(self, progress: Progress = silent_progress) -> BadExample | None:
        """Run the model until a batch holds NaN or infinity; return its first bad example, None where all is clean.

        Nothing is stored. Every planned tensor and the inputs are searched.
        """
        inputs = planned_inputs(self.source, self.options.store)
        example = search_batches(self.probe, self.source, self.plan, inputs, self.options.allow_inf, progress)
        if example is None:
            for address in sorted(self.probe.late):
                self.note(f"not captured: {address} ({CALLED_LATE})")
        return example

    def file_bytes_of(self, example: BadExample) -> int:
        """About how many bytes the dump of one example will take without compression."""
        return bytes_of_example(example, self.options.store) + overhead_bytes(self.chunked, self.loaded.config)

    def write_example(self, writer: DumpWriter, command: str, example: BadExample) -> None:
        """Write the dump of the one example that `search` returned. The caller closes the writer."""
        dump = self.open_dump(writer, self.origin(command))
        write_example(example, self.probe, self.source, self.plan, dump)


@dataclass
class OpenedActivations:
    """A model and its inputs, opened: the probe is traced, and any number of runs can be planned with it.

    `fixed` is the batch size that the model requires, or None.
    """

    loaded: "LoadedModel"
    source: Source
    probe: "RunnableProbe"
    fixed: int | None
    options: ActivationOptions
    note: Note

    def plan(self) -> ActivationRun:
        """Look at a few examples, and return the run.

        Raises ModelError where the model fails on the examples, and where there is nothing to dump: for a single layer
        without layers inside, whose output is not stored.
        """
        options = self.options
        plan = plan_activations(self.probe, self.source, self.fixed, options.run, options.store, self.note)
        if not plan.tensors and not self.probe.not_captured:
            name = getattr(self.loaded.model, "name", self.loaded.name)
            raise ModelError(
                f"the {self.loaded.class_name} '{name}' has no layers inside, so there is nothing to dump (pass the "
                f"model that it is part of, and layers='{name}')"
            )
        tell_not_captured((*self.loaded.not_loaded, *self.probe.not_captured), self.note)
        return ActivationRun(
            loaded=self.loaded, source=self.source, probe=self.probe, options=options, note=self.note, plan=plan
        )


def probe_activations(
    loaded: "LoadedModel", arrays: Sequence[InputArray], options: ActivationOptions, note: Note
) -> OpenedActivations:
    """Open a model and its inputs. Closing the probe leaves the model as it was before.

    Raises InputError where the inputs do not fit, and SelectionError where a pattern matches nothing.
    """
    from tfdump.model.request import Request
    from tfdump.model.runnable import open_source, probe_source

    signature, source = open_source(loaded.model, arrays, options.reading, note)
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
    arrays: Sequence[InputArray],
    options: ActivationOptions,
    note: Note,
    stage: Stage = silent_stage,
) -> Iterator[ActivationRun]:
    """Open a model and its inputs, and plan the run. At the end, the model is as it was before.

    `stage` is called with the name of each stage, which can take minutes. Raises InputError where the inputs do not
    fit, SelectionError where a pattern matches nothing, and ModelError where the model fails on them.
    """
    with allowed(loaded.max_bytes):
        stage("Tracing the model")
        opened = probe_activations(loaded, arrays, options, note)
        tell_pixel_ranges(loaded, opened.source, note)
        with opened.probe:
            stage("Looking at the first batches")
            yield opened.plan()
