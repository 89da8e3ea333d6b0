"""A recommender as a folder: recommender.json, weights.safetensors and vocabularies; nothing in it is unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import replacing, sha256_of
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.lightgcn import LightGcn
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.families.timirec import Timirec
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.vocabulary import FILES, MOST_ROWS, VocabularyKind, check_vocabulary

# Another number only where a program of today would go wrong with the folder. Keys that are only new need none: an
# older program leaves them alone, a newer one knows what the folders of before mean without them.
FORMAT_VERSION = 2
DESCRIPTION = "recommender.json"
WEIGHTS = "weights.safetensors"
LONGEST_DESCRIPTION = 1_000_000  # bytes
FAMILIES: dict[str, type[BprMf | LightGcn | Sasrec | Timirec]] = {
    family.kind: family for family in (BprMf, LightGcn, Sasrec, Timirec)
}
ARCHITECTURES: dict[str, tuple[str, ...]] = {
    **{kind: family.architecture for kind, family in FAMILIES.items()},
    ModuleRecommender.kind: ModuleRecommender.architecture,
    External.kind: External.architecture,
}
# The sizes that a model of a kind may state; one without a dimension has no weights.
SIZES: dict[str, tuple[tuple[str, ...], ...]] = {
    **{kind: (family.size_names,) for kind, family in FAMILIES.items()},
    ModuleRecommender.kind: (("item_count", "dimension"), ("item_count", "dimension", "user_count")),
    External.kind: (("item_count", "dimension"), ("item_count",)),
}
StoredModel = BprMf | LightGcn | Sasrec | Timirec | ModuleRecommender | External
WEIGHTS_SHOWN = 5  # that do not fit
LARGEST = {"user_count": MOST_ROWS, "item_count": MOST_ROWS, "dimension": 4096}


@dataclass(frozen=True)
class StoredDescription:
    """What recommender.json says of a model, beside its digests.

    Parameters
    ----------
    kind : name of the family.
    sizes : its sizes (`Recommender.size_names`).
    settings : its architecture (`Recommender.architecture`).
    split : what it was not trained on.
    """

    kind: str
    sizes: dict[str, int]
    settings: dict[str, Any]
    split: Split

    @property
    def reads_user_index(self) -> bool:
        """Whether the model looks users up."""
        return "user_count" in self.sizes


def save_recommender(model: StoredModel, split: Split, folder: Path) -> None:
    """Write the weights (float32; those of a module of your own as they are), then recommender.json with kind, sizes,
    split and digests.

    The folder holds the vocabularies already (`write_vocabulary`): items.parquet, and users.parquet for a model that
    reads the user index. A folder that was left half-written is refused by `load_recommender`.

    Raises
    ------
    InputError : a weight is not finite, or a vocabulary is missing or of another size.
    """
    # Tied weights share their memory, which the format does not know: each name gets its own.
    weights = {
        name: tensor.detach().clone().cpu().contiguous()
        if isinstance(model, ModuleRecommender)
        else tensor.detach().float().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    _refuse_not_finite(folder, model.kind, weights)
    sizes = {name: getattr(model, name) for name in model.size_names}
    for kind, rows in _vocabularies(sizes):
        check_vocabulary(folder, kind, rows)
    # Not written over the old file: a reader that has the old file mapped keeps it.
    if "dimension" in sizes:
        with replacing(folder / WEIGHTS) as unfinished:
            save_file(weights, unfinished)
    description = {
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "sizes": sizes,
        "settings": {name: getattr(model.settings, name) for name in model.architecture},
        "split": split.as_json(),
        "sha256": {name: _sha256(folder / name) for name in _files(sizes)},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_recommender(folder: Path, factory: str | None = None) -> Recommender:
    """Read what `save_recommender` wrote, in evaluation mode; the weights stay mapped from the file.

    Parameters
    ----------
    factory : call whose code may be imported (`RecommenderSettings.factory`), for a module of your own: what a
        registry says is no reason to run code.

    Raises
    ------
    InputError : a file is missing, truncated or does not match its digest, recommender.json states impossible sizes or
        settings or another factory, a shape differs from what it says, a weight is not finite, or a vocabulary does not
        fit.
    """
    description = _description(folder)
    for name, sha256 in description["sha256"].items():
        if _sha256(folder / name) != sha256:
            raise _refused(folder, f"{name} does not match the digest in {DESCRIPTION}")
    try:
        weights = load_file(folder / WEIGHTS) if "dimension" in description["sizes"] else {}
    except SafetensorError as error:
        raise _refused(folder, f"{WEIGHTS} cannot be read ({error})") from None
    model = _bare_model(folder, description, factory)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        others = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))[:WEIGHTS_SHOWN]
        differences = [f"{name} {found.get(name)}, expected {expected.get(name)}" for name in others]
        raise _refused(folder, f"the shapes of the weights differ: {'; '.join(differences)}")
    _refuse_not_finite(folder, description["kind"], weights)
    for kind, rows in _vocabularies(description["sizes"]):
        check_vocabulary(folder, kind, rows)
    model.load_state_dict(weights, assign=True)
    if isinstance(model, ModuleRecommender):
        model.check_rows()
    return model.requires_grad_(False).eval()


def weights_digest(folder: Path) -> str:
    """SHA-256 of kind, sizes, architecture and the digests of weights and vocabularies (`load_recommender` verifies).

    Raises
    ------
    InputError : recommender.json is missing or damaged.
    """
    return hashlib.sha256(json.dumps(_description(folder), sort_keys=True).encode()).hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the weights and vocabularies by file name, as recommender.json states them.

    Raises
    ------
    InputError : recommender.json is missing or damaged.
    """
    return dict(_description(folder)["sha256"])


