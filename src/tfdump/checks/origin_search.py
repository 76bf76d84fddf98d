"""The search for origins along a graph: bad tensors of which nothing that they were computed from is bad."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfdump.checks.bad_rows import BadRows
from tfdump.checks.execution_order import BadTensors
from tfdump.checks.records import Finding
from tfdump.checks.tensor_graph import Reads, TensorGraph
from tfdump.dump import layout
from tfdump.dump.tensor import Tensor

_MODEL_INPUT = f"{layout.INPUTS}/"


@dataclass(frozen=True)
class Searched:
    """The tensors of a dump in which NaN and Inf were looked for.

    Attributes
    ----------
    tensors : sequence of Tensor
        The tensors that were checked.
    bad_rows : mapping
        By the name of a tensor: its bad rows by the name of the check, as far as they are known.
    held : frozenset of str
        Names of all tensors in the dump.
    sampled : frozenset of str
        Names of the tensors of which only part was read.
    mixing : frozenset of str or None
        Names of the tensors whose rows depend on other examples; None if all may.
    without_gradient : frozenset of str
        Addresses of activations that cannot have a gradient.
    first_example : int
        Number of the first example in the input.
    example_id : callable
        Returns the name of the example with a number in the input, or None.
    loss_is_known, loss_by_step : bool
        Whether the dump has a loss, and whether it is one number per step.
    looked_at : str
        `everything`, or which part of it was searched.
    """

    tensors: Sequence[Tensor]
    bad_rows: Mapping[str, Mapping[str, BadRows]]
    held: frozenset[str]
    sampled: frozenset[str] = frozenset()
    mixing: frozenset[str] | None = frozenset()
    without_gradient: frozenset[str] = frozenset()
    first_example: int = 0
    example_id: Callable[[int], str | None] = lambda number: None
    loss_is_known: bool = False
    loss_by_step: bool = False
    looked_at: str = "everything"


@dataclass(frozen=True)
class Start:
    """A tensor where NaN or Inf begins: `rest` are the bad rows that nothing explains, if only some are explained."""

    finding: Finding
    sources: Reads
    rest: BadRows | None = None


class GraphSearch:
    """Looks for the origins of one pass."""

    def __init__(self, searched: Searched, bad: BadTensors, graph: TensorGraph) -> None:
        self._searched = searched
        self._bad = bad
        self._graph = graph
        self._starts: dict[str, list[Start]] = {}

    def starts(self, check: str) -> list[Start]:
        """Return the origins of a check, in the order of execution, without the inputs of the model."""
        if check not in self._starts:
            bad = self._bad[check]
            names = [name for name in self._graph.order if name in bad and not name.startswith(_MODEL_INPUT)]
            self._starts[check] = [start for name in names if (start := self._start(name, bad)) is not None]
        return self._starts[check]

    def causes(self, start: Start) -> list[Finding]:
        """Return the origins of the other check from which this one may come: NaN from Inf, or Inf from NaN.

        Those that it reads itself are left out.
        """
        (other,) = (check for check in self._bad if check != start.finding.check)
        bad = self._bad[other]
        inputs = [bad[name] for name in self._graph.order if name in bad and name.startswith(_MODEL_INPUT)]
        earlier = [*inputs, *(theirs.finding for theirs in self.starts(other))]
        if not earlier:
            return []
        reached = self._reached(start, bad) - set(start.sources.read)
        return [finding for finding in earlier if finding.tensor in reached and self._shares(start, finding)]

    def _start(self, name: str, bad: Mapping[str, Finding]) -> Start | None:
        """Return a bad tensor as an origin; None if all that is bad in it may come from other bad tensors."""
        rows = None if self._mixes(name) else self._rows(bad[name])
        rest = rows
        for other in self._graph.explaining(name, bad):
            theirs = self._rows(bad[other])
            rest = None if rest is None or theirs is None else rest.without(theirs)
            if rest is None or rest.first is None:
                return None
        return Start(bad[name], self._graph.sources(name), None if rest is rows else rest)

    def _reached(self, start: Start, bad: Mapping[str, Finding]) -> set[str]:
        """Return the tensors from which an origin was computed, and the bad ones inside their layers."""
        name, graph = start.finding.tensor, self._graph
        waiting = list(start.sources.read)
        if not start.sources.known:
            waiting += graph.order[: graph.order.index(name)]
        reached: set[str] = set()
        while waiting:
            current = waiting.pop()
            if current in reached or current == name:
                continue
            reached.add(current)
            waiting += graph.sources(current).read
            waiting += graph.explaining(current, bad) if current in bad else ()
        return reached

    def _shares(self, start: Start, cause: Finding) -> bool:
        """Tell whether a cause may be bad in the example in which an origin is."""
        finding = start.finding
        first = finding.index[0] if finding.index else None
        row = first if start.rest is None else start.rest.first
        rows = self._rows(cause)
        if row is None or rows is None or self._rows(finding) is None or self._mixes(finding.tensor):
            return True
        return row in rows.numbers or (rows.known_until is not None and row >= rows.known_until)

    def _rows(self, finding: Finding) -> BadRows | None:
        return self._searched.bad_rows.get(finding.tensor, {}).get(finding.check)

    def _mixes(self, name: str) -> bool:
        """Tell whether the rows of a tensor may depend on those of other examples."""
        mixing = self._searched.mixing
        return mixing is None or name in mixing or name.removeprefix(f"{layout.ACTIVATIONS}/") in mixing
