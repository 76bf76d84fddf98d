"""What is asked of a model whose activations are patched: other values take the place of those that it computed.

This module imports neither TensorFlow nor Keras.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tfdump.tensors import Array, Batch, Value

State = Sequence[Any] | None
"""The values of what a run changes in a model; None stands for the start of a run."""


@dataclass(frozen=True)
class Patch:
    """A dense tensor that is patched: a final output, or the activation of an address.

    `shape` is that of the values that take its place, with None for open sizes, and `dtype` is their dtype.
    """

    address: str
    is_output: bool
    shape: tuple[int | None, ...] | None
    dtype: str


class PatchedRuns(Protocol):
    """A model with patches; what it returns is in their order, and None for a tensor that it did not compute.

    A run starts from a `state`, and leaves the model in the state in which it was.
    """

    def replaced(self, batch: Batch, values: Sequence[Array], state: State) -> list[Value | None]:
        """Return what each tensor is before a value takes its place, computed from the values before it.

        Final outputs are returned as they are.
        """

    def changed(
        self, batch: Batch, changes: Sequence[Array], actives: Iterable[Array], state: State
    ) -> Iterator[list[Value | None]]:
        """Yield the final outputs among the patches once for each of `actives`, which tells what changes are made.

        A change is added to a float, and takes the place of any other value.
        """
