"""The client process of the fault tests: one step of a job, killed at a commit of the ledger if it is told to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsae_lib.config import InterpretationSettings
from recsae_lib.errors import InputError, UnfinishedError
from recsae_lib.interpretation import llm_server
from recsae_lib.interpretation.ledger import Ledger
from recsae_lib.interpretation.transports import collect, submit

KILLED = 137


class MortalLedger(Ledger):
    """Ends the process at one of its commits, just before or just after it."""

    commits_left: int | None = None
    before: bool = False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        cls = type(self)
        with super()._transaction():
            yield
            if cls.commits_left == 1 and cls.before:
                os._exit(KILLED)
        if cls.commits_left is not None:
            cls.commits_left -= 1
            if cls.commits_left == 0:
                os._exit(KILLED)


def run_step(
    step: str, folder: Path, run: str, settings: dict[str, Any], commits_left: int | None, before: bool
) -> None:
    """Exit with 0 (done), 2 (bad input, or a server given up), 5 (not finished) or `KILLED`."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    llm_server.FIRST_PAUSE_SECONDS = 0.01
    MortalLedger.commits_left, MortalLedger.before = commits_left, before
    interpretation = InterpretationSettings(**settings)
    try:
        with MortalLedger.open(
            folder / "ledger.sqlite", run, folder / "requests.jsonl", interpretation.openai
        ) as ledger:
            if step == "submit":
                ledger.intend(interpretation.transport)
                submit(ledger, interpretation, lambda done, total: None)
            else:
                collect(ledger, interpretation, lambda done, total: None, wait=False)
    except InputError as error:
        print(error, file=sys.stderr)
        os._exit(2)
    except UnfinishedError:
        os._exit(5)
    os._exit(0)
