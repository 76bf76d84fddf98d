"""What each tensor reads and what reads it, as links between the tensors of a page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfdump.report.graph import Graph, numbers_of_rows
from tfdump.report.html import Markup, element, join, name_of
from tfdump.report.records import Row

_MOST_LINKS = 20


@dataclass(frozen=True)
class Flow:
    """The tensors that one tensor reads, as the dump says, and those that read it: addresses, and rows of the page.

    `reads` is None where it is unknown.
    """

    reads: tuple[tuple[str, int | None], ...] | None
    readers: tuple[tuple[str, int | None], ...]


def flows_of(rows: Sequence[Row], graph: Graph | None) -> dict[int, Flow]:
    """Return the flow of every row in the graph, by its number."""
    if graph is None:
        return {}
    numbers = numbers_of_rows(graph)
    inside = frozenset(numbers.values())
    present = [row for row in rows if row.number in inside]
    readers: dict[str, list[tuple[str, int | None]]] = {}
    for row in present:
        for address in dict.fromkeys(row.reads or ()):
            readers.setdefault(address, []).append((row.address, row.number))
    names = {number: address for address, number in numbers.items()}
    return {
        row.number: Flow(
            None if row.reads is None else tuple((address, numbers.get(address)) for address in row.reads),
            tuple(readers.get(names[row.number], ())),
        )
        for row in present
    }


def flow_facts(flow: Flow) -> Iterator[tuple[str, str | Markup]]:
    """Yield what a tensor reads and what reads it, for the list of its facts."""
    if flow.reads is not None:
        yield "reads", _links(flow.reads) if flow.reads else "nothing: it is a constant"
    if flow.readers:
        yield "read by", _links(flow.readers)


def _links(tensors: Sequence[tuple[str, int | None]]) -> Markup:
    listed = [_link_to(address, row) for address, row in tensors[:_MOST_LINKS]]
    more = f", ... ({len(tensors):,} in all)" if len(tensors) > _MOST_LINKS else None
    return join([join(listed, ", "), more])


def _link_to(address: str, row: int | None) -> Markup:
    if row is None:
        return element("span", name_of(address), class_="name", title="not on the page")
    return element("a", name_of(address), href=f"#t{row}", class_="name", aria_label=address)


def graph_link(row: Row, text: str) -> Markup:
    """Return a link that graph.js follows to the box of a tensor; it is hidden without JavaScript."""
    label = None if text.startswith("show") else f"show {row.address} in the graph"
    return element("a", text, href="#graph", class_="to-graph", data_graph=row.number, aria_label=label)
