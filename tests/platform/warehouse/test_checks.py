from __future__ import annotations

from datetime import date, datetime

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType

from recsae_lib.config import CheckSettings
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.checks import (
    CheckResult,
    SaeShape,
    check_answers,
    check_counts,
    check_drift,
    check_metrics,
    check_rows,
    check_tuned,
    run_checks,
)
from recsae_lib.platform.warehouse.tables import Table

DT = date(2026, 11, 20)
SHAPE = SaeShape(model_version=3, sae_version=5, num_latents=16, most_active=2)

# One valid row of each table; a test changes only the fields under test.
BASE_ROWS: dict[str, dict[str, object]] = {
    "interactions": {"user_id": "u", "item_id": "i", "weight": 1.0, "ts": datetime(2026, 1, 1)},
    "items": {"item_id": "i", "title": "", "text": "", "features": ["f"], "derived_features": None},
    "recommendations": {"user_id": "u", "model_version": 3, "item_ids": ["i"], "scores": [1.0], "context_ids": ["i"]},
    "latent_activations": {"user_id": "u", "sae_version": 5, "latent_ids": [7], "activations": [0.5]},
    "concept_labels": {"latent_id": 7, "sae_version": 5, "label": "x", "features": []},
    "concept_scores": {"latent_id": 7, "sae_version": 5, "judge": "terms", "confidence": 0.9, "q_value": 0.01},
    "concepts": {"latent_id": 7, "sae_version": 5, "density": 0.5},
    "concept_terms": {"latent_id": 7, "sae_version": 5, "term": "f", "kind": "feature", "tf": 0.5, "q_value": 0.1},
    "tuned_recommendations": {"tuning": "t", "user_id": "u", "model_version": 3, "sae_version": 5, "changed": 0},
    "audit_metrics": {"sae_version": 5, "unit_kind": "sae", "metric": "fvu", "value": 0.2},
}
METRICS = {
    "fvu": 0.9,  # one row may decide it: no check looks at it
    "fvu_within_reach": 0.2,
    "fvu_by_user_median": 0.3,
    "fvu_by_dimension": 0.4,
    "dead_fraction": 0.05,
    "ndcg_at_10_kept": 0.97,
    "reject_share": 0.0,
    "coherence_item_text": 0.3,
    "recommender left_out_share": 0.02,
    "recommender ndcg_at_10": 0.08,
    "popularity ndcg_at_10": 0.04,
}


def rows_of(spark: SparkSession, table: Table, *changes: dict[str, object]) -> DataFrame:
    base = {field.name: None for field in table.schema.fields} | {"dt": DT} | BASE_ROWS.get(table.name, {})
    loose = StructType([StructField(f.name, f.dataType) for f in table.schema.fields])
    return spark.createDataFrame([tuple((base | change)[n] for n in loose.names) for change in changes], loose)


def broken(results: list[CheckResult]) -> dict[str, int]:
    return {result.name: result.violations for result in results if not result.passed}


def test_valid_rows_pass(spark: SparkSession) -> None:
    for name in BASE_ROWS:
        assert broken(check_rows(tables.TABLES[name], rows_of(spark, tables.TABLES[name], {}), SHAPE)) == {}, name


