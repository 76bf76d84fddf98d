"""The graph of a page in a headless Chromium: what it draws, opens and shows, by mouse and by keys alone."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import chromium
from support.check_dumps import normal, write_dump
from tfdump.report.gather import gather
from tfdump.report.page import page_of
from tfdump.report.records import ReportOptions

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=hacked=1>"
Open = Callable[..., Any]


def reading(inputs: list[str], values: Any, **more: Any) -> tuple[Any, dict[str, Any]]:
    return values, {"inputs": json.dumps(inputs)} | more


def blocks(off: float = 1, bad: bool = False) -> dict[str, Any]:
    """Six blocks of nine tensors, of which the fourth differs by a factor or makes a NaN, and all behind it."""
    tensors: dict[str, Any] = {"activations/stem": reading(["inputs/x"], normal(3, 4))}
    last = "stem"
    for n in range(6):
        steps = [f"block_{n}.attention.step_{k}" for k in range(4)] + [f"block_{n}.step_{k}" for k in range(4)]
        for place, name in enumerate([*steps, f"block_{n}"]):
            values = normal(3, 4, seed=place)
            if n > 3 or (n == 3 and place >= 2):
                values = values * np.float32(off)
                values[1, 1] = np.nan if bad else values[1, 1]
            reads = [last, f"block_{n}.attention.step_1"] if name.endswith("step_3") else [last]
            tensors[f"activations/{name}"] = reading(reads, values, source="layers.py:7")
            last = name
    tensors[f"activations/{HOSTILE}"] = reading([last, "gone"], normal(3, 4), **{"class": HOSTILE})
    return tensors


def nested(count: int) -> dict[str, Any]:
    """This many tensors in blocks of twenty, which read up to three others, among them a mask that all read."""
    tensors, names = {}, [f"encoder.layer_{n // 20}.{'ab'[n // 10 % 2]}.step_{n % 10}" for n in range(count)]
    for n, name in enumerate(names):
        reads = [
            names[n - 1] if n else "inputs/x",
            *names[max(0, n - 4) : n - 3],
            *(["inputs/mask"] if n % 10 == 3 else []),
        ]
        tensors[f"activations/{name}"] = reading(reads, normal(2, 3, seed=n))
    return tensors


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    dumps = {
        "plain": blocks(),
        "off": blocks(1.05),
        "nan": blocks(bad=True),
        "large": nested(2000),
        "flat": {name.replace(".", "_"): entry for name, entry in nested(2000).items()},
    }
    files = {name: write_dump(folder / f"{name}.h5", tensors) for name, tensors in dumps.items()}
    flat = {
        name: (values, {"inputs": more["inputs"].replace(".", "_")}) for name, (values, more) in dumps["flat"].items()
    }
    files["flat"] = write_dump(folder / "flat_again.h5", flat)
    sides = {"plain": None, "diff": files["off"], "nan": None, "large": None, "flat": None}
    outcome = {}
    for name, other in sides.items():
        report = gather(files.get(name, files["plain"]), other, ReportOptions(pictures=0))
        outcome[name] = folder / f"{name}.html"
        outcome[name].write_text(page_of(report), "utf-8")
    return outcome


@pytest.fixture
def page(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Open a page; afterwards, nothing may be on the console, and nothing may have been asked of anyone."""
    browser.get_log("browser")
    browser.get_log("performance")

    def load(name: str = "plain", media: str = "", width: int = 1280, **features: str) -> Any:
        listed = [{"name": f"prefers-{key.replace('_', '-')}", "value": value} for key, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": listed})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        browser.get(pages[name].as_uri())
        return browser

    yield load
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def labels(driver: Any, selector: str = ".node") -> list[str]:
    """What the boxes say to those who hear them, without what comes behind the address."""
    script = "return [...document.querySelectorAll(arguments[0])].map(box => box.getAttribute('aria-label'))"
    return [label.split(", ")[0] for label in driver.execute_script(script, f"#graph-drawing {selector}")]


def box(driver: Any, address: str) -> Any:
    (element,) = [
        one for one in driver.find_elements("css selector", "#graph-drawing .node")
        if (one.get_attribute("aria-label") or "").split(", ")[0] == address
    ]  # fmt: skip
    return element


def press(driver: Any, *keys: str) -> str:
    """Press keys, and return the address of the box that has the focus then."""
    chromium.press(driver, *keys)
    return (driver.switch_to.active_element.get_attribute("aria-label") or "").split(", ")[0]


def click(driver: Any, element: Any) -> None:
    event = "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
    driver.execute_script(event, element)


def arrows(driver: Any, selector: str = "") -> set[tuple[str, str]]:
    return {tuple(pair) for pair in driver.execute_script("""
      const name = at => document.querySelector(`.node[data-at="${at}"]`).getAttribute('aria-label').split(', ')[0];
      return [...document.querySelectorAll('#graph-drawing .arrow' + arguments[0])]
        .map(arrow => [name(arrow.dataset.from), name(arrow.dataset.to)]);
    """, selector)}  # fmt: skip


BLOCKS = [f"block_{n}" for n in range(6)]


def test_it_opens_with_the_layers_closed_and_their_arrows_merged(page: Open) -> None:
    driver = page()
    assert sorted(labels(driver)) == sorted(["inputs/x", "stem", *BLOCKS, "gone", HOSTILE])
    chain = ["inputs/x", "stem", *BLOCKS, HOSTILE]
    assert arrows(driver) == {*pairwise(chain), ("gone", HOSTILE)}
    assert driver.execute_script("return typeof hacked") == "undefined"


def test_a_click_opens_a_layer_and_another_closes_it(page: Open) -> None:
    driver = page()
    click(driver, box(driver, "block_2"))
    assert "block_2.step_0" in labels(driver)
    assert "block_2.attention" in labels(driver, ".closed")
    assert ("block_1", "block_2.attention") in arrows(driver)
    assert ("block_2", "block_3") in arrows(driver)
    click(driver, driver.find_element("css selector", ".node.opened"))
    assert labels(driver, ".opened") == []


def test_every_box_is_inside_of_its_layer_and_no_two_touch(page: Open) -> None:
    driver = page("nan")
    driver.find_element("id", "graph-all").click()
    assert len(labels(driver, ".opened")) == 12
    wrong = driver.execute_script("""
      const {boxes} = JSON.parse(document.getElementById('graph-data').textContent);
      const places = [...document.querySelectorAll('#graph-drawing .node')].map(box =>
        ({at: Number(box.dataset.at), place: box.querySelector('rect').getBoundingClientRect()}));
      const around = (at) => boxes[at].in < 0 ? [] : [boxes[at].in, ...around(boxes[at].in)];
      const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 &&
        a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
      const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      const wrong = [];
      for (const one of places) for (const other of places) {
        if (one.at === other.at || around(other.at).includes(one.at)) continue;
        const fine = around(one.at).includes(other.at) ? inside(one.place, other.place) : apart(one.place, other.place);
        if (!fine) wrong.push([one.at, other.at]);
      }
      return wrong;
    """)
    assert wrong == []


def test_arrows_begin_and_end_at_their_boxes(page: Open) -> None:
    driver = page("nan")
    driver.find_element("id", "graph-all").click()
    far = driver.execute_script("""
      const near = ({x, y}, box) => {
        const {x: left, y: top, width, height} = box.querySelector('rect').getBBox();
        return x >= left - 2 && x <= left + width + 2 && y >= top - 2 && y <= top + height + 2;
      };
      const of = (at) => document.querySelector(`.node[data-at="${at}"]`);
      return [...document.querySelectorAll('.arrow')].filter(arrow => {
        const line = arrow.querySelector('.line');
        return !near(line.getPointAtLength(0), of(arrow.dataset.from)) ||
          !near(line.getPointAtLength(line.getTotalLength()), of(arrow.dataset.to));
      }).length;
    """)
    assert far == 0


def test_a_click_on_a_tensor_shows_its_numbers_and_links_to_its_neighbors(page: Open) -> None:
    driver = page()
    click(driver, box(driver, "stem"))
    panel = driver.find_element("id", "graph-panel")
    assert panel.find_element("tag name", "h3").text == "stem"
    assert "float32" in panel.text
    assert "layers.py:7" not in panel.text
    (follower,) = [link for link in panel.find_elements("css selector", "dd a.name") if "step_0" in link.text]
    follower.click()
    assert panel.find_element("tag name", "h3").text == "block_0.attention.step_0"
    assert "layers.py:7" in panel.text
    assert labels(driver, ".selected.node") == ["block_0.attention.step_0"]
    assert {"block_0", "block_0.attention"} <= set(labels(driver, ".opened"))
    assert not driver.find_element("id", "dialog").is_displayed()


def test_rows_and_details_lead_to_their_box(page: Open) -> None:
    driver = page()
    click(driver, driver.find_element("css selector", "#r30 .to-graph"))
    name = driver.find_element("css selector", "#r30 a.name").get_attribute("aria-label")
    assert labels(driver, ".selected.node") == [name]
    assert driver.switch_to.active_element.get_attribute("aria-label").startswith(name)
    driver.find_element("css selector", "#r2 a.name").click()
    click(driver, driver.find_element("css selector", "#dialog .to-graph"))
    assert not driver.find_element("id", "dialog").is_displayed()
    assert labels(driver, ".selected.node") == ["block_0.attention.step_0"]


def test_the_keyboard_alone_walks_opens_shows_and_closes(page: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = page()
    driver.find_element("id", "graph-fit").send_keys(Keys.TAB)
    assert press(driver) == "inputs/x"
    assert press(driver, Keys.ARROW_DOWN) == "stem"
    assert press(driver, Keys.ARROW_DOWN) == "block_0"
    assert press(driver, Keys.ENTER) == "block_0"
    element = driver.switch_to.active_element
    assert element.get_attribute("aria-expanded") == "true"
    outline = driver.execute_script("return getComputedStyle(arguments[0].querySelector('rect')).strokeWidth", element)
    assert outline == "4px"
    assert press(driver, Keys.ARROW_DOWN).startswith("block_0.")
    assert press(driver, Keys.ESCAPE) == "block_0"
    assert labels(driver, ".opened") == []
    assert press(driver, Keys.ARROW_UP) == "stem"
    press(driver, " ")
    assert driver.find_element("css selector", "#graph-panel h3").text == "stem"
    assert press(driver, Keys.END) == HOSTILE
    assert press(driver, Keys.HOME) in ("inputs/x", "gone")
    walked = {press(driver)}
    for _ in range(12):
        walked.add(press(driver, Keys.ARROW_RIGHT))
    assert walked == set(labels(driver))
    assert press(driver, Keys.TAB) == "the tensor that is selected in the graph"


def test_every_box_has_a_role_a_name_and_a_state(page: Open) -> None:
    driver = page()
    drawing = driver.find_element("id", "graph-drawing")
    assert drawing.aria_role == "application"
    assert drawing.accessible_name == "graph of the run"
    assert "Escape closes" in driver.find_element("id", drawing.get_attribute("aria-describedby")).text
    roles = {
        (one.aria_role, one.get_attribute("aria-expanded")) for one in driver.find_elements("css selector", ".node")
    }
    assert roles == {("button", None), ("button", "false")}
    assert box(driver, "block_1").accessible_name == "block_1, layer, Dense, 9 tensors"
    assert len(driver.find_elements("css selector", ".node[tabindex='0']")) == 1
    assert labels(driver, ".absent") == ["gone"]


def test_a_nan_opens_where_it_starts_and_its_way_is_red(page: Open) -> None:
    driver = page("nan")
    start = "block_3.attention.step_2"
    assert start in labels(driver, ".closed.start.bad")
    assert "starts here" in box(driver, start).get_attribute("aria-label")
    red = arrows(driver, ".spreads")
    assert {("block_3.attention.step_2", "block_3.attention.step_3"), ("block_4", "block_5")} <= red
    assert not {pair for pair in red if "block_2" in pair}
    driver.find_element("id", "graph-none").click()
    assert labels(driver, ".start") == ["block_3"]
    driver.find_element("id", "graph-start").click()
    assert labels(driver, ".selected.node") == [start]


def test_a_difference_is_colored_by_its_size_from_where_it_starts(page: Open) -> None:
    driver = page("diff")
    start = "block_3.attention.step_2"
    assert labels(driver, ".closed.start") == [start]
    assert {"stem", "block_0", "block_1", "block_2"} <= set(labels(driver, ".same"))
    assert {start, "block_4", "block_5"} <= set(labels(driver, ".clear"))
    fill = "return getComputedStyle(arguments[0].querySelector('rect')).fill"
    assert driver.execute_script(fill, box(driver, start)) == "rgb(255, 217, 168)"
    driver.find_element("id", "graph-none").click()
    assert "7 differ" in box(driver, "block_3").get_attribute("aria-label")


@pytest.mark.parametrize("name", ["large", "flat"])
def test_two_thousand_tensors_open_closed_and_all_at_once_as_far_as_they_fit(page: Open, name: str) -> None:
    """Far below what a reader would wait for, also on a busy machine."""
    driver = page(name)
    assert 1 < len(labels(driver)) <= 60
    first, every, status = driver.execute_script("""
      const time = (id) => {
        const start = performance.now();
        document.getElementById(id).click();
        document.body.offsetHeight;
        return performance.now() - start;
      };
      return [time('graph-none'), time('graph-all'), document.getElementById('graph-status').textContent];
    """)
    assert status == "open as far as 300 boxes go; close layers to open others"
    assert 200 < len(labels(driver)) <= 300
    assert first < 3000
    assert every < 10_000


def test_what_does_not_fit_says_so_and_a_link_makes_room(page: Open) -> None:
    driver = page("large")
    driver.find_element("id", "graph-all").click()
    opened = len(labels(driver, ".opened"))
    for element in driver.find_elements("css selector", ".node.closed.layer, .node.closed.run")[-3:]:
        click(driver, element)
        if "does not fit" in driver.find_element("id", "graph-status").text:
            break
    assert "at most 300 boxes are drawn at once" in driver.find_element("id", "graph-status").text
    assert len(labels(driver, ".opened")) >= opened
    click(driver, driver.find_element("css selector", "#r2000 .to-graph"))
    assert labels(driver, ".selected.node") == ["encoder.layer_99.b.step_9"]


def test_a_mask_that_many_read_is_named_by_its_readers(page: Open) -> None:
    driver = page("large")
    driver.find_element("id", "graph-all").click()
    assert not {pair for pair in arrows(driver) if "inputs/mask" in pair}
    texts = driver.execute_script("return [...document.querySelectorAll('.node .far')].map(text => text.textContent)")
    assert len(texts) > 6
    assert set(texts) == {"← inputs/mask"}


def test_texts_are_inside_of_their_boxes_and_titles_say_all(page: Open) -> None:
    driver = page("nan")
    driver.find_element("id", "graph-all").click()
    wide = driver.execute_script("""
      return [...document.querySelectorAll('#graph-drawing .node')].filter(box => {
        const frame = box.querySelector('rect').getBBox();
        return [...box.querySelectorAll('text')].some(text => {
          const {x, width} = text.getBBox();
          return x < frame.x || x + width > frame.x + frame.width + 0.5;
        });
      }).map(box => box.getAttribute('aria-label'));
    """)
    assert wide == []
    titles = driver.execute_script("return [...document.querySelectorAll('.node title')].map(one => one.textContent)")
    assert sorted(title.split(", ")[0] for title in titles) == sorted(labels(driver))


@pytest.mark.parametrize("width", [390, 600, 1280, 2000])
def test_nothing_sticks_out_at_any_width(page: Open, width: int) -> None:
    driver = page("nan", width=width)
    driver.find_element("id", "graph-all").click()
    click(driver, box(driver, "stem"))
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_larger_smaller_and_fit(page: Open) -> None:
    driver = page()
    sizes = []
    for key in ("in", "out", "out", "fit"):
        driver.find_element("id", f"graph-{key}").click()
        sizes.append(
            driver.execute_script("return document.getElementById('graph-drawing').getBoundingClientRect().width")
        )
    assert sizes[0] > sizes[1] > sizes[2]
    scroller = driver.find_element("id", "graph-scroll")
    assert driver.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight + 4", scroller)


def test_colors_are_readable_in_light_and_dark(page: Open) -> None:
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3) for the text in a box of every level."""
    for scheme in ("light", "dark"):
        driver = page("diff", color_scheme=scheme)
        pairs = driver.execute_script("""
          return ['same', 'close', 'slight', 'clear', 'severe', ''].map(level => {
            const box = document.querySelector('.node.closed:not(.input)');
            box.setAttribute('class', `node closed tensor ${level}`);
            return [getComputedStyle(box.querySelector('text')).fill, getComputedStyle(box.querySelector('rect')).fill];
          });
        """)
        assert len({paper for _, paper in pairs}) == 6
        for ink, paper in pairs:
            assert contrast(ink, paper) >= 4.5, (scheme, ink, paper)


def contrast(one: str, other: str) -> float:
    """The ratio of contrast of two colors such as `rgb(1, 2, 3)` (WCAG 2.2)."""

    def luminance(color: str) -> float:
        shares = [int(digits) / 255 for digits in re.findall(r"\d+", color)[:3]]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_without_javascript_there_is_no_graph_and_the_page_says_so(page: Open, browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver = page()
    assert "Only a browser with JavaScript draws the graph" in driver.find_element("id", "graph").text
    assert not driver.find_element("id", "graph-area").is_displayed()
    assert not driver.find_element("id", "graph-all").is_displayed()
    assert not driver.find_element("css selector", "#r1 .to-graph").is_displayed()
    assert "block_0.attention.step_0" in driver.find_element("id", "t1").text


def test_it_prints_the_graph_without_its_controls(page: Open) -> None:
    driver = page("diff")
    settings = {"preferCSSPageSize": True, "printBackground": False}
    assert base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", settings)["data"]).startswith(b"%PDF-")
    driver = page("diff", media="print", width=1000)
    assert driver.find_element("id", "graph-drawing").is_displayed()
    assert not driver.find_element("id", "graph-all").is_displayed()
    assert not driver.find_element("id", "graph-panel").is_displayed()
    assert (
        driver.execute_script("return document.getElementById('graph-drawing').getBoundingClientRect().right") <= 1000
    )
