"""Calls within maps, which do not belong to the run itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tfdump.model.keras_internals import core
from tfdump.model.recording.frames import INNER_GRAPH, Hook
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.recurrent_loops import hidden_calls

_VECTORIZED = "inside a vectorised map, which computes all its steps at once and has no tensors of one"


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
        with hidden_calls(self.recording, reason):
            return function(element)
