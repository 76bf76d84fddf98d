"""The list of tensors of a page: one row per tensor, with the data for sorting and filtering."""

import math
from collections.abc import Container, Sequence

from tfdump.checks import Finding
from tfdump.comparison.verdict import DIFFERS, SAME, TensorDiff
from tfdump.report.charts import bars_svg
from tfdump.report.flow import graph_link
from tfdump.report.html import MISSING, Markup, element, join, name_of, number_text, share_text, size_text
from tfdump.report.records import NONE, SAMPLED, Report, Row

_SEVERE = ("nan", "inf")


def table_of(report: Report, in_graph: Container[int] = ()) -> Markup:
    """Return the filter and the table of all tensors; `in_graph` are the numbers of rows with a link to the graph."""
    rows, compared = report.rows, report.diff is not None
    first = report.diff.first if report.diff is not None else None
    gradients = any(row.is_gradient for row in rows)
    heads = [
        _head("#", "n", "order of execution within each group"),
        _head("tensor", "t"),
        _head("class", "t"),
        _head("shape, dtype", "n", "sorted by the number of values"),
        *(_head(name, "n") for name in ("min", "max", "mean", "std")),
        _head(
            "norm" if gradients else "rms",
            "n",
            "L2 norm of a gradient (of its last step); root mean square of anything else" if gradients else
            "root mean square",
        ),
        _head("zero", "n", "share of the values that are exactly zero"),
        _head("NaN, Inf", "n", "number of values that are not finite"),
        _head("histogram", None, "bar heights are square roots of counts; the mark below is the bin of 0"),
        *([_head("difference", "n", "largest error as a share of the largest value")] if compared else []),
        _head("findings", "n"),
    ]  # fmt: skip
    caption = element("caption", f"The {len(rows):,} tensors of {report.dump}", class_="unseen")
    body = [_row(row, compared, first is not None and row.diff is first, row.number in in_graph) for row in rows]
    table = element("table", caption, element("thead", element("tr", *heads)), element("tbody", *body), id="tensors")
    scale = "norm: L2 norm of a gradient (of its last step), else root" if gradients else "rms: root"
    legend = (
        f"{scale} mean square. Bar heights of a histogram are square roots of counts, and the mark below is the bin of "
        "0. \u25a3: the tensor has a picture."
    )
    if any(row.numbers.source == SAMPLED for row in rows):
        legend += " \u2248: estimated from a sample."
    around = element("div", table, id="list", role="region", tabindex=0, aria_label="list of tensors")
    return join([_filter(rows, compared), element("p", legend, class_="soft"), around])


def badges(findings: Sequence[Finding]) -> list[Markup]:
    """Return the names of the checks with findings."""
    names = dict.fromkeys(finding.check for finding in findings)
    return [element("span", name, class_=f"badge {'bad' if name in _SEVERE else 'warn'}") for name in names]


def verdict_badge(diff: TensorDiff) -> Markup:
    """Return the verdict of the comparison on one tensor."""
    kind = "bad" if diff.fails else "good" if diff.status == SAME else "mild"
    return element("span", diff.status, class_=f"badge {kind}")


def error_share(diff: TensorDiff) -> float | None:
    """Return the largest error as a share of the largest golden value; for a tensor of zeros, the error itself."""
    comparison = diff.comparison
    if comparison is None or diff.status not in (SAME, DIFFERS):
        return None
    return comparison.max_error / comparison.largest if comparison.largest > 0 else comparison.max_error


def _head(name: str, sort: str | None, title: str | None = None) -> Markup:
    numeric = "n" if name in ("#", "min", "max", "mean", "std", "rms", "norm", "zero", "NaN, Inf") else None
    return element("th", name, scope="col", class_=numeric, data_sort=sort, title=title)


