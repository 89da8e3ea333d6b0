"""Chat completions over HTTP, for a thousand small calls a second to one server.

A call is one POST of a body that is known, and its answer is kept as it comes. aiohttp alone does that; the openai
client on top of it would build each request anew from parts that never change, which takes longer than the call.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.failures import Failure, disconnected, refused, timed_out, used_up_seconds
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.server import address_and_key, connect_seconds

# Of a custom_id and a request's body: its answer or how it failed, and for how many seconds the server's rate limits
# want nothing more to be sent.
Outcome = tuple[JsonObject | Failure, float]

# The variables by which the openai client, too, is told whose account pays.
_ACCOUNT_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


class ChatClient:
    """Asks for chat completions; opened by `open_client`.

    Parameters
    ----------
    session : what sends; whoever opened it closes it.
    url : of the server's chat completions.
    headers : of every call.
    settings : what failures are told with.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], settings: LlmSettings
    ) -> None:
        self._session, self._url, self._headers, self._settings = session, url, headers, settings

    async def ask(self, custom_id: str, body: bytes) -> Outcome:
        """Make one call, which is not made again if it fails."""
        headers = {**self._headers, "Idempotency-Key": custom_id, "X-Client-Request-Id": custom_id}
        try:
            async with self._session.post(self._url, headers=headers, data=body) as response:
                content = await response.read()
        except asyncio.TimeoutError:  # aiohttp's are among them
            return timed_out(self._settings), 0.0
        except (aiohttp.ClientError, OSError) as error:
            return disconnected(error), 0.0
        if not 200 <= response.status < 300:
            code, message = _error_in(content, response.status)
            return refused(response.status, response.headers, code, message, self._settings), 0.0
        try:
            answer = {"status_code": 200, "body": json.loads(content)}
        except (ValueError, RecursionError):
            return Failure("no_json", "the server's response is no JSON", passing=False), 0.0
        wait = used_up_seconds(response.headers, len(body) // 3)
        return {"custom_id": custom_id, "response": answer, "error": None}, wait


@asynccontextmanager
async def open_client(settings: LlmSettings) -> AsyncIterator[ChatClient]:
    """Open a client of the settings' server.

    Raises
    ------
    InputError : see `address_and_key`.
    """
    address, key = address_and_key(settings)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept": "application/json"}
    headers |= {name: os.environ[variable] for name, variable in _ACCOUNT_HEADERS.items() if os.environ.get(variable)}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.concurrency, ssl=_tls(address)),
        timeout=aiohttp.ClientTimeout(sock_connect=connect_seconds(settings), sock_read=settings.timeout_seconds),
        proxy=_proxy_of(address),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield ChatClient(session, f"{address.rstrip('/')}/chat/completions", headers, settings)


def _error_in(content: bytes, status: int) -> tuple[str | None, str]:
    """Code and message of the error that a response tells of, in OpenAI's form or another."""
    told: Any = content.decode(errors="replace").strip()
    try:
        told = json.loads(told)
    except (ValueError, RecursionError):
        return None, f"{status} {told}".strip()
    error = told.get("error", told) if isinstance(told, dict) else told
    if not isinstance(error, dict):
        return None, f"{status} {error}"
    code, message = error.get("code"), error.get("message")
    return code if isinstance(code, str) else None, message if isinstance(message, str) else f"{status} {error}"


def _tls(address: str) -> ssl.SSLContext | bool:
    """What certificates are checked with; read once, which takes a quarter of a second, and only where it is needed."""
    if urlsplit(address).scheme != "https":
        return True
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())


def _proxy_of(address: str) -> str | None:
    """The proxy that the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) wants for an address."""
    parts, proxies = urlsplit(address), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
