"""Masks of recurrent layers with initial states, which Keras 2 passed on and Keras 3 does not."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from tfdump.model.recording.patching import replaced


@contextmanager
def masks_beside_states() -> Iterator[None]:
    """While the body runs, let recurrent layers use the mask of their sequence also if called with initial states.

    If a layer is called with several tensors, Keras 3 looks for a separate mask argument for each (`Layer.__call__`,
    step 6), but recurrent layers have only `mask`. A functional model stores the mask as an argument of the call.
    """
    with ExitStack() as stack:
        for kind in (keras.layers.RNN, keras.layers.Bidirectional):
            stack.enter_context(replaced(kind, "__call__", _with_mask(kind.__call__)))
        yield


def _with_mask(call: Any) -> Any:
    """Return a method `__call__` that takes the mask from the sequence itself."""

    def called(self: Any, sequences: Any, *others: Any, **options: Any) -> Any:
        if options.get("initial_state") is not None and options.get("mask") is None:
            options["mask"] = getattr(sequences, "_keras_mask", None)
        return call(self, sequences, *others, **options)

    return called
