"""A real headless Chromium, for tests of pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (conf/requirements/dev.txt)")
from selenium.webdriver.chrome.webdriver import WebDriver  # noqa: E402  # after the skip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver on PATH")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


@contextmanager
def chromium(folder: Path) -> Iterator[WebDriver]:
    """Open a browser with a profile of its own, which keeps its log and what it asks for; downloads go to `folder`."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def requests_of(browser: WebDriver) -> list[str]:
    """Addresses that pages have asked for since the last call, whether or not they got there."""
    events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def complaints_of(browser: WebDriver) -> list[str]:
    """What pages have written to the console, or the browser about them, since the last call."""
    return [line["message"] for line in browser.get_log("browser")]
