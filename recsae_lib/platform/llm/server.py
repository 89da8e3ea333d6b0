"""Where the server is, and the key to be sent."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0


def address_of(settings: LlmSettings) -> str:
    """The server that is meant; OpenAI's where none is set."""
    return settings.base_url or OPENAI_URL


def address_and_key(settings: LlmSettings) -> tuple[str, str]:
    """Where the server is, and the key to be sent.

    Raises
    ------
    InputError : no key for OpenAI's own server, or the address is no URL.
    """
    key = os.environ.get(settings.api_key_variable, "").strip()
    if not key and settings.base_url is None:
        raise InputError(
            f"The environment variable {settings.api_key_variable} holds no key for {OPENAI_URL}",
            "Set it, or set llm.base_url to a server that needs none",
        )
    address = address_of(settings)
    if not _is_address(address):
        raise InputError(f"llm.base_url is {address!r}, no address of a server", "Write it as http://host:port/v1")
    return address, key or "none"


def connect_seconds(settings: LlmSettings) -> float:
    """How long a connection may take to come about."""
    return min(CONNECT_SECONDS, settings.timeout_seconds)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
