"""The tables of a ledger, and how the file of another release comes to them: what was paid for is never left behind."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import replacing

log = logging.getLogger("recsae")

# Kept in the file. Another number only where a program of today would go wrong with the file. What is only new needs
# none: tables, and columns with a default or without a value, are added to files of before (`_add_later_columns`), and
# what a newer release has added is left alone. So a ledger goes from release to release and back, with all that was
# paid for.
VERSION = 1

# state of a request: intended → submitted (in a batch) → answered or failed. answer: of a request that is intended
# again, how it failed before. shard: the batch that it goes, or went, with.
# replaced: answers that were paid for and asked again all the same.
# state of a shard: planned → sending (from here on the server may hold it) → submitted → landed.
TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    digest TEXT PRIMARY KEY, custom_id TEXT NOT NULL, run TEXT NOT NULL, transport TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intended', 'submitted', 'answered', 'failed')),
    shard TEXT, tries INTEGER NOT NULL DEFAULT 0, prompt_estimate INTEGER NOT NULL, completion_limit INTEGER NOT NULL,
    answer TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    intended_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, landed_at TEXT
);
CREATE INDEX IF NOT EXISTS requests_of_shard ON requests (shard, state);
CREATE INDEX IF NOT EXISTS requests_of_run ON requests (run);
CREATE TABLE IF NOT EXISTS shards (
    name TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('planned', 'sending', 'submitted', 'landed')),
    prompt_estimate INTEGER NOT NULL, file_id TEXT, batch_id TEXT
);
CREATE TABLE IF NOT EXISTS replaced (
    digest TEXT NOT NULL, run TEXT NOT NULL, answer TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    prompt_estimate INTEGER NOT NULL, completion_limit INTEGER NOT NULL, landed_at TEXT
);
CREATE INDEX IF NOT EXISTS replaced_of_digest ON replaced (digest);
"""


def bring_to_form(database: sqlite3.Connection, path: Path) -> None:
    """Give a ledger the tables and columns that it lacks; it may be a new file.

    Raises
    ------
    InputError : its tables are of another version.
    """
    _check_version(database, path)
    _add_later_columns(database, path)
    database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if _columns(database) and version != VERSION:
        raise InputError(
            f"The ledger {path} is of version {version}, and this program reads version {VERSION}",
            "Go on with the release of recsae that wrote it; nothing in it is lost or paid again",
        )


def _add_later_columns(database: sqlite3.Connection, path: Path) -> None:
    """Add the columns that the file of an earlier release lacks, all or none; the file of before is kept beside it.

    Tables that it lacks are made with all their columns.
    """
    found = _columns(database)
    with closing(sqlite3.connect(":memory:")) as declared:
        declared.executescript(TABLES)
        missing = {
            (table, name): column
            for (table, name), column in _columns(declared).items()
            if (table, name) not in found and any(table == of for of, _ in found)
        }
    if not missing:
        return
    with replacing(path.with_suffix(".before.sqlite"), durable=True) as copy, closing(sqlite3.connect(copy)) as kept:
        database.backup(kept)
    clauses = " ".join(f"ALTER TABLE {table} ADD COLUMN {column};" for (table, _), column in missing.items())
    database.executescript(f"BEGIN IMMEDIATE; {clauses} COMMIT;")
    log.info("the ledger %s has new columns: %s", path, ", ".join(f"{table}.{name}" for table, name in missing))


def _columns(database: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Each column of each table, as a statement declares it."""
    rows = database.execute(
        'SELECT m.name, c.name, c.type, c."notnull", c.dflt_value FROM sqlite_master AS m '
        "JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table' ORDER BY m.name, c.cid"
    )
    return {
        (table, name): f"{name} {kind}{' NOT NULL' if required else ''}"
        + ("" if default is None else f" DEFAULT {default}")
        for table, name, kind, required, default in rows
    }