def _row(row: Row, compared: bool, is_first: bool, in_graph: bool) -> Markup:
    statistics, numbers = row.numbers.statistics, row.numbers
    about = "≈" if numbers.source == SAMPLED else ""
    numeric = [_number(statistics.get(name), about) for name in ("min", "max", "mean", "std")]
    count, odd = statistics.get("count", 0), statistics.get("nan", 0) + statistics.get("inf", 0)
    has_numbers = numbers.source != NONE
    least = ("\u2265" if odd else about) if numbers.source == SAMPLED else ""
    zeros = statistics["zero"] / count if count and "zero" in statistics else None
    zero = share_text(statistics["zero"], count) if "zero" in statistics else MISSING
    differs = row.diff is not None and row.diff.fails
    link = element("a", name_of(row.address), href=f"#t{row.number}", class_="name", aria_label=row.address)
    pictured = None
    if row.thumbnail is not None:
        pictured = element("span", " \u25a3", element("span", " has a picture", class_="unseen"), class_="soft")
    size = math.prod(max(1, axis) for axis in row.shape)
    dtype = element("div", _dtype(row), class_="soft")
    to_graph = graph_link(row, "graph") if in_graph else None
    group = None if row.group == "activations" else element("div", row.group, class_="soft")
    cells = [
        element("td", f"{row.number}", class_="n", data_v=row.number),
        element("th", link, pictured, to_graph, group, scope="row", data_v=row.address),
        element("td", row.class_name),
        element("td", size_text(row.shape), dtype, class_="s", data_v=size),
        *numeric,
        _number(row.scale, about),
        element("td", f"{about}{zero}", class_="n", data_v=zeros),
        element("td", f"{least}{number_text(odd)}" if has_numbers else MISSING, class_="n",
                data_v=odd if has_numbers else None),
        element("td", _histogram(row)),
        *([_difference(row)] if compared else []),
        element("td", *badges(row.findings), class_="findings", data_v=len(row.findings) or None),
    ]  # fmt: skip
    kinds = " ".join(kind for kind, here in (("differs", differs), ("first", is_first)) if here)
    return element(
        "tr",
        *cells,
        id=f"r{row.number}",
        class_=kinds or None,
        data_group=row.group,
        data_class=row.class_name,
        data_found=1 if row.findings else 0,
        data_differs=1 if differs else 0,
        data_words=" ".join([row.name, row.class_name, row.dtype, size_text(row.shape), *row.example_ids]).lower(),
    )


def _number(value: float | None, about: str) -> Markup:
    finite = value is not None and math.isfinite(value)
    text = f"{about}{number_text(value, 3)}" if value is not None else MISSING
    return element("td", text, class_="n", data_v=repr(float(value)) if finite and value is not None else None)


def _dtype(row: Row) -> str:
    return row.dtype if row.stored_dtype == row.dtype else f"{row.dtype} as {row.stored_dtype}"


def _histogram(row: Row) -> str | Markup:
    histogram = row.numbers.histogram
    if histogram is None:
        return element("span", row.numbers.reason, class_="soft")
    if len(histogram.counts):
        return bars_svg(histogram)
    return element("span", "no finite value" if histogram.total else "empty", class_="soft")


def _difference(row: Row) -> Markup:
    if row.diff is None:
        return element("td", MISSING)
    share = error_share(row.diff)
    text = None if share is None else f" {number_text(share, 3)}"
    value = share if share is not None and math.isfinite(share) else None
    return element("td", verdict_badge(row.diff), text, class_="s", data_v=None if value is None else repr(value))


def _filter(rows: Sequence[Row], compared: bool) -> Markup:
    """Return the form that filters the rows; it is hidden without JavaScript."""

    def choice(name: str, key: str, values: Sequence[str]) -> Markup:
        options = [element("option", one, value=one) for one in values]
        return element("label", name, element("select", element("option", "all", value=""), *options, id=key))

    def box(name: str, key: str) -> Markup:
        return element("label", element("input", type="checkbox", id=key), name, class_="box")

    groups = list(dict.fromkeys(row.group for row in rows))
    classes = sorted({row.class_name for row in rows if row.class_name})
    search = element("input", type="search", id="text", autocomplete="off", spellcheck="false", aria_keyshortcuts="/")
    named = any(row.example_ids for row in rows)
    what = "address, class, dtype, shape or example id" if named else "address, class, dtype or shape"
    return element(
        "form",
        element("label", f"{what} contains", search),
        choice("group", "group", groups),
        choice("class", "class", classes),
        box("only with findings", "findings"),
        box("only tensors that differ", "differs") if compared else None,
        element("button", "reset", type="reset", class_="tool"),
        element("span", id="count", role="status"),
        id="filter",
        class_="filter",
        role="search",
    )
