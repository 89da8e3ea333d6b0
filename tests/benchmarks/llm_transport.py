"""Requests to a language model: inline against a server that answers after 50 ms, and a million in batches."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web
from openai import AsyncOpenAI, DefaultAioHttpClient

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import read_requests, write_requests
from recsae_lib.platform.llm.transports import collect, submit
from tests.benchmarks.harness import Figure, Usage

LATENCY_SECONDS, CONCURRENCY = 0.05, 64
INLINE_REQUESTS, FEW_REQUESTS = 20_000, 8_000
BATCH_REQUESTS, FEW_BATCH_REQUESTS = 1_000_000, 100_000
BATCH_PROMPT, INLINE_PROMPT = 800, 4_500  # characters of a request
MIB = 2**20
CONDITIONS = (
    f"the server is a process of its own and answers after {LATENCY_SECONDS * 1e3:g} ms; inline: {INLINE_REQUESTS:,} "
    f"requests of {INLINE_PROMPT:,} characters, {CONCURRENCY} at once, each answer through fsync in the ledger; the "
    "bare SDK asks the same by chat.completions.create over aiohttp and keeps nothing; batch: "
    f"{BATCH_REQUESTS:,} requests of {BATCH_PROMPT:,} characters by the Files and Batches protocols, recorded, "
    "sharded, uploaded, downloaded and landed; the time that the server takes to receive files and to make answers is "
    "in it, writing the requests file is not; memory is that of the client alone"
)

_CONTENT = json.dumps({"label": "Space films", "description": "Users who like space. " * 5, "features": ["Sci-Fi"]})
_COMPLETION = {
    **{"id": "c", "object": "chat.completion", "created": 1, "model": "small"},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _CONTENT}}],
    "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760},
}


def measure(work: Path) -> list[Figure]:
    with _served(work) as url:
        _run("bare", url, work, FEW_REQUESTS)  # whatever is slow the first time
        bare = _run("bare", url, work, INLINE_REQUESTS)
        few, inline = _run("inline", url, work, FEW_REQUESTS), _run("inline", url, work, INLINE_REQUESTS)
        few_batch, batch = _run("batch", url, work, FEW_BATCH_REQUESTS), _run("batch", url, work, BATCH_REQUESTS)
    ideal = CONCURRENCY / LATENCY_SECONDS
    rate, bare_rate = INLINE_REQUESTS / inline["seconds"], INLINE_REQUESTS / bare["seconds"]
    return [
        Figure("inline: requests", rate, "1/s", "concurrency / latency", rate / ideal),
        Figure("inline: requests", rate, "1/s", "bare SDK", rate / bare_rate),
        Figure("bare SDK: requests", bare_rate, "1/s", "concurrency / latency", bare_rate / ideal),
        Figure("inline: processor time a request", 1e3 * inline["cpu"] / INLINE_REQUESTS, "ms"),
        Figure(
            f"inline: memory, {INLINE_REQUESTS:,} requests",
            inline["gib"],
            "GiB",
            f"{FEW_REQUESTS:,} requests",
            inline["gib"] / few["gib"],
        ),
        Figure("batch: requests", BATCH_REQUESTS / batch["seconds"], "1/s"),
        Figure(
            f"batch: memory, {BATCH_REQUESTS:,} requests",
            batch["gib"],
            "GiB",
            f"{FEW_BATCH_REQUESTS:,} requests",
            batch["gib"] / few_batch["gib"],
        ),
    ]


@contextmanager
def _served(work: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.benchmarks.llm_transport", "serve", str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        finally:
            server.terminate()


def _run(what: str, url: str, work: Path, requests: int) -> dict[str, float]:
    """Run one client in a process of its own, so that its memory is not mixed with anything else's."""
    path = work / f"{what.replace('bare', 'inline')}_{requests}.jsonl"
    size = BATCH_PROMPT if what == "batch" else INLINE_PROMPT
    if not path.exists():
        write_requests(path, (_request(number, size) for number in range(requests)))
    for suffix in ("", "-wal", "-shm"):
        (work / f"ledger.sqlite{suffix}").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.benchmarks.llm_transport", what, str(work), url, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "NO_PROXY": "*"})
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"{what}, {requests:,} requests: {figures}", flush=True)
    return figures


