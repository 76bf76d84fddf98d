"""A Keras model whose activations are patched while it runs (`tfdump.model.patches`)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from keras import Layer

from tfdump.model.keras_signature import training_argument
from tfdump.model.outputs import named_outputs
from tfdump.model.patches import Patch, State
from tfdump.model.recording.recorder import Recorder
from tfdump.model.recording.tensors import copy_notes
from tfdump.model.request import Request
from tfdump.model.signature import Signature
from tfdump.model.state import ModelState
from tfdump.model.tracing.traced import Tensors, Traced, value_of
from tfdump.tensors import Array, Batch, InputSpec, Value

_ACTIVE = "\0active"
"""The name of the vector of flags, which no input of a model has."""

_Key = tuple[bool, str]
"""Whether a tensor is a final output, and its address."""


class PatchedModel:
    """A model with patches, as `PatchedRuns`.

    It is traced once for replacements and once for changes, and again where a model declares another batch size. With
    `keeps_state`, no run changes the model, so there is no state to restore.
    """

    def __init__(
        self,
        model: Layer,
        signature: Signature,
        specs: Sequence[InputSpec],
        request: Request,
        state: ModelState,
        patches: Sequence[Patch],
        keeps_state: bool,
    ) -> None:
        self._model = model
        self._signature = signature
        self._specs = specs
        self._request = request
        self._state = state
        self._patches = patches
        self._keeps_state = keeps_state
        self._numbers = {(patch.is_output, patch.address): number for number, patch in enumerate(patches)}
        self._traces: dict[tuple[bool, int | None], Traced] = {}

    def replaced(self, batch: Batch, values: Sequence[Array], state: State) -> list[Value | None]:
        """Return what each tensor is before a value takes its place; see `PatchedRuns`."""
        traced = self._traced(batch, changes=False)
        with self._at(state):
            return _values_of(traced.run({**batch, **_named(values)}))

    def changed(
        self, batch: Batch, changes: Sequence[Array], actives: Iterable[Array], state: State
    ) -> Iterator[list[Value | None]]:
        """Yield the final outputs after changes; see `PatchedRuns`."""
        traced = self._traced(batch, changes=True)
        fed = traced.feed({**batch, **_named(changes), _ACTIVE: np.zeros(len(changes), bool)})
        for active in actives:
            with self._at(state):
                yield _values_of(traced.run({**fed, _ACTIVE: active}))

    def _at(self, state: State) -> AbstractContextManager[None]:
        return nullcontext() if self._keeps_state else self._state.at(state)

    def _traced(self, batch: Batch, changes: bool) -> Traced:
        """Return the trace for batches of this size, which matters where the model declares another one."""
        size = int(next(iter(batch.values())).shape[0])
        declared = {spec.shape[0] for spec in self._specs if spec.shape} - {None, size}
        key = changes, size if declared else None
        if key not in self._traces:
            specs = [replace(s, shape=(size, *(s.shape or ())[1:])) if declared else s for s in self._specs]
            specs += [InputSpec(_name(number), patch.shape, patch.dtype) for number, patch in enumerate(self._patches)]
            if changes:
                specs.append(InputSpec(_ACTIVE, (len(self._patches),), "bool"))
            body = self._with_changes if changes else self._with_replacements
            self._traces[key] = Traced(body, specs, lambda reason: None, self._request.eager)
        return self._traces[key]

    def _with_replacements(self, tensors: Tensors) -> list[Any]:
        values = self._values_in(tensors)

        def replacement(key: _Key, tensor: Any) -> Any:
            return tensor if key[0] else _shaped(tf.cast(values[self._numbers[key]], tensor.dtype), tensor)

        recorded, _ = self._call(tensors, replacement)
        return recorded

    def _with_changes(self, tensors: Tensors) -> list[Any]:
        values, active = self._values_in(tensors), tensors[_ACTIVE]

        def replacement(key: _Key, tensor: Any) -> Any:
            value = tf.cast(values[self._numbers[key]], tensor.dtype)
            changed = tensor + value if tensor.dtype.is_floating or tensor.dtype.is_complex else value
            return tf.where(active[self._numbers[key]], _shaped(changed, tensor), tensor)

        _, after = self._call(tensors, replacement)
        return [tensor for tensor, patch in zip(after, self._patches, strict=True) if patch.is_output]

    def _values_in(self, tensors: Tensors) -> list[Any]:
        return [tensors[_name(number)] for number in range(len(self._patches))]

    def _call(self, tensors: Mapping[str, Any], replacement: Callable[[_Key, Any], Any]) -> tuple[list[Any], list[Any]]:
        """Call the model; return the patched tensors as they are before and after."""
        before: dict[_Key, Any] = {}
        after: dict[_Key, Any] = {}

        def patched(is_output: bool, address: str, tensor: Any) -> Any:
            key = is_output, address
            if key not in self._numbers:
                return tensor
            before[key], after[key] = tensor, copy_notes(tensor, replacement(key, tensor))
            return after[key]

        inputs = {spec.name: tensors[spec.name] for spec in self._specs}
        recorder = Recorder(self._model, frozenset(), replacement=lambda address, t: patched(False, address, t))
        args, kwargs = self._signature.arguments(inputs)
        with recorder.watching(inputs):
            outputs = self._model(*args, **training_argument(self._model, self._request.training), **kwargs)
        for name, tensor in named_outputs(self._model, outputs).named:
            patched(True, name, tensor)
        return [before.get(key) for key in self._numbers], [after.get(key) for key in self._numbers]


def _name(number: int) -> str:
    return f"\0{number}"


def _named(values: Sequence[Array]) -> dict[str, Array]:
    return {_name(number): value for number, value in enumerate(values)}


def _values_of(tensors: Sequence[Any]) -> list[Value | None]:
    return [None if tensor is None else value_of(tensor) for tensor in tensors]


def _shaped(value: Any, tensor: Any) -> Any:
    """Return a value with what is known of the shape of the tensor that it replaces."""
    return tf.ensure_shape(value, tensor.shape)
