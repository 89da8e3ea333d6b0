"""A small data set with a known truth: users follow item features, so latents should be about those features."""

from __future__ import annotations

import csv
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
