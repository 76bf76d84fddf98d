"""The hooks of a run: those that are always on, and those of the capture options."""

from collections.abc import Iterable

from keras import Layer

from tfdump.captures import Captures
from tfdump.model.recording.attention import AttentionScores
from tfdump.model.recording.direct_calls import DirectCalls
from tfdump.model.recording.frames import Hook, ObservedRun
from tfdump.model.recording.hiding import Maps
from tfdump.model.recording.layer_taps import LayerInputs, Preactivations
from tfdump.model.recording.operations import OperationSpans
from tfdump.model.recording.recurrence import RecurrentSteps
from tfdump.model.recording.recurrent_loops import RecurrentLoops
from tfdump.model.recording.time_distributed import TimeDistributedSteps


def hooks_for(recording: ObservedRun, layers: Iterable[Layer], captures: Captures, loop: str) -> list[Hook]:
    """Return the hooks of a run of these layers; `loop` is why the calls within a recurrent loop are hidden."""
    hooks: list[Hook] = [
        Maps(recording),
        RecurrentLoops(recording, loop),
        DirectCalls(recording, layers),
        TimeDistributedSteps(recording),
    ]
    if captures.ops:
        hooks.insert(0, OperationSpans(recording))
    if captures.layer_inputs:
        hooks.append(LayerInputs(recording))
    if captures.preactivation:
        hooks.append(Preactivations(recording))
    if captures.attention:
        hooks.append(AttentionScores(recording))
    if captures.rnn_steps or captures.rnn_gates:
        hooks.append(RecurrentSteps(recording, captures.rnn_steps, captures.rnn_gates))
    return hooks
