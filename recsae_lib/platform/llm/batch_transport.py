"""The `batch` transport: files of requests through the OpenAI Batch API, which answers within a day at a lower price.

Every step is in the ledger before the next one, and each may be the last before the process is killed:

1. the requests are cut into shards; a shard's file is written, then the shard is recorded (planned);
2. the shard is recorded as being sent; its file is uploaded, and the id of that recorded;
3. the batch is created with the shard's name in its metadata, and its id recorded (submitted);
4. when the batch has ended, in whatever way, its files are downloaded, and their lines recorded some at a time;
5. what has no answer is recorded to go again, or as failed, and the shard as landed.

A kill in step 2 or 3 leaves a shard that the server may hold: its batch is looked for by its name before another is
created. A server that does not yet list a batch that it has just created would be asked twice; the Idempotency-Key of
the call is then the last guard.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path
from typing import TypeVar

from openai import NotFoundError, OpenAI
from openai.types import Batch, FileObject

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.answers import UNREAD, failure_in, one_line, succeeded
from recsae_lib.platform.llm.budget import Budget
from recsae_lib.platform.llm.client import CALL_ERRORS, failure_of, open_client
from recsae_lib.platform.llm.failures import growing_pause, may_pass
from recsae_lib.platform.llm.ledger import ROWS_AT_ONCE, Ledger
from recsae_lib.platform.llm.request_files import JsonObject, encode_line, estimate_prompt_tokens
from recsae_lib.platform.llm.shards import Shard
from recsae_lib.platform.remote_names import server_id
from recsae_lib.redaction import without_secrets

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # that the Batch API takes in one file
SHARD_KEY = "recsae_shard"  # in the metadata of a batch
ENDED = ("completed", "expired", "cancelled", "failed")
UNREAD_SUFFIX = ".unread"  # of the file of a batch's lines that name no request
UNDER_WAY = ("planned", "sending", "submitted")
_GONE = ("batch_gone", "the server has the batch or its answers no more")

_Result = TypeVar("_Result")

log = logging.getLogger("recsae")


class BatchTransport:
    """Plans, sends and lands the batches of a ledger.

    Parameters
    ----------
    ledger : its requests file says what is needed.
    settings : server, key, model, limits and budget.
    """

    def __init__(self, ledger: Ledger, settings: LlmSettings) -> None:
        self.ledger, self.settings = ledger, settings

    @cached_property
    def client(self) -> OpenAI:
        """The client, opened when there is something to say to the server."""
        return open_client(self.settings)

    def send(self) -> None:
        """Cut what is pending into shards, and send as many of them as may wait at the server at once.

        (After `finish_sending`.)

        Raises
        ------
        InputError : the server refuses; or the budget does not reach for all (what it reaches for is sent first).
        PassingError : the server cannot be reached, or fails again and again.
        """
        budget = Budget(self.settings, self.ledger.spending())
        all_planned = self._plan(budget)
        for shard in self.ledger.shards.of_state("planned"):
            waiting = sum(other.prompt_estimate for other in self.ledger.shards.of_state("submitted"))
            if waiting and waiting + shard.prompt_estimate > self.settings.batch_enqueued_tokens:
                break
            self.ledger.shards.begin_sending(shard)
            self._send(shard, may_be_there=False)
        if not all_planned:
            done, total = self.ledger.progress()
            raise budget.used_up(done + self.ledger.count("submitted"), total)

    def finish_sending(self) -> None:
        """Find or create the batch of every shard whose sending was broken off."""
        for shard in self.ledger.shards.of_state("sending"):
            self._send(shard, may_be_there=True)

    def land(self) -> None:
        """Look at every batch under way once; record what those that have ended hold.

        Raises
        ------
        InputError : the server refuses; what has landed is kept.
        PassingError : it cannot be reached, or fails again and again.
        """
        for shard in self.ledger.shards.of_state("submitted"):
            batch = self._retrieve(shard)
            if batch is None:
                self.ledger.shards.finish(shard, *_GONE, retries=0)
            elif batch.status in ENDED:
                self._land(shard, batch)

    def _plan(self, budget: Budget) -> bool:
        """Cut pending requests into shards of files; False where the budget does not reach for all of them."""
        self.ledger.folder.mkdir(exist_ok=True)
        known = {shard.name for state in UNDER_WAY for shard in self.ledger.shards.of_state(state)}
        for path in self.ledger.folder.iterdir():
            if (
                path.stem not in known and path.suffix != UNREAD_SUFFIX
            ):  # of a shard that was not recorded, or has been undone
                path.unlink()
        pending = (request for request, _, _ in self.ledger.pending())
        request = next(pending, None)
        while request is not None and budget.reserve(request["body"]):
            shard = Shard(uuid.uuid4().hex, 0, None, None)
            members: list[tuple[str, int]] = []
            size = tokens = 0
            with self._file(shard).open("wb") as file:
                while request is not None:
                    line, estimate = encode_line(request), estimate_prompt_tokens(request["body"])
                    full = len(members) == MOST_REQUESTS or size + len(line) > MOST_BYTES
                    if members and (full or tokens + estimate > self.settings.batch_enqueued_tokens):
                        break
                    if members and not budget.reserve(request["body"]):
                        break
                    file.write(line)
                    members.append((request["custom_id"], estimate))
                    size, tokens = size + len(line), tokens + estimate
                    request = next(pending, None)
                file.flush()
                os.fsync(file.fileno())
            self.ledger.shards.plan(shard.name, members)
        return request is None

    def _send(self, shard: Shard, may_be_there: bool) -> None:
        """Find the shard's batch at the server or create it; a call that broke off may have created it all the same."""
        file_id = shard.file_id

        def find_or_create(again: bool) -> str | None:
            nonlocal file_id
            if (again or may_be_there) and (batch_id := self._find(shard)) is not None:
                return batch_id
            if file_id is None:
                if not self._file(shard).is_file():
                    return None  # lost, and the server has no batch: the requests are planned anew
                with self._file(shard).open("rb") as file:
                    file_id = _id_of(self.client.files.create(file=(f"{shard.name}.jsonl", file), purpose="batch"))
                self.ledger.shards.note_file(shard, file_id)
            batch = self.client.batches.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={SHARD_KEY: shard.name},
                extra_headers={"Idempotency-Key": shard.name},
            )
            return _id_of(batch)

        batch_id = self._patiently(find_or_create)
        if batch_id is None:
            self.ledger.shards.release(shard)
        else:
            self.ledger.shards.attach(shard, batch_id)
            log.info("batch %s of %s prompt tokens submitted", batch_id, f"{shard.prompt_estimate:,}")

    def _find(self, shard: Shard) -> str | None:
        batches = chain.from_iterable(self._pages())
        return next((_id_of(batch) for batch in batches if (batch.metadata or {}).get(SHARD_KEY) == shard.name), None)

    def _pages(self) -> Iterator[list[Batch]]:
        # An error in a response of 200 is no list without this batch; the client takes it for one, or breaks at it.
        try:
            for page in self.client.batches.list(limit=100).iter_pages():
                if not isinstance(data := getattr(page, "data", None), list):
                    raise ValueError("no list of batches")
                yield data
        except AttributeError:
            raise ValueError("no list of batches") from None

    def _retrieve(self, shard: Shard) -> Batch | None:
        def retrieve(_: bool) -> Batch | None:
            try:
                batch = self.client.batches.retrieve(shard.batch_id or "")
            except NotFoundError:
                return None
            if not isinstance(getattr(batch, "status", None), str):
                raise ValueError("no batch")
            return batch

        return self._patiently(retrieve)

    def _land(self, shard: Shard, batch: Batch) -> None:
        answers_are_gone = False
        self._unread(shard).unlink(missing_ok=True)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:  # servers also write "" for none
                server_id(file_id, "What the server calls a file of answers")
                if (path := self._download(shard, file_id)) is None:
                    answers_are_gone = True
                else:
                    self._record(shard, path)
                    path.unlink()
        faults = (batch.errors and batch.errors.data) or []
        queue_is_full = batch.status == "failed" and {fault.code for fault in faults} == {"token_limit_exceeded"}
        if answers_are_gone:
            self.ledger.shards.finish(shard, *_GONE, retries=0)
        elif queue_is_full and len(self.ledger.shards.of_state("submitted")) > 1:
            self.ledger.shards.release(shard)  # nothing of it was begun; it fits when others have ended
        else:
            reasons = "; ".join(str(fault.message) for fault in faults)
            # Who cancels a batch wants it stopped, and a file that the server refuses it refuses again.
            final = batch.status == "cancelled" or (batch.status == "failed" and not queue_is_full)
            self.ledger.shards.finish(
                shard,
                f"batch_{batch.status}",
                one_line(reasons or f"batch {batch.id} is {batch.status} and holds no answer to this request"),
                0 if final else self.settings.retries,
            )
        self._file(shard).unlink(missing_ok=True)

    def _download(self, shard: Shard, file_id: str) -> Path | None:
        # To disk first: a line of the format ends with a line feed alone, and a broken download begins again.
        self.ledger.folder.mkdir(exist_ok=True)
        path = self._file(shard).with_suffix(".answers")

        def download(_: bool) -> Path | None:
            try:
                with self.client.files.with_streaming_response.content(file_id) as response:
                    response.stream_to_file(path)
            except NotFoundError:
                return None
            _require_requests(path)
            return path

        return self._patiently(download)

    def _record(self, shard: Shard, path: Path) -> None:
        unread: list[bytes] = []
        odd = ""
        with path.open("rb") as lines:
            while chunk := list(islice(lines, ROWS_AT_ONCE)):
                answers: list[JsonObject] = []
                for line in filter(bytes.strip, chunk):
                    if (answer := _read_line(line)) is None:
                        unread.append(line.strip())
                    else:
                        answers.append(answer)
                        odd = odd or (answer["custom_id"] if UNREAD in answer else "")
                self.ledger.shards.note_failures((answer for answer in answers if _may_go_again(answer)), shard.name)
                self.ledger.land((answer for answer in answers if not _may_go_again(answer)), shard.name)
        if odd:
            log.warning(
                "batch %s: lines have another form than answers, first that of %s; they are kept as refused answers",
                *(shard.batch_id, one_line(odd)),
            )
        if unread:
            kept = self._unread(shard)
            with kept.open("a", encoding="utf-8") as file:
                file.writelines(without_secrets(line.decode(errors="replace")) + "\n" for line in unread)
            log.warning(
                "batch %s: %s lines name no request, the first is %s; they are kept in %s, and requests without an "
                "answer go again",
                *(shard.batch_id, f"{len(unread):,}", one_line(unread[0].decode(errors="replace")), kept),
            )

    def _patiently(self, call: Callable[[bool], _Result]) -> _Result:
        """Make a call, with pauses as long as it fails in passing; it is told whether it was made before."""
        for failures in count(1):
            try:
                return call(failures > 1)
            except CALL_ERRORS as error:
                failure = failure_of(error, self.settings)
                if failure.remedy is not None or not failure.passing or failures > self.settings.retries:
                    raise failure.ending(self.settings) from None
                time.sleep(failure.wait_seconds or growing_pause(failures))
        raise AssertionError("the count has no end")

    def _file(self, shard: Shard) -> Path:
        return self.ledger.folder / f"{shard.name}.jsonl"

    def _unread(self, shard: Shard) -> Path:
        return self.ledger.folder / f"{shard.name}{UNREAD_SUFFIX}"


