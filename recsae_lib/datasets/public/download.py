"""A public data set from its official address: streamed, checked, unpacked, and moved into place as a whole."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from recsae_lib.datasets.public.catalogue import PublicDataset
from recsae_lib.errors import InputError
from recsae_lib.platform.remote_names import relative_path

TIMEOUT = 60.0  # seconds without a byte
BLOCK = 2**20
ELSEWHERE = "download it where there is a network, unpack it and set dataset.path"

log = logging.getLogger("recsae")


def fetch_dataset(dataset: PublicDataset, folder: Path) -> Path:
    """Download and unpack a data set as a folder of its name; returns that folder, at once where it is there already.

    The archive must have the length that the server says and, where the publisher has put its MD5 beside it, that
    checksum; and each file in it its CRC. The one folder that an archive begins with is not kept.

    Raises
    ------
    InputError : it has no archive, there is no network, or what came is not what was published.
    """
    if dataset.archive is None:
        raise InputError(f"{dataset.title} is not for download by a program: {dataset.obtain}", f"See {dataset.page}")
    target = folder / dataset.name
    if target.exists():
        log.info("%s is there already", target)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{dataset.name}-") as temporary:
        archive, unpacked = Path(temporary) / "archive.zip", Path(temporary) / "unpacked"
        try:
            md5 = _stream(dataset.archive, archive)
            published = _published_md5(f"{dataset.archive}.md5")
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as failure:
            reason = failure.reason if isinstance(failure, urllib.error.URLError) else failure
            raise InputError(
                f"{dataset.title} could not be downloaded from {dataset.archive}: {reason or type(failure).__name__}",
                f"Check the network and the variable HTTPS_PROXY, or {ELSEWHERE}",
            ) from None
        if published is None:
            log.warning("No MD5 is published beside %s: its length and its own checksums are checked", dataset.archive)
        elif published != md5:
            raise InputError(
                f"{dataset.archive} came with the MD5 {md5}, expected {published}", f"Try again, or {ELSEWHERE}"
            )
        unpack(archive, unpacked)
        unpacked.rename(target)
    return target


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a zip into a new folder, without the one folder that they all lie in, if they do.

    Raises
    ------
    InputError : it is no zip, is damaged, needs more space than there is, or holds a file that is to lie elsewhere.
    """
    remedy = f"Try again, or {ELSEWHERE}"
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            if not members:
                raise InputError("The archive is empty", remedy)
            paths = [_inner_path(member) for member in members]
            if (size := sum(member.file_size for member in members)) > shutil.disk_usage(archive.parent).free:
                raise InputError(f"The archive unpacks to {size:,} bytes, more than are free", "Give --to another disk")
            common = len({path.parts[0] for path in paths}) == 1 and all(len(path.parts) > 1 for path in paths)
            for member, path in zip(members, paths, strict=True):
                place = folder.joinpath(*path.parts[1 if common else 0 :])
                place.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, place.open("xb") as copy:
                    shutil.copyfileobj(source, copy, BLOCK)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, FileExistsError) as failure:
        raise InputError(f"The archive cannot be unpacked: {failure}", remedy) from None


def _inner_path(member: zipfile.ZipInfo) -> PurePosixPath:
    path = relative_path(member.orig_filename, "A file in the archive")  # filename ends before a NUL
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{path} in the archive is a link", "Nothing was unpacked")
    return path


def _stream(address: str, file: Path) -> str:
    """Download to a file; returns the MD5 of what came."""
    digest, received, logged = hashlib.md5(usedforsecurity=False), 0, 0
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, file.open("wb") as copy:
        length = int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(BLOCK):
            copy.write(block)
            digest.update(block)
            received += len(block)
            if length and (tenths := 10 * received // length) > logged:
                logged = tenths
                log.info("%s: %s of %s bytes", address, f"{received:,}", f"{length:,}")
    if length and received != length:
        raise http.client.HTTPException(f"{received:,} of {length:,} bytes came")
    return digest.hexdigest()


def _published_md5(address: str) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            text = answer.read(BLOCK).decode("utf-8", "replace")
    except urllib.error.HTTPError as failure:
        if failure.code == http.client.NOT_FOUND:
            return None
        raise
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    return found.group().lower() if found else None