@pytest.mark.parametrize(
    ("table", "changes", "name", "violations"),
    [
        ("items", [{}, {}, {"item_id": "j"}], "the key item_id is unique", 1),
        ("concept_labels", [{"latent_id": None}, {}], "no null in the key dt, latent_id", 1),
        ("concept_labels", [{"latent_id": 16}, {"latent_id": -1}, {}], "latent_id is below M = 16", 2),
        ("concept_labels", [{"sae_version": 4}], "every row is of the audited SAE", 1),
        ("recommendations", [{"model_version": 2}], "every row is of the audited model", 1),
        ("concept_scores", [{"confidence": 1.2}, {"latent_id": 1, "confidence": None}], "confidence lies in [0, 1]", 1),
        ("concept_terms", [{"tf": float("nan")}], "tf lies in [0, 1]", 1),
        (
            "latent_activations",
            [{"latent_ids": [1, 2, 3], "activations": [1.0] * 3}],
            "at most 2 latents a user",
            1,
        ),
        ("latent_activations", [{"latent_ids": [1, 2]}], "as many activations as latents", 1),
        ("latent_activations", [{"latent_ids": [1, 1], "activations": [1.0] * 2}], "no latent twice for a user", 1),
        ("latent_activations", [{"latent_ids": [16]}], "latent ids are below M", 1),
        ("latent_activations", [{"activations": [0.0]}], "activations are positive numbers", 1),
        ("latent_activations", [{"activations": [float("nan")]}], "activations are positive numbers", 1),
    ],
)
def test_each_violation_is_counted(
    spark: SparkSession, table: str, changes: list[dict[str, object]], name: str, violations: int
) -> None:
    rows = rows_of(spark, tables.TABLES[table], *changes)
    assert broken(check_rows(tables.TABLES[table], rows, SHAPE)) == {name: violations}


def test_rows_that_get_lost_between_jobs_are_found(spark: SparkSession) -> None:
    contents = {
        "interactions": [{}, {"user_id": "v", "item_id": "unknown"}],
        "items": [{}],
        "recommendations": [{}, {"user_id": "v"}],
        "latent_activations": [{"latent_ids": [7, 8], "activations": [1.0, 1.0]}],
        "concept_labels": [{}],
        "concept_scores": [{}, {"latent_id": 8}],
        "shuffled_scores": [{"latent_id": 7}, {"latent_id": 8}, {"latent_id": 10}],
        "concepts": [{}, {"latent_id": 8}, {"latent_id": 9}],
    }
    results = check_counts(
        {table: rows_of(spark, table, *contents.get(table.name, [])) for table in tables.AUDIT_TABLES}
    )
    assert {(r.table, r.violations) for r in results if not r.passed} == {
        ("latent_activations", 1),
        ("recommendations", 1),
        ("concept_labels", 1),
        ("shuffled_scores", 1),
        ("concepts", 1),
    }


def test_users_who_are_missing_under_a_tuning_are_found(spark: SparkSession) -> None:
    recommended = rows_of(spark, tables.RECOMMENDATIONS, {"user_id": "a"}, {"user_id": "b"})
    under = [{"tuning": "less", "user_id": user} for user in "ab"]
    tuned = rows_of(spark, tables.TUNED_RECOMMENDATIONS, *under, {"tuning": "more", "user_id": "a"})
    (result,) = check_tuned(tuned, recommended)
    assert (result.violations, result.detail) == (1, "more: 1 of 2")
    assert check_tuned(rows_of(spark, tables.TUNED_RECOMMENDATIONS), recommended)[0].passed


def metric_rows(spark: SparkSession, values: dict[str, float | None]) -> DataFrame:
    """Metrics of the SAE, or of another kind that stands before the name."""
    changes = []
    for name, value in values.items():
        kind, _, metric = name.rpartition(" ")
        changes.append({"unit_kind": kind or "sae", "metric": metric, "value": value})
    return rows_of(spark, tables.AUDIT_METRICS, *changes)


@pytest.mark.parametrize(
    ("metric", "value", "severity"),
    [
        ("fvu_within_reach", 0.9, "fail"),
        ("fvu_within_reach", float("nan"), "fail"),
        ("fvu_within_reach", None, "fail"),
        ("fvu_by_user_median", 1.01, "fail"),
        ("fvu_by_dimension", 0.98, "fail"),
        ("recommender left_out_share", 0.31, "warn"),
        ("recommender ndcg_at_10", 0.04, "warn"),
        ("dead_fraction", 0.2, "warn"),
        ("ndcg_at_10_kept", 0.5, "warn"),
        ("ndcg_at_10_kept", float("nan"), "warn"),
        ("reject_share", 0.5, "fail"),
        ("coherence_item_text", 1.5, "fail"),
    ],
)
def test_limits_of_metrics(spark: SparkSession, metric: str, value: float | None, severity: str) -> None:
    assert broken(check_metrics(metric_rows(spark, METRICS), CheckSettings())) == {}
    results = check_metrics(metric_rows(spark, METRICS | {metric: value}), CheckSettings())
    assert [result.severity for result in results if not result.passed] == [severity]


