"""The hooks of a run: those that are always on, and those of the capture options."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras.src.backend.tensorflow import core

from tfdump.captures import Captures
from tfdump.model.attention import AttentionScores
from tfdump.model.frames import INNER_GRAPH, Hook, Recording
from tfdump.model.layer_taps import LayerInputs, Preactivations
from tfdump.model.recurrence import RecurrentSteps
from tfdump.model.replacing import replaced
from tfdump.model.time_steps import TimeDistributedSteps


class MapSignatures(Hook):
    """Hides the call by which Keras's `ops.map` learns the signature of its function."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in for the function that is mapped."""
        original = core.map

        def mapped(function: Callable[..., Any], elements: Any) -> Any:
            first = True

            def called(element: Any) -> Any:
                nonlocal first
                self.recording.hiding, first = (INNER_GRAPH if first else None), False
                try:
                    return function(element)
                finally:
                    self.recording.hiding = None

            return original(called, elements)

        with replaced(core, "map", mapped):
            yield


def hooks_for(recording: Recording, captures: Captures) -> list[Hook]:
    """Return the hooks of a run."""
    hooks: list[Hook] = [MapSignatures(recording), TimeDistributedSteps(recording)]
    if captures.layer_inputs:
        hooks.append(LayerInputs(recording))
    if captures.preactivation:
        hooks.append(Preactivations(recording))
    if captures.attention:
        hooks.append(AttentionScores(recording))
    if captures.rnn_steps or captures.rnn_gates:
        hooks.append(RecurrentSteps(recording, captures.rnn_steps, captures.rnn_gates))
    return hooks
