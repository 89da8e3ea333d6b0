"""The users by whom units are judged: a bounded sample of both halves, with all that is known of them, as arrays.

It is drawn once by Spark, and shipped to the tasks that judge units; a task that holds it needs no shuffle of users.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.item_terms import item_terms
from recsae_lib.config import Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.frames import free, keep

USERS, ARRAYS, NAMES = "users.parquet", "arrays.npz", "features.parquet"


@dataclass(frozen=True)
class UserSample:
    """S users, the I distinct items linked to them, and the T terms of these items that matter.

    Parameters
    ----------
    user_ids : (S,) in an order that the ids decide.
    draws : (S,) int64, a hash of each user, by which users of a unit are drawn.
    construct : (S,) bool, whether the user belongs to the construct half.
    representations : (S, d) float32.
    linked : (S, I) CSR of ones, the linked items.
    item_terms : (I, T) CSR, how often an item has a term.
    terms : (T,) int64 hashes, rising.
    features : (F,) names of the item features among the terms, and `feature_terms` (F,) their places.
    seen_offsets, seen_items : item indices of the model that user s has seen:
        ``seen_items[seen_offsets[s]:seen_offsets[s + 1]]``; empty where the model scores no items.
    """

    user_ids: np.ndarray
    draws: np.ndarray
    construct: np.ndarray
    representations: np.ndarray
    linked: sparse.csr_matrix
    item_terms: sparse.csr_matrix
    terms: np.ndarray
    features: np.ndarray
    feature_terms: np.ndarray
    seen_offsets: np.ndarray
    seen_items: np.ndarray

    def __len__(self) -> int:
        return len(self.construct)

    def linked_items(self) -> np.ndarray:
        """Number of linked items of each user, (S,); at least 1."""
        return np.maximum(np.diff(self.linked.indptr), 1)

    def user_terms(self) -> sparse.csr_matrix:
        """How often the linked items of a user have a term, (S, T)."""
        return (self.linked @ self.item_terms).tocsr()

    def save(self, folder: Path) -> None:
        """Write files of plain numbers and texts; nothing is pickled."""
        pq.write_table(pa.Table.from_pydict({"user_id": pa.array(self.user_ids, pa.string())}), folder / USERS)
        pq.write_table(pa.Table.from_pydict({"feature": pa.array(self.features, pa.string())}), folder / NAMES)
        arrays = {name: getattr(self, name) for name in _PLAIN}
        for name in ("linked", "item_terms"):
            matrix = getattr(self, name)
            parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            arrays |= {f"{name}_{part}": values for part, values in parts.items()}
        np.savez(folder / ARRAYS, **arrays)

    @classmethod
    def load(cls, folder: Path) -> UserSample:
        """Read what `save` wrote."""
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            arrays = dict(file)
        users, items, terms = len(arrays["construct"]), len(arrays["item_terms_indptr"]) - 1, len(arrays["terms"])
        shapes = {"linked": (users, items), "item_terms": (items, terms)}
        matrices = {
            name: sparse.csr_matrix(tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")), shape)
            for name, shape in shapes.items()
        }
        user_ids = pq.read_table(folder / USERS)["user_id"].to_numpy()
        features = pq.read_table(folder / NAMES)["feature"].to_numpy()
        return cls(user_ids=user_ids, features=features, **{name: arrays[name] for name in _PLAIN}, **matrices)


_PLAIN = ("draws", "construct", "representations", "terms", "feature_terms", "seen_offsets", "seen_items")


@lru_cache(maxsize=1)
def worker_sample(folder: Path) -> UserSample:
    """Load a sample once a worker process."""
    return UserSample.load(folder)


def draw_users(
    representations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    named: DataFrame,
    interactions: DataFrame | None,
    settings: Settings,
) -> UserSample:
    """Draw about `verification.judged_users` users of each half by hash: everybody where there are no more.

    Only drawn users are shuffled, and only what is known of them comes to the driver: by the default of 20,000 users a
    half with 20 items each, some 50 MB.

    Parameters
    ----------
    representations : (user_id, representation ARRAY<FLOAT>), one row a user.
    linked : (user_id, item_ids ARRAY<STRING>), one row a user; users without an item are not drawn.
    items : (item_id, title, text, features …), the catalogue.
    named : (term, kind), the terms by which units are judged; others but item features are left out.
    interactions : (user_id, item_index INT) with items of the model; None where it scores no items.
    settings : `verification.judged_users`, `evidence.salt`, `terms` and `seed` are read.

    Raises
    ------
    InputError : nobody has both a representation and linked items.
    """
    drawn = keep(_drawn(representations, linked, settings))
    found: pd.DataFrame = drawn.toPandas()
    users = found.sort_values("user_id", ignore_index=True)
    if users.empty:
        raise InputError(
            "No user has both a representation and linked items", "Run extract_representations and recommend_items"
        )
    pairs, item_hashes = _codes(users["items"])
    terms, features = _terms_of(drawn, items, named, settings)
    known = np.unique(terms["term_hash"].to_numpy(np.int64))
    rows, columns = (
        np.searchsorted(codes, terms[name].to_numpy(np.int64))
        for codes, name in ((item_hashes, "item_hash"), (known, "term_hash"))
    )
    shape = (len(item_hashes), len(known))
    item_terms = sparse.csr_matrix((terms["occurrences"].to_numpy(np.float64), (rows, columns)), shape)
    histories = _seen_of(users["user_id"], drawn, interactions)
    free(drawn)
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    features = features.sort_values("term", ignore_index=True)
    return UserSample(
        user_ids=users["user_id"].to_numpy(),
        draws=users["draw"].to_numpy(np.int64),
        construct=users["construct"].to_numpy(bool),
        representations=np.stack(users["representation"].to_list()).astype(np.float32),
        linked=sparse.csr_matrix((np.ones(len(pairs[0])), pairs), (len(users), len(item_hashes))),
        item_terms=item_terms,
        terms=known,
        features=features["term"].to_numpy(),
        feature_terms=np.searchsorted(known, features["term_hash"].to_numpy(np.int64)),
        seen_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        seen_items=np.concatenate([np.empty(0, np.int64), *histories]).astype(np.int64),
    )


def is_drawn(users_of_half: Column, settings: Settings) -> Column:
    """Whether `user_id` is among the about `verification.judged_users` users that judge, of so many in its half."""
    return F.pmod(_draw(settings), users_of_half) < settings.verification.judged_users


def _draw(settings: Settings) -> Column:
    return F.xxhash64(F.lit("judged users"), F.lit(settings.seed), "user_id")


def _drawn(representations: DataFrame, linked: DataFrame, settings: Settings) -> DataFrame:
    construct = in_construct_half(F.col("user_id"), settings.evidence.salt)
    counts = representations.groupBy(construct.alias("construct")).count().collect()  # two rows
    number = {row["construct"]: row["count"] for row in counts}
    drawn = is_drawn(F.when(construct, number.get(True, 1)).otherwise(number.get(False, 1)), settings)
    hashes = F.array_distinct(F.transform("item_ids", lambda item: F.xxhash64(item)))
    of_items = linked.where(drawn & (F.size("item_ids") > 0)).select("user_id", "item_ids", hashes.alias("items"))
    return (
        representations.where(drawn)
        .select("user_id", construct.alias("construct"), _draw(settings).alias("draw"), "representation")
        .join(of_items, "user_id", "inner")
    )


def _codes(lists: pd.Series) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """(row, code) of each element of the lists, and the distinct elements, rising."""
    rows = np.repeat(np.arange(len(lists)), lists.map(len))
    distinct, codes = np.unique(np.concatenate([np.empty(0, np.int64), *lists]), return_inverse=True)
    return (rows, codes), distinct


def _terms_of(
    drawn: DataFrame, items: DataFrame, named: DataFrame, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(item_hash, term_hash, occurrences) of the linked items, and (term, term_hash) of the item features."""
    linked = drawn.select(F.explode("item_ids").alias("item_id")).distinct()
    wanted = F.broadcast(named.select("term", "kind").distinct().withColumn("named", F.lit(True)))
    term_hash = F.xxhash64("kind", "term").alias("term_hash")
    rows: pd.DataFrame = (
        item_terms(items.join(linked, "item_id", "left_semi"), settings.terms)
        .withColumn("item_hash", F.xxhash64("item_id"))
        .join(wanted, ["term", "kind"], "left")
        .where("named OR kind = 'feature'")
        .select(
            "item_hash", term_hash, F.when(F.col("kind") == "feature", F.col("term")).alias("feature"), "occurrences"
        )
        .toPandas()
    )
    of_features = rows.dropna(subset=["feature"])[["feature", "term_hash"]].drop_duplicates()
    return rows, of_features.rename(columns={"feature": "term"})


def _seen_of(user_ids: pd.Series, drawn: DataFrame, interactions: DataFrame | None) -> list[np.ndarray]:
    """Item indices that each user of the verify half has seen; nothing of the others."""
    if interactions is None:
        return [np.empty(0, np.int64)] * len(user_ids)
    verify = F.broadcast(drawn.where("NOT construct").select("user_id"))
    seen = interactions.join(verify, "user_id", "left_semi").groupBy("user_id").agg(F.collect_set("item_index"))
    found: pd.DataFrame = seen.toPandas()
    histories = dict(found.itertuples(index=False, name=None))
    return [np.sort(np.asarray(histories.get(user, ()), np.int64)) for user in user_ids]