def _id_of(made: FileObject | Batch) -> str:
    # The client builds what it is told to of whatever comes, without the fields that are not there.
    if not isinstance(made_id := getattr(made, "id", None), str) or not made_id:
        raise ValueError("no file or batch")
    return server_id(made_id, "What the server calls a file or a batch")


def _require_requests(path: Path) -> None:
    """Refuse a file of which lines are left and none names a request: an error in the place of what was paid for."""
    with path.open("rb") as lines:
        first = b""
        for line in filter(bytes.strip, lines):
            if _read_line(line) is not None:
                return
            first = first or line
    if first:
        raise ValueError(f"no line of the file names a request; the first is {first[:200].decode(errors='replace')}")


def _read_line(line: bytes) -> JsonObject | None:
    """A line of a batch's files as one of an answers file; None where it names no request.

    A line of another form was paid for, as far as one can tell: it is an answer, which `read_json` refuses.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    custom_id = told.get("custom_id") if isinstance(told, dict) else None
    if not isinstance(custom_id, str) or not custom_id.isascii():
        return None
    error, response = told.get("error"), told.get("response")
    if error:
        error = error if isinstance(error, dict) else {"code": "error", "message": one_line(str(error))}
        return {"custom_id": custom_id, "response": response if isinstance(response, dict) else None, "error": error}
    if not isinstance(response, dict) or type(response.get("status_code")) is not int or "body" not in response:
        return {"custom_id": custom_id, "response": None, "error": None, UNREAD: told}
    return {"custom_id": custom_id, "response": response, "error": None}


def _may_go_again(answer: JsonObject) -> bool:
    if succeeded(answer):
        return False
    if answer["error"]:
        return True  # batch_expired, or an error of the server without a response
    return may_pass(failure_in(answer).partition(":")[0])
