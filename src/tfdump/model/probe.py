"""Probes: functions from a batch to the requested tensors of a model.

The model's own call is traced once into one `tf.function`, which returns the recorded tensors as further outputs of
the same graph. TensorFlow prunes the rest. A model that cannot be traced runs eagerly.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.address import OPERATION, reserved_word
from tfdump.dump import layout
from tfdump.model.keras_signature import training_argument
from tfdump.model.outputs import named_outputs
from tfdump.model.patched import PatchedModel
from tfdump.model.patches import Patch, State
from tfdump.model.recording.frames import RecordedTensor
from tfdump.model.recording.recorder import Recorder
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.signature import Signature
from tfdump.model.state import ModelState
from tfdump.model.tensor_info import candidate_of, output_info, record_info
from tfdump.model.tracing.other_sizes import OtherSizes
from tfdump.model.tracing.traced import Traced, value_of
from tfdump.tensors import Batch, InputSpec, NotCaptured, Note, Value


@dataclass(frozen=True)
class _Run:
    """The result of one recorded call: the tensors, the final outputs by name, what was not captured, and the bytes.

    `origins` are the addresses of what each final output is, or was computed from; None where they are unknown.
    """

    records: list[RecordedTensor]
    outputs: list[tuple[str, Any]]
    origins: list[tuple[str, ...] | None]
    not_captured: tuple[NotCaptured, ...]
    bytes: int

    @cached_property
    def tensors(self) -> dict[tuple[bool, str], Any]:
        """The tensors by whether they are final outputs and by their addresses or names."""
        by_address = {(False, record.address): record.tensor for record in self.records}
        return by_address | {(True, name): tensor for name, tensor in self.outputs}


class Probe:
    """A model that returns the requested tensors batch by batch; a context manager that restores the model's state.

    `note` is called with messages for the user. `probed` describes what `run` returns. Without a graph it is empty
    until the first run, and `late` collects the addresses that only later batches call.
    """

    turns = False

    def __init__(
        self,
        model: Layer,
        signature: Signature,
        specs: Sequence[InputSpec],
        request: Request,
        note: Note,
    ) -> None:
        self.model = model
        self._signature = signature
        self._request = request
        self._specs = specs
        self._other_sizes = OtherSizes(self._trace_at)
        self._state = ModelState(model, request.seed)
        self._note = note
        self.not_captured: tuple[NotCaptured, ...] = ()
        self.probed: tuple[ProbedTensor, ...] = ()
        self.late: set[str] = set()
        self._known: frozenset[str] = frozenset()
        self._last_run: tuple[int, int] | None = None
        try:
            self._traced = Traced(self._body, specs, note, request.eager)
        except BaseException:  # the layers hold the losses of a graph that will never run
            self.close()
            raise
        self._state.save(self._traced.graph)
        self._state.start()

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""
        return self._traced.eager

    def _body(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the model once, while it is traced or eagerly."""
        if not tf.executing_eagerly():
            return self._choose(self._watch(inputs, None))
        return self._run_eagerly(inputs)

    def _watch(self, inputs: Mapping[str, Any], only: frozenset[str] | None) -> _Run:
        """Call the model once and record it; tensors of addresses outside `only` are not held."""
        recorder = Recorder(self.model, only, captures=self._request.captures)
        args, kwargs = self._signature.arguments(inputs)
        with recorder.watching(inputs):
            outputs = self.model(*args, **training_argument(self.model, self._request.training), **kwargs)
        run = recorder.with_operations()
        final = named_outputs(self.model, outputs) if self._request.outputs else None
        named, missing = ([], ()) if final is None else (list(final.named), final.not_captured)
        origins = [run.flow.read_by([tensor]) for _, tensor in named]
        return _Run(run.tensors, named, origins, (*run.not_captured, *missing), recorder.bytes)

    def _choose(self, run: _Run) -> list[Any]:
        """Apply the selection to the first run; set `probed` and return its tensors."""
        records = run.records
        candidates = [candidate_of(record) for record in records]
        missing = {item.address: item.reason for item in run.not_captured}
        self._tell_captures(records, missing)
        selected = self._request.selection.choose(candidates, missing, self._request.captures.advice)
        probed = [ProbedTensor(record_info(records[i], order=i), is_output=False) for i in selected]
        probed += [
            ProbedTensor(output_info(self.model, name, tensor, order, origin), is_output=True)
            for order, ((name, tensor), origin) in enumerate(zip(run.outputs, run.origins, strict=True), len(records))
        ]
        self.probed, self.not_captured = tuple(probed), run.not_captured
        self._known = frozenset(candidate.address for candidate in candidates)
        return [records[i].tensor for i in selected] + [tensor for _, tensor in run.outputs]

    def _tell_captures(self, records: Sequence[RecordedTensor], missing: Collection[str]) -> None:
        """Note which capture options had nothing to record; a layer may be a single operation, whose type is told."""
        words = {reserved_word(address) for address in (*(record.address for record in records), *missing)}
        if any(name == layout.OPERATION for record in records for name, _ in record.attributes):
            words.add(OPERATION)
        for option, word in self._request.captures.options.items():
            if word not in words:
                self._note(f"{option}: the model has no such tensors")

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs, as far as its graph shows."""
        return self._state.assigned

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers in the runs so far."""
        return self._state.draws

    def turn(self, orders: Mapping[int, tuple[int, ...]]) -> None:
        """Do nothing: the layers of Keras have the examples along the first axis."""

    def start(self) -> None:
        """Reset the random state, moving averages and stateful layers to the start of a run."""
        self._state.start()

    def feed(self, batch: Batch) -> Batch:
        """Return a batch as tensors, which `run` accepts too; raises ModelError where it cannot be converted."""
        return self._traced.feed(batch)

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, in the order of `probed`.

        None stands for a tensor that this batch did not produce, which happens in eager runs only. Raises ModelError
        when the model fails on the batch.
        """
        size = int(next(iter(batch.values())).shape[0])
        traced = self._other_sizes.get(size, self._traced)
        return [None if tensor is None else value_of(tensor) for tensor in traced.run(batch)]

    def state(self) -> State:
        """Return the values of what a run changes in the model."""
        return self._state.values()

    def patched(self, patches: Sequence[Patch]) -> PatchedModel:
        """Return the same model with patches."""
        request = replace(self._request, eager=self.eager)
        return PatchedModel(self.model, self._signature, self._specs, request, self._state, patches, self.independent)

    def takes(self, examples: int) -> bool:
        """Prepare for batches of another size than the model declares; return False where the model rejects them.

        An eager model returns True: only a run shows what it accepts.
        """
        return self.eager or self._other_sizes.takes(examples)

    def _trace_at(self, examples: int) -> Traced:
        specs = [replace(spec, shape=(examples, *(spec.shape or ())[1:])) for spec in self._specs]
        return Traced(self._watch_again, specs, lambda reason: None)

    def _watch_again(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the tensors of `probed` in another graph of the model; raises KeyError where one is missing."""
        run = self._watch(inputs, frozenset(p.info.address for p in self.probed if not p.is_output))
        return [run.tensors[probed.is_output, probed.info.address] for probed in self.probed]

    def _run_eagerly(self, inputs: Mapping[str, Any]) -> list[Any]:
        only = frozenset(p.info.address for p in self.probed if not p.is_output) if self.probed else None
        run = self._watch(inputs, only)
        examples = int(next(iter(inputs.values())).shape[0])
        self._last_run = (run.bytes, examples)
        if only is None:
            return self._choose(run)
        self.late |= {record.address for record in run.records} - self._known
        return [run.tensors.get((probed.is_output, probed.info.address)) for probed in self.probed]

    def forget(self) -> None:
        """Let the next run of an eager model determine `probed` again."""
        if self.eager:
            self.probed, self.late = (), set()

    @property
    def independent(self) -> bool:
        """Whether batches may run at once: as far as the graph shows, no run affects another one."""
        return self._traced.independent

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs cannot be estimated, or None."""
        return self._traced.largest_batch

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size.

        For an eager model, this counts everything that the last run computed.
        """
        if not self.eager:
            return self._traced.live_bytes(batch)
        size, examples = self._last_run or (0, 1)
        return size * batch // examples

    def renew(self) -> None:
        """Let `close` restore the state that the model has now, after more training."""
        self._state.renew()

    def close(self) -> None:
        """Restore the state of the model."""
        self._state.restore()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
