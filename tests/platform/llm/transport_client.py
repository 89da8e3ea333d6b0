"""The client process of the fault tests: one step of a job, killed at a commit of the ledger if it is told to."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
from openai import DefaultAioHttpClient, OpenAI

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError, UnfinishedError
from recsae_lib.platform.job.log import log_to_stderr
from recsae_lib.platform.llm import failures
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.transports import collect, submit

KILLED = 137
CANARY = "sk-canary-7Qm2xW9"  # the key, which must be told nowhere
OUTPUT = "output.txt"  # in the folder of a job: all that its processes said
GIVEN_UP = 75  # not 1, with which Python ends at an error of its own

# Every client reads the certificates of all authorities, which takes longer than a whole step; plain HTTP needs none.
_ONE_AUTHORITY = Path(tempfile.gettempdir()) / f"recsae_tests_authority_{os.getpid()}.pem"
_ONE_AUTHORITY.write_text(certifi.contents().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
atexit.register(_ONE_AUTHORITY.unlink, missing_ok=True)

# The first client of a process imports its transport, which takes longer still; processes that are forked have it then.
OpenAI(api_key="none", base_url="http://127.0.0.1/v1").close()
DefaultAioHttpClient(verify=False)


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
    step: str, wait: bool, folder: Path, run: str, settings: dict[str, Any], commits_left: int | None, before: bool
) -> None:
    """Exit with 0 (done), 2 (bad input), 5 (not finished), `GIVEN_UP` (a server) or `KILLED`."""
    os.environ.update(NO_PROXY="127.0.0.1", SSL_CERT_FILE=str(_ONE_AUTHORITY), OPENAI_API_KEY=CANARY)
    sys.stderr = (folder / OUTPUT).open("a", buffering=1, encoding="utf-8")
    log_to_stderr("text")
    failures.FIRST_PAUSE_SECONDS = 0.01
    MortalLedger.commits_left, MortalLedger.before = commits_left, before
    llm = LlmSettings(**settings)
    try:
        with MortalLedger.open(folder / "ledger.sqlite", run, folder / "requests.jsonl", llm) as ledger:
            if step == "submit":
                ledger.intend(llm.transport)
                submit(ledger, llm, lambda done, total: None)
            else:
                collect(ledger, llm, lambda done, total: None, wait=wait)
    except InputError as error:
        print(error, file=sys.stderr)
        os._exit(2)
    except PassingError as error:
        print(error, file=sys.stderr)
        os._exit(GIVEN_UP)
    except UnfinishedError:
        os._exit(5)
    os._exit(0)
