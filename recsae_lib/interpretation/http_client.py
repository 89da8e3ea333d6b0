"""The HTTP client under the openai client, for a thousand small calls a second to one server.

The client that openai brings for aiohttp spends more on a call than the call itself: it parses the address three times,
copies the headers five times, and looks for cookies, authentication and a proxy that are the same for every call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from openai import AsyncOpenAI

from recsae_lib.config import OpenaiSettings
from recsae_lib.interpretation.llm_server import client_options


@asynccontextmanager
async def open_client(settings: OpenaiSettings) -> AsyncIterator[AsyncOpenAI]:
    """Open the openai client of the settings' server on a `LeanHttpClient`.

    Raises
    ------
    InputError : see `client_options`.
    """
    options = client_options(settings)
    timeout, is_secure = options["timeout"], urlsplit(options["base_url"]).scheme == "https"
    # Reading the certificates takes a quarter of a second. (aiohttp reads its own should plain HTTP be redirected.)
    tls = httpx2.create_ssl_context() if is_secure else None
    connector = aiohttp.TCPConnector(limit=settings.concurrency, ssl=tls or True)
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(sock_connect=timeout.connect, sock_read=timeout.read),
        proxy=_proxy_of(options["base_url"]),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # the response does
    )
    lean = LeanHttpClient(session, verify=tls or False)  # which sends with the session, and verifies nothing itself
    async with session, AsyncOpenAI(**options, http_client=lean) as client:
        yield client


class LeanHttpClient(httpx2.AsyncClient):
    """Sends the calls of the openai client with aiohttp, straight, and reads each answer whole.

    A call that breaks off raises aiohttp's own error. Timeouts are those of the session.

    Parameters
    ----------
    session : what sends; whoever opened it closes it.
    options : of `httpx2.AsyncClient`.
    """

    def __init__(self, session: aiohttp.ClientSession, **options: Any) -> None:
        super().__init__(**options)
        self._session = session

    def build_request(self, method: str, url: Any, *, content: Any = None, headers: Any = None, **_: Any) -> Any:
        """Build the request of a call with a body of bytes; the headers are sent as they are given."""
        request = httpx2.Request(
            method,
            _parsed(url),
            headers=headers,
            stream=httpx2.ByteStream(content),
            extensions={"headers": headers},  # aiohttp copies a list in a tenth of the time of a mapping
        )
        request.read()
        return request

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Send a request of `build_request`."""
        async with self._session.request(
            request.method, str(request.url), headers=request.extensions["headers"], data=request.content
        ) as response:
            content = await response.read()
        return httpx2.Response(response.status, headers=response.raw_headers, content=content, request=request)


@lru_cache(maxsize=8)
def _parsed(url: str) -> httpx2.URL:
    return httpx2.URL(url)


def _proxy_of(address: str) -> str | None:
    """The proxy that the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) wants for an address."""
    parts, proxies = urlsplit(address), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
