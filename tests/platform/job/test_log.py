from __future__ import annotations

import json
import logging
from datetime import date, datetime
from pathlib import Path

import pytest

from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.record import book_path, read_book
from recsae_lib.platform.job.run import execute


def test_the_log_is_json_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger()
    before, package.handlers = package.handlers, []
    try:
        settings = Settings.model_validate({"namespace": "shop", "paths": {"var": str(tmp_path)}})
        context = JobContext("encode_latents", settings, date(2026, 11, 20))
        code = guarded(lambda: execute(context, lambda _: None), log_format="json")
    finally:
        package.handlers = before
    assert code == 0
    started, ended = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert set(started) == {"time", "level", "message"}
    assert ended["message"] == f"encode_latents: done in {ended['seconds']:.1f} s"
    assert datetime.fromisoformat(ended["time"]) >= datetime.fromisoformat(started["time"])
    assert {name: value for name, value in ended.items() if name not in ("time", "level", "message")} == vars(
        read_book(book_path(tmp_path, "shop"))[1]
    )
