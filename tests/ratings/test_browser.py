"""The rating page in a real Chromium, driven by keys as a rater would."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recsae_lib.ratings.files import read_rows, sort_rows
from recsae_lib.ratings.page import render_page
from recsae_lib.ratings.sample import RatingSample
from tests.chromium import WebDriver, chromium, needs_chromium
from tests.loopback import Call, Loopback
from tests.ratings.rating_cases import HOSTILE, sample

pytest.importorskip("selenium", reason="selenium is not installed (conf/requirements/dev.txt)")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.integration, needs_chromium]


class Page:
    """The page of a sample in a browser of its own."""

    def __init__(self, browser: WebDriver, drawn: RatingSample, folder: Path) -> None:
        self.browser, self.sample, self.folder = browser, drawn, folder
        self.file = folder / "page.html"
        self.file.write_text(render_page(drawn), encoding="utf-8")
        self.open()

    def open(self) -> None:
        self.browser.get(self.file.as_uri())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def text(self, element: str) -> str:
        return str(self.browser.find_element(By.ID, element).get_property("textContent"))

    def pressed(self) -> list[str]:
        return [
            button.get_dom_attribute("data-rating")
            for button in self.browser.find_elements(By.CSS_SELECTOR, '[aria-pressed="true"]')
        ]

    def saved(self) -> bytes:
        """Content of the file that the page saves, once it is there."""

        def whole(_: WebDriver) -> list[Path]:
            return list(self.folder.glob("ratings-*.csv"))

        (file,) = WebDriverWait(self.browser, 30, poll_frequency=0.05).until(whole)
        return file.read_bytes()

    def complaints(self) -> list[str]:
        return [line["message"] for line in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page has asked for, whether or not it got there."""
        events = [json.loads(line["message"])["message"] for line in self.browser.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in sent if event["documentURL"] == self.file.as_uri()]


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[[RatingSample], Page]]:
    with chromium(tmp_path) as browser:
        yield lambda drawn: Page(browser, drawn, tmp_path)


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked for."""
    paths: list[str] = []

    def listen(call: Call) -> None:
        paths.append(call.path)
        call.reply(204, b"")

    with Loopback(listen) as server:
        yield server.address, paths


def test_a_rater_works_by_keys_and_the_saved_file_is_imported(open_page: Callable[[RatingSample], Page]) -> None:
    drawn = sample(12, 8)
    page = open_page(drawn)
    cases = [case.case_id for case in drawn.cases]
    assert page.text("count") == f"Group 1 of {len(cases)}, 0 answered"
    page.press("3", "1", "4")
    assert page.text("count") == f"Group 4 of {len(cases)}, 3 answered"
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.pressed() == ["1"]
    page.press("2")  # mends the second rating and goes on
    assert page.pressed() == ["4"]
    page.press(Keys.CONTROL + "1", "5", "x")
    assert page.text("count") == f"Group 3 of {len(cases)}, 3 answered"

    page.browser.find_element(By.ID, "export").click()
    assert "Give your name first" in page.text("message")
    assert page.browser.switch_to.active_element.get_property("id") == "rater"
    page.press("R2 Ünal")  # digits in a name are no ratings
    assert page.text("count") == f"Group 3 of {len(cases)}, 3 answered"

    page.open()
    assert page.text("count") == f"Group 3 of {len(cases)}, 3 answered"
    assert page.browser.find_element(By.ID, "rater").get_property("value") == "R2 Ünal"
    assert page.pressed() == ["4"]
    page.browser.find_element(By.ID, "unrated").click()
    page.press(*["0123"[place % 4] for place in range(3, len(cases))])
    assert page.text("message").startswith("All groups are answered")
    page.browser.find_element(By.ID, "export").click()

    content = page.saved()
    expected = [3, 2, 4] + [place % 4 for place in range(3, len(cases))]
    assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == [
        ["sample", "case", "rater", "rating"],
        *([drawn.digest, case, "R2 Ünal", str(rating)] for case, rating in zip(cases, expected, strict=True)),
    ]
    taken = sort_rows(read_rows("r2.csv", content), {drawn.digest: frozenset(cases)})
    assert (taken.refused, taken.unrated) == ([], [])
    assert [int(row.rating) for row in taken.accepted] == expected
    assert page.complaints() == []
    assert set(page.requests()) - {"data:,"} == {page.file.as_uri()}  # data: the empty icon


def rectangle(page: Page, selector: str) -> dict[str, float]:
    found: dict[str, float] = page.browser.execute_script(
        "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector
    )
    return found


def test_a_phone_shows_name_items_and_answers_at_once(open_page: Callable[[RatingSample], Page]) -> None:
    page = open_page(sample(5, 5))
    screen = {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)  # type: ignore[attr-defined]
    page.open()
    instructions = page.browser.find_element(By.TAG_NAME, "details")
    assert instructions.get_property("open")
    answers = rectangle(page, ".scale")
    assert rectangle(page, "#items li")["bottom"] < rectangle(page, "footer")["top"]
    assert (answers["right"] <= 360, rectangle(page, "footer")["bottom"]) == (True, 640)
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == 360
    page.browser.find_element(By.CSS_SELECTOR, '[data-rating="0"]').click()
    assert page.text("count").endswith("1 answered")
    assert not instructions.get_property("open")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "4"):
        page.press(key)
        assert rectangle(page, ".scale") == answers  # no button moves under the finger
    page.browser.find_element(By.ID, "export").click()
    assert "Give your name first" in page.text("message")
    assert rectangle(page, ".scale") == answers
    tall = {**screen, "width": 1280, "height": 2000}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", tall)  # type: ignore[attr-defined]
    assert rectangle(page, "article")["bottom"] < rectangle(page, "footer")["top"] - 500
    assert rectangle(page, "footer")["bottom"] == 2000  # however little stands above


def test_hostile_text_is_shown_as_text(open_page: Callable[[RatingSample], Page]) -> None:
    drawn = sample(5, 5)
    page = open_page(drawn)
    shown = set()
    for case in drawn.cases:
        assert page.text("heading") == case.labelled_by.label
        assert page.text("description") == case.labelled_by.description
        items = page.browser.find_elements(By.CSS_SELECTOR, "#items li > .text:first-child")
        assert [item.get_property("textContent") for item in items] == [title for title, _ in case.evidence.items]
        heading = page.browser.find_element(By.ID, "heading")
        assert heading.value_of_css_property("unicode-bidi") == "isolate"
        shown.add(page.text("heading"))
        page.press(Keys.ARROW_RIGHT)
    assert shown == set(HOSTILE)
    assert page.browser.title == "Do these names fit? planted & <safe>"
    assert page.browser.find_elements(By.CSS_SELECTOR, "img, b:not(.scale b)") == []
    assert len(page.browser.find_elements(By.TAG_NAME, "script")) == 2
    assert page.complaints() == []


def test_the_page_reaches_no_address_even_if_a_script_gets_in(
    open_page: Callable[[RatingSample], Page], heard: tuple[str, list[str]]
) -> None:
    address, paths = heard
    page = open_page(sample(5, 5))
    page.browser.execute_async_script(
        """
        const [address, done] = arguments;
        const image = new Image();
        const fetched = fetch(address + "/fetch").catch(() => null);
        const shown = new Promise((resolve) => { image.onload = image.onerror = resolve; });
        image.src = address + "/image";
        Promise.all([fetched, shown]).then(() => done());
        """,
        address,
    )
    assert paths == []
    assert any("Content Security Policy" in line for line in page.complaints())


def test_everything_has_a_name_and_can_be_reached_by_tab(open_page: Callable[[RatingSample], Page]) -> None:
    page = open_page(sample(5, 5))
    reached = []
    for _ in range(20):
        page.press(Keys.TAB)
        element = page.browser.switch_to.active_element
        if element.tag_name in ("input", "button", "summary"):
            reached.append(element.accessible_name)
    for name in (
        "Your name",
        "What to do",
        "1 Not at all",
        "4 Very well",
        "Next →",
        "0 Cannot tell",
        "Next open one",
        "Save the file",
    ):
        assert name in reached, name
    group = page.browser.find_element(By.CSS_SELECTOR, '[role="group"]')
    assert group.accessible_name == "How well does the name fit these items?"
    page.press("2")
    assert page.browser.switch_to.active_element.get_property("id") == "heading"
    scores = page.browser.execute_script(CONTRASTS)
    assert len(scores) > 15
    assert min(scores.values()) >= 4.5, scores


# WCAG 2 contrast of every element with text of its own against the first opaque background behind it.
CONTRASTS = """
const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = (colour) => {
  const [red, green, blue] = colour.match(/[\\d.]+/g).map((value) => channel(value / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" && element.parentElement ? behind(element.parentElement) : colour;
};
const scores = {};
for (const element of document.querySelectorAll("body *:not(script):not(noscript):not(:disabled)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!own || element.closest("noscript")) continue;
  const [light, dark] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
  scores[Object.keys(scores).length + " " + element.textContent.trim().slice(0, 30)] = (light + 0.05) / (dark + 0.05);
}
return scores;
"""
