"""Activations in shards: the run is opened and planned as one, and each shard is a part of its batches."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfdump.dump import layout
from tfdump.dump.shards.manifest import Manifest, ShardedPlan
from tfdump.dump.shards.shard_file import ShardState, write_shard_state
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.options_without_data import options_without_data
from tfdump.process.stages import Progress
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.activations.run import ActivationRun, probe_activations
from tfdump.run.activations.write import write_dump
from tfdump.run.output import data_attributes
from tfdump.run.pixel_ranges import tell_pixel_ranges
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.opened_run import OpenedRun
from tfdump.run.shards.plan import (
    activations_of_part,
    check_same_tensors,
    plan_of_activations,
    record_of_activations,
    sink_state,
)
from tfdump.tensors import Note, PlannedTensor

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

_LATE = "late"
"""The further item of the plan: the addresses that the looks at a few examples called, and the first batch did not."""


class ShardedActivations(OpenedRun[ActivationRun]):
    """The activations of a model over its inputs, opened once, of which any part can be written."""

    def __init__(self, loaded: "LoadedModel", data: list[InputArray], job: ShardJob, note: Note) -> None:
        assert isinstance(job.options, ActivationOptions)
        for text in options_without_data(data, job.data):
            note(text)
        super().__init__(probe_activations(loaded, data, job.options, note))
        tell_pixel_ranges(loaded, self.source, note)

    @staticmethod
    def read(job: ShardJob) -> list[InputArray]:
        """Open the data of a job, before its model is loaded."""
        return open_arguments(job.inputs, options=job.data)

    def plan(self) -> ShardedPlan:
        """Plan the whole run from its first batch; return the record of the plan."""
        self._run = self._opened.plan()
        self._late = sorted(self.probe.late)
        return replace(record_of_activations(self._run.plan, self._run.planned), further={_LATE: self._late})

    def adopt(self, manifest: Manifest) -> None:
        """Use the plan of a manifest; raises DumpError where it is not of the tensors that the model has here."""
        opened, plan = self._opened, plan_of_activations(manifest)
        probe = opened.probe
        if probe.eager:  # it tells its tensors only when the first batch has run
            probe.forget()
            probe.start()
            probe.run(opened.source.first(opened.fixed or min(manifest.batch_size, opened.source.examples)))
        turned = {place: order for place, tensor in enumerate(plan.tensors) if (order := _order(tensor)) is not None}
        if turned and probe.turns:
            probe.turn(turned)
        here = [
            (layout.OUTPUTS if probed.is_output else layout.ACTIVATIONS, probed.info.address) for probed in probe.probed
        ]
        check_same_tensors(opened.loaded.name, here, [(tensor.group, tensor.info.address) for tensor in plan.tensors])
        if opened.fixed is not None and plan.fixed is None:
            probe.takes(opened.source.examples % opened.fixed)
        self._late = list(manifest.plan.further[_LATE])
        self._run = ActivationRun(
            loaded=opened.loaded,
            source=opened.source,
            probe=probe,
            options=opened.options,
            note=opened.note,
            plan=plan,
        )

    def write(
        self,
        writer: DumpWriter,
        command: str,
        further: Mapping[str, Any],
        start: int,
        stop: int,
        progress: Progress,
    ) -> None:
        """Write the shard of the examples from `start` up to `stop`, counted from the first one of the whole run.

        `further` are more attributes of the root.
        """
        whole = self.run
        source = whole.source.part(start, stop)
        run = replace(whole, source=source, plan=activations_of_part(whole.plan, start, stop))
        self.probe.late.clear()
        self.probe.late.update(self._late)
        root = {**run.origin(command), **data_attributes(source), **further}
        sinks = write_dump(run.probe, source, run.plan, run.open_dump(writer, root), progress)
        states = [sink_state(tensor, sink) for tensor, sink in zip(run.planned, sinks, strict=True)]
        write_shard_state(writer, ShardState(states, sorted(self.probe.late), len(run.plan.batches)))


def _order(tensor: PlannedTensor) -> tuple[int, ...] | None:
    """Return how the axes of a tensor are turned, so that the examples come first; None where they are not."""
    order = dict(tensor.info.attributes).get(layout.STORED_AXES)
    return None if order is None else tuple(int(axis) for axis in order)
