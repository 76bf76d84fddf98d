"""What a run did not record, and why: calls that returned no tensor, and layers that were never called."""

import functools
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from keras import Layer, Operation
from keras.layers import RNN, GroupQueryAttention, InputLayer, MultiHeadAttention

from tfdump.captures import Captures, option_for
from tfdump.model.free_names import free_name
from tfdump.model.recording.ownership import OwnedOperation
from tfdump.model.recording.recurrent_loops import LOOP
from tfdump.tensors import NotCaptured

_FUSED = "not called: Keras computes attention in one fused operation"
_NEVER = "never called by the model"
_PYTHON = "never called, or within tf.py_function, which --eager sees"


class Calls(Protocol):
    """The calls of a run."""

    def paths_of(self, operation: Operation | None) -> list[str]:
        """Return the addresses of the calls of a layer; empty where it was not called."""

    def ownership_address(self, owned: OwnedOperation) -> str:
        """Return the address of a layer, or the one that it would have by its owners."""


class Missing:
    """The reasons by address (`reasons`), also for layers without a call; `in_loop` is the reason of a cell."""

    def __init__(self, model: Layer, owned: Mapping[int, OwnedOperation], captures: Captures) -> None:
        self._model = model
        self._owned = owned
        self._fused = _FUSED + _advice("attention_scores", captures.attention)
        self.in_loop = LOOP + _advice("states", captures.rnn_steps)
        self.reasons: dict[str, str] = {}

    def all(self, calls: Calls, returned: Collection[str], graph: Any) -> tuple[NotCaptured, ...]:
        """Return what is missing; `returned` are the addresses of the calls that returned tensors."""
        missing = {address: reason for address, reason in self.reasons.items() if address not in returned}
        never = functools.cache(lambda: _never(graph))
        for owned in self._owned.values():
            layer = owned.operation
            if isinstance(layer, Layer) and not isinstance(layer, InputLayer) and not calls.paths_of(layer):
                address = calls.ownership_address(owned)
                missing[free_name(address, missing, returned)] = self._reason_of_owners(owned, calls) or never()
        return tuple(NotCaptured(address, reason) for address, reason in missing.items())

    def _reason_of_owners(self, owned: OwnedOperation, calls: Calls) -> str | None:
        """Return why a layer without a recorded call is missing, as far as its owners show."""
        owner = owned.owner
        if owner is self._model:
            return None
        if not calls.paths_of(owner):
            return self._reason_of_owners(self._owned[id(owner)], calls)
        if isinstance(owner, RNN) and owned.operation is owner.cell:  # Keras may run a cell without calling it
            return self.in_loop
        softmax = getattr(owner, "_softmax", None)
        if isinstance(owner, (MultiHeadAttention, GroupQueryAttention)) and not calls.paths_of(softmax):
            return self._fused
        return self.reasons.get(calls.paths_of(owner)[0])


def _never(graph: Any) -> str:
    """Return why a layer was not recorded; a graph does not show what its Python functions will call."""
    operations = graph.get_operations() if graph is not None else []
    return _PYTHON if any(operation.type == "EagerPyFunc" for operation in operations) else _NEVER


def _advice(word: str, is_set: bool) -> str:
    """Return a hint at the option that records the tensors of a reserved word, unless it is set."""
    return "" if is_set else f"; tfdump activations {option_for(word)} gives its {word.replace('_', ' ')}"
