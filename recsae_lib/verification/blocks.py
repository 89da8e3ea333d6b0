"""A block of units judged on a sample of users, in one task: verdicts, drawn cases, best feature, removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from scipy import sparse

from recsae_lib.concepts.association import Associations, associate
from recsae_lib.config import Settings
from recsae_lib.verification.cases import KINDS, draw_cases
from recsae_lib.verification.removal import (
    LIST_LENGTH,
    NOT_MEASURED,
    BestItems,
    Moves,
    Removal,
    moves_of,
    removal_effects,
)
from recsae_lib.verification.sample_size import cases_of_each_kind
from recsae_lib.verification.term_judge import (
    NOT_JUDGED,
    Sides,
    UnitVerdict,
    best_threshold,
    judge_unit,
    sides,
    user_scores,
)
from recsae_lib.verification.user_sample import UserSample

VERDICT = tuple(field.name for field in fields(UnitVerdict))
FIGURE_COLUMNS = (
    "latent_id int, "
    + ", ".join(f"{prefix}{name} double" for prefix in ("", "shuffled_") for name in VERDICT)
    + ", best_feature string, best_feature_auc double, best_feature_null_auc double, best_feature_p_value double, "
    + ", ".join(f"removal_{field.name} double" for field in fields(Removal))
)
BLOCK_COLUMNS = (
    f"{FIGURE_COLUMNS}, cases_drawn array<struct<user_id: string, kind: string, fires: boolean, judged: boolean>>"
)


@dataclass(frozen=True)
class Scorer:
    """What a recommender makes of moved representations.

    Parameters
    ----------
    best_items : best items of vectors, for the users of the sample that they belong to.
    doses : (S,) how far x moves where dictionaries are compared at an equal dose.
    carriers : item indices that have a term, by its hash.
    item_count : n
    """

    best_items: BestItems
    doses: np.ndarray
    carriers: Mapping[int, np.ndarray]
    item_count: int


def judge_block(
    units: pd.DataFrame,
    activations: sparse.csr_matrix,
    decoder: np.ndarray,
    first: int,
    sample: UserSample,
    scorer: Scorer | None,
    shuffle: bool,
    settings: Settings,
) -> pd.DataFrame:
    """Judge units by all users of a sample (METHOD.md section 6).

    Parameters
    ----------
    units : (latent_id, terms, weights, is_feature, shuffled_terms, shuffled_weights, neighbours), one row a unit, by
        rising id: hashes of the terms that name it with their weights, those of another unit, and its nearest others.
    activations : (S, M) of all units of the dictionary.
    decoder : (M, d) W_dec.
    first : id of unit 0 of the dictionary.
    scorer : None where the representations are not what items are scored from.
    shuffle : whether the terms of other units judge as well.

    Returns
    -------
    DataFrame : `BLOCK_COLUMNS`, one row a unit; a figure that cannot be measured is NaN.
    """
    places = units["latent_id"].to_numpy() - first
    of_block = activations[:, places].tocsc()
    who = sides(of_block, _fires_any(activations, units["neighbours"], first), settings.verification.minimum_level)
    rows: dict[str, object] = {"latent_id": units["latent_id"].to_numpy()}
    user_terms = sample.user_terms()
    verdicts, said = _judge(units["terms"], units["weights"], who, sample, user_terms)
    rows |= {name: [getattr(verdict, name) for verdict in verdicts] for name in VERDICT}
    by_others = [NOT_JUDGED] * len(units)
    if shuffle:
        by_others, _ = _judge(units["shuffled_terms"], units["shuffled_weights"], who, sample, user_terms)
    rows |= {f"shuffled_{name}": [getattr(verdict, name) for verdict in by_others] for name in VERDICT}
    rows["cases_drawn"] = _drawn_cases(units, who, sample, said, settings)
    rows |= _association(of_block, sample, settings)
    removals = [NOT_MEASURED] * len(units)
    if scorer is not None:
        removals = _removals(units, places, of_block, activations, decoder, sample, scorer, settings)
    rows |= {f"removal_{name}": [asdict(one)[name] for one in removals] for name in asdict(NOT_MEASURED)}
    return pd.DataFrame(rows)


def _fires_any(activations: sparse.csr_matrix, neighbours: pd.Series, first: int) -> np.ndarray:
    """(S, L) bool: whether any of the neighbours of each unit fires."""
    units = np.repeat(np.arange(len(neighbours)), neighbours.map(len))
    places = np.concatenate([np.empty(0, np.int64), *neighbours]).astype(np.int64) - first
    shape = (activations.shape[1], len(neighbours))
    near = sparse.csr_matrix((np.ones(len(units), np.float32), (places, units)), shape)
    fires: np.ndarray = (activations @ near).toarray() > 0
    return fires


def _judge(
    terms: pd.Series, weights: pd.Series, who: Sides, sample: UserSample, user_terms: sparse.csr_matrix
) -> tuple[list[UnitVerdict], np.ndarray]:
    """Verdict on each unit, and of each user (S, L) whether it is said to fire."""
    of_unit = np.repeat(np.arange(len(terms)), terms.map(len))
    hashes = np.concatenate([np.empty(0, np.int64), *terms]).astype(np.int64)
    values = np.concatenate([np.empty(0), *weights]).astype(np.float64)
    place = np.minimum(np.searchsorted(sample.terms, hashes), max(len(sample.terms) - 1, 0))
    known = sample.terms[place] == hashes if len(sample.terms) else np.zeros(len(hashes), bool)
    scores = np.zeros((len(sample), len(terms)))
    found = user_scores(user_terms, sample.linked_items(), place[known], of_unit[known], values[known])
    scores[:, : found.shape[1]] = found
    construct, verify = sample.construct, ~sample.construct
    built, held_out = who.of(construct), who.of(verify)
    verdicts, said = [], np.zeros(scores.shape, dtype=bool)
    for unit in range(len(terms)):
        named = len(terms.iloc[unit]) > 0
        threshold = best_threshold(built.of_unit(unit), scores[construct, unit]) if named else float("inf")
        said[:, unit] = scores[:, unit] > threshold
        verdicts.append(judge_unit(held_out.of_unit(unit), scores[verify, unit], threshold))
    return verdicts, said


def _drawn_cases(
    units: pd.DataFrame, who: Sides, sample: UserSample, said: np.ndarray, settings: Settings
) -> list[list[dict[str, object]]]:
    """Cases of each unit, drawn from the verify half, with what its terms say."""
    verify = np.flatnonzero(~sample.construct)
    held_out, per_kind = who.of(verify), cases_of_each_kind(settings.verification)
    drawn = []
    for unit, latent in enumerate(units["latent_id"]):
        cases = draw_cases(held_out.of_unit(unit), sample.draws[verify], int(latent), per_kind)
        users = verify[cases.users]
        drawn.append(
            [
                {
                    "user_id": sample.user_ids[user],
                    "kind": KINDS[kind],
                    "fires": bool(kind == 0),
                    "judged": bool(said[user, unit]),
                }
                for user, kind in zip(users, cases.kinds, strict=True)
            ]
        )
    return drawn


def _association(of_block: sparse.csc_matrix, sample: UserSample, settings: Settings) -> dict[str, object]:
    verify = np.flatnonzero(~sample.construct)
    found: Associations = associate(
        of_block[verify].tocsc(),
        sample.linked[verify],
        sample.item_terms[:, sample.feature_terms],
        settings.coverage.minimum_document_frequency,
        settings.seed,
    )
    names = [sample.features[place] if place >= 0 else None for place in found.best]
    return {
        "best_feature": names,
        "best_feature_auc": np.where(found.best >= 0, found.auc, np.nan),
        "best_feature_null_auc": found.null_auc,
        "best_feature_p_value": found.p_value,
    }


def _removals(
    units: pd.DataFrame,
    places: np.ndarray,
    of_block: sparse.csc_matrix,
    activations: sparse.csr_matrix,
    decoder: np.ndarray,
    sample: UserSample,
    scorer: Scorer,
    settings: Settings,
) -> list[Removal]:
    verify = ~sample.construct
    firing = np.asarray((activations[verify] > 0).sum(axis=0)).ravel() > 0
    alive = np.flatnonzero(firing & (np.linalg.norm(decoder, axis=1) > 0))
    moves: list[Moves] = []
    measured: list[int] = []
    for unit, (place, latent) in enumerate(zip(places, units["latent_id"], strict=True)):
        users = of_block.indices[of_block.indptr[unit] : of_block.indptr[unit + 1]]
        values = of_block.data[of_block.indptr[unit] : of_block.indptr[unit + 1]]
        kept = verify[users]
        users, values = users[kept], values[kept]
        others = alive[alive != place]
        if not len(users) or not len(others) or place not in alive or not _removed_terms(units.iloc[unit]):
            continue
        drawn = np.argsort(sample.draws[users], kind="stable")[: settings.verification.removal_users]
        users, values = users[drawn], values[drawn]
        random = np.random.default_rng([settings.seed, int(latent)])
        other = decoder[random.choice(others, len(users))]
        moves.append(moves_of(sample.representations, users, values, decoder[place], other, scorer.doses[users]))
        measured.append(unit)
    if not moves:
        return [NOT_MEASURED] * len(units)
    everybody = np.unique(np.concatenate([move.users for move in moves]))
    before = np.full((len(sample), LIST_LENGTH), -1, dtype=np.int64)
    before[everybody] = scorer.best_items(sample.representations[everybody], everybody)

    def values_of(number: int) -> np.ndarray:
        values = np.zeros(scorer.item_count)
        for term, weight in _removed_terms(units.iloc[measured[number]]):
            np.add.at(values, scorer.carriers.get(term, np.empty(0, np.int64)), weight)
        return values

    effects = dict(
        zip(measured, removal_effects(before, moves, values_of, scorer.best_items, settings.seed), strict=True)
    )
    return [effects.get(unit, NOT_MEASURED) for unit in range(len(units))]


def _removed_terms(unit: pd.Series) -> list[tuple[int, float]]:
    """Terms whose share in the lists is measured, with their weights: the item features that name a unit, and its
    words where no feature does.
    """
    named = list(zip(unit["terms"].tolist(), unit["weights"].tolist(), unit["is_feature"].tolist(), strict=True))
    features = [(term, weight) for term, weight, is_feature in named if is_feature and weight > 0]
    return features or [(term, weight) for term, weight, _ in named if weight > 0]
