"""Calls that do not belong to the run itself: within loops over time steps, and within maps."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from keras.layers import RNN

from tfdump.model.keras_internals import core, loops
from tfdump.model.recording.frames import INNER_GRAPH, Hook, ObservedRun
from tfdump.model.recording.patching import replaced

LOOP = "inside a recurrent loop, called once a time step"
_VECTORIZED = "inside a vectorised map, which computes all its steps at once and has no tensors of one"


@contextmanager
def _hidden(recording: ObservedRun, reason: str | None) -> Iterator[None]:
    """Hide the calls that the body makes, for this reason; None leaves the reason as it is."""
    before = recording.hiding
    recording.hiding = reason or before
    try:
        yield
    finally:
        recording.hiding = before


class RecurrentLoops(Hook):
    """Hides the calls during Keras's loop over the time steps: those of the cell, and of all that it calls.

    Keras also calls the cell once before the first step, to determine the shapes of its outputs, and stacked cells once
    before the loop, to create the masks of their dropout.
    """

    def __init__(self, recording: ObservedRun, reason: str) -> None:
        super().__init__(recording)
        self._reason = reason

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the loop of Keras, and the creation of masks before it."""
        masks = "_maybe_config_dropout_masks"
        with (
            replaced(loops, "rnn", self._hiding(loops.rnn)),
            replaced(RNN, masks, self._hiding(getattr(RNN, masks))),
        ):
            yield

    def _hiding(self, function: Callable[..., Any]) -> Callable[..., Any]:

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            if self.recording.current is None:
                return function(*args, **kwargs)
            with _hidden(self.recording, self._reason):
                return function(*args, **kwargs)

        return called


class Maps(Hook):
    """Hides the calls by which maps inspect the function that they map.

    Keras's `ops.map` calls its function once to determine its signature. A vectorized map calls it to trace its
    operations, and computes other ones in their place.
    """

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the functions that are mapped."""
        with replaced(core, "map", self._map(core.map)), replaced(tf, "vectorized_map", self._vectorized()):
            yield

    def _map(self, original: Callable[..., Any]) -> Callable[..., Any]:

        def mapped(function: Callable[..., Any], elements: Any) -> Any:
            first = True

            def called(element: Any) -> Any:
                nonlocal first
                reason, first = (INNER_GRAPH if first else None), False
                return self._call(reason, function, element)

            return original(called, elements)

        return mapped

    def _vectorized(self) -> Callable[..., Any]:
        original = tf.vectorized_map

        def mapped(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return original(lambda element: self._call(_VECTORIZED, function, element), *args, **kwargs)

        return mapped

    def _call(self, reason: str | None, function: Callable[..., Any], element: Any) -> Any:
        if self.recording.current is None:
            return function(element)
        with _hidden(self.recording, reason):
            return function(element)
