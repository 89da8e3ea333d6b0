"""The checks that guard publication. Each one counts violations in this audit's tables and fails or warns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.data_checks import (
    NO_TERMS_LEFT,
    check_catalogue,
    check_derived_features,
    check_terms,
    check_texts,
    is_vanished,
)
from recsae_lib.platform.warehouse.results import CheckResult, Severity
from recsae_lib.platform.warehouse.tables import Table, UnitKind


@dataclass(frozen=True)
class SaeShape:
    """What the rows of an audit must agree with: version of the model; version and M of the sparse autoencoder, and
    how many latents may be active for a row.
    """

    model_version: int
    sae_version: int
    num_latents: int
    most_active: int


_VERDICT_RANGES = dict.fromkeys(
    (
        *("confidence", "confidence_low", "confidence_high", "recall", "specificity", "hard_specificity"),
        *("precision", "auc", "hard_auc", "p_value", "q_value"),
    ),
    (0.0, 1.0),
)
# Columns whose values must lie in a closed range.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "concept_terms": {"tf": (0.0, 1.0), "q_value": (0.0, 1.0)},
    "latent_effects": {"p_value": (0.0, 1.0), "q_value": (0.0, 1.0)},
    "concept_scores": {
        **_VERDICT_RANGES,
        **dict.fromkeys(("best_feature_auc", "best_feature_null_auc", "best_feature_p_value"), (0.0, 1.0)),
        **dict.fromkeys(("removal_p_value", "found_again"), (0.0, 1.0)),
    },
    "shuffled_scores": _VERDICT_RANGES,
    "concepts": dict.fromkeys(("density", "confidence", "artefact_p_value"), (0.0, 1.0)),
    "concept_coverage": {
        **dict.fromkeys(("feature_coverage", "item_coverage"), (0.0, 1.0)),
        **dict.fromkeys(("user_coverage", "shuffled_feature_coverage", "derived_feature_coverage"), (0.0, 1.0)),
    },
    "concept_drift": dict.fromkeys(("similarity", "term_similarity", "previous_density", "density"), (0.0, 1.0)),
}
DESCRIBED = (tables.CONCEPT_LABELS, tables.CONCEPT_SCORES, tables.SHUFFLED_SCORES, tables.CONCEPTS)
# Tables of what a language model was asked, and of its answers that could not be used.
ASKED = (
    (tables.INTERPRETATION_REQUESTS, tables.CONCEPT_REJECTS),
    (tables.VERIFICATION_REQUESTS, tables.VERIFICATION_REJECTS),
)
NDCG = "ndcg_at_10"
MISJUDGED = "llm_known_cases_misjudged"
STEERED = (
    " answers are refused: a text among the cases steers the language model, or it cannot judge; they are in "
    "verification_rejects, and verification.cases_per_request: 1 keeps cases apart"
)
COSINE_METRICS = ("coherence", "distinctiveness")
ROUNDING = 1e-6
UNLIKELY = 0.001  # chance that a draw ranks as badly


def run_checks(read: Callable[[Table], DataFrame], shape: SaeShape, settings: CheckSettings) -> list[CheckResult]:
    """Run every check on the tables of one audit.

    Parameters
    ----------
    read : returns the rows of this audit in a table (`Warehouse.read`).
    shape : what the rows must agree with.
    settings : limits.
    """
    rows = dict(zip(tables.AUDIT_TABLES, side_by_side(read, tables.AUDIT_TABLES), strict=True))
    checks: list[Callable[[], list[CheckResult]]] = [
        *(partial(check_rows, table, rows[table], shape) for table in tables.AUDIT_TABLES),
        lambda: check_counts(rows),
        lambda: check_catalogue(rows[tables.INTERACTIONS], rows[tables.ITEMS], settings),
        lambda: check_texts(rows[tables.ITEMS]),
        lambda: check_derived_features(rows[tables.ITEMS]),
        lambda: check_terms(rows[tables.CONCEPT_TERMS], settings),
        lambda: check_metrics(rows[tables.AUDIT_METRICS], settings),
        lambda: check_tuned(rows[tables.TUNED_RECOMMENDATIONS], rows[tables.RECOMMENDATIONS]),
        lambda: check_drift(rows[tables.CONCEPT_DRIFT], settings),
        *(partial(check_answers, asked, rows[asked], rows[refused], settings) for asked, refused in ASKED),
    ]
    return list(chain.from_iterable(side_by_side(lambda check: check(), checks)))


def check_rows(table: Table, rows: DataFrame, shape: SaeShape) -> list[CheckResult]:
    """Key unique and without nulls, ids and values in range, versions as resolved: one pass and one shuffle."""
    conditions: list[tuple[str, Severity, Column]] = [
        (f"no null in the key {', '.join(table.key)}", "fail", _any(F.col(name).isNull() for name in table.key))
    ]
    names = set(table.schema.names)
    if "sae_version" in names:
        conditions.append(("every row is of the audited SAE", "fail", F.col("sae_version") != shape.sae_version))
    if "model_version" in names:
        conditions.append(("every row is of the audited model", "fail", F.col("model_version") != shape.model_version))
    if "latent_id" in names:
        outside = (F.col("latent_id") < 0) | (F.col("latent_id") >= shape.num_latents)
        conditions.append((f"latent_id is below M = {shape.num_latents}", "fail", outside))
    if table == tables.LATENT_ACTIVATIONS:
        conditions += _activation_conditions(shape)
    for name, (low, high) in RANGES.get(table.name, {}).items():
        outside = (F.col(name) < low - ROUNDING) | (F.col(name) > high + ROUNDING) | F.isnan(name)
        conditions.append((f"{name} lies in [{low:g}, {high:g}]", "fail", outside))
    numbered = {f"condition_{n}": broken for n, (_, _, broken) in enumerate(conditions)}
    of_keys = rows.groupBy(*[F.col(name).alias(f"key_{name}") for name in table.key]).agg(
        F.count(F.lit(1)).alias("rows"),
        *[F.count_if(F.coalesce(broken, F.lit(False))).alias(name) for name, broken in numbered.items()],
    )
    counts = of_keys.agg(
        F.count_if(F.col("rows") > 1).alias("repeated"),
        *[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in numbered],
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    results = [
        CheckResult(table.name, name, severity, counts[column])
        for column, (name, severity, _) in zip(numbered, conditions, strict=True)
    ]
    if table != tables.REJECTS:  # the same bad row may stand in a source twice
        unique = f"the key {', '.join(table.key)} is unique"
        results.append(CheckResult(table.name, unique, "fail", counts["repeated"]))
    return results


def check_counts(rows: Mapping[Table, DataFrame]) -> list[CheckResult]:
    """Row counts against the inputs: no user and no latent gets lost between two jobs."""
    interactions = rows[tables.INTERACTIONS]
    recommendations, activations = rows[tables.RECOMMENDATIONS], rows[tables.LATENT_ACTIVATIONS]
    users = interactions.select("user_id").distinct().count()
    recommended, encoded = recommendations.count(), activations.count()
    results = [
        CheckResult("interactions", "there are interactions", "fail", int(users == 0), f"{users} users"),
        CheckResult(
            "latent_activations",
            "every user with interactions is encoded",
            "warn",
            max(users - encoded, 0),
            f"{encoded} of {users}",
        ),
        CheckResult(
            "recommendations",
            "the encoded users are the users with recommendations",
            "fail",
            abs(recommended - encoded) + activations.join(recommendations, "user_id", how="left_anti").count(),
            f"{recommended} and {encoded}",
        ),
    ]
    described = {table.name: rows[table] for table in DESCRIBED}
    return results + check_described(activations, described)


def check_tuned(tuned: DataFrame, recommendations: DataFrame) -> list[CheckResult]:
    """As many users stand under each tuning as have recommendations; no rows pass."""
    users = recommendations.agg(F.count(F.lit(1)).alias("users"))
    counts = tuned.groupBy("tuning").agg(F.count(F.lit(1)).alias("tuned"))
    other = counts.crossJoin(users).where("tuned != users").orderBy("tuning").collect()  # a row a tuning at most
    detail = "; ".join(f"{row['tuning']}: {row['tuned']} of {row['users']}" for row in other)
    name = "all users with recommendations are under each tuning"
    return [CheckResult("tuned_recommendations", name, "fail", len(other), detail)]


def check_described(activations: DataFrame, described: Mapping[str, DataFrame]) -> list[CheckResult]:
    """In each table of `described` (name → rows) stand the latents that fire for anybody, and no others; one query."""
    live = activations.select(F.lit("live").alias("source"), F.explode("latent_ids").alias("latent_id"))
    of_tables = [rows.select(F.lit(name).alias("source"), "latent_id") for name, rows in described.items()]
    stands_in = [F.max((F.col("source") == name).cast("int")).alias(name) for name in ("live", *described)]
    latents = reduce(DataFrame.unionByName, of_tables, live).groupBy("latent_id").agg(*stands_in)
    differences = latents.agg(*[F.count_if(F.col(name) != F.col("live")).alias(name) for name in described]).first()
    assert differences is not None  # an aggregate without groups has one row
    return [CheckResult(name, "one concept for every live latent", "fail", differences[name]) for name in described]


def check_metrics(metrics: DataFrame, settings: CheckSettings) -> list[CheckResult]:
    """FVU, dead latents, NDCG kept, and what was rejected, tied or left out within their limits; the recommender above
    popularity, which ranks no worse than a draw; cosines within [-1, 1].
    """
    values = {(row["unit_kind"], row["metric"]): row["value"] for row in metrics.collect()}  # some hundred rows

    def limit(
        metric: str, severity: Severity, bound: float, at_most: bool, kind: UnitKind = UnitKind.SAE, remedy: str = ""
    ) -> CheckResult:
        value = values.get((kind, metric))
        name = f"{metric} is {'at most' if at_most else 'at least'} {bound:g}"
        if value is None:  # an audit may not be published without it; a warning would say what nobody has measured
            return CheckResult("audit_metrics", name, severity, int(severity == "fail"), "not measured")
        broken = value != value or (value > bound if at_most else value < bound)
        return CheckResult("audit_metrics", name, severity, int(broken), f"{value}{remedy if broken else ''}")

    # An SAE that an earlier version registered has only the FVU of all rows; by user it is measured every night.
    of_training = "fvu_within_reach" if (UnitKind.SAE, "fvu_within_reach") in values else "fvu"
    by_dimension = max(settings.maximum_fvu_by_dimension, settings.maximum_fvu)
    cosines_outside = sum(
        1
        for (_, metric), value in values.items()
        if metric.startswith(COSINE_METRICS) and value is not None and not -1 - ROUNDING <= value <= 1 + ROUNDING
    )
    return [
        limit(of_training, "fail", settings.maximum_fvu, at_most=True),
        limit("fvu_by_user_median", "fail", max(settings.maximum_fvu_by_user, settings.maximum_fvu), at_most=True),
        *([limit("fvu_by_dimension", "fail", by_dimension, at_most=True)] if of_training != "fvu" else []),
        limit("dead_fraction", "warn", settings.maximum_dead_fraction, at_most=True),
        # Not measured where no held-out user is scored from the site.
        limit("ndcg_at_10_kept", "warn", settings.minimum_ndcg_kept, at_most=False),
        # Measured where a language model judges.
        *([limit(MISJUDGED, "warn", 0, True, remedy=STEERED)] if (UnitKind.SAE, MISJUDGED) in values else []),
        limit("reject_share", "fail", settings.maximum_reject_share, at_most=True),
        limit(
            "left_out_share",
            "warn",
            settings.maximum_left_out_share,
            at_most=True,
            kind=UnitKind.RECOMMENDER,
            remedy=": train the recommender again (train_recommender); the table left_out has the reasons",
        ),
        _above_popularity(values.get((UnitKind.RECOMMENDER, NDCG)), values.get((UnitKind.POPULARITY, NDCG))),
        *_check_order(values, settings),
        CheckResult("audit_metrics", "cosines lie in [-1, 1]", "fail", cosines_outside),
    ]


def _above_popularity(of_model: float | None, of_popularity: float | None) -> CheckResult:
    """A recommender that nobody could measure (kind external) passes."""
    below = of_model is not None and of_popularity is not None and not of_model > of_popularity
    detail = "not measured" if of_model is None else f"{of_model} and {of_popularity}"
    name = f"{NDCG} of the recommender is above that of popularity"
    return CheckResult("audit_metrics", name, "warn", int(below), detail)


def _check_order(values: Mapping[tuple[str, str], float | None], settings: CheckSettings) -> list[CheckResult]:
    """Signs that the order of a user's interactions is none in time; they pass where no recommender was measured."""
    tied = values.get((UnitKind.RECOMMENDER, "tied_share"))
    chance = values.get((UnitKind.POPULARITY, "p_value_at_10"))
    hits, popular = (values.get((kind, "hr_at_10")) for kind in (UnitKind.RECOMMENDER, UnitKind.POPULARITY))
    worse = chance is not None and chance < UNLIKELY and (hits or 0.0) > (popular or 0.0)
    return [
        CheckResult(
            "audit_metrics",
            f"tied_share is at most {settings.maximum_tied_share:g}: no tie of time decides what the test item is",
            "warn",
            int(tied is not None and tied > settings.maximum_tied_share),
            f"{tied}",
        ),
        CheckResult(
            "audit_metrics",
            "popularity ranks test items no worse than a draw does",
            "warn",
            int(worse),
            f"HR@10 {popular}, of the recommender {hits}: check the order of time" if worse else f"HR@10 {popular}",
        ),
    ]


