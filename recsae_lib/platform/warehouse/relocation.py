"""Tables of a warehouse folder that was copied or moved: Iceberg's metadata name every file by its whole path.

Such a table reads and writes where the folder was. It is refused until `relocate_tables` has given its metadata the
paths of where it lies now. Of catalogs of type hadoop in a local folder; others keep the place of a table themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.commits import change, local_folder

HEAD = 65_536  # of a file of metadata: the location stands among the first keys
LOCATION = re.compile(r'"location"\s*:\s*("(?:[^"\\]|\\.)*")')
DELETED, POSITION_DELETES = 2, 1  # status of an entry, content of a file in Iceberg's manifests


@dataclass(frozen=True)
class MisplacedTable:
    """A table whose metadata name another place than the one where it lies.

    Parameters
    ----------
    folder : where it lies: warehouse, namespace, name.
    old : its location as the metadata have it.
    new : its location as the catalog would write it.
    """

    folder: Path
    old: str
    new: str

    @cached_property
    def old_folder(self) -> str:
        """Path of the old location."""
        return bare_path(self.old)

    def moved(self, path: str) -> str:
        """A path of the old location in the new one; others as they are."""
        rest = bare_path(path).removeprefix(self.old_folder)
        below = bare_path(path) != rest and rest[:1] in ("", "/")
        return self.new + rest if below and not self._is_new(path) else path

    def bring(self, path: str) -> Path | None:
        """File of a path where it is now. One that lies at the old place only, since a job wrote it there after the
        copy was made, is copied; None where it is at neither.
        """
        here = Path(bare_path(self.moved(path)))
        if not here.exists():
            there = Path(bare_path(path))
            if not there.exists():
                return None
            here.parent.mkdir(parents=True, exist_ok=True)
            replace_file(here, lambda unfinished: shutil.copyfile(there, unfinished))
        return here

    def _is_new(self, path: str) -> bool:  # where the new place lies within the old one
        return bare_path(path).startswith(bare_path(self.new) + "/")


def refuse_misplaced(spark: SparkSession, catalog: str) -> None:
    """Refuse a warehouse with tables that were copied or moved there.

    Raises
    ------
    InputError : names the first one, and how many there are.
    """
    if found := list(_misplaced(spark, catalog)):
        first = found[0]
        raise InputError(
            f"{len(found)} tables in {first.folder.parent.parent} were copied or moved there: {first.folder.name} "
            f"reads and writes {first.old}",
            "Run `recsae relocate` with the --conf of this run: it gives them the place where they are now",
        )


def relocate_tables(spark: SparkSession, catalog: str) -> Iterator[str]:
    """Give every table that was copied or moved the place where it lies now; yields a line for each.

    Manifests and their lists first, the files of metadata last: until then the table is refused, and a kill is followed
    by another run. Nothing is changed at the old place, which may be gone.

    Raises
    ------
    InputError : files of some tables are at neither place. The other tables are done.
    """
    incomplete = []
    for table in _misplaced(spark, catalog):
        relocation = _Relocation(spark.sparkContext._jvm, table)
        name = f"{catalog}.{table.folder.parent.name}.{table.folder.name}"
        missing = change(spark, catalog, table.folder.parent.name, table.folder.name, relocation.run)
        if missing:
            incomplete.append(f"{name} ({len(missing)}, such as {missing[0]})")
        else:
            yield f"{name}: was at {table.old}, is at {table.new}"
    if incomplete:
        raise InputError(
            f"Files are missing of {', '.join(incomplete)}",
            "Bring them from where the tables were, then run again; or remove the folders of these tables",
        )


@dataclass(frozen=True)
class _Relocation:
    """The new place of one table, written into its files."""

    jvm: Any
    table: MisplacedTable

    def run(self) -> list[str]:
        """Rewrite all files of metadata; returns the files that are missing, with which the table stays as it was."""
        *earlier, current = _metadata_files(self.table.folder)
        missing: list[str] = []
        manifests: set[str] = set()
        for snapshot in json.loads(current.read_text("utf-8")).get("snapshots", []):
            self._relocate_list(snapshot["manifest-list"], manifests, missing)
        if not missing:
            for file in (*earlier, current):
                content = self._relocated(json.loads(file.read_text("utf-8")))
                text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
                replace_file(file, partial(_write_text, text=text))
        return missing

    def _relocated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._relocated(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._relocated(part) for part in value]
        return self.table.moved(value) if isinstance(value, str) else value

    def _relocate_list(self, path: str, done: set[str], missing: list[str]) -> None:
        """Rewrite a list of manifests, and those of its manifests that are not `done`."""

        def relocate(record: Any) -> None:
            manifest = str(record.get("manifest_path"))
            if manifest not in done:
                done.add(manifest)
                self._relocate_manifest(manifest, missing)
            here = self.table.moved(manifest)
            record.put("manifest_path", here)
            if (file := Path(bare_path(here))).exists():
                record.put("manifest_length", self.jvm.java.lang.Long(file.stat().st_size))

        self._rewrite(path, relocate, missing)

    def _relocate_manifest(self, path: str, missing: list[str]) -> None:
        def relocate(record: Any) -> None:
            data_file = record.get("data_file")
            file = str(data_file.get("file_path"))
            if data_file.get("content") == POSITION_DELETES:
                raise InputError(
                    f"{self.table.folder} has a file of deleted positions, {file}, which holds paths",
                    "Merge it at the old place (rewrite_data_files), and copy the table again",
                )
            if record.get("status") != DELETED and self.table.bring(file) is None:
                missing.append(file)
            data_file.put("file_path", self.table.moved(file))

        self._rewrite(path, relocate, missing)

    def _rewrite(self, path: str, relocate: Callable[[Any], None], missing: list[str]) -> None:
        """Write an Avro file anew, with the same schema and properties, its records changed."""
        if (file := self.table.bring(path)) is None:
            missing.append(path)
            return
        avro, as_file = self.jvm.org.apache.avro, self.jvm.java.io.File

        def write(unfinished: Path) -> None:
            reader = avro.file.DataFileReader(as_file(str(file)), avro.generic.GenericDatumReader())
            writer = avro.file.DataFileWriter(avro.generic.GenericDatumWriter(reader.getSchema()))
            for key in reader.getMetaKeys():
                if not key.startswith("avro."):
                    writer.setMeta(key, reader.getMeta(key))
            writer.setCodec(avro.file.CodecFactory.fromString(reader.getMetaString("avro.codec") or "null"))
            writer.create(reader.getSchema(), as_file(str(unfinished)))
            while reader.hasNext():
                record = reader.next()
                relocate(record)
                writer.append(record)
            writer.close()
            reader.close()

        replace_file(file, write)


def _misplaced(spark: SparkSession, catalog: str) -> Iterator[MisplacedTable]:
    folder = local_folder(spark, catalog)
    if folder is None:
        return
    warehouse = str(spark.conf.get(f"spark.sql.catalog.{catalog}.warehouse")).rstrip("/")
    for hint in sorted(folder.glob("*/*/metadata/version-hint.text")):
        table = hint.parent.parent
        if not (files := _metadata_files(table)):
            continue
        with files[-1].open(encoding="utf-8") as file:
            found = LOCATION.search(file.read(HEAD))
        location = str(json.loads(found[1])) if found else ""
        if found and os.path.realpath(bare_path(location)) != os.path.realpath(table):
            yield MisplacedTable(table, location, f"{warehouse}/{table.parent.name}/{table.name}")


def _metadata_files(table: Path) -> list[Path]:
    """Files of metadata of a table, the current one last."""
    numbered = [
        (int(match[1]), path)
        for path in (table / "metadata").glob("v*.metadata.json")
        if (match := re.fullmatch(r"v(\d+)\.metadata\.json", path.name))
    ]
    return [path for _, path in sorted(numbered)]


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


def bare_path(path: str) -> str:
    """A path without the scheme of local files."""
    return re.sub(r"^file:(?://)?(?=/)", "", path).rstrip("/")


def replace_file(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the new content of a file, which takes the place of the old one at once.

    Hadoop keeps a checksum beside each file, which it believes more than the file: it goes first.
    """
    with TemporaryDirectory(dir=file.parent, prefix=".relocating-") as folder:
        unfinished = Path(folder) / file.name
        write(unfinished)
        (file.parent / f".{file.name}.crc").unlink(missing_ok=True)
        os.replace(unfinished, file)
