"""Gradients in shards: the divisors of the loss are those of the whole run, and each shard adds up its own batches."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dump.shards.gradient_sums import arrays_beside
from tfdump.dump.shards.manifest import Manifest, ShardedPlan
from tfdump.dump.shards.shard_file import ShardState, write_shard_state
from tfdump.dump.writer import DumpWriter
from tfdump.errors import ModelError
from tfdump.inputs.arguments import has_table, open_arguments, open_each, open_targets
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.options_without_data import options_without_data
from tfdump.inputs.targets import Argument
from tfdump.process.stages import Progress
from tfdump.run.batching import Batches
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.plan import GradientPlan
from tfdump.run.gradients.run import GradientRun, probe_gradients
from tfdump.run.gradients.sinks import SumSink
from tfdump.run.gradients.steps import AllExamples
from tfdump.run.gradients.write import GradientDump, GradientSink
from tfdump.run.output import data_attributes
from tfdump.run.pixel_ranges import tell_pixel_ranges
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.opened_run import OpenedRun
from tfdump.run.shards.plan import check_same_tensors, plan_of_part, sink_state
from tfdump.tensors import Array, Note, PlannedTensor

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

GradientData = tuple[list[Argument], list[InputArray] | None, list[InputArray]]
"""The inputs, the targets that were named apart, and the sample weights."""

_DIVISORS, _WEIGHTS, _LATE = "divisors", "term_weights", "late"
"""The further items of the plan: the divisors of the terms of the loss, and the weights of the terms, as hexadecimal
floats (None for gradients per example); and the addresses that only the looks at a few examples connected.
"""


class ShardedGradients(OpenedRun[GradientRun]):
    """The gradients of a model over its inputs and targets, opened once, of which any part can be written."""

    def __init__(self, loaded: "LoadedModel", data: GradientData, job: ShardJob, note: Note) -> None:
        assert isinstance(job.options, GradientOptions)
        arguments, targets, weights = data
        read = [array for _, some in arguments for array in some] + list(targets or [])
        for text in options_without_data(read, job.data):
            note(text)
        super().__init__(probe_gradients(loaded, arguments, targets, weights, job.options, note))
        tell_pixel_ranges(loaded, self.source, note)

    @staticmethod
    def read(job: ShardJob) -> GradientData:
        """Open the data of a job, before its model is loaded."""
        targets = open_targets(job.targets, job.data, has_table(job.inputs)) if job.targets else None
        weights = open_arguments(job.sample_weight, "sample weight file")
        return open_each(job.inputs, options=job.data), targets, weights

    def plan(self) -> ShardedPlan:
        """Plan the whole run, and count its divisors; raises ModelError for a loss that couples the examples."""
        _check_split(getattr(self.probe, "coupled", None))
        self._run = self._opened.plan()
        plan = self._run.plan
        _check_split(plan.coupled)
        self._late = sorted(self.probe.late)
        divisors, terms = plan.divisors, self.probe.terms
        return ShardedPlan(
            tensors=tuple(plan.tensors),
            fixed=plan.fixed,
            padding=0,
            depends_on_batch=tuple(plan.depends_on_batch),
            further={
                _DIVISORS: None if divisors is None else [float(number).hex() for number in divisors],
                _WEIGHTS: None if divisors is None else [float(term.weight).hex() for term in terms],
                _LATE: self._late,
            },
        )

    def adopt(self, manifest: Manifest) -> None:
        """Use the plan of a manifest; raises DumpError where it is not of the tensors that the model has here."""
        opened, record = self._opened, manifest.plan
        self._take_a_look(manifest.batch_size)
        here = [(target.group, target.info.address) for target in self.probe.targets if target.selected]
        check_same_tensors(opened.loaded.name, here, [(tensor.group, tensor.info.address) for tensor in record.tensors])
        divisors = record.further[_DIVISORS]
        plan = GradientPlan(
            batches=Batches(manifest.batch_size, manifest.examples),
            fixed=record.fixed,
            tensors=list(record.tensors),
            depends_on_batch=list(record.depends_on_batch),
            divisors=None if divisors is None else np.array([float.fromhex(number) for number in divisors]),
        )
        self._late = list(record.further[_LATE])
        self._run = opened.run_of(plan)

    def _take_a_look(self, size: int) -> None:
        """Run what tells the gradients of a model that no graph tells: one example, or the first batch."""
        opened, probe = self._opened, self.probe
        if opened.options.per_example:
            probe.run(opened.source.first(1))  # the first call of a model may create its weights
            probe.forget()
            probe.run(opened.source.first(1))
        elif probe.eager:
            examples = opened.fixed or min(size, opened.source.examples)
            probe.forget()
            probe.start()
            probe.run(opened.source.first(examples), None, examples)
        probe.start()

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

        `further` are more attributes of the root. The regularization is beside the first shard, and in none.
        """
        whole, passes = self.run, self.run.passes
        source, plan = whole.source.part(start, stop), plan_of_part(whole.plan, start, stop)
        if isinstance(passes, AllExamples):
            passes = replace(passes, plan=plan, regularization=None)
        run = replace(whole, source=source, plan=plan, passes=passes)
        self.probe.late.clear()
        self.probe.late.update(self._late)
        dump = GradientDump(self.probe, source, plan, run.options.store, None, writer, run.note)
        selected = [sink for target, sink in zip(self.probe.targets, dump.sinks, strict=True) if target.selected]
        for sink in selected:
            if isinstance(sink, SumSink):
                sink.stores_partial = True
        loss = passes.write(dump, progress)
        root = {**run.origin(command), **data_attributes(source), **further}
        dump.link(loss, root, run.loaded.config, run.loaded.not_loaded)
        arrays = arrays_beside(dump.numbers, *(self._regularization() if start == 0 else (None, {})))
        for sink in selected:
            if isinstance(sink, SumSink) and sink.partial is not None:
                arrays |= sink.partial.arrays(sink.info.address)
        states = [_state(tensor, sink) for tensor, sink in zip(plan.tensors, selected, strict=True)]
        write_shard_state(writer, ShardState(states, sorted(self.probe.late), len(plan.batches)), arrays)

    def _regularization(self) -> tuple[float | None, dict[str, Array | None]]:
        """Return the regularization, and its gradients by the addresses of the weights that are stored."""
        passes = self.run.passes
        if not isinstance(passes, AllExamples) or passes.regularization is None:
            return None, {}
        targets = [target for target in self.probe.targets if target.weight is not None]
        loss, gradients = passes.regularization.run([target.weight for target in targets])
        pairs = zip(targets, gradients, strict=True)
        return loss, {target.info.address: gradient for target, gradient in pairs if target.selected}


def _check_split(coupled: str | None) -> None:
    """Raise ModelError where the loss of all examples is not the sum of those of its parts."""
    if coupled is not None:
        raise ModelError(
            f"--shards: the loss couples the examples of a batch: {coupled} (leave --shards out, and give all examples "
            "in one batch)"
        )


def _state(planned: PlannedTensor, sink: GradientSink) -> dict[str, Any]:
    """Return what a shard records of the sink of a planned tensor."""
    if not isinstance(sink, SumSink):
        return sink_state(planned, sink) | {"attributes": sink.norms.measured.state()}
    partial = sink.partial
    return {
        "group": planned.group,
        "address": planned.info.address,
        "constant": None,
        "kind": None,
        "counts": [0, 0, False],
        "statistics": None,
        "sum": {
            "terms": 0 if partial is None else partial.terms,
            "half": sink.norms.half,
            "table": sink.is_table,
            "lost": sink.lost,
        },
    }
