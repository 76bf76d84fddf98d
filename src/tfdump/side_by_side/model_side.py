"""A model as one side of a comparison: it runs batch by batch, and its values go into live tensors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tfdump.comparison.sides import Side
from tfdump.dump import layout
from tfdump.dump.axis0 import BATCH, NONE
from tfdump.dump.collectors import same_bits
from tfdump.dump.kinds.tensor_kind import TensorKind
from tfdump.dump.reader import Dump
from tfdump.inputs.source import pad_batch
from tfdump.run.activations.run import ActivationRun, OpenedActivations
from tfdump.side_by_side.live_tensors import LiveTensor
from tfdump.side_by_side.options import errors_name_side
from tfdump.tensors import Batch, Value

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.patches import State

Call = tuple[Batch, int]
"""The inputs of one call of a model, and the number of its examples without padding."""

CallValues = tuple[list[Value | None], int]
"""The values of one call, in the order of the planned tensors, and the number of its examples without padding."""


def is_keras(loaded: "LoadedModel") -> bool:
    """Tell whether a model is one of Keras, and not the graph of a file of another format."""
    from tfdump.model.runnable import FixedModel

    return not isinstance(loaded.model, FixedModel)


def silent_note(text: str) -> None:
    """Ignore a note."""


class ModelSide:
    """A planned run of a model.

    `name` is that of its file, `role` is `golden` or `new`, and `items` are its tensors as far as they are compared.
    `kinds` tells of each planned tensor what the batches so far show. If it `is_isolated`, its batches run once more:
    `inputs` has their calls by their first examples. If a run changes its state, all runs are `in_turn`, and `states`
    has the states before the calls of the last batch.
    """

    def __init__(self, name: str, role: str, opened: OpenedActivations, run: ActivationRun) -> None:
        self.name = name
        self.role = role
        self.run = run
        self._opened = opened
        self.items: dict[int, LiveTensor] = {}
        self.is_isolated = self.in_turn = False
        self.inputs: dict[int, list[Call]] = {}
        self.states: list[State] = []
        self.kinds = [TensorKind(t.info, t.axis0, run.plan.fixed) for t in run.plan.tensors]
        self._constants: dict[int, Value] = {}
        self._partial: dict[int, int] = {}

    @property
    def call_size(self) -> int:
        """The number of examples of one call."""
        return self.run.plan.batches.size

    @property
    def fixed_size(self) -> int | None:
        """The number of examples that a call must have, None where the model does not fix it."""
        return self._opened.fixed

    @property
    def runs_apart(self) -> bool:
        """Whether another thread may run the model: not an eager one, because Keras has state for each thread."""
        return not self.run.probe.eager and not self.in_turn

    def isolate(self) -> None:
        """Prepare for running each batch once more."""
        self.is_isolated, self.in_turn = True, not self.run.probe.independent

    def read(self, start: int, stop: int) -> list[Call]:
        """Return the inputs of the calls for the examples from `start` up to `stop`."""
        bounds = [(begin, min(begin + self.call_size, stop)) for begin in range(start, stop, self.call_size)]
        calls = [(self.run.source.read(begin, end), end - begin) for begin, end in bounds]
        if self.is_isolated:
            self.inputs[start] = calls
        return calls

    def compute(self, calls: Sequence[Call]) -> list[CallValues]:
        """Run the model."""
        plan, probe = self.run.plan, self.run.probe
        computed, states = [], list["State"]()
        with errors_name_side(self.name, self.role):
            for batch, examples in calls:
                values = plan.take_first()
                states.append(None)
                if values is None:
                    states[-1] = probe.state() if self.in_turn else None
                    values = probe.run(pad_batch(batch, plan.fixed) if plan.fixed else batch)
                computed.append((values, examples))
        if self.in_turn:
            self.states = states
        return computed

    def restart(self) -> None:
        """Let the next batch be the first one again."""
        self.run.plan.take_first()
        self.run.probe.start()

    def open(self, first: Sequence[CallValues]) -> Side:
        """Return the side of a comparison, with the values of the first batch in its tensors."""
        writer = self.run.open_writer(None, force=False)
        try:
            self.run.write_values(writer, "tfdump compare", first)
            dump = Dump(writer.file, self.name)
            tensors = [LiveTensor(tensor) for tensor in dump.tensors() if tensor.group != layout.INPUTS]
            side = Side(self.name, tensors, dump)
        finally:
            writer.abort()
        places = {(planned.group, planned.info.address): place for place, planned in enumerate(self.run.plan.tensors)}
        self.items = {places[tensor.group, tensor.address]: tensor for tensor in tensors}
        self.put(first)
        return side

    def put(self, calls: Sequence[CallValues]) -> None:
        """Put the values of one batch into the tensors."""
        for place, tensor in self.items.items():
            kind, values = self.kinds[place], []
            for computed, examples in calls:
                value = computed[place]
                if value is None:
                    tensor.trouble = tensor.trouble or f"{self.name} gives it in some batches only"
                else:
                    values.append(self._checked(place, kind, kind.take(value, examples)))
            if kind.lost is not None:
                tensor.trouble = tensor.trouble or f"in {self.name} it is {kind.lost}"
            tensor.axis0 = kind.axis0
            if not tensor.trouble:
                tensor.put(values)

    def _checked(self, place: int, kind: TensorKind, value: Value) -> Value:
        """Return the value of one call, after a look at whether its tensor still is what it was."""
        kind.take_rows(value)
        if kind.axis0 == NONE and isinstance(value, np.ndarray):
            first = self._constants.setdefault(place, value)
            if isinstance(first, np.ndarray) and not same_bits(first, value):
                kind.vary()
        return value

    def resized(self, size: int) -> "ModelSide":
        """Return the side with another number of examples per call, planned anew."""
        options = self._opened.options
        sized = replace(options, run=replace(options.run, batch_size=size))
        opened = replace(self._opened, options=sized, note=silent_note)
        return ModelSide(self.name, self.role, self._opened, opened.plan())

    @property
    def mixes(self) -> bool:
        """Whether values depend on which examples share a batch."""
        return any(tensor.mixes or tensor.axis0 == BATCH for tensor in self.run.plan.tensors)

    def changed(self) -> list[str]:
        """Return notes on the tensors that are not in all batches what they were in the first ones."""
        by_batch: dict[int, list[str]] = {}
        for place, tensor in self.items.items():
            kind = self.kinds[place]
            batch = kind.varied or kind.uneven or (kind.departure.batch if kind.departure else 0)
            if batch and tensor.group != layout.OUTPUTS:
                by_batch.setdefault(batch, []).append(tensor.address)
        return [
            f"{self.name}: compared batch by batch, because they changed their form in batch {batch}: "
            f"{', '.join(addresses)}"
            for batch, addresses in sorted(by_batch.items())
        ]
