"""S3 for control data: locks, the ledger, copies of reports. Bulk data goes through `storage.bulk`.

Importing this takes boto3's second: import it where it is needed.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from recsae_lib.errors import PassingError

_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404")


@dataclass(frozen=True)
class StoredObject:
    """What the storage answered.

    Parameters
    ----------
    content : of the object; None where there is none.
    tag : of this content, for `ObjectStore.write`; None where there is none.
    time : of the storage, when it answered, in seconds since 1970.
    """

    content: bytes | None
    tag: str | None
    time: float


class ObjectStore:
    """A folder of objects in S3; a name is the rest of the key.

    Every method raises PassingError where the storage does not answer, or refuses. Client and access are boto3's own:
    variables ``AWS_…``, profiles, roles.

    Parameters
    ----------
    address : ``s3://bucket/folder``.
    failure : what the PassingError says before the cause.
    setting : that gives the address, for the remedy.
    then : what else the remedy says.
    """

    def __init__(self, address: str, failure: str, setting: str, then: str = "") -> None:
        parts = urlsplit(address)
        self._bucket, self._folder = parts.netloc, parts.path.strip("/")
        self._failure = failure
        self._remedy = (
            f"Check that the bucket of {setting} exists and answers, and that this machine may write to it{then}"
        )
        self._client = boto3.client("s3")

    def read(self, name: str) -> StoredObject:
        """Read an object, with the tag that `write` needs to know whether another has been written since."""
        with self._failures():
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self.key(name))
            except ClientError as failure:
                if _code(failure) not in _ABSENT:
                    raise
                return StoredObject(None, None, _time_of(failure.response))
            return StoredObject(found["Body"].read(), found["ETag"], _time_of(found))

    def write(self, name: str, content: bytes, tag: str | None) -> bool:
        """Write an object unless another has been written since, and say whether; the storage must know conditions.

        Parameters
        ----------
        tag : of the object that it is to replace; None where there was none.
        """
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self._failures():
            try:
                self._client.put_object(Bucket=self._bucket, Key=self.key(name), Body=content, **condition)
            except ClientError as failure:
                if _code(failure) not in _CHANGED:
                    raise
                return False
        return True

    def upload(self, file: Path, name: str) -> None:
        """Write a file as an object, in place of the one that is there; a large one goes in parts.

        The ending of its name says what a browser takes it for.
        """
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        with self._failures():
            self._client.upload_file(str(file), self._bucket, self.key(name), ExtraArgs={"ContentType": kind})

    def download(self, name: str, file: Path) -> bool:
        """Replace a file, as a whole, by an object, if there is one, and say whether; a large one comes in parts."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._failures():
            try:
                self._client.download_file(self._bucket, self.key(name), str(file))
            except ClientError as failure:
                if _code(failure) not in _ABSENT:
                    raise
                return False
        return True

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""
        with self._failures():
            self._client.delete_object(Bucket=self._bucket, Key=self.key(name))

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder of this one, and in its folders."""
        prefix = self.key(f"{folder}/")
        with self._failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return [f"{folder}/{key.removeprefix(prefix)}" for key in keys]

    def key(self, name: str) -> str:
        """Key of an object in the bucket."""
        return f"{self._folder}/{name}" if self._folder else name

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as failure:
            raise PassingError(f"{self._failure}: {failure}", self._remedy) from failure


def _code(failure: ClientError) -> str:
    return str(failure.response["Error"]["Code"])


def _time_of(response: Any) -> float:
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
