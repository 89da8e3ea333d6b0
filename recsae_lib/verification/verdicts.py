"""The verdicts of an audit: its latents judged by the term scorer, then by a language model where one judges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.config import Judge, Settings
from recsae_lib.errors import InputError
from recsae_lib.interpretation.terms_interpreter import named_terms
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.spark.concurrency import both
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.recommenders.inputs import known_items
from recsae_lib.verification.agreement import interpretable_by_both
from recsae_lib.verification.blocks import FIGURE_COLUMNS
from recsae_lib.verification.judging import (
    JudgedDictionary,
    find_units_again,
    judge_dictionaries,
    mean_dose,
    ship_sample,
    unit_rows,
)
from recsae_lib.verification.llm_judge import read_judged_cases
from recsae_lib.verification.scores import (
    SCORE_COLUMNS,
    UNIT_COLUMNS,
    VERDICT_COLUMNS,
    as_rows,
    names_of,
    score_cases,
    score_units,
)
from recsae_lib.verification.shuffled_labels import shuffle_labels, shuffled_terms
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.user_sample import draw_users


@dataclass(frozen=True)
class Verdicts:
    """What the term scorer said of units.

    Parameters
    ----------
    judged : `blocks.BLOCK_COLUMNS`, kept by Spark until `release`.
    units : the same without the cases, with found_again and found_again_id, one row a live unit by rising id.
    shuffled : (latent_id, label_of), whose terms judged once more.
    """

    judged: DataFrame
    units: pd.DataFrame
    shuffled: DataFrame | None

    def cases(self) -> DataFrame:
        """Drawn cases: (latent_id, user_id, kind, fires, judged, judge)."""
        return self.judged.select("latent_id", F.inline("cases_drawn"), F.lit("terms").alias("judge"))

    def scores(self, settings: Settings) -> pd.DataFrame:
        """`SCORE_COLUMNS`, one row a unit."""
        scores = score_units(self.units, "", settings.verification)
        return pd.concat([scores, self.units[names_of(UNIT_COLUMNS)]], axis=1)

    def release(self) -> None:
        """Let Spark forget what was judged."""
        free(self.judged)


def judge(
    dictionaries: Sequence[JudgedDictionary],
    live: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    around: Surroundings,
    audited: JudgedDictionary,
    settings: Settings,
    shuffle: bool = False,
) -> Verdicts:
    """Judge the units of dictionaries by the term scorer on users of the verify half (METHOD.md section 6).

    The construct half built the terms and sets the thresholds; only the verify half judges.

    Parameters
    ----------
    live : (latent_id), units that are judged; those that fire for nobody of the sample have no cases.
    concept_terms, latent_items : of all units, built on the construct half.
    audited : the SAE of the audit, whose dose is the equal one.
    shuffle : whether each unit is judged by the terms of another one as well.
    """
    spark = live.sparkSession
    named = keep(named_terms(concept_terms))
    model, seen = around.model, None
    if model is not None:
        seen = around.interactions.join(known_items(spark, model.folder), "item_id").select("user_id", "item_index")
    near, sample = both(
        lambda: neighbours_of(latent_items, settings.verification.neighbours),
        lambda: draw_users(around.representations, around.linked, around.items, named, seen, settings),
    )
    dose, shipped = mean_dose(audited.folder, sample), ship_sample(spark, sample)
    shuffled = shuffle_labels(named, settings.seed) if shuffle else None
    others = None if shuffled is None else shuffled_terms(named, shuffled)
    units = keep(unit_rows(live, named, others, near))  # read three times
    judged = judge_dictionaries(units, dictionaries, shipped, around.items, model, dose, shuffle, settings)
    again: pd.DataFrame = find_units_again(spark, dictionaries, shipped).toPandas()  # M rows a dictionary
    rows: pd.DataFrame = judged.select(*names_of(FIGURE_COLUMNS)).orderBy("latent_id").toPandas()
    free(units)
    free(named)
    return Verdicts(judged, rows.merge(again, on="latent_id", how="left"), shuffled)


def own_scores(verdicts: Verdicts, settings: Settings) -> DataFrame:
    """Rows of concept_scores by the term scorer."""
    rows = as_rows(verdicts.judged.sparkSession, verdicts.scores(settings), SCORE_COLUMNS)
    return rows.withColumns(_origin_columns(None, None))


def scores_by_shuffled(verdicts: Verdicts, settings: Settings) -> DataFrame:
    """Rows of shuffled_scores: the same users judged by the terms of another latent."""
    assert verdicts.shuffled is not None
    scores = score_units(verdicts.units, "shuffled_", settings.verification)
    rows = scores.merge(verdicts.shuffled.toPandas(), on="latent_id", how="left")
    return as_rows(verdicts.judged.sparkSession, rows, f"{VERDICT_COLUMNS}, label_of int")


@dataclass(frozen=True)
class BothVerdicts:
    """What both judges said of the held-out cases: rows of verification_cases, concept_scores, verification_rejects."""

    cases: DataFrame
    scores: DataFrame
    rejects: DataFrame


def require_all_judges(scores: DataFrame, judges: Collection[Judge], dt: date) -> None:
    """Refuse the scores of an audit whose judge llm was asked and not collected: they are the term scorer's alone.

    Parameters
    ----------
    scores : (judge, …)
    judges : that the settings name.

    Raises
    ------
    InputError : the language model's are missing.
    """
    if "llm" in judges and [row["judge"] for row in scores.select("judge").distinct().collect()] == ["terms"]:
        raise InputError(
            f"The verdicts of judge llm for {dt} were not collected", "Run verify_concepts with --step collect"
        )


def add_llm_verdicts(ledger: Ledger, cases: DataFrame, scores: DataFrame, settings: Settings) -> BothVerdicts:
    """Read what a language model says of the cases, and add it to what the term scorer says of them.

    Which latents live, and what is known of them, the scores of the term scorer say; those of the language model that
    are there already are replaced.

    Parameters
    ----------
    ledger : on the file of `write_judge_requests`, after `transports.collect`.
    cases, scores : verification_cases and concept_scores.
    """
    cases, scores = (rows.where("judge = 'terms'").drop("dt", "sae_version") for rows in (cases, scores))
    by_llm = read_judged_cases(ledger, cases, settings.verification, settings.seed)
    llm_scores = score_cases(by_llm.cases, "llm", scores, settings.verification)
    return BothVerdicts(
        cases.unionByName(by_llm.cases.withColumn("judge", F.lit("llm"))),
        scores.unionByName(llm_scores.withColumns(_origin_columns(*by_llm.origin))),
        by_llm.rejects,
    )


def verdicts_line(cases: DataFrame, rejects: DataFrame, scores: DataFrame, shuffled: DataFrame) -> str:
    """How many concepts each judge calls interpretable, beside the shuffled labels, as people read it.

    Parameters
    ----------
    cases, rejects, scores, shuffled : verification_cases, verification_rejects, concept_scores and shuffled_scores.
    """
    found = scores.where("interpretable").groupBy("judge").count().orderBy("judge").collect()  # one row for each judge
    by_judge = ", ".join(f"{row['count']:,} by judge {row['judge']}" for row in found) or "none"
    if scores.select("judge").distinct().count() > 1:
        by_judge += f", {interpretable_by_both(scores):,} by both"
    return (
        f"{cases.count():,} cases, {rejects.count():,} refused answers; of {shuffled.count():,} latents interpretable: "
        f"{by_judge}; with shuffled labels: {shuffled.where('interpretable').count():,}"
    )


def _origin_columns(llm_model: str | None, prompt_version: str | None) -> dict[str, Column]:
    """Columns that say which language model judged under which prompt; nulls for the term scorer."""
    return {
        "llm_model": F.lit(llm_model).cast("string"),
        "prompt_version": F.lit(prompt_version).cast("string"),
    }
