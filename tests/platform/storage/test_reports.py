from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import fsspec
import pytest

from recsae_lib.config import load_settings
from recsae_lib.errors import PassingError
from recsae_lib.platform.storage.reports import write_report
from tests.object_storage import object_storage

DT = date(2026, 11, 20)
PAGE = "<p>Überblick</p>\n".encode()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("reports") as address:
        yield address


def test_a_report_is_a_local_file(tmp_path: Path) -> None:
    paths = load_settings(None, None, [f"paths.var={tmp_path}"]).paths
    assert write_report(paths, "shop", DT, "page.html", b"an older one, which is longer than the new one") == (
        tmp_path / "reports" / "shop" / "2026-11-20" / "page.html"
    )
    assert write_report(paths, "shop", DT, "page.html", PAGE).read_bytes() == PAGE


def test_its_copy_is_in_s3_under_the_same_names(tmp_path: Path, bucket: str) -> None:
    paths = load_settings(None, None, [f"paths.var={tmp_path}", f"paths.reports={bucket}/of/nights/"]).paths
    large = PAGE * (2**20)  # goes in parts
    for name, content in (("page.html", PAGE), ("large.html", large), ("page.html", PAGE * 2)):
        assert write_report(paths, "shop__blocks_0", DT, name, content).read_bytes() == content
    storage = fsspec.filesystem("s3")
    folder = f"{bucket}/of/nights/shop__blocks_0/2026-11-20"
    assert sorted(storage.find(f"{bucket}/of")) == [
        f"{folder}/{name}".removeprefix("s3://") for name in ("large.html", "page.html")
    ]
    assert storage.cat_file(f"{folder}/page.html") == PAGE * 2
    assert storage.cat_file(f"{folder}/large.html") == large


def test_a_copy_that_storage_refuses_leaves_the_file(tmp_path: Path, bucket: str) -> None:
    paths = load_settings(None, None, [f"paths.var={tmp_path}", "paths.reports=s3://nowhere/reports"]).paths
    with pytest.raises(PassingError, match="s3://nowhere/reports") as refused:
        write_report(paths, "shop", DT, "page.html", PAGE)
    assert "paths.reports" in refused.value.remedy
    assert (tmp_path / "reports" / "shop" / "2026-11-20" / "page.html").read_bytes() == PAGE
