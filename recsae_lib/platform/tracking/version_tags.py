"""The tags of registered versions: what `Registry` keeps in them for later jobs, checked when it is read."""

from __future__ import annotations

import json
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from recsae_lib.errors import InputError
from recsae_lib.platform.remote_names import sha256_digest

DIGEST_TAG = "recsae.weights_sha256"
FILES_TAG, METRICS_TAG = "recsae.files_sha256", "recsae.metrics"  # JSON: of each file by name; of the run, by name


def stated_digest(version: ModelVersion) -> str | None:
    """Digest of the weights of a version, which becomes the name of a folder; None where it states none.

    Raises
    ------
    InputError : the tag is no SHA-256.
    """
    if DIGEST_TAG not in version.tags:
        return None
    return sha256_digest(version.tags[DIGEST_TAG], f"The tag {DIGEST_TAG} of {version.name} version {version.version}")


def kept_in(version: ModelVersion, tag: str) -> dict[str, Any]:
    """What was kept in a tag at registration, by name; nothing of a version that an earlier release registered.

    Raises
    ------
    InputError : the tag is no JSON object.
    """
    try:
        kept = json.loads(version.tags.get(tag, "{}"))
    except ValueError:
        kept = None
    if not isinstance(kept, dict):
        raise InputError(
            f"The tag {tag} of {version.name} version {version.version} is no JSON object", "Remove it, or train again"
        )
    return kept
