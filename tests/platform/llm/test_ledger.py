"""The ledger: what it keeps, from one release to the next too, and that no step of it grows with what is pending."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm import ledger_form
from recsae_lib.platform.llm.ledger import ROWS_A_STATEMENT, Ledger
from recsae_lib.platform.llm.request_files import write_requests

FEW, MANY = 500, 10_000


def steps_with(folder: Path, requests: int) -> tuple[int, int]:
    """Steps of SQLite's machine to land the answers of a hundred requests, and to read a hundred that are pending."""
    folder.mkdir()
    names = [f"latent-{number}-{number * 2654435761 % 2**128:032x}" for number in range(requests)]
    body = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5}
    write_requests(folder / "requests.jsonl", ({"custom_id": name, "body": body} for name in names))
    with Ledger.open(folder / "ledger.sqlite", "run", folder / "requests.jsonl", LlmSettings()) as ledger:
        ledger.intend("inline")
        steps = [0]

        def count() -> int:
            steps[0] += 1
            return 0

        ledger._database.set_progress_handler(count, 1)
        failure = {"code": "http_500", "message": "broken"}
        landing = names[-ROWS_A_STATEMENT:]
        ledger.land({"custom_id": name, "response": None, "error": failure} for name in landing)
        landed, steps[0] = steps[0], 0
        next(ledger.pending())
        read = steps[0]
        ledger._database.set_progress_handler(None, 0)
        assert ledger.count("failed") == ROWS_A_STATEMENT
    return landed, read


def test_steps_do_not_grow_with_what_is_pending(tmp_path: Path) -> None:
    few, many = steps_with(tmp_path / "few", FEW), steps_with(tmp_path / "many", MANY)
    assert 0 < many[0] < 1.5 * few[0]
    assert 0 < many[1] < 1.5 * few[1]


def test_a_ledger_of_another_version_is_refused_and_left(tmp_path: Path) -> None:
    path, requests = tmp_path / "ledger.sqlite", tmp_path / "requests.jsonl"
    requests.touch()
    for _ in range(2):
        with Ledger.open(path, "run", requests, LlmSettings()):
            pass
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    opening = Ledger.open(path, "run", requests, LlmSettings())
    with pytest.raises(InputError, match="of version 7, and this program reads version 1") as refusal, opening:
        pass
    assert path.read_bytes() == before
    assert "nothing in it is lost or paid again" in str(refusal.value)


COMPLETION = {"choices": [{"message": {"content": "war"}}]}
ANSWERED = {"response": {"status_code": 200, "body": COMPLETION}, "error": None}


def ask(path: Path, numbers: range) -> tuple[int, int]:
    """Ask and land what is pending; returns how many requests were, and how many are answered."""
    names = [f"latent-{number}-{number:032x}" for number in numbers]
    requests, body = path.with_name("requests.jsonl"), {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5}
    write_requests(requests, ({"custom_id": name, "body": body} for name in names))
    with Ledger.open(path, "run", requests, LlmSettings()) as ledger:
        ledger.intend("inline")
        pending = [request["custom_id"] for request, _, _ in ledger.pending()]
        ledger.land([{"custom_id": name, **ANSWERED} for name in pending])
        return len(pending), ledger.count("answered")


def test_a_ledger_goes_to_the_next_release_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = tmp_path / "ledger.sqlite", tmp_path / "ledger.before.sqlite"
    assert ask(path, range(2)) == (2, 2)
    assert not before.exists()
    newer = ledger_form.TABLES.replace(
        "landed_at TEXT\n", "landed_at TEXT, latency REAL, region TEXT NOT NULL DEFAULT 'eu'\n"
    )
    with monkeypatch.context() as next_release:
        next_release.setattr(ledger_form, "TABLES", newer + "CREATE TABLE IF NOT EXISTS notes (note TEXT NOT NULL);")
        assert ask(path, range(3)) == (1, 3)
        with closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO notes VALUES ('a')")
            assert database.execute("SELECT DISTINCT latency, region FROM requests").fetchall() == [(None, "eu")]
            database.commit()
        copied = before.read_bytes()
        assert ask(path, range(3)) == (0, 3)
    with closing(sqlite3.connect(before)) as database:
        assert database.execute("SELECT COUNT(*) FROM requests").fetchone() == (2,)
        assert "latency" not in [row[1] for row in database.execute("PRAGMA table_info(requests)")]
    assert ask(path, range(4)) == (1, 4)  # the release of today again
    assert before.read_bytes() == copied
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM notes").fetchall() == [("a",)]


