"""Files that the suite comes with: the folder conf of a checkout, the package `recsae_conf` of an installation."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped(name: str) -> Path:
    """Path of such a file, e.g. ``base.yaml``."""
    return Path(str(files("recsae_conf"))) / name


def own_or_shipped(own: str | None, name: str) -> Path:
    """The file that the settings name, else the one that the suite comes with."""
    return shipped(name) if own is None else Path(own)


def saved_queries() -> dict[str, Path]:
    """The queries that the suite comes with, by name."""
    return {path.stem: path for path in sorted(shipped("queries").glob("*.sql"))}
