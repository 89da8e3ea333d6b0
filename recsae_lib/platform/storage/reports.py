"""Reports for people and schedulers: files under <var>/reports, and copies in S3 where the settings name a place."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from recsae_lib.config import PathSettings
from recsae_lib.platform.storage.files import write_whole

if TYPE_CHECKING:
    from recsae_lib.platform.storage.object_store import ObjectStore

REPORTS = "reports"  # folder of <var>


def reports_folder(paths: PathSettings, namespace: str, dt: date) -> Path:
    """Local folder of the reports of a namespace and date."""
    return Path(paths.var) / REPORTS / namespace / dt.isoformat()


def write_report(paths: PathSettings, namespace: str, dt: date, name: str, content: bytes) -> Path:
    """Write a report, and its copy under the same names below `paths.reports`; returns the local file.

    Raises
    ------
    PassingError : the storage does not take the copy; the local file is there.
    """
    file = reports_folder(paths, namespace, dt) / name
    write_whole(file, content)
    if (store := copies(paths)) is not None:
        store.upload(file, f"{namespace}/{dt.isoformat()}/{name}")
    return file


def copies(paths: PathSettings) -> ObjectStore | None:
    """Where copies of ``<var>/reports`` go, under the same names; None where the settings name no such place."""
    if paths.reports is None:
        return None
    from recsae_lib.platform.storage.object_store import ObjectStore  # boto3 takes its time to be imported

    return ObjectStore(paths.reports, f"Copies of the reports at {paths.reports} cannot be reached", "paths.reports")
