"""The hooks of a run: those that are always on, and those of the capture options."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.captures import Captures
from tfdump.model.attention import AttentionScores
from tfdump.model.direct_calls import DirectCalls
from tfdump.model.frames import INNER_GRAPH, Hook, Recording
from tfdump.model.keras_internals import core
from tfdump.model.layer_taps import LayerInputs, Preactivations
from tfdump.model.recurrence import RecurrentSteps
from tfdump.model.replacing import replaced
from tfdump.model.time_steps import TimeDistributedSteps

_VECTORIZED = "inside a vectorised map, which computes all its steps at once and has no tensors of one"


class Maps(Hook):
    """Hides calls that look like those of the run and are not.

    Keras's `ops.map` calls its function once to learn its signature; a vectorised map calls it to learn its
    operations, and computes others in their place.
    """

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in for the functions that are mapped."""
        with replaced(core, "map", self._map(core.map)), replaced(tf, "vectorized_map", self._vectorized()):
            yield

    def _map(self, original: Callable[..., Any]) -> Callable[..., Any]:

        def mapped(function: Callable[..., Any], elements: Any) -> Any:
            first = True

            def called(element: Any) -> Any:
                nonlocal first
                reason, first = (INNER_GRAPH if first else None), False
                return self._hidden(reason, function, element)

            return original(called, elements)

        return mapped

    def _vectorized(self) -> Callable[..., Any]:
        original = tf.vectorized_map

        def mapped(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return original(lambda element: self._hidden(_VECTORIZED, function, element), *args, **kwargs)

        return mapped

    def _hidden(self, reason: str | None, function: Callable[..., Any], element: Any) -> Any:
        if self.recording.current is None:
            return function(element)
        before = self.recording.hiding
        self.recording.hiding = reason or before
        try:
            return function(element)
        finally:
            self.recording.hiding = before


def hooks_for(recording: Recording, layers: Iterable[Layer], captures: Captures) -> list[Hook]:
    """Return the hooks of a run of these layers."""
    hooks: list[Hook] = [Maps(recording), DirectCalls(recording, layers), TimeDistributedSteps(recording)]
    if captures.layer_inputs:
        hooks.append(LayerInputs(recording))
    if captures.preactivation:
        hooks.append(Preactivations(recording))
    if captures.attention:
        hooks.append(AttentionScores(recording))
    if captures.rnn_steps or captures.rnn_gates:
        hooks.append(RecurrentSteps(recording, captures.rnn_steps, captures.rnn_gates))
    return hooks
