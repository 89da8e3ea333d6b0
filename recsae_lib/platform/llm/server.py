"""Where the server is, and what every call to it carries: key, headers, query."""

from __future__ import annotations

import os
from dataclasses import dataclass
from string import Template
from urllib.parse import parse_qsl, urlsplit

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError
from recsae_lib.redaction import remember

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
AZURE_VERSION = "api-version"  # in the query of an address: Azure's, which wants the key in a header of its own


@dataclass(frozen=True)
class Server:
    """A server and what goes with every call.

    Parameters
    ----------
    address : URL without its query.
    key : to be sent; "none" where there is none.
    query, headers : further ones of every call.
    azure_version : version of Azure's API where the address names one.
    """

    address: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    azure_version: str | None


def address_of(settings: LlmSettings) -> str:
    """The server that is meant; OpenAI's where none is set."""
    return settings.base_url or OPENAI_URL


def server_of(settings: LlmSettings) -> Server:
    """Read the server out of settings and environment; its key, password and headers are secrets from here on.

    Raises
    ------
    InputError : no key for OpenAI's own server; the address is no URL; a header names a variable that is not set, or
        is none.
    """
    key = os.environ.get(settings.api_key_variable, "").strip()
    if not key and settings.base_url is None:
        raise InputError(
            f"The environment variable {settings.api_key_variable} holds no key for {OPENAI_URL}",
            "Set it, or set llm.base_url to a server that needs none",
        )
    headers = {name: _header(name, value) for name, value in settings.headers.items()}
    remember([key, *headers.values()])
    address = address_of(settings)
    if not _is_address(address):
        raise InputError(f"llm.base_url is {address!r}, no address of a server", "Write it as http://host:port/v1")
    if not all(word.isascii() and word.isprintable() for word in (key, *headers, *headers.values())):
        raise InputError(
            f"The key in the environment variable {settings.api_key_variable}, or a header of llm.headers, has "
            "characters that no header may have",
            "Copy it again: one line of ASCII",
        )
    parts = urlsplit(address)
    remember([parts.password or ""])
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    version = query.pop(AZURE_VERSION, None)
    return Server(parts._replace(query="", fragment="").geturl(), key or "none", query, headers, version)


def connect_seconds(settings: LlmSettings) -> float:
    """How long a connection may take to come about."""
    return min(CONNECT_SECONDS, settings.timeout_seconds)


def _header(name: str, value: str) -> str:
    try:
        return Template(value).substitute(os.environ)
    except KeyError as missing:
        raise InputError(
            f"llm.headers.{name} names the environment variable {missing.args[0]}, which is not set", "Set it"
        ) from None
    except ValueError:
        raise InputError(
            f"llm.headers.{name} has a $ that names no environment variable", "Write ${NAME}, or $$ for a dollar sign"
        ) from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
