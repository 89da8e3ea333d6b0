"""Reports for people and schedulers: files under <var>/reports, and copies in S3 where the settings name a place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from recsae_lib.config import PathSettings
from recsae_lib.platform.storage.files import write_whole


def reports_folder(paths: PathSettings, namespace: str, dt: date) -> Path:
    """Local folder of the reports of a namespace and date."""
    return Path(paths.var) / "reports" / namespace / dt.isoformat()


def write_report(paths: PathSettings, namespace: str, dt: date, name: str, content: bytes) -> Path:
    """Write a report, and its copy under the same names below `paths.reports`; returns the local file.

    Raises
    ------
    PassingError : the storage does not take the copy; the local file is there.
    """
    file = reports_folder(paths, namespace, dt) / name
    write_whole(file, content)
    if paths.reports is not None:
        from recsae_lib.platform.storage.object_store import ObjectStore  # boto3 takes its time to be imported

        store = ObjectStore(paths.reports, f"The report {file} cannot be copied to {paths.reports}", "paths.reports")
        store.upload(file, f"{namespace}/{dt.isoformat()}/{name}")
    return file
