"""A sparse autoencoder as a folder: sae.json (what it is) and weights.safetensors; nothing in it is unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import replacing, sha256_of
from recsae_lib.sae.model import SparseAutoencoder

# Another number only where a program of today would go wrong with the folder. Keys that are only new need none: an
# older program leaves them alone, a newer one knows what the folders of before mean without them.
FORMAT_VERSION = 2
READ_VERSIONS = (1, FORMAT_VERSION)  # 1: before there was BatchTopK, so that its threshold is 0
DESCRIPTION = "sae.json"
WEIGHTS = "weights.safetensors"
LONGEST_DESCRIPTION = 1_000_000  # bytes


def save_sae(sae: SparseAutoencoder, folder: str | Path, metadata: Mapping[str, Any], unit_rows: bool = True) -> None:
    """Write the weights (float32), then sae.json with sizes, digest and `metadata` (JSON values).

    A folder that was left half-written is refused by `load_sae`.

    Parameters
    ----------
    unit_rows : whether rows of W_dec are of unit norm, as `load_sae` then asks; those of a fitted decoder are not.
    """
    folder = Path(folder)
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    # Not written over the old file: a reader that has the old file mapped keeps it.
    with replacing(folder / WEIGHTS) as unfinished:
        save_file(weights, unfinished)
    description = {
        "format_version": FORMAT_VERSION,
        "num_latents": sae.num_latents,
        "dimension": sae.dimension,
        "k": sae.k,
        "threshold": sae.threshold,
        "weights_sha256": _sha256(folder / WEIGHTS),
        "metadata": dict(metadata),
        "unit_rows": unit_rows,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_sae(folder: str | Path, device: str = "cpu") -> SparseAutoencoder:
    """Read what `save_sae` wrote; on the CPU the weights stay mapped from the file.

    Raises
    ------
    InputError : a file is missing, truncated or does not match its digest, a shape differs from what sae.json says, a
        weight is not finite, or a row of W_dec is not of unit norm, which sae.json does not say.
    """
    folder = Path(folder)
    description = _description(folder)
    if _sha256(folder / WEIGHTS) != description["weights_sha256"]:
        raise _refused(folder, f"{WEIGHTS} does not match the digest in {DESCRIPTION}")
    try:
        weights = load_file(folder / WEIGHTS, device=device)
    except SafetensorError as error:
        raise _refused(folder, f"{WEIGHTS} cannot be read ({error})") from None
    latents, dimension = description["num_latents"], description["dimension"]
    expected = {
        "W_enc": (latents, dimension),
        "b_enc": (latents,),
        "W_dec": (latents, dimension),
        "b_dec": (dimension,),
    }
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise _refused(folder, f"the weights have the shapes {found}, expected {expected}")
    for name, tensor in weights.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise _refused(folder, f"{name} is not finite float32")
    if description.get("unit_rows") is not False and (weights["W_dec"].norm(dim=1) - 1).abs().max() > 1e-3:
        raise _refused(folder, "a row of W_dec is not of unit norm")
    return SparseAutoencoder(**weights, k=description["k"], threshold=float(description["threshold"]))


def weights_digest(folder: str | Path) -> str:
    """SHA-256 of the weights in the folder, as sae.json states it (`load_sae` verifies it).

    Raises
    ------
    InputError : sae.json is missing or damaged.
    """
    return str(_description(Path(folder))["weights_sha256"])


def _description(folder: Path) -> dict[str, Any]:
    try:
        with (folder / DESCRIPTION).open("rb") as file:
            description = json.loads(file.read(LONGEST_DESCRIPTION))
    except OSError as error:
        raise _refused(folder, f"{DESCRIPTION} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _refused(folder, f"{DESCRIPTION} is not valid JSON") from None
    if not isinstance(description, dict) or description.get("format_version") not in READ_VERSIONS:
        raise _refused(folder, f"{DESCRIPTION} is not of format version {FORMAT_VERSION} or before")
    if description["format_version"] == 1:
        description["threshold"] = 0.0
    sizes = [description.get(name) for name in ("num_latents", "dimension", "k")]
    if not all(type(size) is int and size >= 1 for size in sizes) or description["k"] > description["num_latents"]:
        raise _refused(folder, f"{DESCRIPTION} states impossible sizes (num_latents, dimension, k: {sizes})")
    threshold = description.get("threshold")
    if not isinstance(threshold, int | float) or not 0.0 <= threshold < math.inf:
        raise _refused(folder, f"{DESCRIPTION} states an impossible threshold ({threshold})")
    if not isinstance(description.get("weights_sha256"), str):
        raise _refused(folder, f"{DESCRIPTION} states no weights_sha256")
    return description


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise _refused(path.parent, f"{path.name} cannot be read ({error.strerror})") from None


def _refused(folder: Path, cause: str) -> InputError:
    return InputError(
        f"{folder} holds no intact sparse autoencoder: {cause}", "Fetch or train it again (train_sae writes it)"
    )
