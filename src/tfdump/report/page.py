"""Turns a report into one HTML page that needs no network and no other file, and is readable without JavaScript.

A policy in the page allows its one script and its one style sheet, by their hashes, and nothing else.
"""

import base64
import hashlib
from importlib import resources

from tfdump.report import sections
from tfdump.report.details import details_of
from tfdump.report.html import Markup, element, join
from tfdump.report.records import Report
from tfdump.report.table import table_of

_FACTS = ("model", "kind", "examples", "batch_size", "loss", "tensorflow_version", "keras_version")


def page_of(report: Report) -> str:
    """Return the page; the same report gives the same page."""
    style, script = _own("page.css"), _own("page.js")
    title = f"{report.dump} and {report.other}" if report.other else report.dump
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    chapters = [
        ("compared", "Comparison", sections.comparison_section(report)),
        ("found", "Findings", sections.findings_section(report)),
        ("loss", "Loss", sections.loss_section(report)),
        ("depth", "Along the depth", sections.depth_section(report)),
        ("list-of-tensors", "Tensors", table_of(report)),
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
        element("main", *(_chapter(key, name, part) for key, name, part in present), _details(report, pictured)),
        _dialog(),
        element("script", Markup(script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _chapter(key: str, name: str, body: Markup) -> Markup:
    return element("section", element("h2", name, id=f"{key}-title"), body, id=key, aria_labelledby=f"{key}-title")


def _details(report: Report, pictured: bool) -> Markup:
    return element(
        "section",
        element("h2", "Each tensor", id="details-title"),
        join([details_of(row) for row in report.rows], "\n"),
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


def _own(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("tfdump.report").joinpath(name).read_text("utf-8").replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
