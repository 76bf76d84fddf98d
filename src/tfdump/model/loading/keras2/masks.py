"""Masks of recurrent layers that get initial states, which Keras 2 passed on and Keras 3 does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def masks_beside_states() -> Iterator[None]:
    """Let recurrent layers take the mask of their sequence also where they are called with initial states.

    Keras 3 looks for masks of each tensor apart where a layer is called with several (`Layer.__call__`, step 6), and
    recurrent layers have none but `mask`. A functional model keeps the mask as an argument of the call.
    """
    kinds = (keras.layers.RNN, keras.layers.Bidirectional)
    calls = {kind: vars(kind).get("__call__") for kind in kinds}
    for kind in kinds:
        kind.__call__ = _with_mask(kind.__call__)
    try:
        yield
    finally:
        for kind, call in calls.items():
            if call is None:
                del kind.__call__
            else:
                kind.__call__ = call


def _with_mask(call: Any) -> Any:
    """Return a method `__call__` that looks for the mask at the sequence itself."""

    def called(self: Any, sequences: Any, *others: Any, **options: Any) -> Any:
        if options.get("initial_state") is not None and options.get("mask") is None:
            options["mask"] = getattr(sequences, "_keras_mask", None)
        return call(self, sequences, *others, **options)

    return called
