"""What the ledger does for one commit or a hundred requests takes as long whether thousands are pending or few."""

from __future__ import annotations

from pathlib import Path

from recsae_lib.config import LlmSettings
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
