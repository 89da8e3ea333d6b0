"""Submitting requests and collecting their answers, by the transport that the settings name.

A job writes its requests file, opens the ledger on it, and calls `Ledger.intend`, `submit`, and, now or in another
process hours later, `collect`; then it reads `Ledger.read_answers`. Nothing here knows what the requests are about.
"""

from __future__ import annotations

import time

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError, UnfinishedError
from recsae_lib.platform.llm.batch_transport import BatchTransport
from recsae_lib.platform.llm.failures import MEND_REQUESTS, may_pass
from recsae_lib.platform.llm.inline_transport import Progress, ask_pending
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.server import address_of


def submit(ledger: Ledger, settings: LlmSettings, on_progress: Progress) -> None:
    """Send every needed request that nobody has asked yet.

    With transport ``inline`` the answers have landed on return; with ``batch`` they are being worked on.

    Parameters
    ----------
    ledger : after `Ledger.intend`.
    settings : section `llm`.
    on_progress : called with (requests answered or failed, all needed requests).

    Raises
    ------
    InputError, PassingError : see `ask_pending` and `BatchTransport.send`.
    InputError : all requests have failed.
    """
    _send(BatchTransport(ledger, settings), settings, on_progress)


def collect(ledger: Ledger, settings: LlmSettings, on_progress: Progress, wait: bool) -> None:
    """Land what batches hold and send what goes again, until every needed request is answered or has failed.

    Parameters
    ----------
    ledger, settings, on_progress : as for `submit`.
    wait : whether to look again every `batch_poll_seconds`, rather than once.

    Raises
    ------
    UnfinishedError : some requests are still being worked on, and `wait` is not set.
    InputError, PassingError : as `submit`; or requests were not submitted at all.
    """
    if unknown := ledger.count(None):
        raise InputError(f"{unknown:,} requests were never submitted", "Run the job's step submit first")
    batches = BatchTransport(ledger, settings)
    while True:
        batches.land()
        _send(batches, settings, on_progress)
        done, total = ledger.progress()
        on_progress(done, total)
        if done == total:
            return
        if not wait:
            raise UnfinishedError(f"{total - done:,} of {total:,} requests are still being worked on by the server")
        time.sleep(settings.batch_poll_seconds)


def _send(batches: BatchTransport, settings: LlmSettings, on_progress: Progress) -> None:
    ledger = batches.ledger
    batches.finish_sending()
    if ledger.count("intended"):
        if settings.transport == "batch":
            batches.send()
        else:
            ask_pending(ledger, settings, on_progress)
    _refuse_if_nothing_succeeded(ledger, settings)


def _refuse_if_nothing_succeeded(ledger: Ledger, settings: LlmSettings) -> None:
    """Raise where every request of the ledger's file failed: the server is at fault, and not the requests.

    Raises
    ------
    PassingError : it could not be reached, or not cope.
    InputError : it answered something else.
    """
    done, total = ledger.progress()
    if total and done == total and not ledger.count("answered"):
        last = ledger.last_failure()
        raise (PassingError if may_pass(last.partition(":")[0]) else InputError)(
            f"The server at {address_of(settings)} failed all {total:,} requests, the last with {last}",
            f"{MEND_REQUESTS}; where submit and collect are steps of their own, with submit first",
        )
