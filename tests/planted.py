"""A small data set with a known truth: users follow item features, so latents should be about those features."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FEATURES = ("comedy", "horror", "western", "musical", "crime", "war", "romance", "space")
NOISE_WORDS = ("night", "day", "house", "river", "king", "road", "story", "light", "stone", "garden", "winter", "city")


def write_planted(folder: Path, users: int = 600, items: int = 240, length: int = 24, seed: int = 7) -> None:
    """Write interactions.csv and items.csv: each item has one feature, each user takes 90 % of items from one feature.

    Titles are random words that have nothing to do with the feature.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    feature_of = np.arange(items) % len(FEATURES)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "features"])
        for item in range(items):
            words = random.choice(NOISE_WORDS, size=3, replace=False)
            writer.writerow([f"i{item}", " ".join(words), FEATURES[feature_of[item]]])
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "ts"])
        for user in range(users):
            liked = user % len(FEATURES)
            own = random.permutation(np.flatnonzero(feature_of == liked))
            others = random.permutation(np.flatnonzero(feature_of != liked))
            of_own = random.random(length) < 0.9
            taken = [int(own[n]) if mine else int(others[n]) for n, mine in enumerate(of_own)]
            for step, item in enumerate(taken):
                writer.writerow([f"u{user}", f"i{item}", 1_700_000_000 + 1000 * user + step])


def change_planted(folder: Path, share: float, seed: int) -> None:
    """Give `share` of the interactions another item, any of the catalogue."""
    random = np.random.default_rng(seed)
    (_, *items), (header, *rows) = _read(folder / "items.csv"), _read(folder / "interactions.csv")
    for place in random.choice(len(rows), round(share * len(rows)), replace=False):
        rows[place][1] = items[random.integers(len(items))][0]
    _write(folder / "interactions.csv", [header, *rows])


def add_planted_feature(folder: Path, feature: str, items: int = 30, users: int = 75, length: int = 24) -> None:
    """Add items with a feature that no item had, and users who take nothing else."""
    random = np.random.default_rng(13)
    catalogue, interactions = _read(folder / "items.csv"), _read(folder / "interactions.csv")
    first = len(catalogue) - 1
    words = [" ".join(random.choice(NOISE_WORDS, size=3, replace=False)) for _ in range(items)]
    catalogue += [[f"i{first + item}", words[item], feature] for item in range(items)]
    for user in range(users):
        taken = first + random.permutation(items)[:length]
        interactions += [[f"{feature}{user}", f"i{item}", str(1_800_000_000 + n)] for n, item in enumerate(taken)]
    _write(folder / "items.csv", catalogue)
    _write(folder / "interactions.csv", interactions)


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