def test_a_killed_addition_leaves_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    assert ask(path, range(2)) == (2, 2)
    broken = ledger_form.TABLES.replace("landed_at TEXT\n", "landed_at TEXT, latency REAL, region TEXT NOT NULL\n")
    with monkeypatch.context() as next_release:
        next_release.setattr(ledger_form, "TABLES", broken)
        with pytest.raises(sqlite3.OperationalError, match="Cannot add a NOT NULL column"):
            ask(path, range(2))
    with closing(sqlite3.connect(path)) as database:
        assert "latency" not in [row[1] for row in database.execute("PRAGMA table_info(requests)")]
    assert ask(path, range(2)) == (0, 2)


def test_a_ledger_of_an_earlier_release_still_answers(tmp_path: Path) -> None:
    # As the release before section llm left it.
    name, path = "latent-17-359ec36427847fba0de2ee3e626592ef", tmp_path / "requests.jsonl"
    line = {"custom_id": name, "response": {"status_code": 200, "body": {"choices": []}}, "error": None}
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        database.executescript(
            """
            CREATE TABLE requests (
                digest TEXT PRIMARY KEY, custom_id TEXT NOT NULL, run TEXT NOT NULL, transport TEXT NOT NULL,
                state TEXT NOT NULL CHECK (state IN ('intended', 'submitted', 'answered', 'failed')),
                shard TEXT, tries INTEGER NOT NULL DEFAULT 0, prompt_estimate INTEGER NOT NULL,
                completion_limit INTEGER NOT NULL, answer TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
                cost REAL, intended_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, landed_at TEXT
            );
            CREATE TABLE shards (
                name TEXT PRIMARY KEY,
                state TEXT NOT NULL CHECK (state IN ('planned', 'sending', 'submitted', 'landed')),
                prompt_estimate INTEGER NOT NULL, file_id TEXT, batch_id TEXT
            );
            CREATE INDEX requests_of_shard ON requests (shard, state);
            CREATE INDEX requests_of_run ON requests (run);
            PRAGMA user_version = 1;
            """
        )
        known = (name[10:], name, "2026-11-20 job", "inline", "answered", 39, 200, json.dumps(line), 70, 9)
        columns = "digest, custom_id, run, transport, state, prompt_estimate, completion_limit, answer"
        database.execute(
            f"INSERT INTO requests ({columns}, prompt_tokens, completion_tokens) VALUES ({', '.join('?' * 10)})", known
        )
        database.commit()
    write_requests(path, [{"custom_id": name, "body": {"messages": [], "max_tokens": 200}}])
    with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-21 job", path, LlmSettings()) as ledger:
        ledger.intend("inline")
        assert list(ledger.pending()) == []
        assert [answer for _, answer in ledger.read_answers()] == [line]
        ((_, record),) = ledger.records()
    assert (record.state, record.reused, record.prompt_tokens) == ("answered", True, 70)


def test_the_first_answer_lands_and_only_one_to_what_was_asked(tmp_path: Path) -> None:
    path, asked, of_another_latent = tmp_path / "requests.jsonl", "latent-1-" + "a" * 32, "latent-2-" + "a" * 32
    write_requests(path, [{"custom_id": asked, "body": {"messages": [], "max_tokens": 5}}])

    def answer(custom_id: str, text: str) -> dict[str, Any]:
        return {"custom_id": custom_id, "response": {"status_code": 200, "body": text}, "error": None}

    with Ledger.open(tmp_path / "ledger.sqlite", "run", path, LlmSettings()) as ledger:
        ledger.intend("inline")
        ledger.land([answer(of_another_latent, "not asked"), answer(asked, "first"), answer(asked, "second")])
        ledger.land([answer(asked, "third")])
        ((_, line),) = ledger.read_answers()
    assert line == answer(asked, "first")
