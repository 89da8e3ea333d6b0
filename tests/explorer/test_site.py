from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from recsae_lib.config import PathSettings
from recsae_lib.explorer.shards import pack
from recsae_lib.explorer.site import Site, pages_of, remove_pages, write_list_of_pages
from tests.explorer.toy_site import DT, write_toy_site
from tests.object_storage import object_storage


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def paths(tmp_path: Path) -> PathSettings:
    return PathSettings(var=str(tmp_path))


@pytest.mark.parametrize("latents", [4, 2_500])
def test_a_page_written_twice_is_the_same(tmp_path: Path, latents: int) -> None:
    page = write_toy_site(tmp_path, latents)
    first = files_in(page.parent)
    folders = [folder.stat().st_ino for folder in page.parent.glob("data-*")]
    write_toy_site(tmp_path, latents)
    assert files_in(page.parent) == first
    assert [folder.stat().st_ino for folder in page.parent.glob("data-*")] == folders  # no reader misses a shard
    assert (set(first) == {"index.html"}) == (latents == 4)


def test_the_old_page_stays_until_the_new_one_is_whole(tmp_path: Path, paths: PathSettings) -> None:
    page = write_toy_site(tmp_path, 2_500)
    old = files_in(page.parent)
    with Site(paths, "toy", DT) as site:  # ends before it is finished
        site.write(pack("cards/0", []))
        assert {name: content for name, content in files_in(page.parent).items() if name in old} == old
    assert files_in(page.parent) == old
    (page.parent / ".data-.unfinished").mkdir()  # of a run that was killed
    (page.parent / ".data-.unfinished" / "left.js").touch()
    write_toy_site(tmp_path, 2_501)
    new = files_in(page.parent)
    assert {name for name in new if "left" in name or "unfinished" in name} == set()
    assert len({name.split("/")[0] for name in new}) == 2  # the page, and one folder of data
    assert new["index.html"] != old["index.html"]


@pytest.mark.integration
def test_copies_are_those_of_the_newest_page(tmp_path: Path) -> None:
    with object_storage("pages") as bucket:
        for latents in (2_500, 2_501):
            page = write_toy_site(tmp_path, latents, reports=f"{bucket}/nights")
        store, folder = fsspec.filesystem("s3"), f"{bucket}/nights/toy/{DT}/explorer".removeprefix("s3://")
        copied = {name.removeprefix(f"{folder}/"): store.cat_file(name) for name in store.find(folder)}
    assert copied == files_in(page.parent)
    assert len(copied) > 5


def test_a_policy_admits_nothing_but_the_pages_own_script(tmp_path: Path) -> None:
    text = write_toy_site(tmp_path).read_text("utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.replace("&#39;", "'").split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]+=*' 'strict-dynamic'", rules["script-src"])
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert "innerHTML" not in text
    assert "eval(" not in text


def test_all_pages_are_listed_and_some_go(tmp_path: Path, paths: PathSettings) -> None:
    for namespace, days in (("toy", 0), ("toy", 1), ("other", 0)):
        write_toy_site(tmp_path, namespace=namespace, dt=DT + timedelta(days))
    (tmp_path / "reports" / "toy" / "2026-01-01").mkdir()  # has no page
    text = write_list_of_pages(paths).read_text("utf-8")
    linked = re.findall(r'href="([^"]+)/explorer/index.html"', text)
    assert linked == [
        "other/2026-11-20",
        "toy/2026-11-21",
        "toy/2026-11-20",
    ]
    remove_pages(paths, "toy", ["2026-11-20", "2026-01-02"])
    assert (pages_of(paths, "toy"), pages_of(paths, "other")) == (["2026-11-21"], ["2026-11-20"])
    remove_pages(paths, "toy", ["2026-11-21"])
    write_list_of_pages(paths)
    assert "toy" not in (tmp_path / "reports" / "index.html").read_text("utf-8")
    assert (tmp_path / "reports" / "toy" / "2026-01-01").is_dir()
