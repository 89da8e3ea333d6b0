"""The page in a real Chromium: from a folder and from a server, with texts that try to be more than text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.chromium import chromium, complaints_of, needs_chromium, requests_of
from tests.explorer.toy_site import HOSTILE, ITEMS, write_toy_site

pytest.importorskip("selenium", reason="selenium is not installed (conf/requirements/dev.txt)")
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By  # after the skip
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.integration, needs_chromium]

VIEWS = ("#/", "#/concepts", "#/concept/0", "#/concept/3", "#/term/0", "#/item/0", "#/tune/0", "#/figures", "#/nowhere")
IN_FILES = 2_500  # latents: more than one file holds
AXE = Path(os.environ.get("RECSAE_AXE", ".venv/axe-core/axe.min.js"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_site(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_site(tmp_path_factory.mktemp("files"), IN_FILES)


@pytest.fixture
def served(in_files: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(in_files.parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


def until(browser: WebDriver, found: Callable[[WebDriver], object]) -> None:
    WebDriverWait(browser, 30, poll_frequency=0.02).until(found)


def go(browser: WebDriver, address: str, view: str) -> None:
    """Open a view as a deep link, in a page of its own."""
    browser.get("about:blank")
    browser.get(f"{address}{view}")
    until(browser, lambda b: b.execute_script("return document.body.dataset.ready") == "yes")


def text(browser: WebDriver, selector: str = "main") -> str:
    """Text of the first element; by one call, as the page may replace it at any moment."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))


def texts(browser: WebDriver, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return [str(one) for one in browser.execute_script(script, selector)]


@pytest.mark.parametrize("place", ["one file", "files", "server"])
def test_every_view_opens_and_asks_nobody_else(
    browser: WebDriver, one_file: Path, in_files: Path, served: str, place: str
) -> None:
    address = {"one file": one_file.as_uri(), "files": in_files.as_uri(), "server": served}[place]
    requests_of(browser)
    complaints_of(browser)
    for view in VIEWS:
        go(browser, address, view)
        assert len(text(browser, "main h1")) > 3, view
        assert "cannot be shown" not in text(browser), view
        assert browser.execute_script("return window.broken") is None, view
        assert (
            browser.execute_script("return document.querySelectorAll('main script, main img, main b, main i').length")
            == 0
        )
    asked = {one for one in requests_of(browser) if not one.startswith(("about:", "data:", "blob:"))}
    assert {one.partition("#")[0].rpartition("/")[0].split("/data-")[0] for one in asked} == {
        address.rpartition("/")[0]
    }
    assert complaints_of(browser) == []
    assert any("/data-" in one for one in asked) == (place != "one file")


def test_texts_are_shown_as_texts(browser: WebDriver, one_file: Path) -> None:
    for latent in (0, 1, 2):
        go(browser, one_file.as_uri(), f"#/concept/{latent}")
        assert text(browser, "h1") == HOSTILE[latent]
        assert text(browser, ".lead") == f"About {HOSTILE[latent]}"
        assert ITEMS[0] in text(browser)
        shares = "Below the mean activation for 60 % of its users, up to twice the mean for 20 %, above for 20 %."
        assert shares in text(browser)
    go(browser, one_file.as_uri(), "#/concepts/all/users")
    listed = text(browser, "table")
    assert "dark   noir   txt.exe  xxx" in listed
    assert not {"\u2028", "\u202e", "\u0007"} & set(listed)
    go(browser, one_file.as_uri(), "#/")
    assert "1 of 4 <b>live</b> latents" in text(browser)


def test_a_search_finds_concepts_terms_and_items(browser: WebDriver, in_files: Path) -> None:
    go(browser, in_files.as_uri(), "#/concept/7")
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    query = browser.switch_to.active_element
    assert query.get_dom_attribute("id") == "query"
    query.send_keys("he")  # of the term "heist" and the item "Heat"
    until(browser, lambda b: "heist" in text(b, "#hits"))
    assert set(texts(browser, "#hits a")) >= {"heist", "Heat"}
    query.clear()
    query.send_keys("LABEL 240")
    many = {f"label {latent} (latent {latent})" for latent in (240, *range(2400, 2410))}
    until(browser, lambda b: set(texts(b, "#hits a")) == many)
    query.send_keys("0")
    until(browser, lambda b: text(b, "#hits") == "Conceptslabel 2400 (latent 2400)")
    query.send_keys(Keys.ARROW_DOWN, Keys.NULL)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda b: text(b, "h1") == "label 2400")
    browser.find_element(By.TAG_NAME, "main").send_keys(Keys.ARROW_RIGHT)
    until(browser, lambda b: text(b, "h1") == "label 2401")
    query = browser.find_element(By.ID, "query")
    query.clear()
    query.send_keys("Heat")
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#hits a[href^='#/item']"))
    query.send_keys(Keys.ENTER)
    until(browser, lambda b: text(b, "h1") == "Heat")
    assert texts(browser, "section h2") == ["Fire for users of this item", "Push it up", "Push it down"]
    assert texts(browser, "section li") == [f"{HOSTILE[1]} (1)", f"{HOSTILE[1]} (1)", f"{HOSTILE[2]} (2)"]


