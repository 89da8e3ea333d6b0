"""Reports for people and schedulers: files under <var>/reports, and copies in S3 where the settings name a place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from recsae_lib.config import PathSettings
from recsae_lib.platform.storage.files import write_whole

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
    copy_report(paths, f"{namespace}/{dt.isoformat()}/{name}")
    return file


def copy_report(paths: PathSettings, name: str) -> None:
    """Copy a file of ``<var>/reports``, named from there, to `paths.reports`, where the settings name it.

    Raises
    ------
    PassingError : the storage does not take the copy.
    """
    if paths.reports is None:
        return
    from recsae_lib.platform.storage.object_store import ObjectStore  # boto3 takes its time to be imported

    file = Path(paths.var) / REPORTS / name
    store = ObjectStore(paths.reports, f"The report {file} cannot be copied to {paths.reports}", "paths.reports")
    store.upload(file, name)
