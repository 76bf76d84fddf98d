"""Calls within loops over time steps, which do not belong to the run itself."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras.layers import RNN

from tfdump.model.any_backend_internals import loops
from tfdump.model.recording.frames import Hook, ObservedRun
from tfdump.model.recording.patching import replaced

LOOP = "inside a recurrent loop, called once a time step"


@contextmanager
def hidden_calls(recording: ObservedRun, reason: str | None) -> Iterator[None]:
    """Hide the calls that the body makes, for this reason; None leaves the reason as it is."""
    before = recording.hiding
    recording.hiding = reason or before
    try:
        yield
    finally:
        recording.hiding = before


def with_hidden_calls(recording: ObservedRun, reason: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that hides the calls within it while something is recorded."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if recording.current is None:
            return function(*args, **kwargs)
        with hidden_calls(recording, reason):
            return function(*args, **kwargs)

    return called


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
        return with_hidden_calls(self.recording, self._reason, function)
