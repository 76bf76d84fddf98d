"""The calls of a recorded run, and the interface between the recorder and its hooks."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from keras import Operation

INNER_GRAPH = "inside a loop or branch of the graph, which keeps its tensors; --eager gives what Python calls there"


@dataclass(frozen=True)
class RecordedTensor:
    """One tensor of one call; `tensor` is dense, ragged or sparse, None where it was not requested.

    `stacked` tells that it was stacked from the steps of a loop, so the model itself does not use it. `inputs` are the
    addresses of the tensors that the call read, None where they are unknown. `executed_as` is the address by the order
    of execution, "" where the layer is called once. `attributes` are further attributes of the dataset. `within` has
    the addresses and classes of calls by which the tensor can be selected beside its own. `operands` are the addresses
    of what the operation read that computed it, None where operations are not recorded.
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
    within: tuple[tuple[str, tuple[str, ...]], ...] = ()
    operands: tuple[str, ...] | None = None


@dataclass
class Frame:
    """A call that has not returned yet: of an operation, at an address (`path`, "" for the model).

    `hidden` is why its tensors are not available, or None. `read` are the tensors among its arguments, and `inputs`
    their addresses. `calls` holds the numbers of the calls of each operation within it, and `extras` counts the
    tensors other than its outputs by suffix. `branch` is the number of the call among all calls of the operation in
    graphs. `executed` is the address by the order of execution, which differs for a layer that is `shared`, or within
    one.
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


class ObservedRun(Protocol):
    """What a hook may use of the run that it observes."""

    frames: list[Frame]
    """The calls that have not returned, that of the model first."""

    hiding: str | None
    """Why the tensors of calls that begin now are not available, or None."""

    @property
    def current(self) -> Frame | None:
        """The innermost call that has not returned; None where nothing is recorded, as in shape inference."""

    def add(self, frame: Frame, word: str, tensor: Any, path: Sequence[str | int] = ()) -> None:
        """Record a tensor of a call other than its outputs, under the reserved suffix `word` followed by a path."""

    def miss(self, address: str, reason: str) -> None:
        """Report an address as not captured."""

    def steps(self) -> "LoopSteps":
        """Begin a loop whose steps are recorded one by one."""

    def call(self, function: Callable[..., Any], operation: Operation, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call `function(operation, ...)` and record it as a call of the operation."""


class LoopSteps(Protocol):
    """The steps of a loop in one graph."""

    def one(self) -> AbstractContextManager[None]:
        """Record one step."""

    def stack(self) -> None:
        """Record the tensors of all steps, stacked on an axis after that of the examples."""


class Hook:
    """Observes the calls of a run; the base does nothing."""

    def __init__(self, recording: ObservedRun) -> None:
        self.recording = recording

    def installed(self) -> AbstractContextManager[None]:
        """Return a context that is active while the model is recorded."""
        return nullcontext()

    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Return a context that is active during one call of a layer that is not hidden."""
        return nullcontext()

    def returned(self, frame: Frame, outputs: Any) -> None:
        """Observe the outputs of one call of a layer that is not hidden."""
