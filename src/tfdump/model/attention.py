"""Attention scores: the weights with which attention layers took the mean of their values.

They are what the model's own softmax gave: masks, causality and scale are in them, dropout is not. Keras computes
them in three ways: inside the fused operation `dot_product_attention`, by a Softmax layer within the attention layer,
and by `ops.softmax`. All three end in `tf.nn.softmax`.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import tensorflow as tf
from keras import activations
from keras.layers import Activation, Softmax
from keras.src import backend

from tfdump.model.frames import Frame, Hook, Recording
from tfdump.model.replacing import replaced

WORD = "attention_scores"
_WATCHED = "watched"
"""The name of the function that stands for a call of a layer (`Recorder.watching`)."""

FUSED = "not called: Keras computes attention in one fused operation; tfdump activations --attention gives its scores"
_NONE = "the layer computed no softmax, so it has no attention scores"


class AttentionScores(Hook):
    """Records `<address>:attention_scores` for every attention layer, or names it as not captured."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._fused: Any = None
        self._found = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch the softmax, and the fused operation that calls it."""
        softmax, fused = tf.nn.softmax, backend.nn.dot_product_attention

        def watched_softmax(*args: Any, **kwargs: Any) -> Any:
            scores = softmax(*args, **kwargs)
            self._softmax_returned(scores)
            return scores

        def watched_fused(query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
            self._fused = backend.result_type(*(backend.standardize_dtype(x.dtype) for x in (query, key)))
            try:
                return fused(query, key, *args, **kwargs)
            finally:
                self._fused = None

        with replaced(tf.nn, "softmax", watched_softmax), replaced(backend.nn, "dot_product_attention", watched_fused):
            yield

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Name an attention layer that gave no scores, itself or by a layer within."""
        found = self._found
        yield
        if _named_attention(frame) and self._found == found:
            self.recording.miss(f"{frame.path}:{WORD}", _NONE)

    def returned(self, frame: Frame, outputs: Any) -> None:
        """Take what a Softmax layer within an attention layer returned, where a mask may have changed it."""
        if _is_softmax(frame):
            outer = itertools.dropwhile(_is_softmax, reversed(self.recording.frames))
            self._add_if_attention(next(outer), outputs, within=1)

    def _softmax_returned(self, scores: Any) -> None:
        frame = self.recording.current
        if frame is None or _is_softmax(frame):
            return
        if self._fused is not None:
            self._add(frame, tf.cast(scores, self._fused))
        else:
            self._add_if_attention(frame, scores, within=0)

    def _add_if_attention(self, frame: Frame, scores: Any, within: int) -> None:
        """Record what a softmax gave in a call of an attention layer, or of a function named for attention."""
        if _named_attention(frame) or _inside_attention_function(within):
            self._add(frame, scores)

    def _add(self, frame: Frame, scores: Any) -> None:
        self._found += 1
        self.recording.add(frame, WORD, scores)


def _is_softmax(frame: Frame) -> bool:
    """Tell whether a call is of a layer that is a softmax and nothing else."""
    layer = frame.operation
    return isinstance(layer, Softmax) or (isinstance(layer, Activation) and layer.activation is activations.softmax)


def _named_attention(frame: Frame) -> bool:
    """Tell whether a call is of a layer whose class is named for attention; a whole model or a mask is not meant."""
    name = type(frame.operation).__name__.lower()
    return frame.path != "" and "attention" in name and "attentionmask" not in name


def _inside_attention_function(within: int) -> bool:
    """Tell whether the innermost call of a layer, but for `within` further ones, called a function named so."""
    python: FrameType | None = sys._getframe(1)
    while python is not None and within >= 0:
        name = python.f_code.co_name
        within -= name == _WATCHED
        if within <= 0 and "attention" in name.lower() and python.f_globals.get("__name__") != __name__:
            return True
        python = python.f_back
    return False
