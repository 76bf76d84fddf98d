"""Masks of recurrent layers that get initial states, which Keras 2 passed on and Keras 3 does not."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from tfdump.model.recording.patching import replaced


@contextmanager
def masks_beside_states() -> Iterator[None]:
    """Let recurrent layers take the mask of their sequence also where they are called with initial states.

    Keras 3 looks for masks of each tensor apart where a layer is called with several (`Layer.__call__`, step 6), and
    recurrent layers have none but `mask`. A functional model keeps the mask as an argument of the call.
    """
    with ExitStack() as stack:
        for kind in (keras.layers.RNN, keras.layers.Bidirectional):
            stack.enter_context(replaced(kind, "__call__", _with_mask(kind.__call__)))
        yield


def _with_mask(call: Any) -> Any:
    """Return a method `__call__` that looks for the mask at the sequence itself."""

    def called(self: Any, sequences: Any, *others: Any, **options: Any) -> Any:
        if options.get("initial_state") is not None and options.get("mask") is None:
            options["mask"] = getattr(sequences, "_keras_mask", None)
        return call(self, sequences, *others, **options)

    return called
