"""Attention scores: the weights with which attention layers average their values.

They are the output of the model's own softmax, so they include masks, causality and scale, but not dropout. Keras
computes them in three ways: inside the fused operation `dot_product_attention`, by a Softmax layer within the attention
layer, and by `ops.softmax`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import keras
import tensorflow as tf
from keras import Model, activations
from keras.layers import Activation, Dense, EinsumDense, Softmax
from keras.models import Sequential

from tfdump.model.keras_internals import nn, ops
from tfdump.model.recording.frames import Frame, Hook, ObservedRun
from tfdump.model.recording.patching import replaced

WORD = "attention_scores"
_WATCHED = "watched"
"""The name of the function that wraps a call of a layer (in `Recorder.watching`)."""

_NONE = "no softmax was seen in it; tf.nn.softmax that was imported by name cannot be"
_THROUGH = (Softmax, Activation, Dense, EinsumDense, Sequential)
"""Layers that may compute the softmax of the attention layer that owns them."""

_INNER_SCORES = "scores within"


class AttentionScores(Hook):
    """Records `<address>:attention_scores` for every attention layer, or reports the layer as not captured."""

    def __init__(self, recording: ObservedRun) -> None:
        super().__init__(recording)
        self._fused: Any = None
        self._inside = False
        self._count = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the softmax of Keras and TensorFlow, and the fused operation that calls it."""
        fused = nn.dot_product_attention

        def watched_fused(query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
            if self.recording.current is None:
                return fused(query, key, *args, **kwargs)
            self._fused = keras.backend.result_type(*(keras.backend.standardize_dtype(x.dtype) for x in (query, key)))
            try:
                return fused(query, key, *args, **kwargs)
            finally:
                self._fused = None

        with ExitStack() as stack:
            stack.enter_context(replaced(nn, "dot_product_attention", watched_fused))
            for module in (tf.nn, tf.math, nn, keras.ops, ops, ops.nn):
                stack.enter_context(replaced(module, "softmax", self._watched(module.softmax)))
            yield

    def _watched(self, softmax: Callable[..., Any]) -> Callable[..., Any]:
        """Return a softmax that reports its output; of several that call each other, only the outermost one reports."""

        def watched_softmax(*args: Any, **kwargs: Any) -> Any:
            if self._inside or self.recording.current is None:
                return softmax(*args, **kwargs)
            self._inside = True
            try:
                scores = softmax(*args, **kwargs)
            finally:
                self._inside = False
            self._softmax_returned(scores)
            return scores

        return watched_softmax

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Report an attention layer without scores of its own or of a sublayer."""
        count = self._count
        yield
        if _named_attention(frame) and self._count == count:
            self.recording.miss(f"{frame.path}:{WORD}", _NONE)

    def returned(self, frame: Frame, outputs: Any) -> None:
        """Record the output of a Softmax layer within an attention layer, which may have applied a mask."""
        if _is_softmax(frame):
            self._add_if_attention(outputs)

    def _softmax_returned(self, scores: Any) -> None:
        frame = self.recording.frames[-1]
        if self._fused is not None:
            self._add(len(self.recording.frames) - 1, tf.cast(scores, self._fused))
        elif not _is_softmax(frame):
            self._add_if_attention(scores)

    def _add_if_attention(self, scores: Any) -> None:
        """Record the output of a softmax in a call of an attention layer, or of a function named for attention.

        If a sublayer has already given the scores of a layer, a further softmax of the layer is something else, such as
        a router or a head.
        """
        frames = self.recording.frames
        number = len(frames) - 1
        while number > 0 and isinstance(frames[number].operation, _THROUGH):
            number -= 1
        by_name = _named_attention(frames[number]) and not frames[number].extras[_INNER_SCORES]
        if by_name or _inside_attention_function(within=len(frames) - 1 - number):
            self._add(number, scores)

    def _add(self, number: int, scores: Any) -> None:
        self._count += 1
        for outer in self.recording.frames[:number]:
            outer.extras[_INNER_SCORES] += 1
        self.recording.add(self.recording.frames[number], WORD, scores)


def _is_softmax(frame: Frame) -> bool:
    """Tell whether a call is of a layer that computes only a softmax."""
    layer = frame.operation
    return isinstance(layer, Softmax) or (isinstance(layer, Activation) and layer.activation is activations.softmax)


def _named_attention(frame: Frame) -> bool:
    """Tell whether a call is of a layer whose class is named for attention, excluding models and layers of masks."""
    name = type(frame.operation).__name__.lower()
    return "attention" in name and "attentionmask" not in name and not isinstance(frame.operation, Model)


def _inside_attention_function(within: int) -> bool:
    """Tell whether a function named for attention runs inside the innermost call of a layer but `within`."""
    python: FrameType | None = sys._getframe(1)
    while python is not None and within >= 0:
        name = python.f_code.co_name
        within -= name == _WATCHED
        if within <= 0 and "attention" in name.lower() and python.f_globals.get("__name__") != __name__:
            return True
        python = python.f_back
    return False
