"""MLflow's SQLite database in a folder that was copied or moved: it names artifacts by their whole path."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from recsae_lib.errors import InputError
from recsae_lib.platform.remote_names import is_file_name

SCHEME = "sqlite:///"
PLACES = ("artifact_location", "artifact_uri", "source", "storage_location")  # columns that hold paths of artifacts


def refuse_misplaced_artifacts(tracking_uri: str, artifacts: str) -> None:
    """Refuse a database whose experiments keep their artifacts where it was before it was copied or moved.

    Parameters
    ----------
    tracking_uri : of `paths.tracking_uri`; only SQLite files are looked at.
    artifacts : address of the artifacts of new experiments. An experiment of another place is fine as long as nothing
        says that its artifacts came along: they are there, and not here.

    Raises
    ------
    InputError : names the first one.
    """
    try:
        found = _misplaced(tracking_uri, artifacts)
    except sqlite3.DatabaseError:
        return  # MLflow opens it next, and says what is wrong with it
    if found:
        name, (old, _) = next(iter(found.items()))
        raise InputError(
            f"MLflow at {tracking_uri} was copied or moved: the artifacts of {name} are written to {old}, not to "
            f"{artifacts}",
            "Run `recsae relocate` with the --conf of this run",
        )


def relocate_artifacts(tracking_uri: str, artifacts: str) -> Iterator[str]:
    """Give experiments, runs and versions of a copied or moved database the place of their artifacts here, in one
    transaction; yields a line for each experiment. Artifacts that were written to the old place since are copied.
    """
    found = _misplaced(tracking_uri, artifacts)
    if not found:
        return
    with closing(sqlite3.connect(tracking_uri.removeprefix(SCHEME))) as database:
        for old, new in found.values():
            for table, column in _columns(database):
                below = f"{column} = ?1 OR substr({column}, 1, length(?1) + 1) = ?1 || '/'"
                for (place,) in database.execute(f"SELECT {column} FROM {table} WHERE {below}", (old,)).fetchall():
                    _bring(place, new + place.removeprefix(old))
                statement = f"UPDATE {table} SET {column} = ?2 || substr({column}, length(?1) + 1) WHERE {below}"
                database.execute(statement, (old, new))
        database.commit()
    for name, (old, new) in found.items():
        yield f"MLflow, {name}: artifacts were at {old}, are at {new}"


def _misplaced(tracking_uri: str, artifacts: str) -> dict[str, tuple[str, str]]:
    """Old and new place of each experiment that came along with the database, by its name."""
    file = Path(tracking_uri.removeprefix(SCHEME))
    if not tracking_uri.startswith(SCHEME) or not artifacts.startswith("file:") or not file.is_file():
        return {}
    with closing(sqlite3.connect(file)) as database:
        if ("experiments", "artifact_location") not in _columns(database):
            return {}
        rows = database.execute("SELECT name, artifact_location FROM experiments").fetchall()
    found = {}
    for name, old in rows:
        if not is_file_name(name):  # ours are: it is an experiment of others
            continue
        new = f"{artifacts}/{name}"
        if not str(old).endswith(f"/{name}") or _path(old).resolve() == _path(new).resolve():
            continue
        if _path(new).exists() or not _path(old).exists():
            found[name] = (old, new)
    return found


def _columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    query = (
        "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns "
        f"WHERE tables.type = 'table' AND columns.name IN ({', '.join('?' * len(PLACES))})"
    )
    return database.execute(query, PLACES).fetchall()


def _bring(old: str, new: str) -> None:
    if _path(old).is_dir() and not _path(new).exists():
        shutil.copytree(_path(old), _path(new))


def _path(place: str) -> Path:
    return Path(unquote(urlsplit(place).path) if place.startswith("file:") else place)
