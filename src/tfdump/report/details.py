"""Everything that is known of one tensor, in a block of its own, which a click on its row opens."""

import base64
from collections.abc import Iterator

from tfdump.comparison.verdict import TensorDiff
from tfdump.dump.attributes import STATISTIC_NAMES
from tfdump.report.charts import bars
from tfdump.report.html import Markup, element, escaped, join, name_of, number, shape_text
from tfdump.report.records import NONE, SAMPLED, STORED, WHOLE, Numbers, Row, Thumbnail
from tfdump.report.table import badges, error_share, verdict_badge

_MOST_NORMS = 12


def details_of(row: Row) -> Markup:
    """Return the block of one tensor."""
    facts = [(element("dt", name), element("dd", value)) for name, value in _facts(row)]
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
        element("p", element("a", "back to the list", href=f"#r{row.number}"), class_="back"),
        id=f"t{row.number}",
        class_="pictured" if row.thumbnail is not None else None,
        aria_label=row.name,
    )


def _findings(row: Row) -> Markup | None:
    if not row.findings:
        return None
    return element("ul", *(element("li", f"{finding.check}: {finding.message}") for finding in row.findings))


def _difference(diff: TensorDiff) -> str:
    share = error_share(diff)
    told = diff.reason or diff.status
    return told if share is None else f"{told}; largest error {number(share)} of the largest golden value"


def _counterpart(diff: TensorDiff) -> str | None:
    """Return the name on the other side, where it is another one."""
    return f"compared with {diff.new_name}, paired by {diff.paired_by}" if diff.new_name else None


def _picture(row: Row) -> Markup | None:
    found = row.thumbnail
    if found is None:
        return element("p", f"No picture: {row.undrawn}.", class_="soft")
    return element("figure", image(found))


def image(found: Thumbnail) -> Markup:
    """Return a picture that is inside of the page."""
    source = "data:image/png;base64," + base64.b64encode(found.png).decode()
    told = "; ".join([found.text, *found.notes])
    return element("img", src=source, width=found.width, height=found.height, alt=told)


def _histogram(row: Row) -> Markup | None:
    found = row.numbers.histogram
    if found is None or not len(found.counts):
        return None
    ends = element(
        "div",
        element("span", number(float(found.edges[0]))),
        element("span", f"tallest bar {int(found.counts.max()):,}"),
        element("span", number(float(found.edges[-1]))),
        class_="ends",
    )
    partly = row.numbers.read < row.numbers.total
    of = f"{row.numbers.read:,} sampled of {row.numbers.total:,}" if partly else f"{found.total:,}"
    told = f"Histogram of {of} values; heights are square roots of counts"
    return element("figure", bars(found, "big"), ends, element("figcaption", told))


def _facts(row: Row) -> Iterator[tuple[str, str | Markup]]:
    yield "group", row.group
    if row.class_name:
        yield "class", row.class_name
    if row.structure:
        yield "structure", element("span", row.structure, class_="name")
    first = {"none": "", "example": ", an example a row", "step": ", a step a row", "batch": ", a batch a row"}
    yield "shape", shape_text(row.shape) + first.get(row.axis0, "")
    yield "dtype", row.dtype if row.stored_dtype == row.dtype else f"{row.dtype}, stored as {row.stored_dtype}"
    if row.encoding:
        yield "encoding", row.encoding
    if row.reduced:
        yield "reduced", row.reduced
    yield "statistics", _source(row.numbers, bool(row.reduced))
    for name in STATISTIC_NAMES:
        if name in row.numbers.statistics:
            yield name, number(row.numbers.statistics[name], 8)
    if row.scale is not None and row.is_gradient:
        yield "L2 norm", number(row.scale, 8) + (", estimated" if row.numbers.source == SAMPLED else "")
    elif row.scale is not None:
        yield "root mean square", number(row.scale, 8)
    if len(row.norms) > 1:
        shown = ", ".join(number(norm) for norm in row.norms[:_MOST_NORMS])
        more = f", ... {number(row.norms[-1])}" if len(row.norms) > _MOST_NORMS else ""
        yield f"norms of {len(row.norms):,} steps", shown + more


def _source(numbers: Numbers, reduced: bool) -> Markup:
    told = {
        STORED: "of all values, from the dump" + (" (before it was reduced)" if reduced else ""),
        WHOLE: "of all values",
        SAMPLED: f"estimated from {numbers.read:,} of {numbers.total:,} values",
        NONE: "none",
    }[numbers.source]
    return join([escaped(told), f": {numbers.reason}" if numbers.reason else None])
