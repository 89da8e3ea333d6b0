"""Which SAE of a sweep an audit takes: the one of most confirmed concepts, of those that reconstruct well enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import Settings
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.dictionaries import Dictionary, first_replica
from recsae_lib.sae.training.sweep import Contender
from recsae_lib.verification.comparison import frequent_features, of_dictionary
from recsae_lib.verification.judging import JudgedDictionary
from recsae_lib.verification.metrics import dictionary_metrics
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.units import judge_side_by_side


@dataclass(frozen=True)
class Found:
    """What a contender has on users of the construct half.

    Parameters
    ----------
    live, interpretable, confirmed : units.
    coverage : share of the item features that at least 5 items carry that are a significant term of a confirmed unit;
        None where no feature is as frequent.
    """

    live: int
    interpretable: int
    confirmed: int
    coverage: float | None


def judge_contenders(contenders: Sequence[Contender], around: Surroundings, settings: Settings) -> list[Found]:
    """Count the concepts of each contender on the users of the construct half alone.

    Names are built on one half of these users and judged on the other one. No user of the verify half decides, so that
    what the audit says later of the one that is taken is no better for having been taken.
    """
    own = in_construct_half(F.col("user_id"), settings.evidence.salt)
    evidence = settings.evidence.model_copy(update={"salt": f"{settings.evidence.salt} choice"})
    dictionaries = [Dictionary(UnitKind.SAE, number, one.folder) for number, one in enumerate(contenders, start=1)]
    partners = [first_replica(one.folder) for one in contenders]
    judged = judge_side_by_side(
        dictionaries,
        partners,
        JudgedDictionary(1, contenders[0].folder, partners[0]),
        replace(around, representations=around.representations.where(own)),
        settings.model_copy(update={"evidence": evidence}),
    )
    scores = judged.verdicts.scores(settings)
    features, frequent = frequent_features(around.items, judged.concept_terms)
    judged.release()
    return [
        _found(of_dictionary(scores, one.number), of_dictionary(features, one.number), frequent, settings)
        for one in dictionaries
    ]


def _found(scores: pd.DataFrame, features: pd.DataFrame, frequent: Mapping[int, int], settings: Settings) -> Found:
    metrics = dictionary_metrics(scores, features, frequent, settings.verification)
    live, interpretable, confirmed = (
        int(metrics[f"{what}_units"] or 0) for what in ("live", "interpretable", "confirmed")
    )
    return Found(live, interpretable, confirmed, metrics["feature_coverage_of_confirmed"])


def is_faithful(contender: Contender, least: float) -> bool:
    """Whether a contender keeps at least this share of dev NDCG@10; true where that cannot be measured."""
    return contender.kept is None or contender.kept >= least


def choose(contenders: Sequence[Contender], found: Sequence[Found], least: float) -> int:
    """Give the place of the contender that an audit takes.

    Of those that keep at least `least` of dev NDCG@10 it is the one of most confirmed concepts, then of most
    interpretable ones, then of fewest latents, then the first. Where none keeps as much, it is the one that keeps most.
    """
    places = range(len(contenders))
    faithful = [place for place in places if is_faithful(contenders[place], least)]
    if not faithful:
        return max(places, key=lambda place: contenders[place].kept or 0.0)
    return max(
        faithful,
        key=lambda place: (
            found[place].confirmed,
            found[place].interpretable,
            -contenders[place].num_latents,
            -place,
        ),
    )
