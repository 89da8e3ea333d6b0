"""Bring a folder of model files to every executor: they share no file system with the driver."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from recsae_lib.platform.storage.files import sha256_of

LINKING = Lock()  # two threads may ship the same folder


@dataclass(frozen=True)
class ShippedFolder:
    """The files of a folder, as the Spark application distributes them.

    It is a path: in a Python worker ``Path(shipped)`` is a local folder with the files under their own names. Each
    executor fetches them once.

    Parameters
    ----------
    files : (name in the folder, name among the files of the application), sorted.
    """

    files: tuple[tuple[str, str], ...]

    def __fspath__(self) -> str:
        fetched = Path(SparkFiles.getRootDirectory()).absolute()  # an executor calls it "."
        identity = hashlib.sha256(repr(self.files).encode()).hexdigest()[:16]
        folder = fetched / f"folder-{identity}"
        folder.mkdir(exist_ok=True)
        for name, distributed_name in self.files:
            with suppress(FileExistsError):  # another worker of this executor was here
                (folder / name).symlink_to(fetched / distributed_name)
        return str(folder)


def ship_folder(spark: SparkSession, folder: Path) -> ShippedFolder:
    """Distribute the files of `folder` (not of its subfolders) with the Spark application.

    Spark knows a distributed file by its name alone and never replaces it: names carry the SHA-256 of the content.
    """
    links = Path(SparkFiles.getRootDirectory()) / "shipped"  # removed when the application ends
    links.mkdir(exist_ok=True)
    files = []
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        link = links / f"{sha256_of(file)}-{file.name}"
        with LINKING:
            if not link.exists():
                link.unlink(missing_ok=True)  # its target was removed
                link.symlink_to(file.resolve())
        spark.sparkContext.addFile(link.as_uri())
        files.append((file.name, link.name))
    return ShippedFolder(tuple(files))