def read_description(folder: Path) -> StoredDescription:
    """Read recommender.json, without the weights.

    Raises
    ------
    InputError : it is missing or damaged.
    """
    description = _description(folder)
    try:
        split = Split.from_json(description.get("split"))
    except ValueError:
        raise _refused(folder, f"{DESCRIPTION} states an impossible split") from None
    settings = description.get("settings")
    if not isinstance(settings, dict):
        raise _refused(folder, f"{DESCRIPTION} states no settings")
    return StoredDescription(description["kind"], description["sizes"], settings, split)


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
    allowed = SIZES[description["kind"]]
    if not isinstance(sizes, dict) or sorted(sizes) not in [sorted(names) for names in allowed]:
        raise _refused(folder, f"{DESCRIPTION} does not state the sizes {', '.join(allowed[0])}")
    if not all(type(size) is int and 1 <= size <= LARGEST[name] for name, size in sizes.items()):
        raise _refused(folder, f"{DESCRIPTION} states impossible sizes ({sizes})")
    digests = description.get("sha256")
    if not isinstance(digests, dict) or sorted(digests) != sorted(_files(sizes)):
        raise _refused(folder, f"{DESCRIPTION} does not state the sha256 of {', '.join(_files(sizes))}")
    return description


def _bare_model(folder: Path, description: dict[str, Any], factory: str | None) -> StoredModel:
    """Model without storage for its weights, as far as its code is ours."""
    kind, settings = description["kind"], description.get("settings")
    if not isinstance(settings, dict) or sorted(settings) != sorted(ARCHITECTURES[kind]):
        raise _refused(folder, f"{DESCRIPTION} does not state the settings {', '.join(ARCHITECTURES[kind])}")
    try:
        if kind == ModuleRecommender.kind:
            return ModuleRecommender.from_description(description["sizes"], settings, factory)
        with torch.device("meta"), _Uninitialised():
            if kind == External.kind:
                return External.from_description(description["sizes"], settings)
            return FAMILIES[kind].from_description(description["sizes"], settings)
    except ValidationError as error:
        raise _refused(folder, f"{DESCRIPTION} states impossible settings ({settings})") from error
    except InputError as error:
        if kind == ModuleRecommender.kind:
            raise
        raise _refused(folder, f"{DESCRIPTION} states impossible settings ({settings})") from error


class _Uninitialised(TorchFunctionMode):
    """Leaves out initial weights: a model without storage has none.

    Gain: 2 s in every process that loads a recommender, each Python worker of Spark among them: torch 2.13 imports its
    compiler to draw random numbers without storage. Delete this when it does not.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _refuse_not_finite(folder: Path, kind: str, weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if kind == ModuleRecommender.kind:
            if tensor.is_floating_point() and tensor.isnan().any():  # an infinity may be a mask
                raise _refused(folder, f"{name} holds NaN")
        elif tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise _refused(folder, f"{name} is not finite float32")


def _vocabularies(sizes: dict[str, int]) -> list[tuple[VocabularyKind, int]]:
    named: tuple[VocabularyKind, ...] = ("item", "user")
    return [(kind, sizes[f"{kind}_count"]) for kind in named if f"{kind}_count" in sizes]


def _files(sizes: dict[str, int]) -> list[str]:
    weights = [WEIGHTS] if "dimension" in sizes else []
    return [*weights, *(FILES[kind] for kind, _ in _vocabularies(sizes))]


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise _refused(path.parent, f"{path.name} cannot be read ({error.strerror})") from None


def _refused(folder: Path, cause: str) -> InputError:
    return InputError(
        f"{folder} holds no intact recommender: {cause}", "Fetch or train it again (train_recommender writes it)"
    )
