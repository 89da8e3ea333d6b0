"""Folders that are stored as a sparse autoencoder is, with any text in the place of weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from recsae_lib.sae.store import DESCRIPTION, FORMAT_VERSION, WEIGHTS


def write_stored(folder: Path, content: str) -> str:
    """Write such a folder, and return the digest that a version of it is registered with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_text(content, encoding="utf-8")
    digest = hashlib.sha256(content.encode()).hexdigest()
    sizes = {"num_latents": 1, "dimension": 1, "k": 1, "threshold": 0.0}
    description = {"format_version": FORMAT_VERSION, **sizes, "weights_sha256": digest}
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return digest