@pytest.mark.parametrize(
    ("tied", "p_value", "hits", "warned"),
    [
        (0.5, 0.5, 0.1, []),
        (0.51, 0.5, 0.1, ["tied_share is at most 0.5: no tie of time decides what the test item is"]),
        (0.0, 1e-9, 0.1, ["popularity ranks test items no worse than a draw does"]),
        (0.0, 1e-9, 0.0, []),
        (None, None, None, []),
    ],
)
def test_signs_that_the_order_is_none_in_time_warn(
    spark: SparkSession, tied: float | None, p_value: float | None, hits: float | None, warned: list[str]
) -> None:
    measured = [("recommender", "tied_share", tied), ("recommender", "hr_at_10", hits)]
    measured += [("popularity", "p_value_at_10", p_value), ("popularity", "hr_at_10", 0.0)]
    measured += [("sae", metric, value) for metric, value in METRICS.items()]
    rows = rows_of(spark, tables.AUDIT_METRICS, *[{"unit_kind": k, "metric": m, "value": v} for k, m, v in measured])
    results = check_metrics(rows, CheckSettings())
    assert [(result.name, result.severity) for result in results if not result.passed] == [(n, "warn") for n in warned]


def test_a_missing_metric_fails(spark: SparkSession) -> None:
    without_share = {name: value for name, value in METRICS.items() if name != "reject_share"}
    results = check_metrics(metric_rows(spark, without_share), CheckSettings())
    assert [(r.name, r.severity) for r in results if not r.passed] == [("reject_share is at most 0.05", "fail")]


def test_an_sae_of_an_earlier_version_is_judged_by_its_fvu(spark: SparkSession) -> None:
    later = ("fvu_within_reach", "fvu_by_dimension")
    earlier = {name: value for name, value in METRICS.items() if name not in later}
    results = check_metrics(metric_rows(spark, earlier), CheckSettings())
    assert [(r.name, r.severity) for r in results if not r.passed] == [("fvu is at most 0.5", "fail")]
    assert broken(check_metrics(metric_rows(spark, earlier | {"fvu": 0.2}), CheckSettings())) == {}


def test_a_high_fvu_that_is_allowed_is_allowed_by_user_too(spark: SparkSession) -> None:
    values = METRICS | {"fvu_within_reach": 0.95, "fvu_by_user_median": 0.97, "fvu_by_dimension": 0.98}
    assert broken(check_metrics(metric_rows(spark, values), CheckSettings(maximum_fvu=0.99))) == {}


def test_what_is_left_out_asks_for_another_recommender(spark: SparkSession) -> None:
    results = check_metrics(metric_rows(spark, METRICS | {"recommender left_out_share": 0.31}), CheckSettings())
    (line,) = [result.line() for result in results if not result.passed]
    assert line.startswith("WARN (1 violations): audit_metrics: left_out_share is at most 0.1 [0.31: train the rec")


def test_a_recommender_that_nobody_measured_passes(spark: SparkSession) -> None:
    unmeasured = {name: value for name, value in METRICS.items() if "ndcg_at_10" not in name or "kept" in name}
    assert broken(check_metrics(metric_rows(spark, unmeasured), CheckSettings())) == {}


def test_an_answer_wrong_of_a_known_case_warns(spark: SparkSession) -> None:
    for misjudged, warned in ((0.0, []), (2.0, ["llm_known_cases_misjudged is at most 0"])):
        results = check_metrics(metric_rows(spark, METRICS | {"llm_known_cases_misjudged": misjudged}), CheckSettings())
        assert [result.name for result in results if not result.passed] == warned
        assert {result.severity for result in results if "known_cases" in result.name} == {"warn"}


def test_a_figure_that_is_not_measured_gives_no_warning(spark: SparkSession) -> None:
    results = check_metrics(metric_rows(spark, METRICS | {"ndcg_at_10_kept": None}), CheckSettings())
    (found,) = (result for result in results if result.name.startswith("ndcg_at_10_kept"))
    assert found.line() == "ok: audit_metrics: ndcg_at_10_kept is at least 0.9 [not measured]"


