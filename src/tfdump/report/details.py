"""All facts about one tensor, in one block of the page, which a click on its row opens."""

import base64
from collections.abc import Iterator

from tfdump.checks import Finding
from tfdump.comparison.verdict import TensorDiff
from tfdump.dump import axis0
from tfdump.dump.attributes import STATISTIC_NAMES
from tfdump.dump.examples import example_text
from tfdump.report.charts import bars_svg
from tfdump.report.flow import Flow, flow_facts, graph_link
from tfdump.report.html import Markup, element, escaped, join, name_of, number_text, size_text
from tfdump.report.records import NONE, SAMPLED, STORED, WHOLE, Numbers, Row, Thumbnail
from tfdump.report.table import badges, error_share, verdict_badge

_MOST_NORMS = 12


def details_of(row: Row, flow: Flow | None = None) -> Markup:
    """Return the block of one tensor; `flow` is what it reads and what reads it, where it is in the graph."""
    listed = [*_facts(row), *(flow_facts(flow) if flow is not None else ())]
    facts = [(element("dt", name), element("dd", value)) for name, value in listed]
    return element(
        "article",
        element("h3", name_of(row.address), class_="name", aria_label=row.address),
        element("p", *badges(row.findings), verdict_badge(row.diff) if row.diff is not None else None)
        if row.findings or row.diff is not None
        else None,
        _findings(row),
        element("p", _difference(row.diff)) if row.diff is not None and row.diff.status != "same" else None,
        element("p", _counterpart(row.diff)) if row.diff is not None and row.diff.new_name != row.diff.name else None,
        _picture(row),
        _histogram(row),
        element("dl", *(part for fact in facts for part in fact)),
        element("p", graph_link(row, "show in the graph")) if flow is not None else None,
        element("p", element("a", "back to the list", href=f"#r{row.number}"), class_="back"),
        id=f"t{row.number}",
        class_="pictured" if row.thumbnail is not None else None,
        aria_label=row.name,
    )


def _findings(row: Row) -> Markup | None:
    if not row.findings:
        return None
    return element("ul", *(element("li", _finding(finding)) for finding in row.findings))


def _finding(finding: Finding) -> str:
    text = f"{finding.check}: {finding.message}"
    if finding.example is None or finding.example_id is None:
        return text
    return f"{text}, the first in {example_text(finding.example, finding.example_id)}"


def _difference(diff: TensorDiff) -> str:
    share = error_share(diff)
    reason = diff.reason or diff.status
    return reason if share is None else f"{reason}; largest error {number_text(share)} of the largest golden value"


def _counterpart(diff: TensorDiff) -> str | None:
    """Return the name on the other side, where it differs."""
    if not diff.new_name:
        return None
    axes = f", its axes in the order {diff.layout}" if diff.layout else ""
    return f"compared with {diff.new_name}, paired by {diff.paired_by}{axes}"


def _picture(row: Row) -> Markup | None:
    thumbnail = row.thumbnail
    if thumbnail is None:
        return element("p", f"No picture: {row.undrawn}.", class_="soft")
    return element("figure", thumbnail_image(thumbnail))


def thumbnail_image(thumbnail: Thumbnail) -> Markup:
    """Return an image whose bytes are inside the page."""
    source = "data:image/png;base64," + base64.b64encode(thumbnail.png).decode()
    text = "; ".join([thumbnail.text, *thumbnail.notes])
    return element("img", src=source, width=thumbnail.width, height=thumbnail.height, alt=text)


def _histogram(row: Row) -> Markup | None:
    histogram = row.numbers.histogram
    if histogram is None or not len(histogram.counts):
        return None
    ends = element(
        "div",
        element("span", number_text(float(histogram.edges[0]))),
        element("span", f"tallest bar {int(histogram.counts.max()):,}"),
        element("span", number_text(float(histogram.edges[-1]))),
        class_="ends",
    )
    partly = row.numbers.read < row.numbers.total
    of = f"{row.numbers.read:,} sampled of {row.numbers.total:,}" if partly else f"{histogram.total:,}"
    caption = f"Histogram of {of} values; bar heights are square roots of counts"
    return element("figure", bars_svg(histogram, "big"), ends, element("figcaption", caption))


def _facts(row: Row) -> Iterator[tuple[str, str | Markup]]:
    yield "group", row.group
    if row.class_name:
        yield "class", row.class_name
    if row.operation:
        yield "operation", row.operation
    if row.source:
        yield "source", element("span", row.source, class_="name")
    if row.structure:
        yield "structure", element("span", row.structure, class_="name")
    rows = f", one row per {row.axis0}" if row.axis0 in (axis0.EXAMPLE, axis0.STEP, axis0.BATCH) else ""
    yield "shape", size_text(row.shape) + rows
    yield "dtype", row.dtype if row.stored_dtype == row.dtype else f"{row.dtype}, stored as {row.stored_dtype}"
    if row.encoding:
        yield "encoding", row.encoding
    if row.reduced:
        yield "reduced", row.reduced
    yield "statistics", _source(row.numbers, bool(row.reduced))
    for name in STATISTIC_NAMES:
        if name in row.numbers.statistics:
            yield name, number_text(row.numbers.statistics[name], 8)
    if row.scale is not None and row.is_gradient:
        yield "L2 norm", number_text(row.scale, 8) + (", estimated" if row.numbers.source == SAMPLED else "")
    elif row.scale is not None:
        yield "root mean square", number_text(row.scale, 8)
    if len(row.norms) > 1:
        norms = ", ".join(number_text(norm) for norm in row.norms[:_MOST_NORMS])
        more = f", ... {number_text(row.norms[-1])}" if len(row.norms) > _MOST_NORMS else ""
        yield f"norms of {len(row.norms):,} steps", norms + more


def _source(numbers: Numbers, reduced: bool) -> Markup:
    origin = {
        STORED: "of all values, from the dump" + (" (before it was reduced)" if reduced else ""),
        WHOLE: "of all values",
        SAMPLED: f"estimated from {numbers.read:,} of {numbers.total:,} values",
        NONE: "none",
    }[numbers.source]
    return join([escaped(origin), f": {numbers.reason}" if numbers.reason else None])
