from __future__ import annotations

from pathlib import Path

import pytest

from recsae_lib.cli.init import write_start
from recsae_lib.config import load_settings
from recsae_lib.config.shipped import saved_queries, shipped
from recsae_lib.errors import InputError


def test_the_file_to_start_from_means_the_example(tmp_path: Path) -> None:
    file = write_start(tmp_path / "shop")
    assert load_settings(shipped("base.yaml"), file) == load_settings(shipped("base.yaml"), shipped("local.yaml"))
    lines = file.read_text().splitlines()
    assert "  k: 2" in lines  # differs from its default
    assert "  #top_terms: 15" in lines  # does not
    file.write_text(file.read_text().replace("  #top_terms: 15", "  top_terms: 7"))
    assert load_settings(shipped("base.yaml"), file).interpretation.top_terms == 7


def test_a_settings_file_is_not_overwritten(tmp_path: Path) -> None:
    write_start(tmp_path).write_text("namespace: mine\n")
    with pytest.raises(InputError, match="is there already"):
        write_start(tmp_path)
    assert (tmp_path / "recsae.yaml").read_text() == "namespace: mine\n"


def test_what_the_suite_comes_with_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(shipped("base.yaml"), {})
    prompts = settings.interpretation.prompt_file, settings.verification.judge_prompt_file
    assert all(file.is_file() for file in (*prompts, settings.spark.properties_file, *saved_queries().values()))
    own = load_settings(shipped("base.yaml"), {"interpretation": {"prompt": "mine.md"}})
    assert own.interpretation.prompt_file == Path("mine.md")
