"""The ledger for machines that share no disk: kept in S3, and on one machine at a time while a job uses it.

Who takes it leaves a note, an object written on condition that there is none, and brings it back when its job ends,
however that ends. A job that is killed, or whose storage fails, leaves the ledger where it is, with what only that
machine knows of requests under way: jobs there go on with it, and others are refused, since they would pay again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.remote_names import file_name
from recsae_lib.platform.storage.files import write_whole
from recsae_lib.platform.storage.object_store import ObjectStore

log = logging.getLogger("recsae")


@contextmanager
def ledger_from(address: str, var: Path, ledger: Path, requests: Path, fetches_requests: bool) -> Iterator[None]:
    """Have the ledger, the files of its batches and a job's requests here, and bring back what has changed.

    Parameters
    ----------
    address : ``s3://bucket/folder``; keys in it are paths below `var`.
    ledger, requests : files below `var`.
    fetches_requests : whether the requests were written by another machine, rather than just now by this one.

    Raises
    ------
    InputError : another machine, or another process of this one, has the ledger.
    PassingError : the storage does not answer, or refuses.
    """
    place = _Place(address, var)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"The ledger {ledger} is in use by another process", "Let that end; two at once would pay twice"
            ) from None
        _take(place, ledger)
        if fetches_requests:
            place.fetch(requests)
        try:
            yield
        except BaseException:
            try:
                _bring_back(place, ledger, requests)
            except PassingError as failure:  # says why the ledger stays here; what ended the job is worse
                log.error("%s. %s", failure, failure.remedy)
            raise
        _bring_back(place, ledger, requests)


def _take(place: _Place, ledger: Path) -> None:
    note, mine = ledger.with_suffix(".taken.json"), ledger.with_suffix(".mine.json")
    before = json.loads(mine.read_text("utf-8")) if mine.is_file() else None
    token = uuid.uuid4().hex if before is None else before["token"]
    if before is None:
        _write(mine, {"token": token, "is_whole": False})
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not place.create(note, {"token": token, "host": socket.gethostname(), "since": since}):
        holder = place.read(note)
        if holder["token"] != token:
            raise InputError(
                f"The ledger {place.key(ledger)} is on {holder['host']}, since {holder['since']}",
                "Let the job there end. If it was killed, start it there again: it goes on and brings the ledger back. "
                f"If that machine is gone, delete {place.key(note)}: what was asked since then is paid for again",
            )
        if before is not None and before["is_whole"]:
            log.info("the ledger %s was left here by a job that did not end", ledger)
            return
    if place.fetch(ledger):
        for trace in ("-wal", "-shm"):  # of the file that was here before
            ledger.with_name(ledger.name + trace).unlink(missing_ok=True)
    place.fetch_all(ledger.with_suffix(""))
    _write(mine, {"token": token, "is_whole": True})


def _bring_back(place: _Place, ledger: Path, requests: Path) -> None:
    for path in (ledger, requests):
        if path.is_file():
            place.store(path)
    place.store_all(ledger.with_suffix(""))
    place.delete(ledger.with_suffix(".taken.json"))
    ledger.with_suffix(".mine.json").unlink()


def _write(path: Path, content: dict[str, Any]) -> None:
    # It must be on disk before anything else happens.
    write_whole(path, json.dumps(content).encode(), durable=True)


class _Place:
    """A folder in S3 where a file has the name of its path below `var`."""

    def __init__(self, address: str, var: Path) -> None:
        self._var = var
        self._store = ObjectStore(
            address,
            f"The ledger at {address} cannot be fetched or brought back",
            "paths.llm",
            ", then start the job again on this machine",
        )

    def key(self, path: Path) -> str:
        return self._store.key(self._name(path))

    def create(self, path: Path, content: dict[str, Any]) -> bool:
        """Write an object unless there is one; says whether."""
        return self._store.write(self._name(path), json.dumps(content).encode(), None)

    def read(self, path: Path) -> Any:
        content = self._store.read(self._name(path)).content
        if content is None:
            raise PassingError(f"{self.key(path)} was removed at this moment", "Start the job again")
        return json.loads(content)

    def fetch(self, path: Path) -> bool:
        """Bring a file here, if there is one there, and say whether."""
        return self._store.download(self._name(path), path)

    def fetch_all(self, folder: Path) -> None:
        """Bring the files of a folder here; others that are here leave it."""
        names = self._store.names(self._name(folder))
        if names and folder.exists():
            shutil.rmtree(folder)
        for name in names:
            self._store.download(name, folder / file_name(name.removeprefix(f"{self._name(folder)}/"), "A key in S3"))

    def store(self, path: Path) -> None:
        """Bring a file there."""
        self._store.upload(path, self._name(path))

    def store_all(self, folder: Path) -> None:
        """Bring the files of a folder there; others that are there leave it."""
        files = sorted(folder.iterdir()) if folder.exists() else []
        for path in files:
            self.store(path)
        for name in set(self._store.names(self._name(folder))) - {self._name(path) for path in files}:
            self._store.delete(name)

    def delete(self, path: Path) -> None:
        self._store.delete(self._name(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._var).as_posix()
