"""The section of a page that shows the graph of the run, and the data from which graph.js draws it."""

from collections.abc import Iterator, Sequence

from tfdump.dump import layout
from tfdump.report.graph import ABSENT, Graph
from tfdump.report.graph_data import data_of
from tfdump.report.html import MINUS, Markup, element, join
from tfdump.report.records import Report, Row

_COMPARED = (
    ("same", "equal"),
    ("close", "within the tolerance"),
    ("slight", "differs by less than 0.1%"),
    ("clear", "by less than 10%"),
    ("severe", "by more, in shape or in what is finite, or missing"),
)
_CHECKED = (("bad", "NaN or Inf"), ("warn", "other findings"))
_MOST_NAMED = 10
_OLDER = (
    "The dump does not say what each tensor was computed from: it is from an older tfdump, from a run without a graph, "
    "or holds too few tensors. So the page has no graph."
)


def graph_section(report: Report, graph: Graph | None) -> Markup | None:
    """Return the graph with its controls and its data; a sentence where there is none; None without activations."""
    if graph is None:
        activations = any(row.group == layout.ACTIVATIONS for row in report.rows)
        return element("p", _OLDER, class_="soft") if activations else None
    return join(
        [
            element("p", _SUMMARY, class_="soft"),
            *(element("p", note, class_="soft") for note in _notes(graph)),
            element("noscript", element("p", _WITHOUT_SCRIPT, class_="note")),
            _controls(),
            _legend(report.diff is not None),
            _area(),
            element("script", data_of(report, graph), type="application/json", id="graph-data"),
        ]
    )


_SUMMARY = (
    "An arrow leads from a tensor to what was computed from it. A box with ▸ is a layer that contains others: a click "
    "or Enter opens it. A click on a tensor shows its numbers."
)
_KEYS = (
    "Keys in the graph: ↓ goes to what reads the box, ↑ to what it reads, → and ← to the next box and back, Enter "
    "opens a layer or shows a tensor, Escape closes the layer around it."
)
_WITHOUT_SCRIPT = "Only a browser with JavaScript draws the graph. “Each tensor” below lists what every tensor reads."


def _notes(graph: Graph) -> Iterator[str]:
    tensors = [tensor for box in graph.boxes for tensor in box.tensors()]
    absent = [box.address for box in tensors if box.kind == ABSENT]
    if absent:
        yield (
            f"Dashed boxes are {len(absent):,} tensors that were read and that the page does not hold, so nothing is "
            f"known of their values: {_named(absent)}."
        )
    if graph.left_out:
        yield (
            f"The graph leaves out {_named(graph.left_out)}: the dump does not say which tensors these are copies of."
        )
    unknown = [box.address for box in tensors if box.row is not None and _is_unknown(box.row)]
    if unknown:
        yield f"The dump does not say what these tensors read, so no arrow leads to them: {_named(unknown)}."


def _is_unknown(row: Row) -> bool:
    return row.group == layout.ACTIVATIONS and row.reads is None


def _controls() -> Markup:
    def button(key: str, name: str, **more: str) -> Markup:
        return element("button", name, type="button", id=f"graph-{key}", class_="tool", **more)

    return element(
        "div",
        button("all", "open all"),
        button("none", "close all"),
        button("start", "go to where it starts"),
        button("out", MINUS, aria_label="smaller"),
        button("in", "+", aria_label="larger"),
        button("fit", "fit"),
        element("span", id="graph-status", role="status"),
        class_="graph-controls",
        role="toolbar",
        aria_label="graph",
    )


def _legend(compared: bool) -> Markup:
    kinds = _COMPARED if compared else _CHECKED
    swatches = [element("li", element("span", class_=f"swatch {level}"), text) for level, text in kinds]
    if compared:
        swatches.append(element("li", element("span", "▶", class_="start"), " differs while all that it reads agrees"))
    swatches.append(element("li", element("span", "▶", class_="start"), " NaN or Inf starts"))
    swatches.append(element("li", element("span", class_="swatch run"), "layers that follow each other, folded"))
    swatches.append(element("li", element("span", class_="swatch absent"), "not on the page"))
    return element("ul", *swatches, class_="legend", aria_label="legend of the graph")


def _area() -> Markup:
    drawing = element("svg", id="graph-drawing", role="application", aria_label="graph of the run",
                      aria_describedby="graph-keys")  # fmt: skip
    panel = element("aside", element("p", "Click on a tensor to see its numbers here.", class_="soft"),
                    id="graph-panel", aria_label="the tensor that is selected in the graph", tabindex=0)  # fmt: skip
    return element(
        "div",
        element("div", drawing, id="graph-scroll"),
        panel,
        element("p", _KEYS, id="graph-keys", class_="soft"),
        id="graph-area",
    )


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:_MOST_NAMED])
    return listed if len(names) <= _MOST_NAMED else f"{listed}, ... ({len(names):,} in all)"
