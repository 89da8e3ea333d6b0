"""Which item feature of the linked items a latent tells apart best: ROC-AUC of its activation, without any judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import VerificationSettings

PERMUTATIONS = 99
# No permutation may reach the AUC of a feature that is named: of latents without any link, one in 100 gets a name.
NAMED_BY_CHANCE = 1 / (PERMUTATIONS + 1)
FEWEST_USERS = 10  # users that a feature must be, and must not be, typical of
BLOCKS = 8  # groups of latents that are computed apart
ASSOCIATION_COLUMNS = (
    "latent_id int, best_feature string, best_feature_auc double, best_feature_null_auc double, "
    "best_feature_p_value double"
)


def best_feature_auc(
    activations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    settings: VerificationSettings,
    salt: str,
    seed: int,
) -> DataFrame:
    """Find the item feature of highest ROC-AUC for each latent, on users of the verify half (METHOD.md section 6).

    ::

        share_uf = linked items of u that carry f / linked items of u
        y_uf = 1 where share_uf > Σ_u linked items of u that carry f / Σ_u linked items of u, else 0        (ours)
        AUC_lf = (Σ_{u : y_uf = 1} rank of z_lu − n_f (n_f + 1) / 2) / (n_f (n − n_f)),   n_f = Σ_u y_uf
        AUC_l = max_f AUC_lf
        p_l = (1 + |{permutations of the users : AUC_l after it >= AUC_l}|) / (1 + 99)

    A user counts for a feature by comparison with all sampled users, since among some twenty recommended items nearly
    every genre occurs once. Ranks are mid-ranks, above all for the users for whom the latent does not fire. Features
    with fewer than 10 users on either side are left out: chance would make the largest AUC theirs.

    The largest AUC over many features is above 1/2 by chance. The null is therefore the largest AUC over features
    after the activations were shuffled among the users, 99 times: the p-value holds for the features of a latent
    together (the maxT procedure of Westfall and Young 1993). A latent gets a best feature only where its AUC is above
    1/2 and above all 99 (p = 0.01; ours). That is a test for one latent, not for all together: `NAMED_BY_CHANCE` times
    the latents is the number that gets one by chance.

    At most `association_users` users with linked items are drawn by hash. Their rows are sent to 8 tasks, each for an
    eighth of the latents: work and memory are bounded by those users times k and times the features of their items,
    however many users, items and latents there are, and all products are sparse.

    Parameters
    ----------
    activations : (user_id, latent_ids ARRAY<INT>, activations ARRAY<FLOAT>), one row a user.
    linked : (user_id, item_ids ARRAY<STRING>), one row a user.
    items : (item_id, features ARRAY<STRING>).
    settings : `association_users` is read.
    salt : of the split into halves.
    seed : of the draw and the permutations.

    Returns
    -------
    DataFrame
        (latent_id INT, best_feature STRING, best_feature_auc DOUBLE, best_feature_null_auc DOUBLE, the largest AUC of
        the 99, best_feature_p_value DOUBLE); one row for each latent that fires for a drawn user, none at all without
        a feature to try. The first two are null where p > 0.01. Equal AUCs are broken by the name of the feature.
    """
    users = _drawn_users(activations.where(~in_construct_half(F.col("user_id"), salt)), settings, seed)
    carried = _carried_features(users, linked, items)
    blocks = F.explode(F.sequence(F.lit(0), F.lit(BLOCKS - 1))).alias("block")
    return carried.select(blocks, "*").groupBy("block").applyInPandas(_associate_block(seed), ASSOCIATION_COLUMNS)


def _drawn_users(users: DataFrame, settings: VerificationSettings, seed: int) -> DataFrame:
    """Draw users by the order of a hash; about twice as many are sorted, not everybody."""
    place = F.xxhash64(F.lit("association"), F.lit(seed), "user_id")
    number = users.agg(F.count(F.lit(1)).alias("number"))
    return (
        users.crossJoin(F.broadcast(number))
        .where(F.pmod(place, F.col("number")) < 2 * settings.association_users)
        .orderBy(place, "user_id")
        .limit(settings.association_users)
        .select("user_id", "latent_ids", "activations")
    )


def _carried_features(users: DataFrame, linked: DataFrame, items: DataFrame) -> DataFrame:
    """Return (user_id, latent_ids, activations, linked_items, features), one row a user with linked items.

    `features` are those of all linked items, one after the other. The users meet their linked items by broadcast:
    neither all linked items nor all activations are shuffled.
    """
    drawn = (
        linked.select("user_id", F.array_distinct("item_ids").alias("item_ids"))
        .where(F.size("item_ids") > 0)
        .join(F.broadcast(users), "user_id", "inner")
        .select("user_id", "latent_ids", "activations", "item_ids")
    )
    features = F.array_except(F.array_distinct("features"), F.array(F.lit(None).cast("string")))
    return (
        drawn.select("*", F.explode("item_ids").alias("item_id"))
        .join(items.select("item_id", features.alias("features")), "item_id", "left")
        .groupBy("user_id")
        .agg(
            F.first("latent_ids").alias("latent_ids"),
            F.first("activations").alias("activations"),
            F.first(F.size("item_ids")).alias("linked_items"),
            F.flatten(F.collect_list("features")).alias("features"),
        )
    )


def _associate_block(seed: int) -> Callable[[tuple[int], pd.DataFrame], pd.DataFrame]:
    def associate(key: tuple[int], users: pd.DataFrame) -> pd.DataFrame:
        users = users.sort_values("user_id")
        names, typical = typical_features(users["features"], users["linked_items"].to_numpy())
        latents, ranks, silent = centred_ranks(users["latent_ids"], users["activations"], BLOCKS, key[0])
        if not len(names):
            return pd.DataFrame(columns=[column.split()[0] for column in ASSOCIATION_COLUMNS.split(", ")])
        best, auc, null_auc, p_value = best_against_null(ranks, silent, typical, seed)
        named = best >= 0
        return pd.DataFrame(
            {
                "latent_id": latents,
                "best_feature": pd.Series(names[best]).where(named),
                "best_feature_auc": np.where(named, auc, np.nan),
                "best_feature_null_auc": null_auc,
                "best_feature_p_value": p_value,
            }
        )

    return associate


def typical_features(features: pd.Series, linked_items: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Say which features are typical of which users: y of `best_feature_auc`.

    Parameters
    ----------
    features : of each of n users, names of the features of all linked items, one for each item that carries it.
    linked_items : (n,) number of linked items.

    Returns
    -------
    (names, typical) : (features,) rising names and y (n, features), those with enough users on either side.
    """
    users = len(linked_items)
    of_each = np.repeat(np.arange(users), features.map(len))
    names, code_of_each = np.unique(np.concatenate([np.empty(0, dtype=object), *features]), return_inverse=True)
    pairs, carried = np.unique(of_each * len(names) + code_of_each, return_counts=True)
    of_user, codes = np.divmod(pairs, max(len(names), 1))
    # Whole numbers: carried / linked of the user against carried / linked of all, multiplied out.
    by_all = np.zeros(len(names), dtype=np.int64)
    np.add.at(by_all, codes, carried)
    linked = linked_items.astype(np.int64)
    above = carried * linked.sum() > by_all[codes] * linked[of_user]
    typical = sparse.csr_matrix(
        (np.ones(above.sum()), (of_user[above], codes[above])), shape=(users, len(names)), dtype=np.float64
    )
    support = np.asarray(typical.sum(axis=0)).ravel()
    kept = np.flatnonzero((support >= FEWEST_USERS) & (users - support >= FEWEST_USERS))
    return names[kept], typical[:, kept]


