"""A recommender as a folder: recommender.json, weights.safetensors and vocabularies; nothing in it is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.bpr_mf import BprMf
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.sasrec import Sasrec
from recsae_lib.recommenders.vocabulary import FILES, MOST_ROWS, VocabularyKind, check_vocabulary

FORMAT_VERSION = 1
DESCRIPTION = "recommender.json"
WEIGHTS = "weights.safetensors"
LONGEST_DESCRIPTION = 1_000_000  # bytes
# Settings that the weights mean nothing without; the others only decide how they are trained.
ARCHITECTURE = {"layers", "heads", "history_length", "inner_dimension"}
SIZES = {"sasrec": ("item_count", "dimension"), "bpr_mf": ("user_count", "item_count", "dimension")}
LARGEST = {"user_count": MOST_ROWS, "item_count": MOST_ROWS, "dimension": 4096}


def save_recommender(model: Sasrec | BprMf, folder: Path) -> None:
    """Write the weights (float32), then recommender.json with kind, sizes and digests.

    The folder holds the vocabularies already (`write_vocabulary`): items.parquet, and users.parquet for a model that
    reads the user index. A folder that was left half-written is refused by `load_recommender`.

    Raises
    ------
    InputError : a weight is not finite, or a vocabulary is missing or of another size.
    """
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _refuse_not_finite(folder, weights)
    sizes = {"item_count": model.item_count, "dimension": model.dimension}
    if isinstance(model, BprMf):
        sizes["user_count"] = model.user_count
    for kind, rows in _vocabularies(sizes):
        check_vocabulary(folder, kind, rows)
    # Beside the target and renamed: a reader that has the old file mapped keeps it.
    save_file(weights, folder / f"{WEIGHTS}.part")
    os.replace(folder / f"{WEIGHTS}.part", folder / WEIGHTS)
    description = {
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "sizes": sizes,
        "settings": model.settings.model_dump(include=ARCHITECTURE) if isinstance(model, Sasrec) else {},
        "sha256": {name: _sha256(folder / name) for name in _files(sizes)},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_recommender(folder: Path) -> Recommender:
    """Read what `save_recommender` wrote, in evaluation mode; the weights stay mapped from the file.

    Raises
    ------
    InputError : a file is missing, truncated or does not match its digest, recommender.json states impossible sizes or
        settings, a shape differs from what it says, a weight is not finite, or a vocabulary does not fit.
    """
    description = _description(folder)
    for name, sha256 in description["sha256"].items():
        if _sha256(folder / name) != sha256:
            raise _refused(folder, f"{name} does not match the digest in {DESCRIPTION}")
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise _refused(folder, f"{WEIGHTS} cannot be read ({error})") from None
    model = _bare_model(folder, description)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise _refused(folder, f"the weights have the shapes {found}, expected {expected}")
    _refuse_not_finite(folder, weights)
    for kind, rows in _vocabularies(description["sizes"]):
        check_vocabulary(folder, kind, rows)
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval()


def weights_digest(folder: Path) -> str:
    """SHA-256 of kind, sizes, architecture and the digests of weights and vocabularies (`load_recommender` verifies).

    Raises
    ------
    InputError : recommender.json is missing or damaged.
    """
    return hashlib.sha256(json.dumps(_description(folder), sort_keys=True).encode()).hexdigest()


def reads_user_index(folder: Path) -> bool:
    """Whether the model looks users up, without reading its weights.

    Raises
    ------
    InputError : recommender.json is missing or damaged.
    """
    return "user_count" in _description(folder)["sizes"]


def _description(folder: Path) -> dict[str, Any]:
    try:
        with (folder / DESCRIPTION).open("rb") as file:
            description = json.loads(file.read(LONGEST_DESCRIPTION))
    except OSError as error:
        raise _refused(folder, f"{DESCRIPTION} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _refused(folder, f"{DESCRIPTION} is not valid JSON") from None
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        raise _refused(folder, f"{DESCRIPTION} is not of format version {FORMAT_VERSION}")
    if not isinstance(description.get("kind"), str) or description["kind"] not in SIZES:
        raise _refused(folder, f"{DESCRIPTION} states the unknown kind {description.get('kind')!r}")
    sizes = description.get("sizes")
    if not isinstance(sizes, dict) or sorted(sizes) != sorted(SIZES[description["kind"]]):
        raise _refused(folder, f"{DESCRIPTION} does not state the sizes {', '.join(SIZES[description['kind']])}")
    if not all(type(size) is int and 1 <= size <= LARGEST[name] for name, size in sizes.items()):
        raise _refused(folder, f"{DESCRIPTION} states impossible sizes ({sizes})")
    digests = description.get("sha256")
    if not isinstance(digests, dict) or sorted(digests) != sorted(_files(sizes)):
        raise _refused(folder, f"{DESCRIPTION} does not state the sha256 of {', '.join(_files(sizes))}")
    return description


def _bare_model(folder: Path, description: dict[str, Any]) -> Sasrec | BprMf:
    """Model without storage for its weights."""
    sizes, settings = description["sizes"], description.get("settings")
    with torch.device("meta"):
        if description["kind"] == "bpr_mf":
            return BprMf(**sizes)
        if not isinstance(settings, dict) or set(settings) != ARCHITECTURE:
            raise _refused(folder, f"{DESCRIPTION} does not state the settings {', '.join(sorted(ARCHITECTURE))}")
        try:
            return Sasrec(**sizes, settings=SasrecSettings.model_validate(settings, strict=True))
        except (ValidationError, InputError) as error:
            raise _refused(folder, f"{DESCRIPTION} states impossible settings ({settings})") from error


def _refuse_not_finite(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise _refused(folder, f"{name} is not finite float32")


def _vocabularies(sizes: dict[str, int]) -> list[tuple[VocabularyKind, int]]:
    named: tuple[VocabularyKind, ...] = ("item", "user")
    return [(kind, sizes[f"{kind}_count"]) for kind in named if f"{kind}_count" in sizes]


def _files(sizes: dict[str, int]) -> list[str]:
    return [WEIGHTS, *(FILES[kind] for kind, _ in _vocabularies(sizes))]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise _refused(path.parent, f"{path.name} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _refused(folder: Path, cause: str) -> InputError:
    return InputError(
        f"{folder} holds no intact recommender: {cause}", "Fetch or train it again (train_recommender writes it)"
    )
