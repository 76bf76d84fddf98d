"""Turns a report into one HTML page that needs no network and no other file, and is readable without JavaScript.

A policy in the page allows its scripts and its style sheet, by their hashes, and nothing else.
"""

import base64
import hashlib
from collections.abc import Mapping

from tfdump.report import sections
from tfdump.report.details import details_of
from tfdump.report.flow import Flow, flows_of
from tfdump.report.graph import graph_of
from tfdump.report.graph_section import graph_section
from tfdump.report.html import Markup, element, join
from tfdump.report.losses import losses_of_quantization
from tfdump.report.records import Report
from tfdump.report.scripts import dagre_script, graph_script, own_text
from tfdump.report.table import table_of

_FACTS = (
    "model",
    "kind",
    "examples",
    "batch_size",
    "loss",
    "tensorflow_version",
    "keras_version",
    "runtime",
    "runtime_version",
)


def page_of(report: Report) -> str:
    """Return the page; the same report gives the same page."""
    graph = graph_of(report.rows)
    flows = flows_of(report.rows, graph)
    style = own_text("page.css") + (own_text("graph.css") if graph else "")
    scripts = [own_text("page.js"), *([dagre_script(), graph_script()] if graph else [])]
    title = f"{report.dump} and {report.other}" if report.other else report.dump
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {' '.join(map(_hash, scripts))}; base-uri 'none'; form-action 'none'"
    )
    chapters = [
        ("compared", "Comparison", sections.comparison_section(report)),
        ("quantization", "Quantization", losses_of_quantization(report)),
        ("found", "Findings", sections.findings_section(report)),
        ("graph", "Graph", graph_section(report, graph)),
        ("loss", "Loss", sections.loss_section(report)),
        ("depth", "Along the depth", sections.depth_section(report)),
        ("list-of-tensors", "Tensors", table_of(report, flows)),
        ("provenance", "How the dump was made", sections.provenance_section(report)),
    ]
    present = [(key, name, body) for key, name, body in chapters if body is not None]
    pictured = any(row.thumbnail is not None for row in report.rows)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="tfdump"),
        element("title", f"{title} - tfdump report"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "skip to the list of tensors", href="#list-of-tensors", class_="skip"),
        element(
            "header",
            element("h1", element("bdi", title)),
            element("p", _facts(report), class_="soft"),
            *(element("p", note, class_="note warn") for note in report.notes),
            element("nav", *(element("a", name, href=f"#{key}") for key, name, _ in present), aria_label="sections"),
        ),
        element("main", *(_chapter(key, name, part) for key, name, part in present), _details(report, flows, pictured)),
        _dialog(),
        *(element("script", Markup(script)) for script in scripts),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _chapter(key: str, name: str, body: Markup) -> Markup:
    return element("section", element("h2", name, id=f"{key}-title"), body, id=key, aria_labelledby=f"{key}-title")


def _details(report: Report, flows: Mapping[int, Flow], pictured: bool) -> Markup:
    return element(
        "section",
        element("h2", "Each tensor", id="details-title"),
        join([details_of(row, flows.get(row.number)) for row in report.rows], "\n"),
        id="details",
        class_="pictured" if pictured else None,
        aria_labelledby="details-title",
    )


def _dialog() -> Markup:
    """Return the dialog that shows one tensor after a click on its row."""

    def button(key: str, name: str, shortcut: str) -> Markup:
        return element("button", name, type="button", id=key, class_="tool", aria_keyshortcuts=shortcut)

    header = element(
        "header",
        button("before", "← previous", "ArrowLeft"),
        button("after", "next →", "ArrowRight"),
        element("span", id="place", class_="place soft", role="status"),
        button("close", "close", "Escape"),
    )
    return element("dialog", header, element("div", id="dialog-body"), id="dialog", aria_labelledby="dialog-title")


def _facts(report: Report) -> str:
    attributes = {name: old for name, old, _ in report.provenance}
    facts = [f"{name.replace('_', ' ')} {attributes[name]}" for name in _FACTS if attributes.get(name)]
    return " · ".join([*facts, f"{len(report.rows):,} tensors"])


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
