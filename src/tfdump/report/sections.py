"""The sections of a page beside the list of tensors: comparison, findings, depth, loss, provenance."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tfdump.checks import CHECKS, Finding
from tfdump.comparison.verdict import DIFFERS, VALUES, DiffReport
from tfdump.dump import axis0
from tfdump.report.charts import Point, curve_svg, depth_svg
from tfdump.report.html import MISSING, Markup, element, join, name_of, number_text, row_link
from tfdump.report.records import Report, Row
from tfdump.report.table import badges, error_share, verdict_badge

_MOST_LISTED = 100
_MOST_NAMED = 20
_MOST_OPEN = 12


def comparison_section(report: Report) -> Markup | None:
    """Return the verdict of the comparison, with the first divergence on top; None without a comparison."""
    diff = report.diff
    if diff is None:
        return None
    numbers = {id(row.diff): row.number for row in report.rows if row.diff is not None}
    failing = [tensor for tensor in diff.tensors if tensor.fails]
    first = diff.first
    top = None
    if first is not None:
        name = row_link(numbers.get(id(first)), first.shown_name)
        lead = (
            "First divergence: "
            if first.status == DIFFERS or first.diverges
            else "First tensor that only one side has: "
        )
        of = f" ({first.class_name}): " if first.class_name else ": "
        top = element("p", element("strong", lead), name, f"{of}{first.reason}")
    rows = [
        element(
            "tr",
            element("th", row_link(numbers.get(id(one)), one.shown_name), scope="row"),
            element("td", one.class_name),
            element("td", verdict_badge(one)),
            element("td", MISSING if (share := error_share(one)) is None else number_text(share, 3), class_="n"),
            element("td", one.reason, class_="wide"),
        )
        for one in failing[:_MOST_LISTED]
    ]
    return join(
        [
            element("p", diff.summary, class_=f"verdict {'good' if diff.same else 'bad'}"),
            top,
            *(element("p", note, class_="note") for note in diff.notes),
            _errors(report, diff),
            _folded(("tensor", "class", "verdict", "largest error", "reason"), rows, "Tensors that differ"),
            _more(len(failing), "tensors that differ; the list below marks them all"),
        ]
    )


def _errors(report: Report, diff: DiffReport) -> Markup | None:
    """Return the chart of the error of every tensor along the depth."""
    by_verdict = {id(row.diff): row for row in report.rows if row.diff is not None}
    points = [
        Point(row.number, one.shown_name, error_share(one), "differs" if one.fails else "")
        for one in diff.tensors
        if one.compared_by == VALUES and (row := by_verdict.get(id(one))) is not None
    ]
    chart = depth_svg(points, "Largest error as a share of the largest value", joined=False)
    return _figure(chart, "Largest error of each tensor as a share of its largest golden value; filled red points are "
                   "outside their tolerance, points at 0 are equal")  # fmt: skip


def findings_section(report: Report) -> Markup:
    """Return where NaN and Inf start, and the findings of the checks."""
    checks = report.checks
    numbers = {row.name: row.number for row in report.rows}
    origins = [
        element(
            "p",
            element("strong", origin.message),
            " ",
            row_link(numbers.get(origin.tensor), "show"),
            class_="verdict bad",
        )
        for origin in checks.origins
    ]
    counts = Counter(finding.check for finding in checks.findings)
    summary = ", ".join(f"{counts[name]:,} {name}" for name in CHECKS if counts[name])
    named = any(finding.example_id is not None for finding in checks.findings)
    heads = ("check", "tensor", "finding", "example", *(["example id"] if named else []), "index")
    rows = [
        element(
            "tr",
            element("td", *badges([finding])),
            element(
                "th", row_link(numbers.get(finding.tensor), finding.tensor.removeprefix("activations/")), scope="row"
            ),
            element("td", finding.message, class_="wide"),
            element("td", MISSING if finding.example is None else f"{finding.example:,}", class_="n"),
            *([_example_id(finding)] if named else []),
            element("td", ", ".join(map(str, finding.index)) if finding.index else MISSING),
        )
        for finding in checks.findings[:_MOST_LISTED]
    ]
    unchecked = [(tensor.tensor, "all checks", tensor.reason or "") for tensor in checks.tensors if tensor.reason]
    unchecked += [(skipped.tensor, skipped.check, skipped.reason) for skipped in checks.skipped]
    total, looked = len(checks.findings), sum(tensor.reason is None for tensor in checks.tensors)
    summary_line = f"{total:,} finding{'' if total == 1 else 's'}: {summary}." if total else "No findings."
    of = "" if looked == len(checks.tensors) else f" of {len(checks.tensors):,}"
    summary_line += f" {looked:,}{of} tensors were checked{' in full' if of else ''}."
    return join(
        [
            *origins,
            element("p", summary_line),
            _folded(heads, rows, "Findings of the checks"),
            _more(len(checks.findings), "findings; “only with findings” shows their tensors in the list"),
            _unchecked(unchecked),
        ]
    )


def _example_id(finding: Finding) -> Markup:
    name = finding.example_id
    return element("td", MISSING if name is None else name_of(name), aria_label=name)


def _unchecked(skipped: Sequence[tuple[str, str, str]]) -> Markup | None:
    """Return a folded list of the tensors that could not be checked, and the reasons."""
    if not skipped:
        return None
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for tensor, check, reason in skipped:
        checks, tensors = reasons.setdefault(reason, ({}, {}))
        checks[check] = None
        tensors[tensor.removeprefix("activations/")] = None
    items = [
        element("li", f"{reason}: {', '.join(checks)} of {_named(list(tensors))}")
        for reason, (checks, tensors) in list(reasons.items())[:_MOST_LISTED]
    ]
    of = len({tensor for tensor, _, _ in skipped})
    summary = element("summary", f"Checks that were not possible, of {of:,} tensor{'' if of == 1 else 's'}")
    return element("details", summary, element("ul", *items), _more(len(reasons), "reasons"))


def depth_section(report: Report) -> Markup | None:
    """Return the charts along the depth: norms of gradients, else the scale of activations; None without any."""
    groups: dict[str, list[Row]] = {}
    for row in report.rows:
        groups.setdefault(row.group, []).append(row)
    gradients = [group for group in groups if groups[group][0].is_gradient]
    charts = []
    for group in gradients or [group for group in groups if group == "activations"] or list(groups)[:1]:
        points = [Point(row.number, row.address, row.scale, _kind(row)) for row in groups[group]]
        unit = "L2 norm" if gradients else "Root mean square"
        caption = f"{unit} of {group}"
        if any("vector" in point.kind for point in points):
            caption += "; filled: kernels, hollow: vectors and scalars (bias, gamma)"
        if any("odd" in point.kind and not point.is_odd for point in points):
            caption += "; red: tensors with NaN or Inf"
        if any(point.is_odd for point in points):
            caption += "; \u00d7 at the upper edge: no finite value"
        charts.append(_figure(depth_svg(points, caption, apart="vector"), caption))
    present = [chart for chart in charts if chart is not None]
    return join(present) if present else None


def _kind(row: Row) -> str:
    statistics = row.numbers.statistics
    rank = len(row.shape) - (row.axis0 != axis0.NONE)
    kinds = ["vector"] if row.group == "gradients/weights" and rank < 2 else []
    return " ".join([*kinds, *(["odd"] if statistics.get("nan") or statistics.get("inf") else [])])


def loss_section(report: Report) -> Markup | None:
    """Return the loss as a number or a curve; None without a loss."""
    loss = report.loss
    if loss is None:
        return None
    if len(loss.values) == 1:
        return element("p", "Loss ", element("strong", number_text(loss.values[0], 8)))
    if not loss.values:
        return element("p", "The loss has no values.")
    first, last = number_text(loss.values[0], 6), number_text(loss.values[-1], 6)
    odd = sum(not abs(value) < float("inf") for value in loss.values)
    caption = f"Loss of {len(loss.values):,} {loss.axis}s: {first} … {last}" + (f", {odd:,} not finite" if odd else "")
    return join([element("p", caption), _figure(curve_svg(loss.values, loss.axis), "Loss")])


def provenance_section(report: Report) -> Markup:
    """Return how the dump was made, a summary of the model, and what was not captured."""
    other = report.other is not None and any(new is not None for _, _, new in report.provenance)
    rows = []
    for name, old, new in report.provenance:
        differs = other and old != new
        cells = [element("td", old if old is not None else MISSING, class_="wide")]
        cells += [element("td", new if new is not None else MISSING, class_="wide")] if other else []
        rows.append(
            element(
                "tr", element("th", name_of(name), scope="row"), *cells, element("td", "differs" if differs else "")
            )
            if other
            else element("tr", element("th", name_of(name), scope="row"), *cells)
        )
    heads = ("attribute", report.dump, report.other or "", "") if other else ("attribute", "value")
    return join(
        [
            _table(heads, rows, "How the dump was made"),
            _architecture(report),
            _not_captured(report),
            _depends(report),
        ]
    )


def _architecture(report: Report) -> Markup | None:
    architecture = report.architecture
    if architecture is None:
        return None
    layers = ", ".join(f"{count:,} {name}" for name, count in architecture.layers[:_MOST_LISTED])
    total = sum(count for _, count in architecture.layers)
    text = f" {architecture.class_name}" + (f" “{architecture.name}”" if architecture.name else "")
    text += f", {total:,} layers in its configuration: {layers}" if total else ""
    return element("p", element("strong", "Model:"), text)


def _not_captured(report: Report) -> Markup:
    missing = report.not_captured
    if not missing:
        return element("p", "The dump names no layer that was not captured.")
    rows = [
        element("tr", element("th", name_of(one.address), scope="row", class_="name"), element("td", one.reason))
        for one in missing[:_MOST_LISTED]
    ]
    return join(
        [
            element("h3", f"Not captured: {len(missing):,}"),
            _table(("layer", "reason"), rows, "Layers that were not captured"),
            _more(len(missing), "layers (tfdump show lists them)"),
        ]
    )


def _depends(report: Report) -> Markup | None:
    if not report.depends_on_batch:
        return None
    text = f"The values of these tensors depend on which examples shared a batch: {_named(report.depends_on_batch)}"
    return element("p", text, class_="note")


def _table(heads: Sequence[str], rows: Sequence[Markup], caption: str, numeric: Iterable[int] = ()) -> Markup | None:
    if not rows:
        return None
    right = set(numeric)
    top = [element("th", head, scope="col", class_="n" if n in right else None) for n, head in enumerate(heads)]
    whole = element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", *top)),
        element("tbody", *rows),
        class_="plain",
    )
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _folded(heads: Sequence[str], rows: Sequence[Markup], caption: str) -> Markup:
    """Return a table of the first rows, and a folded table of the others; the fourth column holds numbers."""
    top, rest = rows[:_MOST_OPEN], rows[_MOST_OPEN:]
    below = element("details", element("summary", f"{len(rest):,} more"), _table(heads, rest, f"{caption}, more", (3,)))
    return join([_table(heads, top, caption, (3,)), below if rest else None])


def _figure(chart: Markup | None, caption: str) -> Markup | None:
    return None if chart is None else element("figure", element("figcaption", caption), chart)


def _more(count: int, what: str) -> Markup | None:
    if count <= _MOST_LISTED:
        return None
    return element("p", f"The first {_MOST_LISTED:,} of {count:,} {what}.", class_="soft")


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:_MOST_NAMED])
    return listed if len(names) <= _MOST_NAMED else f"{listed}, ... ({len(names):,} in all)"