def check_drift(changes: DataFrame, settings: CheckSettings) -> list[CheckResult]:
    """The share of stable latents, of all that live in either audit, within its limits; no rows pass.

    Retraining is asked for only where both audits used the same SAE, which then no longer suits the data. Latents that
    lost all their terms count as stable for it: the catalogue is what is wrong, and the detail says so.
    """
    counts = changes.agg(
        F.count(F.lit(1)).alias("latents"),
        F.count_if(F.col("change") == "stable").alias("stable"),
        F.count_if(F.col("sae_version") != F.col("previous_sae_version")).alias("retrained"),
        F.count_if(is_vanished()).alias("vanished"),
        F.max("previous_dt").alias("previous_dt"),
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    latents, stable, vanished = counts["latents"], counts["stable"], counts["vanished"]
    detail = f"{stable} of {latents}, since {counts['previous_dt']}" if latents else "there is no audit to compare with"
    if vanished:
        detail += f"; {vanished} are the same latents without any term now: {NO_TERMS_LEFT}"

    def limit(severity: Severity, bound: float, condition: str = "") -> CheckResult:
        applies = latents and not (severity == "retrain" and counts["retrained"])
        name = f"the share of stable latents is at least {bound:g}{condition}"
        alike = stable + (vanished if severity == "retrain" else 0)
        return CheckResult("concept_drift", name, severity, int(applies and alike < bound * latents), detail)

    return [
        limit("fail", settings.fail_stable_share),
        limit("warn", settings.warn_stable_share),
        limit("retrain", settings.retrain_stable_share, ", of the same SAE"),
    ]


def check_answers(table: Table, asked: DataFrame, refused: DataFrame, settings: CheckSettings) -> list[CheckResult]:
    """The share of a language model's answers that could not be used within its limits; nobody asked passes."""
    requests, unused = asked.count(), refused.count()
    commonest = refused.groupBy("reason").count().orderBy(F.desc("count"), "reason").first()
    detail = f"{unused} of {requests}" + (f", most often: {commonest['reason']}" if commonest else "")
    limits: list[tuple[Severity, float]] = [
        ("fail", settings.fail_refused_share),
        ("warn", settings.warn_refused_share),
    ]
    return [
        CheckResult(
            table.name,
            f"at most {bound:g} of the answers of the language model are refused",
            severity,
            int(unused > bound * requests),
            detail,
        )
        for severity, bound in limits
    ]


def _activation_conditions(shape: SaeShape) -> list[tuple[str, Severity, Column]]:
    ids, values = F.col("latent_ids"), F.col("activations")
    return [
        (f"at most {shape.most_active} latents a user", "fail", F.size(ids) > shape.most_active),
        ("as many activations as latents", "fail", F.size(ids) != F.size(values)),
        ("no latent twice for a user", "fail", F.size(F.array_distinct(ids)) != F.size(ids)),
        ("latent ids are below M", "fail", F.exists(ids, lambda latent: (latent < 0) | (latent >= shape.num_latents))),
        ("activations are positive numbers", "fail", F.exists(values, lambda value: ~(value > 0) | F.isnan(value))),
    ]


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(lambda left, right: left | right, conditions, F.lit(False))
