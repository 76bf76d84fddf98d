"""Reading a page of tfdump report with html.parser alone."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from tfdump.report.gather import gather
from tfdump.report.page import page_of
from tfdump.report.records import Report, ReportOptions

_VOID = {"meta", "img", "input", "br", "wbr"}


@dataclass
class Node:
    """An element: its name, its attributes, its children, and the text in all of it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str, **attributes: str) -> list["Node"]:
        """Every element of a name below, with these attributes (`class_` is one of the classes)."""
        elements = []
        for child in self.children:
            if isinstance(child, Node):
                wanted = (
                    value in child.attributes.get(key.rstrip("_").replace("_", "-"), "").split()
                    for key, value in attributes.items()
                )
                if tag in ("*", child.tag) and all(wanted):
                    elements.append(child)
                elements += child.all(tag, **attributes)
        return elements

    def the(self, tag: str, **attributes: str) -> "Node":
        (element,) = self.all(tag, **attributes)
        return element


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {key: value or "" for key, value in attrs})
        assert len(attrs) == len(node.attributes), f"an attribute of {tag} is there twice"
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(text: str) -> Node:
    """The elements of a page; fails where one is not closed in turn."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def made(dump: Path, other: Path | None = None, **options: object) -> tuple[Report, Node]:
    """The report of a dump without pictures, where nothing else is said, and its page."""
    report = gather(dump, other, ReportOptions(**{"pictures": 0, **options}))
    return report, parse(page_of(report))


def columns_of(page: Node) -> list[str]:
    return [head.text for head in page.the("table", id="tensors").the("thead").all("th")]


def cell(page: Node, row: int, column: str) -> Node:
    """The cell of a row, counted from 1 in the order of the page, below a column's name."""
    cells = [child for child in page.the("tr", id=f"r{row}").children if isinstance(child, Node)]
    return cells[columns_of(page).index(column)]


def value(page: Node, row: int, column: str) -> float:
    """The number by which a cell is sorted, which is the exact one."""
    return float(cell(page, row, column).attributes["data-v"])


def bars_of(node: Node) -> dict[int, int]:
    """The heights of the bars of a histogram by bin."""
    path = node.the("svg", class_="histogram").the("path", class_="bar").attributes["d"]
    return {int(x): int(height) for x, height in re.findall(r"M(\d+) 30v-(\d+)h1v\2z", path)}
