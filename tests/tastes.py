"""Representations of the planted data set that no model of the suite made: what users and items like, as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.planted import FEATURES

ITEMS, DIMENSION = 240, 16


def taste_vectors(interactions: Path, noise: float = 0.05) -> tuple[pd.DataFrame, np.ndarray]:
    """Item vectors that say the planted feature, and users as the mean of their items."""
    random = np.random.default_rng(3)
    directions = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0][: len(FEATURES)]
    vectors = directions[np.arange(ITEMS) % len(FEATURES)] + noise * random.standard_normal((ITEMS, DIMENSION))
    rows = pd.read_csv(interactions)
    index = rows["item_id"].str.removeprefix("i").astype(int)
    users = pd.DataFrame(vectors[index]).groupby(rows["user_id"]).mean()
    return users, vectors


def write_lists(path: Path, **columns: pa.Array) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def representations_alone(folder: Path, users: pd.DataFrame) -> dict[str, Any]:
    """Settings of a recommender of which only users' representations are known, one of them broken."""
    x = [*users.to_numpy(np.float32).tolist(), [float("nan")] * DIMENSION]
    return {
        "representations": write_lists(
            folder / "x.parquet",
            user_id=pa.array([*users.index, "broken"]),
            representation=pa.array(x, pa.list_(pa.float32())),
        )
    }
