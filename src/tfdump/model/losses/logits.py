"""The logits behind probabilities, from which Keras computes crossentropies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfdump.model.keras_internals import GET_LOGITS, nn
from tfdump.model.recording.call_stack import WATCHING
from tfdump.model.recording.patching import replaced
from tfdump.model.recording.tensors import LOGITS_NOTE

ORIGINAL = "_tfdump_original"
"""The attribute of a watched copy that holds the tensor from whose operation Keras would take the logits."""


def source_of_logits(tensor: Any) -> Any:
    """Return the object that identifies the logits that Keras can find behind a tensor, or None."""
    noted = getattr(tensor, LOGITS_NOTE, None)
    return getattr(tensor, ORIGINAL, None) if noted is None else noted


@contextmanager
def looking_behind_copies() -> Iterator[list[Any]]:
    """While the body runs, let Keras find the logits behind watched copies as behind the tensors themselves.

    Yields a list to which the sources (`source_of_logits`) of the logits that Keras uses are added.
    """
    sources: list[Any] = []
    with WATCHING:
        theirs: Callable[..., tuple[Any, bool]] = getattr(nn, GET_LOGITS)

        def ours(output: Any, *options: Any, **named: Any) -> tuple[Any, bool]:
            original = getattr(output, ORIGINAL, output)
            logits, from_logits = theirs(original, *options, **named)
            if logits is original:
                return output, from_logits
            sources.append(source_of_logits(output))
            return logits, from_logits

        with replaced(nn, GET_LOGITS, ours):
            yield sources
