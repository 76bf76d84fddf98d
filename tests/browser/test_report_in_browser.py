"""The page of `tfdump report` in a headless Chromium."""

import base64
import json
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small page of two dumps, with pictures; and one of a thousand tensors."""
    folder = tmp_path_factory.mktemp("pages")
    bad = normal(12, 4, seed=3)
    bad[2, 1] = np.nan
    old = {
        "activations/conv": (normal(12, 6, 6, 3), {"class": "Conv2D"}),
        "activations/dense_10": normal(12, 5) * np.float32(10),
        "activations/dense_9": normal(12, 5, seed=1) * np.float32(0.1),
        "activations/bad": bad,
        f"activations/{HOSTILE}": (normal(12, 4, seed=5), {"class": HOSTILE}),
        "outputs/bad": bad,
    }
    new = old | {"activations/dense_9": normal(12, 5, seed=1)}
    small = gather(write_dump(folder / "old.h5", old), write_dump(folder / "new.h5", new), ReportOptions())
    many = {f"activations/encoder.layer_{n // 10}.dense_{n}": normal(4, 20, seed=n) for n in range(1000)}
    large = gather(write_dump(folder / "many.h5", many), None, ReportOptions(pictures=0))
    outcome = {"small": folder / "small.html", "large": folder / "large.html"}
    for name, report in (("small", small), ("large", large)):
        outcome[name].write_text(page_of(report), "utf-8")
    return outcome


Open = Callable[..., Any]


@pytest.fixture
def page(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Open a page; afterwards, nothing may be on the console, and nothing may have been asked of anyone."""
    browser.get_log("browser")
    browser.get_log("performance")

    def load(name: str = "small", fragment: str = "", media: str = "", width: int = 1280, **features: str) -> Any:
        listed = [{"name": f"prefers-{key.replace('_', '-')}", "value": value} for key, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": listed})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        browser.get(pages[name].as_uri() + fragment)
        return browser

    yield load
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def shown(driver: Any) -> list[str]:
    """The addresses in the list, as it stands."""
    rows = "[...document.querySelectorAll('#tensors tbody tr')].filter(row => row.offsetParent !== null)"
    outcome: list[str] = driver.execute_script(f"return {rows}.map(row => row.cells[1].querySelector('a').textContent)")
    return outcome


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


ALL = ["conv", "dense_10", "dense_9", "bad", HOSTILE, "bad"]


def test_it_loads_with_everything_in_the_list_and_runs_no_name(page: Open) -> None:
    driver = page()
    assert driver.title == "old.h5 and new.h5 - tfdump report"
    assert shown(driver) == ALL
    assert driver.execute_script("return typeof hacked") == "undefined"
    assert driver.find_element("id", "count").text == "all 6 tensors"
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_it_filters_by_text_class_group_findings_and_differences(page: Open) -> None:
    driver = page()
    text = driver.find_element("id", "text")
    text.send_keys("DENSE_ 5")
    until(lambda: shown(driver) == ["dense_10", "dense_9"])
    assert driver.find_element("id", "count").text == "2 of 6 tensors"
    text.clear()
    text.send_keys("nothing like it")
    until(lambda: shown(driver) == [])
    driver.find_element("css selector", "#filter button[type=reset]").click()
    until(lambda: shown(driver) == ALL)
    for box, rows in (("findings", ["bad", "bad"]), ("differs", ["dense_9"])):
        driver.find_element("id", box).click()
        assert shown(driver) == rows
        driver.find_element("id", box).click()
    choices = [("class", "Conv2D", ["conv"]), ("group", "outputs", ["bad"]), ("class", HOSTILE, [HOSTILE])]
    for choice, option, rows in choices:
        driver.execute_script(
            "const select = document.getElementById(arguments[0]);"
            "select.value = arguments[1]; select.dispatchEvent(new Event('change'))",
            choice,
            option,
        )
        assert shown(driver) == rows
        driver.find_element("css selector", "#filter button[type=reset]").click()
        until(lambda: shown(driver) == ALL)


def test_it_sorts_by_numbers_and_text_and_says_how(page: Open) -> None:
    driver = page()

    def head(name: str) -> Any:
        return driver.find_element("xpath", f"//table[@id='tensors']/thead//th[button[normalize-space()='{name}']]")

    head("max").find_element("tag name", "button").click()
    assert head("max").get_attribute("aria-sort") == "ascending"
    values = driver.execute_script(
        "return [...document.querySelectorAll('#tensors tbody tr')].map(row => Number(row.cells[5].dataset.v))"
    )
    assert values == sorted(values)
    assert shown(driver)[0] == "dense_9"
    head("max").find_element("tag name", "button").click()
    assert head("max").get_attribute("aria-sort") == "descending"
    assert shown(driver)[0] == "dense_10"
    head("tensor").find_element("tag name", "button").click()
    assert head("max").get_attribute("aria-sort") is None
    assert shown(driver) == sorted(ALL)
    head("difference").find_element("tag name", "button").click()
    head("difference").find_element("tag name", "button").click()
    assert shown(driver)[0] == "dense_9"  # what has no number stays below, either way
    head("#").find_element("tag name", "button").click()
    assert shown(driver) == ALL


def test_a_click_opens_the_picture_and_escape_goes_back(page: Open) -> None:
    driver = page()
    link = driver.find_element("css selector", "#r1 a")
    link.click()
    dialog = driver.find_element("id", "dialog")
    assert dialog.get_attribute("open") is not None
    image = dialog.find_element("tag name", "img")
    assert driver.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) > 300
    assert image.is_displayed()
    assert dialog.accessible_name == "conv"
    assert driver.find_element("id", "place").text == "1 of 6"
    from selenium.webdriver.common.keys import Keys

    chromium.press(driver, Keys.ARROW_RIGHT)
    assert dialog.accessible_name == "dense_10"
    chromium.press(driver, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert dialog.accessible_name == "conv"
    chromium.press(driver, Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert driver.switch_to.active_element == link


def test_the_keyboard_alone_filters_sorts_and_opens(page: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = page()
    chromium.press(driver, "/")
    assert driver.switch_to.active_element.get_attribute("id") == "text"
    chromium.press(driver, "dense_")
    until(lambda: shown(driver) == ["dense_10", "dense_9"])
    for _ in range(20):
        chromium.press(driver, Keys.TAB)
        if driver.switch_to.active_element.text.strip().startswith("min"):
            break
    chromium.press(driver, Keys.ENTER)
    assert driver.switch_to.active_element.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    for _ in range(20):
        chromium.press(driver, Keys.TAB)
        if driver.switch_to.active_element.tag_name == "a":
            break
    opened = driver.switch_to.active_element.accessible_name
    assert opened in ("dense_10", "dense_9")
    chromium.press(driver, Keys.ENTER)
    assert driver.find_element("id", "dialog").accessible_name == opened
    assert driver.find_element("id", "place").text == "1 of 2"


def test_findings_the_first_divergence_and_points_lead_to_their_tensor(page: Open) -> None:
    driver = page()
    for selector, name in (("#compared p a", "dense_9"), ("#found a", "bad"), ("#depth circle", "conv")):
        target = driver.find_element("css selector", selector)
        driver.execute_script(
            "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))", target
        )
        assert driver.find_element("id", "dialog").accessible_name == name
        driver.find_element("id", "close").click()


def test_an_address_in_the_url_opens(page: Open) -> None:
    driver = page(fragment="#t3")
    assert driver.find_element("id", "dialog").accessible_name == "dense_9"


def test_it_is_dark_where_dark_is_preferred(page: Open) -> None:
    def luminance(driver: Any) -> tuple[float, float]:
        style = "getComputedStyle(document.body)"
        outcome = [driver.execute_script(f"return {style}.{name}") for name in ("backgroundColor", "color")]
        paper, ink = (sum(map(int, color[color.index("(") + 1 : -1].split(",")[:3])) for color in outcome)
        return paper, ink

    paper, ink = luminance(page(color_scheme="light"))
    assert paper > 600
    assert ink < 300
    paper, ink = luminance(page(color_scheme="dark"))
    assert paper < 300
    assert ink > 600


@pytest.mark.parametrize("width", [390, 1280, 2000])
def test_nothing_sticks_out_at_any_width(page: Open, width: int) -> None:
    driver = page(width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    texts = driver.execute_script("""
      const rows = [...document.querySelectorAll('#tensors tbody tr')];
      return rows.flatMap(row => [...row.cells].filter(cell => cell.scrollWidth > cell.clientWidth + 1)
        .map(cell => cell.textContent));
    """)
    assert texts == []


def test_without_javascript_everything_can_be_read(page: Open, browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver = page()
    assert not driver.find_element("id", "filter").is_displayed()
    assert driver.find_element("id", "t1").is_displayed()
    assert driver.find_element("css selector", "#t1 img").size["width"] > 300
    assert not driver.find_elements("css selector", "#tensors th button")


def test_it_prints_the_list_and_the_pictures(page: Open) -> None:
    driver = page()
    settings = {"preferCSSPageSize": True, "printBackground": False}
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", settings)["data"])
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Subtype /Image") >= 5
    driver = page(media="print")
    assert not driver.find_element("id", "filter").is_displayed()
    assert driver.find_element("id", "t1").is_displayed()
    assert driver.find_element("css selector", "#t1 img").is_displayed()


def test_a_thousand_rows_stay_fluent(page: Open) -> None:
    """Far below what a reader would wait for, also on a busy machine."""
    driver = page("large")
    assert len(shown(driver)) == 1000
    sorting, filtering = driver.execute_script("""
      const start = performance.now();
      document.querySelectorAll('#tensors thead button')[4].click();
      document.body.offsetHeight;
      const sorted = performance.now();
      const text = document.getElementById('text');
      text.value = 'layer_7.';
      document.getElementById('findings').dispatchEvent(new Event('change'));
      document.body.offsetHeight;
      return [sorted - start, performance.now() - sorted];
    """)
    assert len(shown(driver)) == 10
    assert sorting < 3000
    assert filtering < 3000
