"""The calls of a watched run, and what those who look into a call may do."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from keras import Operation

INNER_GRAPH = "inside a loop or branch of the graph, which keeps its tensors; --eager gives what Python calls there"


@dataclass(frozen=True)
class Recorded:
    """One tensor of one call; `tensor` is one of TensorFlow (dense, ragged or sparse), None if not kept.

    `stacked` tells that it was put together of the steps of a loop: the model does not go on with it. `inputs` are
    the addresses of what the call read, None where that cannot be told. `executed_as` is the address by the order of
    execution, "" where the layer is called once. `attributes` are further ones of its dataset.
    """

    address: str
    layer: str
    structure: str
    classes: tuple[str, ...]
    parameters: int
    tensor: Any
    stacked: bool = False
    inputs: tuple[str, ...] | None = None
    executed_as: str = ""
    attributes: tuple[tuple[str, Any], ...] = ()


@dataclass
class Frame:
    """A call that has not returned yet: of an operation, at an address (`path`, "" for the model).

    `hidden` is why its tensors cannot be had, or None; `read` are the tensors that it was given, and `inputs` their
    addresses. `calls` has the numbers of the calls of each operation within, and `extras` counts the tensors beside
    its outputs by suffix. `branch` is the number of the call among all that graphs make of the operation, and
    `executed` the address by the order of execution, which matters for a layer that is `shared`, or within one.
    """

    operation: Operation
    path: str
    hidden: str | None = None
    structure: str = ""
    branch: int = 0
    executed: str = ""
    shared: bool = False
    read: list[Any] = field(default_factory=list)
    inputs: tuple[str, ...] | None = None
    calls: dict[int, frozenset[int]] = field(default_factory=dict)
    extras: Counter[str] = field(default_factory=Counter)


class Recording(Protocol):
    """What a hook may do with the run that it looks into."""

    frames: list[Frame]
    """The calls that have not returned, the model's own first."""

    hiding: str | None
    """Why calls that begin now give no tensors, or None."""

    @property
    def current(self) -> Frame | None:
        """The innermost call that has not returned; None where no run is being watched, as in shape inference."""

    def add(self, frame: Frame, word: str, tensor: Any, path: Sequence[str | int] = ()) -> None:
        """Record a tensor of a call beside its outputs, under the reserved suffix `word` and a path behind it."""

    def miss(self, address: str, reason: str) -> None:
        """Name what was not captured."""

    def steps(self) -> "LoopSteps":
        """Begin a loop, of which each step is recorded by itself."""

    def call(self, function: Callable[..., Any], operation: Operation, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call `function(operation, ...)`, recorded as a call of the operation."""


class LoopSteps(Protocol):
    """The steps of a loop in one graph."""

    def one(self) -> AbstractContextManager[None]:
        """Record one step."""

    def stack(self) -> None:
        """Record what every step gave, stacked behind the axis of the examples."""


class Hook:
    """Looks into the calls of a run; the base does nothing."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def installed(self) -> AbstractContextManager[None]:
        """Return what is in force while the model is watched."""
        return nullcontext()

    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Return what is in force during one call of a layer that is not hidden."""
        return nullcontext()

    def returned(self, frame: Frame, outputs: Any) -> None:
        """Look at what one call of a layer that is not hidden returned."""
