"""Probes: functions from a batch to the requested tensors of a model, made by watching its own call.

The model's call is traced once into one `tf.function` that hands back the recorded tensors as further outputs of the
same graph; TensorFlow prunes what nobody asked for. Where tracing is impossible the model runs eagerly.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Layer
from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential

from tfdump.address import Candidate, Selection, member_name
from tfdump.dtypes import STRING
from tfdump.errors import ModelError, TfdumpError
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.memory import LiveMemory
from tfdump.model.recorder import WATCHING, Recorded, Recorder, as_tensor
from tfdump.model.signature import Signature
from tfdump.model.state import ModelState
from tfdump.tensors import Array, InputSpec, NotCaptured, Note, Ragged, Sparse, TensorInfo, Value

Batch = Mapping[str, Array]

CAUTIOUS_BATCH = 32


@dataclass(frozen=True)
class Request:
    """What to take from a model: which tensors, the final outputs or not, and how to run it."""

    selection: Selection
    outputs: bool = True
    training: bool = False
    seed: int = 0
    eager: bool = False


@dataclass(frozen=True)
class Probed:
    """One tensor that a probe gives: its record, and whether it is a final output of the model."""

    info: TensorInfo
    is_output: bool


@dataclass(frozen=True)
class _Run:
    """What one watched call of the model gave: its calls, its final outputs by name, and what was not captured."""

    records: list[Recorded]
    outputs: list[tuple[str, Any]]
    not_captured: tuple[NotCaptured, ...]
    bytes: int


class Probe:
    """A model ready to give the requested tensors, batch by batch; a context manager that leaves it as it was.

    `note` is called with what the user should know. `probed` tells what `run` gives; without a graph it is empty
    until the first run, and `late` gathers the addresses that only later batches called.
    """

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
        self._specs = [
            tf.TensorSpec(spec.shape, tf.string if spec.dtype == STRING else spec.dtype, spec.name) for spec in specs
        ]
        self._state = ModelState(model, request.seed)
        self._function: Any = None
        self._memory: LiveMemory | None = None
        self.not_captured: tuple[NotCaptured, ...] = ()
        self.probed: tuple[Probed, ...] = ()
        self.late: set[str] = set()
        self._known: frozenset[str] = frozenset()
        self._bytes_seen: tuple[int, int] | None = None
        if not request.eager:
            self._trace(note)
        self._state.save(self._function.graph if self._function is not None else None)
        self._state.start()

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""
        return self._function is None

    def _trace(self, note: Note) -> None:
        def watched(*tensors: Any) -> list[Any]:
            return self._choose(self._watch(self._by_name(tensors), None))

        function = tf.function(watched, autograph=False)
        try:
            with inner_functions_eager():  # so that a call that is itself a tf.function shows its layers
                traced = function.get_concrete_function(*self._specs)
        except TfdumpError:
            raise
        except (Exception, SystemExit) as cause:  # whatever the user's own code raises: reported, and run eagerly
            raise_interruption(cause)
            note(f"the model cannot be traced ({first_line(cause)}); running it eagerly, which is slower")
            return
        self._function = traced
        longest = max((size or 1 for spec in self._specs for size in (spec.shape or [])[1:]), default=1)
        self._memory = LiveMemory(traced.graph, _flat_tensors(traced.structured_outputs), longest)

    def _watch(self, inputs: Mapping[str, Any], only: frozenset[str] | None) -> _Run:
        """Call the model once, watched."""
        recorder = Recorder(self.model, only)
        args, kwargs = self._signature.arguments(inputs)
        with recorder.watching():
            outputs = self.model(*args, **_training(self.model, self._request.training), **kwargs)
        named = _named_outputs(self.model, outputs) if self._request.outputs else []
        return _Run(recorder.records, named, recorder.not_captured(), recorder.bytes)

    def _choose(self, run: _Run) -> list[Any]:
        """Apply the selection to the first run; return the tensors that go with `probed`."""
        records = run.records
        candidates = [Candidate(record.address, record.classes) for record in records]
        missing = {item.address: item.reason for item in run.not_captured}
        chosen = self._request.selection.choose(candidates, missing)
        probed = [Probed(_info(records[i], order=i), is_output=False) for i in chosen]
        probed += [
            Probed(_output_info(self.model, name, tensor, order), is_output=True)
            for order, (name, tensor) in enumerate(run.outputs, len(records))
        ]
        self.probed, self.not_captured = tuple(probed), run.not_captured
        self._known = frozenset(candidate.address for candidate in candidates)
        return [records[i].tensor for i in chosen] + [tensor for _, tensor in run.outputs]

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs, as far as its graph tells."""
        return self._state.assigned

    def start(self) -> None:
        """Bring random state, moving averages and stateful layers to where a run begins."""
        self._state.start()

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, in the order of `probed`.

        None stands for a tensor that this batch did not give, which only an eager run can do. Raises ModelError
        when the model fails on the batch.
        """
        try:
            tensors = [_constant(batch[spec.name], spec.dtype) for spec in self._specs]
            if self._function is not None:
                return [_value(tensor) for tensor in self._function(*tensors)]
            return self._run_eagerly(self._by_name(tensors))
        except TfdumpError:
            raise
        except tf.errors.ResourceExhaustedError as cause:
            raise ModelError(f"out of memory ({first_line(cause)}); lower --batch-size or --memory") from cause
        except MemoryError:
            raise
        except (Exception, SystemExit) as cause:  # whatever the user's own code raises
            raise_interruption(cause)
            raise ModelError(f"the model fails on this input: {first_line(cause)}") from cause

    def _run_eagerly(self, inputs: Mapping[str, Any]) -> list[Value | None]:
        only = frozenset(p.info.address for p in self.probed if not p.is_output) if self.probed else None
        with inner_functions_eager():
            run = self._watch(inputs, only)
        examples = int(next(iter(inputs.values())).shape[0])
        self._bytes_seen = (run.bytes, examples)
        if only is None:
            return [_value(tensor) for tensor in self._choose(run)]
        got = {(False, record.address): record.tensor for record in run.records}
        got |= {(True, name): tensor for name, tensor in run.outputs}
        self.late |= {record.address for record in run.records} - self._known
        values = [got.get((probed.is_output, probed.info.address)) for probed in self.probed]
        return [None if value is None else _value(value) for value in values]

    def forget(self) -> None:
        """Let the next run of a model without a graph decide anew which tensors there are."""
        if self.eager:
            self.probed, self.late = (), set()

    def _by_name(self, tensors: Sequence[Any]) -> dict[str, Any]:
        return {spec.name: tensor for spec, tensor in zip(self._specs, tensors, strict=True)}

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs is anybody's guess, or None."""
        return CAUTIOUS_BATCH if self._memory is not None and self._memory.uncertain else None

    def live_bytes(self, batch: int) -> int:
        """Return about how many bytes of tensors live at once at this batch size.

        Without a graph, all that the last run computed is counted.
        """
        if self._memory is not None:
            return self._memory.peak(batch)
        size, examples = self._bytes_seen or (0, 1)
        return size * batch // examples

    def close(self) -> None:
        """Put the model back to what it was."""
        self._state.restore()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def inner_functions_eager() -> Iterator[None]:
    """Run every `tf.function` as plain Python while the body runs."""
    with WATCHING:
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)


