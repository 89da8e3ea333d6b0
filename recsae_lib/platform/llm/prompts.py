"""Prompt files: instructions to a language model, identified by their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from recsae_lib.errors import InputError


@dataclass(frozen=True)
class Prompt:
    """The system message of every request.

    Parameters
    ----------
    text : the file as it is, byte for byte.
    version : see `version_of`.
    """

    text: str
    version: str


def load_prompt(path: Path) -> Prompt:
    """Read a prompt file.

    Raises
    ------
    InputError : the file cannot be read, is not UTF-8, or says nothing.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(f"Cannot read the prompt file {path}: {error.strerror}", "Name a readable file") from None
    except UnicodeDecodeError:
        raise InputError(f"The prompt file {path} is not UTF-8 text", "Save it as UTF-8") from None
    if not text.strip():
        raise InputError(f"The prompt file {path} is empty", "Write the instructions into it")
    return Prompt(text, version_of(text))


def version_of(text: str) -> str:
    """First 16 hex digits of the SHA-256 of a prompt file."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
