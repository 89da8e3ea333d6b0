"""The batches of a ledger: which requests go together, and how far each batch has come."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from recsae_lib.platform.llm.request_files import JsonObject, digest_of
from recsae_lib.platform.remote_names import hexadecimal_name, server_id
from recsae_lib.redaction import without_secrets


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

    def __post_init__(self) -> None:
        """Refuse a name that is none of ours: a ledger may come out of S3."""
        hexadecimal_name(self.name, "A batch in the ledger")
        for given in filter(None, (self.file_id, self.batch_id)):
            server_id(given, f"In the ledger, a file or batch of {self.name}")


class Shards:
    """What a ledger records of batches; opened with it, as `Ledger.shards`.

    Parameters
    ----------
    database : of the ledger.
    transaction : begins one, which ends with the context: it is committed, or undone by an error.
    """

    def __init__(self, database: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._database, self._transaction = database, transaction

    def plan(self, name: str, requests: Iterable[tuple[str, int]]) -> None:
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

    def of_state(self, state: str) -> list[Shard]:
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

    def finish(self, shard: Shard, code: str, message: str, retries: int) -> None:
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

    def note_failures(self, answers: Iterable[JsonObject], shard: str) -> None:
        """Record how requests of a batch failed that may go again."""
        rows = [
            (without_secrets(json.dumps(answer)), digest_of(answer["custom_id"]), answer["custom_id"], shard)
            for answer in answers
        ]
        with self._transaction():
            self._database.executemany(
                "UPDATE requests SET answer = ? WHERE digest = ? AND custom_id = ? AND shard = ? "
                "AND state = 'submitted'",
                rows,
            )