def _training(model: Layer, training: bool) -> dict[str, bool]:
    return {"training": training} if getattr(model, "_call_has_training_arg", True) else {}


def _info(record: Recorded, order: int) -> TensorInfo:
    tensor = record.tensor
    return TensorInfo(
        record.address,
        record.layer,
        record.structure,
        record.classes,
        order,
        tensor.dtype.name,
        _shape(tensor),
        record.parameters,
    )


def _shape(tensor: Any) -> tuple[int, ...] | None:
    if tensor.shape.rank is None:
        return None
    return tuple(-1 if size is None else int(size) for size in tensor.shape)


def _named_outputs(model: Layer, outputs: Any) -> list[tuple[str, Any]]:
    """Return the final outputs with their names (DESIGN section 4); what is no tensor is left out."""
    leaves = [(path, as_tensor(leaf)) for path, leaf in keras.tree.flatten_with_path(outputs)]
    tensors = [(path, tensor) for path, tensor in leaves if tensor is not None]
    if len(tensors) == 1 and not tensors[0][0]:
        return [(member_name((_only_output_name(model),)), tensors[0][1])]
    return [(member_name(path), tensor) for path, tensor in tensors]


def _only_output_name(model: Layer) -> str:
    """Return the name of the layer that gives the only output, or `output` where the model does not say."""
    if isinstance(model, Sequential) and model.layers:
        return str(model.layers[-1].name)
    return str(model.output_names[0]) if isinstance(model, Functional) else "output"


def _output_info(model: Layer, name: str, tensor: Any, order: int) -> TensorInfo:
    classes = tuple(base.__name__ for base in type(model).__mro__ if base is not object)
    return TensorInfo(name, name, name, classes, order, tensor.dtype.name, _shape(tensor))


def _flat_tensors(structure: Any) -> list[Any]:
    return list(tf.nest.flatten(structure, expand_composites=True))


def _constant(array: Array, dtype: tf.DType) -> Any:
    return tf.constant(array.tolist() if dtype == tf.string else array, dtype, array.shape)


def _value(tensor: Any) -> Value:
    """Return a tensor's value; dense ones share TensorFlow's memory."""
    if isinstance(tensor, tf.RaggedTensor):
        splits = tuple(np.asarray(splits, np.int64) for splits in tensor.nested_row_splits)
        return Ragged(np.asarray(tensor.flat_values), splits)
    if isinstance(tensor, tf.SparseTensor):
        shape = tuple(int(size) for size in np.asarray(tensor.dense_shape))
        return Sparse(np.asarray(tensor.values), np.asarray(tensor.indices), shape)
    return np.asarray(tensor)
