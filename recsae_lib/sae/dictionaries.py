"""The dictionaries that a stored SAE is compared with, in folders beside its weights, and what each reconstructs.

::

    sae.json, weights.safetensors      the SAE
    dictionaries/sae-1 …               replicas: the same settings, other seeds
    dictionaries/untrained-1 …         baselines, see `sae.baselines`
    dictionaries/figures.json          {"sae-0": {"fvu": …, "ndcg@10_kept": …}, "sae-1": …}; sae-0 is the SAE itself

Each folder is one of `sae.store`. Versions of recsae 0.1 have a folder `initial` instead: their untrained-1.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import write_whole
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import DESCRIPTION, save_sae

FOLDER, FIGURES, BEFORE = "dictionaries", "figures.json", "initial"
KINDS = (
    *(UnitKind.SAE, UnitKind.UNTRAINED, UnitKind.UNTRAINED_FITTED),
    *(UnitKind.CLUSTER, UnitKind.RANDOM_USER, UnitKind.DIMENSION),
)
UNIT_ROWS = (UnitKind.SAE, UnitKind.UNTRAINED)  # whose rows of W_dec are of unit norm
NAME = re.compile(r"([a-z_]+)-(0|[1-9][0-9]{0,3})")

Key = tuple[UnitKind, int]
Figures = dict[Key, dict[str, float]]


@dataclass(frozen=True)
class Dictionary:
    """One dictionary beside a stored SAE.

    Parameters
    ----------
    kind : `UnitKind.SAE` of a replica.
    number : from 1.
    folder : what `load_sae` reads.
    """

    kind: UnitKind
    number: int
    folder: Path


def dictionaries_of(folder: Path) -> list[Dictionary]:
    """List the dictionaries that a stored SAE has beside it, by kind in the order of `KINDS`, then by number.

    Folders of other names, which a newer release may have written, are left out. Nothing is loaded.
    """
    places = (folder / FOLDER).iterdir() if (folder / FOLDER).is_dir() else ()
    keyed = {key: place for place in places if (key := _key(place.name)) is not None and key[1] > 0}
    if not keyed and (folder / BEFORE / DESCRIPTION).is_file():
        keyed = {(UnitKind.UNTRAINED, 1): folder / BEFORE}
    return [Dictionary(*key, keyed[key]) for key in sorted(keyed, key=_order)]


def first_replica(folder: Path) -> Path | None:
    """Folder of the first replica that a stored SAE has beside it; None where it has none."""
    return next((one.folder for one in dictionaries_of(folder) if one.kind == UnitKind.SAE), None)


def dictionary_folder(folder: Path, kind: UnitKind, number: int) -> Path:
    """Folder of one dictionary that a stored SAE has beside it.

    Raises
    ------
    InputError : it has none such.
    """
    for found in dictionaries_of(folder):
        if (found.kind, found.number) == (kind, number):
            return found.folder
    raise InputError(f"{folder} has no dictionary {name_of((kind, number))}", "Train the SAE again (train_sae)")


def figures_of(folder: Path) -> Figures:
    """Read what each dictionary reconstructs and keeps, by kind and number; of (sae, 0) the SAE itself.

    ``fvu`` is that of a sample of training rows within reach. ``ndcg@10_kept`` is the share of test NDCG@10 that is
    kept, absent where nobody is held out. Empty for versions of before there were figures.

    Raises
    ------
    InputError : the file is damaged.
    """
    file = folder / FOLDER / FIGURES
    if not file.is_file():
        return {}
    try:
        read = json.loads(file.read_bytes())
        named = {name: {figure: float(value) for figure, value in of.items()} for name, of in read.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{file} is no table of figures", "Fetch or train the SAE again") from None
    finite = {name: {figure: v for figure, v in of.items() if math.isfinite(v)} for name, of in named.items()}
    return {key: finite[name] for name in finite if (key := _key(name)) is not None}


def write_dictionaries(
    folder: Path,
    sae: SparseAutoencoder,
    others: Iterable[tuple[UnitKind, int, SparseAutoencoder]],
    metadata: Mapping[str, Any],
    measure: Callable[[SparseAutoencoder], dict[str, float]],
) -> Figures:
    """Write dictionaries beside an SAE, one at a time, and their figures and those of the SAE itself.

    Parameters
    ----------
    others : kind, number and dictionary; may be made on the way.
    measure : figures of one.
    """
    figures: Figures = {(UnitKind.SAE, 0): measure(sae)}
    for kind, number, other in others:
        save_sae(other, folder / FOLDER / name_of((kind, number)), metadata, unit_rows=kind in UNIT_ROWS)
        figures[kind, number] = measure(other)
    named = {name_of(key): figures[key] for key in sorted(figures, key=_order)}
    write_whole(folder / FOLDER / FIGURES, (json.dumps(named, indent=2) + "\n").encode())
    return figures


def name_of(key: Key) -> str:
    """Name of a dictionary: of its folder and in figures.json."""
    return f"{key[0]}-{key[1]}"


def _key(name: str) -> Key | None:
    """Kind and number that a name states; None of other names."""
    matched = NAME.fullmatch(name)
    kinds = [kind for kind in KINDS if matched and kind.value == matched[1]]
    return (kinds[0], int(matched[2])) if matched and kinds else None


def _order(key: Key) -> tuple[int, int]:
    return KINDS.index(key[0]), key[1]