@pytest.mark.parametrize(
    ("asked", "refused", "severities"), [(0, 0, []), (20, 1, []), (20, 2, ["warn"]), (20, 11, ["fail", "warn"])]
)
def test_refused_answers_are_limited(spark: SparkSession, asked: int, refused: int, severities: list[str]) -> None:
    ids = [{"latent_id": n, "request_id": str(n), "sae_version": 5} for n in range(asked)]
    requests = (
        rows_of(spark, tables.INTERPRETATION_REQUESTS, *ids) if ids else tables.INTERPRETATION_REQUESTS.empty(spark)
    )
    rejects = [{**row, "reason": "the model refused" if n else "empty answer"} for n, row in enumerate(ids[:refused])]
    rows = rows_of(spark, tables.CONCEPT_REJECTS, *rejects) if rejects else tables.CONCEPT_REJECTS.empty(spark)
    results = check_answers(tables.INTERPRETATION_REQUESTS, requests, rows, CheckSettings())
    assert [result.severity for result in results if not result.passed] == severities
    if refused == 11:
        assert results[0].detail == "11 of 20, most often: the model refused"


def drift_rows(spark: SparkSession, changes: dict[str, int], previous_version: int) -> DataFrame:
    fixed = {"sae_version": 5, "previous_sae_version": previous_version, "previous_dt": date(2026, 11, 19)}
    rows = [{**fixed, "change": change, "pair": f"{change}{n}"} for change in changes for n in range(changes[change])]
    return rows_of(spark, tables.CONCEPT_DRIFT, *rows)


@pytest.mark.parametrize(
    ("changes", "previous_version", "severities"),
    [
        ({"stable": 8, "drifted": 1, "born": 1}, 4, []),
        ({"stable": 7, "gone": 3}, 4, ["warn"]),
        ({"stable": 7, "gone": 3}, 5, ["warn", "retrain"]),
        ({"stable": 4, "drifted": 6}, 5, ["fail", "warn", "retrain"]),
        ({"stable": 4, "split": 3, "merged": 3}, 4, ["fail", "warn"]),
        ({}, 4, []),
    ],
)
def test_too_few_stable_latents_warn_fail_or_ask_for_retraining(
    spark: SparkSession, changes: dict[str, int], previous_version: int, severities: list[str]
) -> None:
    limits = CheckSettings(fail_stable_share=0.5, warn_stable_share=0.8, retrain_stable_share=0.75)
    rows = drift_rows(spark, changes, previous_version)
    assert [result.severity for result in check_drift(rows, limits) if not result.passed] == severities
    assert broken(check_rows(tables.CONCEPT_DRIFT, rows, SHAPE)) == {}


def test_lost_terms_ask_for_no_new_sae_and_are_named(spark: SparkSession) -> None:
    fixed = {"sae_version": 5, "previous_sae_version": 5, "previous_dt": date(2026, 11, 19), "terms_gained": []}
    lost = {**fixed, "change": "drifted", "term_similarity": None, "terms_lost": ["war"]}
    other = {**lost, "pair": "8>8", "term_similarity": 0.0, "terms_gained": ["crime"]}
    rows = rows_of(spark, tables.CONCEPT_DRIFT, *[{**lost, "pair": f"{n}>{n}"} for n in range(8)], other)
    results = [result for result in check_drift(rows, CheckSettings()) if not result.passed]
    assert [result.severity for result in results] == ["warn"]
    assert results[0].detail == (
        "0 of 9, since 2026-11-19; 8 are the same latents without any term now: look for items that have neither text "
        "nor features any more; another SAE brings no terms back"
    )


def test_every_table_of_an_audit_is_checked(spark: SparkSession) -> None:
    def read(table: Table) -> DataFrame:
        return rows_of(spark, table, {}) if table.name in BASE_ROWS else spark.createDataFrame([], table.schema)

    checked = {result.table for result in run_checks(read, SHAPE, CheckSettings())}
    assert checked == {table.name for table in tables.AUDIT_TABLES}
