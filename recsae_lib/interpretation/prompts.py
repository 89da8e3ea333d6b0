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
    version : first 16 hex digits of the SHA-256 of the file.
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
    return Prompt(text, hashlib.sha256(content).hexdigest()[:16])