def _request(number: int, size: int) -> dict[str, Any]:
    body = {
        "model": "small",
        "messages": [{"role": "system", "content": "p" * 300}, {"role": "user", "content": "x" * (size - 300)}],
        "temperature": 0.6,
        "max_tokens": 400,
    }
    custom_id = f"latent-{number}-{number * 2654435761 % 2**128:032x}"
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _client(what: str, work: Path, url: str, path: Path) -> None:
    settings = LlmSettings.model_validate(
        {
            "transport": "inline" if what == "bare" else what,
            **{"base_url": url, "model": "small", "concurrency": CONCURRENCY, "batch_poll_seconds": 1.0},
            **{"batch_enqueued_tokens": 10**12, "timeout_seconds": 600.0},
        }
    )
    with Usage(every_seconds=1.0) as usage:
        started = time.perf_counter()
        if what == "bare":
            asyncio.run(_bare_sdk(url, path))
        else:
            with Ledger.open(work / "ledger.sqlite", "2026-11-20 benchmark", path, settings) as ledger:
                ledger.intend(settings.transport)
                submit(ledger, settings, lambda done, total: None)
                collect(ledger, settings, lambda done, total: None, wait=True)
                assert ledger.count("answered") == ledger.progress()[1]
        seconds = time.perf_counter() - started
        time.sleep(1.5)  # one more sample
    print(json.dumps({"seconds": seconds, "gib": usage.gib, "cpu": usage.cpu_seconds}))


async def _bare_sdk(url: str, path: Path) -> None:
    requests = read_requests(path)

    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=DefaultAioHttpClient()) as client:

        async def ask_one_after_another() -> None:
            for request in requests:
                await client.chat.completions.create(**request["body"])

        await asyncio.gather(*(ask_one_after_another() for _ in range(CONCURRENCY)))


class _Chat(asyncio.Protocol):
    """HTTP as far as a chat completion needs it, so that the server is no part of what is measured."""

    body = json.dumps(_COMPLETION).encode()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def connection_made(self, transport: Any) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if separator:
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) >= length:
                self.received = rest[length:]
                asyncio.get_running_loop().call_later(LATENCY_SECONDS, self.transport.write, self.reply)


class _Batches:
    """Files on disk and batches that are completed when they are looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.batches = folder, 0, dict[str, dict[str, Any]]()
        folder.mkdir(exist_ok=True)

    async def upload(self, request: web.Request) -> web.Response:
        self.files += 1
        name = f"file{self.files}"
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                with (self.folder / name).open("wb") as file:
                    while chunk := await part.read_chunk(MIB):
                        file.write(chunk)
        return web.json_response(
            {
                **{"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "requests.jsonl"},
                **{"purpose": "batch", "status": "processed"},
            }
        )

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        batch_id = f"batch{len(self.batches)}"
        self.batches[batch_id] = {"id": batch_id, "object": "batch", "created_at": 1, "status": "in_progress", **body}
        return web.json_response(self.batches[batch_id])

    async def retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["batch"]]
        source = self.folder / batch["input_file_id"]
        with source.open("rb") as lines, source.with_suffix(".out").open("wb") as answers:
            for line in lines:
                custom_id = line[line.index(b'"latent-') + 1 :].partition(b'"')[0].decode()
                response = {"status_code": 200, "request_id": "r", "body": _COMPLETION}
                answer = {"id": "b", "custom_id": custom_id, "response": response, "error": None}
                answers.write(json.dumps(answer).encode() + b"\n")
        source.unlink()
        return web.json_response({**batch, "status": "completed", "output_file_id": f"{batch['input_file_id']}.out"})

    async def content(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.folder / request.match_info["file"])


async def _serve(work: Path) -> None:
    """Chat completions on the port that is printed; everything else on a port behind it, by the path."""
    batches = _Batches(work / "server")
    application = web.Application(client_max_size=2**30)
    application.add_routes(
        [
            web.post("/v1/files", batches.upload),
            web.post("/v1/batches", batches.create),
            web.get("/v1/batches/{batch}", batches.retrieve),
            web.get("/v1/files/{file}/content", batches.content),
        ]
    )
    runner = web.AppRunner(application)
    await runner.setup()

    def choose() -> asyncio.Protocol:
        return _Choice(runner.server)

    server = await asyncio.get_running_loop().create_server(choose, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Choice(asyncio.Protocol):
    """Hands a connection to `_Chat` or to aiohttp, as its first request is one or the other."""

    def __init__(self, files_and_batches: Any) -> None:
        self.files_and_batches = files_and_batches

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        is_chat = data.startswith(b"POST /v1/chat/")
        protocol: Any = _Chat() if is_chat else self.files_and_batches()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(Path(sys.argv[2])))
    else:
        _client(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