def centred_ranks(
    latent_ids: pd.Series, activations: pd.Series, blocks: int = 1, block: int = 0
) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Rank the users of each latent by activation, as distance from the mid-rank of those for whom it is silent.

    Parameters
    ----------
    latent_ids, activations : of each of n users, the latents that fire and how strongly.
    blocks, block : only latents with latent_id mod `blocks` = `block`.

    Returns
    -------
    (latents, ranks, silent) : (L,) latent ids, the distances (L, n), sparse, and (L,) numbers of silent users.
    """
    users = len(latent_ids)
    of_user = np.repeat(np.arange(users), latent_ids.map(len))
    ids = np.concatenate([np.empty(0, dtype=np.int32), *latent_ids])
    values = np.concatenate([np.empty(0, dtype=np.float32), *activations])
    order = np.lexsort((values, ids))
    order = order[ids[order] % blocks == block]
    of_user, ids, values = of_user[order], ids[order], values[order]
    latents, first, row, firing = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
    ties = np.flatnonzero(np.r_[True, (np.diff(ids) != 0) | (np.diff(values) != 0)][: len(ids)])
    lengths = np.diff(np.r_[ties, len(ids)])
    mid_rank = np.repeat(ties + (lengths + 1) / 2, lengths) - first[row]  # among the firing users, from 1
    silent = users - firing
    distance = mid_rank + (silent[row] - 1) / 2
    return latents, sparse.csr_matrix((distance, (row, of_user)), shape=(len(latents), users)), silent


def best_against_null(
    ranks: sparse.csr_matrix, silent: np.ndarray, typical: sparse.csr_matrix, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pick the feature of largest AUC for each latent and hold it against permutations of the users.

    Parameters
    ----------
    ranks, silent : of L latents and n users, see `centred_ranks`.
    typical : (n, features), see `typical_features`.

    Returns
    -------
    (best, auc, null_auc, p_value) : (L,) index of the feature, −1 where a permutation reaches its AUC; that AUC; the
        largest AUC of the permutations; and the p-value of `best_feature_auc`.
    """
    best, auc = largest_auc(ranks, silent, typical)
    null_auc, reached = np.zeros(len(auc)), np.zeros(len(auc), dtype=np.int64)
    random = np.random.default_rng(seed)
    for _ in range(PERMUTATIONS):
        _, by_chance = largest_auc(ranks, silent, typical[random.permutation(typical.shape[0])])
        null_auc = np.maximum(null_auc, by_chance)
        reached += by_chance >= auc
    return np.where(reached == 0, best, -1), auc, null_auc, (1 + reached) / (1 + PERMUTATIONS)


def largest_auc(
    ranks: sparse.csr_matrix, silent: np.ndarray, typical: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Pick the feature of largest AUC above 1/2 for each latent: (L,) its index, or −1 with an AUC of 1/2.

    A feature of no user for whom the latent fires has an AUC below 1/2, so only the non-zero entries of a sparse
    product are looked at. Sums of half-integers are exact, so equal AUCs are equal bit by bit.
    """
    users = typical.shape[0]
    sums = (ranks @ typical).tocsr()
    positives = np.asarray(typical.sum(axis=0)).ravel()[sums.indices]
    row = np.repeat(np.arange(sums.shape[0]), np.diff(sums.indptr))
    wins = sums.data + positives * ((silent[row] + 1) / 2 - (positives + 1) / 2)
    auc = wins / (positives * (users - positives))
    largest = np.full(sums.shape[0], 0.5)
    np.maximum.at(largest, row, auc)
    reached = (auc == largest[row]) & (auc > 0.5)
    best = np.full(sums.shape[0], sums.shape[1])
    np.minimum.at(best, row[reached], sums.indices[reached])
    return np.where(best < sums.shape[1], best, -1), largest
