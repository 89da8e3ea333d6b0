"""Reports for people and schedulers: files under <var>/reports, and copies in S3 where the settings name a place."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from recsae_lib.config import PathSettings
from recsae_lib.errors import PassingError
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
        _copy(file, paths.reports, f"{namespace}/{dt.isoformat()}/{name}")
    return file


def _copy(file: Path, address: str, name: str) -> None:
    import boto3  # takes its time to be imported
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(address)
    try:
        boto3.client("s3").upload_file(str(file), parts.netloc, f"{parts.path.strip('/')}/{name}")
    except (BotoCoreError, ClientError, S3UploadFailedError) as failure:
        raise PassingError(
            f"The report {file} cannot be copied to {address}: {failure}",
            "Check that the bucket of paths.reports exists and answers, and that this machine may write to it",
        ) from failure
