"""Whether what one recommender has learned is found in another one: their units matched by how they fire for users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.warehouse.publications import last_of_each_date, publications
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.dictionaries import dictionaries_of
from recsae_lib.sae.store import load_sae
from recsae_lib.verification.found_again import find_again
from recsae_lib.verification.judging import encode_sample
from recsae_lib.verification.sample_size import wilson_interval

KINDS = (UnitKind.SAE, UnitKind.UNTRAINED, UnitKind.CLUSTER)


@dataclass(frozen=True)
class Source:
    """A published audit whose units are looked for in others.

    Parameters
    ----------
    model : as the study names it.
    context : of the audit, at one probing site.
    representations : those that it has audited.
    folders : of the weights of its SAE, and of the first dictionary of other `KINDS`.
    """

    model: str
    context: JobContext
    representations: RepresentationSet
    folders: dict[UnitKind, Path]

    @classmethod
    def of_audit(cls, model: str, context: JobContext) -> Source:
        """The audit that was published last for the date of the context."""
        published = last_of_each_date(publications(context.warehouse))[context.dt]
        version, site = published.model_version, context.site
        bulk, name = context.settings.paths.bulk, context.recommender_name
        folder = context.registry.fetch(context.sae_name, published.sae_version)
        others = {one.kind: one.folder for one in reversed(dictionaries_of(folder)) if one.kind in KINDS[1:]}
        representations = RepresentationSet(bulk, name, version, site, "last", context.dt)
        return cls(model, context, representations, {UnitKind.SAE: folder, **others})


@dataclass(frozen=True)
class FoundAcross:
    """How many units of one kind of a model another model has too.

    ::

        share = units of r >= verification.minimum_found_again / units that fire;    low, high: 95 % over units

    Parameters
    ----------
    units : that fire for users of the sample.
    """

    model: str
    other: str
    kind: UnitKind
    share: float
    low: float
    high: float
    units: int


def find_across(sources: Sequence[Source], settings: Settings) -> list[FoundAcross]:
    """Match the units of each audit with those of each other one of the same data, one to one (`find_again`).

    Users are those of the verify half that both have, drawn by hash, about `verification.judged_users`. Only their
    representations come to the driver. The rules are those of `settings`, whatever those of the audits are. Audits
    whose representations are gone, and pairs without a common user, are left out.
    """
    there = [source for source in sources if source.representations.exists()]
    for source in sources:
        if source not in there:  # the upkeep removes them long before the tables
            log.info("compare: %s is gone: %s is not looked for in others", source.representations.path, source.model)
    drawn = {source.model: _drawn(source, settings) for source in there}
    return [
        _compared(one, other, drawn[one.model], drawn[other.model], kind, settings)
        for one, other in permutations(there, 2)
        for kind in KINDS
        if kind in one.folders
        and kind in other.folders
        and not drawn[one.model].index.intersection(drawn[other.model].index).empty
    ]


def _drawn(source: Source, settings: Settings) -> pd.Series:
    """Representations by user id."""
    rows = source.context.spark.read.parquet(source.representations.require())
    verify = rows.where(~in_construct_half(F.col("user_id"), settings.evidence.salt))
    draw = F.pmod(F.xxhash64(F.lit("across"), "user_id"), F.lit(max(verify.count(), 1)))
    found: pd.DataFrame = (
        verify.where(draw < settings.verification.judged_users).select("user_id", "representation").toPandas()
    )
    return found.set_index("user_id")["representation"]


def _compared(
    one: Source, other: Source, of_one: pd.Series, of_other: pd.Series, kind: UnitKind, settings: Settings
) -> FoundAcross:
    users = of_one.index.intersection(of_other.index).sort_values()
    units, others = (
        encode_sample(load_sae(source.folders[kind]), np.stack(rows[users].to_list()).astype(np.float32))
        for source, rows in ((one, of_one), (other, of_other))
    )
    live = np.diff(units.tocsc().indptr) > 0
    correlations = find_again(units, others).correlations[live]
    again, number = int((correlations >= settings.verification.minimum_found_again).sum()), int(live.sum())
    low, high = (float(end[0]) for end in wilson_interval(np.array([again]), np.array([number])))
    return FoundAcross(one.model, other.model, kind, again / max(number, 1), low, high, number)
