"""The page that a night of the planted data set leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import numpy as np
import pytest

from recsae_jobs import build_explorer
from recsae_lib.errors import InputError
from recsae_lib.explorer.knob import why_no_knob
from recsae_lib.explorer.site import page_of
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.held_out import find_users
from recsae_lib.tuning.lists import best_lists
from recsae_lib.tuning.moves import Move, moved
from recsae_lib.tuning.places import Places, catalogue_files
from recsae_lib.tuning.world import decoder_of, encode
from tests.chromium import WebDriver, chromium, needs_chromium
from tests.object_storage import object_storage
from tests.workspace import DT, Workspace

pytestmark = pytest.mark.integration
SAMPLE = 40

WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait


@pytest.fixture(scope="module")
def page(audited: Workspace) -> Path:
    context = audited.context("build_explorer")
    return page_of(context.settings.paths, "planted", DT)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("pages") as address:
        yield address


def test_the_last_job_writes_the_page_and_once_more_the_same(audited: Workspace, page: Path, bucket: str) -> None:
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")  # by the audit; other tests may have published it again
    build_explorer.run(audited.context("build_explorer"))
    first = page.read_bytes()
    build_explorer.run(audited.context("build_explorer", f"paths.reports={bucket}/nights"))
    assert page.read_bytes() == first
    listed = (page.parents[3] / "index.html").read_text("utf-8")
    assert f'href="planted/{DT}/explorer/index.html"' in listed
    store = fsspec.filesystem("s3")
    for name in ("index.html", f"planted/{DT}/explorer/index.html"):
        assert store.info(f"{bucket}/nights/{name}")["ContentType"] == "text/html", name
        assert store.cat_file(f"{bucket}/nights/{name}") == (page.parents[3] / name).read_bytes()


def test_what_is_not_published_has_no_page(audited: Workspace) -> None:
    with pytest.raises(InputError, match="No audit of planted is published"):
        build_explorer.run(audited.context("build_explorer", dt=DT + timedelta(days=9)))


def test_an_audit_without_the_knobs_files_says_so(audited: Workspace) -> None:
    context = audited.context("build_explorer")
    assert why_no_knob(context) is None
    catalogue = Path(catalogue_files(context).folder)
    catalogue.rename(catalogue.with_suffix(".away"))
    try:
        assert "extract_representations does" in str(why_no_knob(context))
    finally:
        catalogue.with_suffix(".away").rename(catalogue)
    assert "is not in the registry" in str(why_no_knob(audited.context("build_explorer", "recommender.version=9")))


@pytest.fixture(scope="module")
def lists(audited: Workspace) -> dict[tuple[str, float, int], np.ndarray]:
    """What `recsae tune` would show to the sample users: mode, strength and latent → lists."""
    places = Places.of_context(audited.context("tune"))
    recommender, sae = load_recommender(places.recommender), load_sae(places.sae)
    _, users = find_users(places.test, None, SAMPLE)
    codes, decoder = encode(sae, users.x), decoder_of(sae)
    common = np.bincount(codes[1][codes[0] > 0], minlength=sae.num_latents).argsort()[::-1][:2]
    return {
        (mode, strength, int(latent)): best_lists(
            recommender, users, moved(users.x, *codes, decoder, Move(mode, np.array([latent]), np.ones(1)), strength)
        )
        for latent in common
        for mode, strength in (("multiply", 0.0), ("multiply", 2.5), ("add", 1.5))
    }


def until_shown(browser: WebDriver) -> None:
    ready = "return document.querySelector('#lists[data-after]') !== null"
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda _: browser.execute_script(ready))


@needs_chromium
def test_the_knob_has_the_lists_of_tune(
    page: Path, lists: dict[tuple[str, float, int], np.ndarray], tmp_path: Path
) -> None:
    turn = """
      const [mode, strength, done] = arguments, shown = document.getElementById("lists");
      const set = (id, value, event) => {
        const node = document.getElementById(id);
        node.value = value;
        node.dispatchEvent(new Event(event));
      };
      set("mode", mode, "change");
      const found = [];
      const next = () => {
        if (found.length === document.getElementById("user").length) { done(found); return; }
        set("exact", strength, "input");
        delete shown.dataset.after;
        const watch = new MutationObserver(() => {
          if (!shown.dataset.after) return;
          watch.disconnect();
          found.push(shown.dataset.after);
          setTimeout(next);
        });
        watch.observe(shown, { attributes: true });
        set("user", found.length, "change");
      };
      next();
    """
    moves = 0
    with chromium(tmp_path) as browser:
        browser.set_script_timeout(60)
        for (mode, strength, latent), expected in lists.items():
            browser.get("about:blank")
            browser.get(f"{page.as_uri()}#/tune/{latent}")
            until_shown(browser)
            shown = browser.execute_async_script(turn, mode, strength)
            assert [[int(item) for item in items.split()] for items in shown] == expected.tolist(), (mode, latent)
            moves += 1
    assert moves == 6