def test_hits_of_an_older_query_do_not_come_back(browser: WebDriver, one_file: Path) -> None:
    go(browser, one_file.as_uri(), "#/")
    is_hidden = browser.execute_async_script("""
      const done = arguments[0], input = document.getElementById("query");
      for (const query of ["heist", ""]) { input.value = query; input.dispatchEvent(new Event("input")); }
      requestAnimationFrame(() => requestAnimationFrame(() => done(document.getElementById("hits").hidden)));
    """)
    assert is_hidden


def test_filters_and_orders_of_the_list(browser: WebDriver, one_file: Path) -> None:
    def shown() -> list[str]:
        return [row.get_dom_attribute("href") for row in browser.find_elements(By.CSS_SELECTOR, "tbody a")]

    for view, expected in {
        "#/concepts": [0, 1, 2, 3],
        "#/concepts/all/users": [3, 2, 1, 0],
        "#/concepts/interpretable/verdict": [0, 1],
        "#/concepts/confirmed/verdict": [0],
        "#/concepts/unlabelled/verdict": [3],
        "#/concepts/drifted/verdict": [1],
        "#/concepts/born/verdict": [],
    }.items():
        go(browser, one_file.as_uri(), view)
        assert shown() == [f"#/concept/{latent}" for latent in expected], view


def test_the_knob_moves_the_list(browser: WebDriver, one_file: Path) -> None:
    go(browser, one_file.as_uri(), "#/tune/0")  # x = (1, .25), fires with 2 along (1, 0)
    lists = browser.find_element(By.ID, "lists")
    assert (lists.get_dom_attribute("data-before"), lists.get_dom_attribute("data-after")) == ("0 1 2", "2 1 0")
    exact = browser.find_element(By.ID, "exact")
    exact.clear()
    exact.send_keys("1")
    until(browser, lambda _: lists.get_dom_attribute("data-after") == "0 1 2")


def test_what_a_missing_file_means_is_said(browser: WebDriver, tmp_path: Path) -> None:
    page = write_toy_site(tmp_path, IN_FILES)
    for shard in page.parent.glob("data-*/cards/*.js"):
        shard.unlink()
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}#/concept/0")
    until(browser, lambda b: "is missing. Copy the whole folder." in text(b))
    complaints_of(browser)


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, which `make test` fetches by npm")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious(browser: WebDriver, one_file: Path, scheme: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for view in VIEWS:
        go(browser, one_file.as_uri(), view)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, view
        browser.execute_script(AXE.read_text(encoding="utf-8"))
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run().then((result) => done(result.violations.map((one) => "
            "[one.impact, one.id, one.nodes[0].html])))"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], view
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
