"""The ledger: one SQLite file that remembers every request, what it cost and its answer, from one job to the next.

A request is known by the digest of its content: what was answered once is never asked again, whichever job, date or
subject needs it. Intent is on disk before anything is sent, and an answer before anything depends on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm.answers import failure_in, succeeded, usage_of
from recsae_lib.platform.llm.budget import Spending
from recsae_lib.platform.llm.ledger_form import bring_to_form
from recsae_lib.platform.llm.request_files import (
    JsonObject,
    completion_limit,
    digest_of,
    estimate_prompt_tokens,
    read_requests,
)
from recsae_lib.platform.llm.shards import Shards
from recsae_lib.redaction import without_secrets

_Row = TypeVar("_Row")

ROWS_AT_ONCE, ROWS_A_STATEMENT = 1_000, 100

_REPLACED = "digest, run, answer, prompt_tokens, completion_tokens, cost, prompt_estimate, completion_limit, landed_at"

_RESULT = "state, answer, prompt_tokens, completion_tokens, cost"
_LANDED = f"digest, custom_id, {_RESULT}"


@dataclass(frozen=True)
class RequestRecord:
    """What the ledger knows of one request; the columns of the tables of requests."""

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
    settings : `prices` are read, and `max_answer_tokens` for a request that sets no limit.
    """

    def __init__(
        self, database: sqlite3.Connection, path: Path, run: str, requests_path: Path, settings: LlmSettings
    ) -> None:
        self._database, self.run, self.requests_path, self._settings = database, run, requests_path, settings
        self.folder = path.with_suffix("")
        self.shards = Shards(database, self._transaction)
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
                        completion_limit(request["body"]) or settings.max_answer_tokens,
                    )
                    for request in read_requests(requests_path)
                ),
            )

    @classmethod
    @contextmanager
    def open(cls, path: Path, run: str, requests_path: Path, settings: LlmSettings) -> Iterator[Ledger]:
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
            bring_to_form(database, path)
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

    def ask_again(self, is_refused: Callable[[JsonObject, JsonObject | None], bool]) -> int:
        """Have needed requests asked again whose answer is refused; say how many. What they cost stays on record.

        Parameters
        ----------
        is_refused : of a request and its answer.
        """
        answered = (exchange for exchange in self.read_answers() if is_refused(*exchange))
        digests = [(digest_of(request["custom_id"]),) for request, _ in answered]
        with self._transaction():
            before = self._database.total_changes
            self._database.executemany(
                f"INSERT INTO replaced ({_REPLACED}) SELECT {_REPLACED} FROM requests "
                "WHERE digest = ? AND state = 'answered'",
                digests,
            )
            replaced = self._database.total_changes - before
            self._database.executemany(
                "UPDATE requests SET state = 'failed', prompt_tokens = NULL, completion_tokens = NULL, cost = NULL "
                "WHERE digest = ? AND state = 'answered'",
                digests,
            )
        return replaced

    def pending(self) -> Iterator[tuple[JsonObject, str, bool]]:
        """Needed requests that are to be sent and in no batch, each once: the request, the key under which a server
        charges for it once, and whether it failed in an earlier run.
        """
        for requests in _chunks(read_requests(self.requests_path), ROWS_A_STATEMENT):
            digests = [digest_of(request["custom_id"]) for request in requests]
            # The plus signs keep SQLite from looking through all that is pending, here and in `land`.
            rows = self._database.execute(
                "SELECT custom_id, answer IS NOT NULL, (SELECT COUNT(*) FROM replaced WHERE replaced.digest = "
                "requests.digest) FROM requests WHERE +state = 'intended' AND +shard IS NULL "
                f"AND digest IN ({', '.join('?' * len(digests))})",
                digests,
            )
            found = {custom_id: rest for custom_id, *rest in rows}
            for request in requests:
                # The same question about two subjects is asked for the one that the ledger names.
                if (custom_id := request["custom_id"]) in found:
                    failed_before, replaced = found[custom_id]
                    yield request, f"{custom_id}-{replaced}" if replaced else custom_id, bool(failed_before)

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
            "FROM (SELECT run, prompt_tokens, completion_tokens, prompt_estimate, completion_limit, cost FROM requests "
            "WHERE state IN ('submitted', 'answered') OR (state = 'intended' AND shard IS NOT NULL) UNION ALL "
            "SELECT run, prompt_tokens, completion_tokens, prompt_estimate, completion_limit, cost FROM replaced) "
            "WHERE run = ?",
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
            text = without_secrets(json.dumps(answer))
            rows.append((digest_of(custom_id), custom_id, state, text, *usage))
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

    def last_failure(self) -> str:
        """One of the failures among the needed requests, the latest, in the server's words."""
        row = self._database.execute(
            "SELECT answer FROM needed JOIN requests USING (digest) WHERE state = 'failed' "
            "ORDER BY landed_at DESC LIMIT 1"
        ).fetchone()
        return failure_in(json.loads(row[0])) if row else "no answer"

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

        `reused` says that this run does not pay for it: an earlier one did, or another request asks the same.
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


def _chunks(rows: Iterator[_Row], size: int = ROWS_AT_ONCE) -> Iterator[list[_Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk
