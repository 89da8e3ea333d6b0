"""The ledger: one SQLite file that remembers every request, what it cost and its answer, across dates and SAE versions.

A request is known by the digest of its content: what was answered once is never asked again, whichever date, SAE or
latent needs it. Intent is on disk before anything is sent, and an answer before anything depends on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from recsae_lib.config import OpenaiSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm.request_files import (
    JsonObject,
    digest_of,
    estimate_prompt_tokens,
    read_requests,
    succeeded,
)

_Row = TypeVar("_Row")

ROWS_AT_ONCE, ROWS_A_STATEMENT = 1_000, 100
MOST_TOKENS = 2**40  # of one request; what a server counts beyond is not believed

VERSION = 1  # of the tables below, kept in the file; other tables need another number

# state of a request: intended → submitted (in a batch) → answered or failed. answer: of a request that is intended
# again, how it failed before. shard: the batch that it goes, or went, with.
# state of a shard: planned → sending (from here on the server may hold it) → submitted → landed.
_TABLES = """
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
"""

_RESULT = "state, answer, prompt_tokens, completion_tokens, cost"
_LANDED = f"digest, custom_id, {_RESULT}"


@dataclass(frozen=True)
class Shard:
    """Requests that are sent as one batch.

    Parameters
    ----------
    name : unique; the batch at the server carries it.
    prompt_estimate : prompt tokens of its requests, estimated.
    file_id, batch_id : of the server, where known.
    """

    name: str
    prompt_estimate: int
    file_id: str | None
    batch_id: str | None


@dataclass(frozen=True)
class Spending:
    """What was paid for, or may have to be: answers, tokens, and money (0 where there are no prices)."""

    requests: int
    tokens: int
    cost: float


@dataclass(frozen=True)
class RequestRecord:
    """What the ledger knows of one request; the columns of `interpretation_requests`."""

    transport: str
    batch_id: str | None
    state: str
    reused: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None


class Ledger:
    """The ledger as one job of one date sees it: `run` pays for what nobody has asked yet, of one requests file.

    The database is in WAL mode with synchronous=FULL: a commit has been through fsync, so neither a killed process nor
    a power cut loses what was paid for. One process holds it at a time (SQLite's own lock, which ends with it).

    Parameters
    ----------
    database : open connection.
    path : its file; files of batches are kept in the folder of the same name without suffix.
    run : date and job that pay.
    requests_path : the requests that the job needs answers to.
    settings : prices and budgets.
    """

    def __init__(
        self, database: sqlite3.Connection, path: Path, run: str, requests_path: Path, settings: OpenaiSettings
    ) -> None:
        self._database, self.run, self.requests_path, self._settings = database, run, requests_path, settings
        self.folder = path.with_suffix("")
        database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        database.execute(
            "CREATE TEMP TABLE needed (digest TEXT PRIMARY KEY, custom_id TEXT NOT NULL, "
            "prompt_estimate INTEGER NOT NULL, completion_limit INTEGER NOT NULL) WITHOUT ROWID"
        )
        with self._transaction():
            database.executemany(
                "INSERT OR IGNORE INTO needed VALUES (?, ?, ?, ?)",
                (
                    (
                        digest_of(request["custom_id"]),
                        request["custom_id"],
                        estimate_prompt_tokens(request["body"]),
                        request["body"]["max_tokens"],
                    )
                    for request in read_requests(requests_path)
                ),
            )

    @classmethod
    @contextmanager
    def open(cls, path: Path, run: str, requests_path: Path, settings: OpenaiSettings) -> Iterator[Ledger]:
        """Open the ledger for one job; it is made where it is missing.

        Raises
        ------
        InputError : another process has it open, it is no SQLite file, its tables are of another version, or the
            requests file is missing.
        """
        if not requests_path.is_file():
            raise InputError(f"There are no requests at {requests_path}", "Run the job's step submit first")
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            _check_version(database, path)
            yield cls(database, path, run, requests_path, settings)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise InputError(
                f"The ledger {path} is in use by another process", "Let that end; two at once would pay twice"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"The ledger {path} cannot be used: {error}",
                "Restore it, or move it away: what it has recorded is then asked again",
            ) from None
        finally:
            database.close()

    def intend(self, transport: str) -> None:
        """Record, for every needed request, the intent to ask it; those of known answer or under way stay as they are.

        A request that failed in an earlier run, or was never sent, is this run's to pay for. Batches that were planned
        and not sent are planned anew.
        """
        with self._transaction():
            self._database.execute(
                "UPDATE requests SET shard = NULL WHERE state = 'intended' AND shard IN "
                "(SELECT name FROM shards WHERE state = 'planned')"
            )
            self._database.execute("DELETE FROM shards WHERE state = 'planned'")
            self._database.execute(
                "INSERT INTO requests (digest, custom_id, run, transport, state, prompt_estimate, completion_limit)"
                " SELECT digest, custom_id, ?, ?, 'intended', prompt_estimate, completion_limit FROM needed WHERE true"
                " ON CONFLICT (digest) DO UPDATE SET"
                " custom_id = excluded.custom_id, run = excluded.run, transport = excluded.transport,"
                " state = 'intended', shard = NULL, tries = 0, intended_at = CURRENT_TIMESTAMP"
                " WHERE state = 'failed' OR (state = 'intended' AND shard IS NULL)",
                (self.run, transport),
            )

    def pending(self) -> Iterator[tuple[JsonObject, bool]]:
        """Needed requests that are to be sent and in no batch, each once, and whether they failed in an earlier run."""
        for requests in _chunks(read_requests(self.requests_path), ROWS_A_STATEMENT):
            digests = [digest_of(request["custom_id"]) for request in requests]
            # The plus signs keep SQLite from looking through all that is pending, here and in `land`.
            rows = self._database.execute(
                "SELECT custom_id, answer IS NOT NULL FROM requests WHERE +state = 'intended' AND +shard IS NULL "
                f"AND digest IN ({', '.join('?' * len(digests))})",
                digests,
            )
            failed_before = dict(rows.fetchall())
            for request in requests:
                # The same question about two latents is asked for the one that the ledger names.
                if request["custom_id"] in failed_before:
                    yield request, bool(failed_before[request["custom_id"]])

    def progress(self) -> tuple[int, int]:
        """How many of the needed requests are answered or failed, and how many are needed."""
        counts = self._states()
        return counts.get("answered", 0) + counts.get("failed", 0), sum(counts.values())

    def count(self, state: str | None) -> int:
        """How many of the needed requests are in a state (None: not recorded at all)."""
        return self._states().get(state, 0)

    def spending(self) -> Spending:
        """What this run has paid for, and may have to pay for what is in a batch, at its estimates."""
        requests, tokens, cost = self._database.execute(
            "SELECT COUNT(*), COALESCE(SUM(COALESCE(prompt_tokens + completion_tokens, prompt_estimate + "
            "completion_limit)), 0), COALESCE(SUM(COALESCE(cost, prompt_estimate * ? + completion_limit * ?)), 0.0) "
            "FROM requests WHERE run = ? AND "
            "(state IN ('submitted', 'answered') OR (state = 'intended' AND shard IS NOT NULL))",
            (*(self._settings.prices or (0.0, 0.0)), self.run),
        ).fetchone()
        return Spending(requests, tokens, cost)

    def land(self, answers: Iterable[JsonObject], shard: str | None = None) -> None:
        """Record answers and lasting failures in one commit; an answer to what was not asked, or a second one, is not.

        Parameters
        ----------
        answers : lines of the batch format.
        shard : the batch that they come from.
        """
        rows = []
        for answer in answers:
            prompt_tokens, completion_tokens = usage_of(answer)
            state = "answered" if succeeded(answer) else "failed"
            custom_id = answer["custom_id"]
            usage = (prompt_tokens, completion_tokens, self._cost(prompt_tokens, completion_tokens))
            rows.append((digest_of(custom_id), custom_id, state, json.dumps(answer), *usage))
        # Many rows a statement: between two of them Python's lock is waited for, while others are at work with it.
        with self._transaction():
            for some in _chunks(iter(rows), ROWS_A_STATEMENT):
                self._database.execute(
                    f"WITH landed ({_LANDED}) AS (VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * len(some))}) "
                    f"UPDATE requests SET ({_RESULT}) = (SELECT {_RESULT} FROM landed "
                    "WHERE landed.digest = requests.digest AND landed.custom_id = requests.custom_id), "
                    "landed_at = CURRENT_TIMESTAMP WHERE (digest, custom_id) IN (SELECT digest, custom_id FROM landed) "
                    "AND +shard IS ? AND +state IN ('intended', 'submitted')",
                    [*(value for row in some for value in row), shard],
                )

    def note_failures(self, answers: Iterable[JsonObject], shard: str) -> None:
        """Record how requests of a batch failed that may go again."""
        rows = [(json.dumps(answer), digest_of(answer["custom_id"]), answer["custom_id"], shard) for answer in answers]
        with self._transaction():
            self._database.executemany(
                "UPDATE requests SET answer = ? WHERE digest = ? AND custom_id = ? AND shard = ? "
                "AND state = 'submitted'",
                rows,
            )

    def plan_shard(self, name: str, requests: Iterable[tuple[str, int]]) -> None:
        """Record a batch that is to be sent, before it is.

        Parameters
        ----------
        name : name of the shard.
        requests : custom_id and estimated prompt tokens of each of its requests.
        """
        members = list(requests)
        with self._transaction():
            self._database.execute(
                "INSERT INTO shards (name, state, prompt_estimate) VALUES (?, 'planned', ?)",
                (name, sum(estimate for _, estimate in members)),
            )
            self._database.executemany(
                "UPDATE requests SET shard = ?, answer = NULL WHERE digest = ?",
                ((name, digest_of(custom_id)) for custom_id, _ in members),
            )

    def shards(self, state: str) -> list[Shard]:
        """Batches in a state, in the order in which they were planned."""
        rows = self._database.execute(
            "SELECT name, prompt_estimate, file_id, batch_id FROM shards WHERE state = ? ORDER BY rowid", (state,)
        )
        return [Shard(*row) for row in rows]

    def begin_sending(self, shard: Shard) -> None:
        """Record that from now on the server may hold the batch."""
        with self._transaction():
            self._database.execute("UPDATE shards SET state = 'sending' WHERE name = ?", (shard.name,))

    def note_file(self, shard: Shard, file_id: str) -> None:
        """Record the uploaded file of a batch."""
        with self._transaction():
            self._database.execute("UPDATE shards SET file_id = ? WHERE name = ?", (file_id, shard.name))

    def attach(self, shard: Shard, batch_id: str) -> None:
        """Record the server's batch of a shard: its requests are under way."""
        with self._transaction():
            self._database.execute(
                "UPDATE shards SET state = 'submitted', batch_id = ? WHERE name = ?", (batch_id, shard.name)
            )
            self._database.execute("UPDATE requests SET state = 'submitted' WHERE shard = ?", (shard.name,))

    def release(self, shard: Shard) -> None:
        """Undo a batch of which nothing was worked on: its requests are planned anew."""
        with self._transaction():
            self._database.execute(
                "UPDATE requests SET state = 'intended', shard = NULL WHERE shard = ?", (shard.name,)
            )
            self._database.execute("DELETE FROM shards WHERE name = ?", (shard.name,))

    def finish_shard(self, shard: Shard, code: str, message: str, retries: int) -> None:
        """Record that nothing more will come of a batch: what it left without an answer goes again or has failed.

        Parameters
        ----------
        code, message : failure of those that the server said nothing about.
        retries : how often a request goes again within one run; 0 lets all that is left fail.
        """
        with self._transaction():
            self._database.execute(
                "UPDATE requests SET tries = tries + 1 WHERE shard = ? AND state = 'submitted'", (shard.name,)
            )
            self._database.execute(
                "UPDATE requests SET state = 'intended', shard = NULL "
                "WHERE shard = ? AND state = 'submitted' AND tries <= ?",
                (shard.name, retries),
            )
            self._database.execute(
                "UPDATE requests SET state = 'failed', landed_at = CURRENT_TIMESTAMP, answer = COALESCE(answer, "
                "json_object('custom_id', custom_id, 'response', NULL, 'error', "
                "json_object('code', ?, 'message', ?))) WHERE shard = ? AND state = 'submitted'",
                (code, message, shard.name),
            )
            self._database.execute("UPDATE shards SET state = 'landed' WHERE name = ?", (shard.name,))

    def last_failure(self) -> str:
        """One of the failures among the needed requests, the latest."""
        row = self._database.execute(
            "SELECT answer FROM needed JOIN requests USING (digest) WHERE state = 'failed' "
            "ORDER BY landed_at DESC LIMIT 1"
        ).fetchone()
        error = json.loads(row[0])["error"] if row else None
        return f"{error['code']}: {error['message']}" if error else "no answer"

    def read_answers(self) -> Iterator[tuple[JsonObject, JsonObject | None]]:
        """Every request of the file with its answer or failure, None where it has neither."""
        for request in read_requests(self.requests_path):
            row = self._database.execute(
                "SELECT answer FROM requests WHERE digest = ? AND state IN ('answered', 'failed')",
                (digest_of(request["custom_id"]),),
            ).fetchone()
            yield request, json.loads(row[0]) if row else None

    def records(self) -> Iterator[tuple[JsonObject, RequestRecord]]:
        """Every recorded request of the file with what the ledger knows of it.

        `reused` says that this run does not pay for it: an earlier one did, or another latent asks the same.
        """
        seen: set[str] = set()
        for request in read_requests(self.requests_path):
            digest = digest_of(request["custom_id"])
            row = self._database.execute(
                "SELECT run, transport, batch_id, requests.state, prompt_tokens, completion_tokens, cost "
                "FROM requests LEFT JOIN shards ON shard = name WHERE digest = ?",
                (digest,),
            ).fetchone()
            if row is None:
                continue
            run, transport, batch_id, state, *usage = row
            yield request, RequestRecord(transport, batch_id, state, run != self.run or digest in seen, *usage)
            seen.add(digest)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _states(self) -> dict[str | None, int]:
        return dict(
            self._database.execute(
                "SELECT state, COUNT(*) FROM needed LEFT JOIN requests USING (digest) GROUP BY state"
            ).fetchall()
        )

    def _cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        prices = self._settings.prices
        if prices is None or prompt_tokens is None or completion_tokens is None:
            return None
        return prompt_tokens * prices[0] + completion_tokens * prices[1]


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if tables and version != VERSION:
        raise InputError(
            f"The ledger {path} is of version {version}, and this program reads version {VERSION}",
            "Use the program that wrote it, or move it away: what it has recorded is then asked again",
        )


def usage_of(answer: JsonObject) -> tuple[int | None, int | None]:
    """Tokens of prompt and completion as the server counts them, None where it does not say."""
    response = answer.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None, None
    return _token_count(usage.get("prompt_tokens")), _token_count(usage.get("completion_tokens"))


def _token_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _chunks(rows: Iterator[_Row], size: int = ROWS_AT_ONCE) -> Iterator[list[_Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk
