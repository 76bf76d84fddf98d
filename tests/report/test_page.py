"""The page as a file: alone, escaped, the same every time, bounded, and for every reader."""

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from support.check_dumps import functional, normal, write_dump
from support.report_pages import Node, cell, columns_of, made, parse
from tfdump.report.gather import gather
from tfdump.report.html import clean, element, number_text, share_text
from tfdump.report.page import page_of
from tfdump.report.records import ReportOptions

HOSTILE = [
    "<script>alert(1)<\\script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "&lt;b&gt;", "</style>",
    "]]>-->", "{{7*7}}", "a\u202eb\x1b[31m", "javascript:alert(1)", "\U0001f600",
]  # fmt: skip


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump with a bit of everything, with pictures."""
    bad = normal(12, 4, seed=3)
    bad[2, 1] = np.nan
    tensors = {
        "activations/conv": (normal(12, 6, 6, 3), {"class": "Conv2D"}),
        "activations/bad": bad,
        "outputs/bad": bad,
        "activations/words": np.array([["a"]], object),
    }
    config = functional(("Conv2D", "conv", {"activation": "relu"}), ("Dense", "bad", {}))
    return write_dump(tmp_path_factory.mktemp("rich") / "rich.h5", tensors, config, model="m.keras", seed=0)


@pytest.fixture(scope="module")
def page(rich: Path) -> str:
    return page_of(gather(rich, None, ReportOptions()))


def test_every_element_is_closed_and_every_id_is_there_once(page: str) -> None:
    ids = [node.attributes["id"] for node in parse(page).all("*") if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    links = [node.attributes["href"] for node in parse(page).all("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    root = parse(page)
    assert {node.tag for node in root.all("*")}.isdisjoint(
        {"link", "iframe", "object", "embed", "base", "video", "audio"}
    )
    assert not any("src" in script.attributes for script in root.all("script"))
    assert all(image.attributes["src"].startswith("data:image/png;base64,") for image in root.all("img"))
    assert all(link.attributes["href"].startswith("#") for link in root.all("a"))
    assert not re.search(r"https?://|@import|url\(", page)
    for node in root.all("*"):
        assert not [key for key in node.attributes if key.startswith("on") or key == "style"], node


def test_the_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else(page: str) -> None:
    root = parse(page)
    (policy,) = (meta.attributes["content"] for meta in root.all("meta") if "http-equiv" in meta.attributes)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        inner = root.the(tag).text
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_hostile_names_are_text(tmp_path: Path) -> None:
    names = [name.replace("/", "\\") for name in HOSTILE]
    tensors = {f"activations/{name}": (normal(3, 2), {"class": name, "structure": name}) for name in names}
    dump = write_dump(tmp_path / "a.h5", tensors, model=names[0], command=names[1], not_captured=(
        '[{"address": "<script>x()</script>", "reason": "</td><script>"}]'))  # fmt: skip
    _, root = made(dump)
    assert len(root.all("script")) == 1
    assert not root.all("img")
    assert not root.all("b")
    shown = [cell(root, n, "tensor").text for n in range(1, len(names) + 1)]
    assert shown == [clean(name) for name in names]
    assert [cell(root, n, "class").text for n in range(1, len(names) + 1)] == [clean(name) for name in names]
    assert "<script>x()</script></td><script>" in root.the("section", id="provenance").text
    assert "\x1b" not in root.text
    assert "\u202e" not in root.text


def test_characters_that_do_not_print_are_spelled_out() -> None:
    assert clean("a\u202eb\x00c\ud800d\n") == "a\\u202eb\\x00c\\ud800d\n"
    assert element("p", "<&>", title="'\"<") == '<p title="&#x27;&quot;&lt;">&lt;&amp;&gt;</p>'


def test_the_same_dump_gives_the_same_bytes_wherever_it_is(rich: Path, page: str, tmp_path: Path) -> None:
    copy = tmp_path / "rich.h5"
    copy.write_bytes(rich.read_bytes())
    assert page_of(gather(copy, None, ReportOptions())) == page
    assert str(rich.parent) not in page


def test_neither_page_of_two_dumps_tells_the_folders(rich: Path, tmp_path: Path) -> None:
    (tmp_path / "other.h5").write_bytes(rich.read_bytes())
    text = page_of(gather(rich, tmp_path / "other.h5", ReportOptions(pictures=0)))
    assert str(tmp_path) not in text
    assert str(rich.parent) not in text


class TestPictures:
    def test_each_is_in_the_details_of_its_tensor_with_its_size_and_words(self, page: str) -> None:
        image = parse(page).the("article", id="t1").the("img")
        data = base64.b64decode(image.attributes["src"].partition(",")[2])
        assert data.startswith(b"\x89PNG")
        size = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        assert size == (int(image.attributes["width"]), int(image.attributes["height"]))
        assert image.attributes["alt"].startswith("maps of conv; the picture shows example 0 of 12")
        assert "pictured" in parse(page).the("article", id="t1").attributes["class"]

    def test_what_cannot_be_drawn_says_why(self, page: str) -> None:
        root = parse(page)
        assert not root.the("article", id="t3").all("img")
        assert "No picture: 'words' is string" in root.the("article", id="t3").text
        assert "1 tensor has no picture" in root.text

    def test_the_few_are_those_with_findings_first_and_the_page_says_so(self, rich: Path) -> None:
        report, root = made(rich, pictures=1)
        assert [row.address for row in report.rows if row.thumbnail] == ["bad"]
        assert "pictures of 1 of 4 tensors, those with findings or differences first" in root.text
        assert "No picture: the page has pictures of 1 of 4 tensors" in root.the("article", id="t1").text

    def test_a_value_that_is_large_is_left_to_plot(self, tmp_path: Path) -> None:
        dump = write_dump(tmp_path / "a.h5", {"activations/x": np.zeros((1, 2100, 2000), np.float32)})
        report, _ = made(dump, pictures=5)
        assert "4,200,000 numbers, too many for a quick picture" in report.rows[0].undrawn

    def test_there_are_none_when_none_is_asked_for(self, rich: Path) -> None:
        _, root = made(rich)
        assert not root.all("img")
        assert "No picture: --pictures none leaves pictures out" in root.text


def test_a_thousand_tensors_make_a_page_of_a_few_megabytes(tmp_path: Path) -> None:
    values = normal(4, 40)
    dump = write_dump(tmp_path / "a.h5", {f"activations/encoder.layer_{n}.dense": values for n in range(1000)})
    text = page_of(gather(dump, None, ReportOptions(pictures=0)))
    assert len(text) < 5_000_000
    assert len(parse(text).the("table", id="tensors").the("tbody").all("tr")) == 1000


class TestForEveryReader:
    def test_the_table_has_a_caption_and_headings_of_rows_and_columns(self, page: str) -> None:
        table = parse(page).the("table", id="tensors")
        assert table.the("caption").text == "The 4 tensors of rich.h5"
        assert all(head.attributes["scope"] == "col" for head in table.the("thead").all("th"))
        assert all(row.the("th").attributes["scope"] == "row" for row in table.the("tbody").all("tr"))
        assert len(set(columns_of(parse(page)))) == len(columns_of(parse(page)))

    def test_every_control_has_a_label_and_every_drawing_words(self, page: str) -> None:
        root = parse(page)
        labeled = [node for label in root.all("label") for node in (*label.all("input"), *label.all("select"))]
        assert labeled == [node for node in root.the("form").all("*") if node.tag in ("input", "select")]
        assert all(label.text.strip() for label in root.all("label"))
        assert all(node.attributes.get("aria-label") for node in root.all("svg"))
        assert all(node.attributes.get("alt") for node in root.all("img"))
        assert all(button.text for button in root.all("button"))

    def test_headings_go_down_one_level_at_a_time(self, page: str) -> None:
        levels = [int(node.tag[1]) for node in parse(page).all("*") if re.fullmatch("h[1-6]", node.tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))

    def test_every_tensor_can_be_read_without_javascript(self, page: str) -> None:
        root = parse(page)
        for row in root.the("table", id="tensors").the("tbody").all("tr"):
            target = row.the("a").attributes["href"].removeprefix("#")
            assert root.the("article", id=target).all("dl")

    def test_colors_are_readable_in_light_and_dark(self, page: str) -> None:
        """At least 4.5 to 1 (WCAG 2.2, 1.4.3) for every ink on every paper that it is written on."""
        style = parse(page).the("style").text
        blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
        assert len(blocks) == 2
        for block in blocks:
            colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block))
            for paper in ("paper", "raised", "bad-paper", "warn-paper", "good-paper"):
                inks = ["ink", "accent", *([paper.split("-")[0]] if "-" in paper else ["soft", "bad", "warn", "good"])]
                for ink in inks:
                    assert contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)
            assert contrast(colors["soft"], colors["bad-paper"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """The ratio of contrast of two colors (WCAG 2.2)."""

    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(c * 2 for c in color[1:])
        shares = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\u2013"), (0, "0"), (-12345, "\u221212,345"), (1.5e-9, "1.5e-9"), (1e20, "1e20"), (float("nan"), "NaN"),
     (float("-inf"), "\u2212∞"), (-0.25, "\u22120.25")],
)  # fmt: skip
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number_text(value).replace("e\u2212", "e-") == text


def test_a_share_is_nothing_or_all_only_where_it_is() -> None:
    shares = [share_text(part, 10_000) for part in (0, 1, 5000, 9999, 10_000)]
    assert shares == ["0%", "<0.1%", "50%", ">99.9%", "100%"]


def test_the_reader_of_these_tests_notices_what_is_not_closed() -> None:
    with pytest.raises(AssertionError):
        parse("<p><b>x</p>")
    assert Node("p", {}, ["x", Node("b", {}, ["y"])]).text == "xy"
