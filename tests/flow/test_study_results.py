from __future__ import annotations

import pytest

from recsae_lib.flow.study_results import UNIT_COLUMNS, AuditResult, as_markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, ".250"), (-0.005, "-.005"), (10.25, "10.250"), (1.0, "1.000"), (0.0, ".000"), (None, "–")],
)
def test_only_the_zero_before_the_point_is_dropped(value: float | None, text: str) -> None:
    assert AuditResult("data", "model", "last", {("sae", "fvu"): value}, {}).shown("sae", "fvu") == text


def test_every_unit_kind_has_a_row_and_a_site_its_name() -> None:
    metrics = {
        ("recommender", "ndcg_at_10"): 0.125,
        ("recommender", "tied_share"): 0.44,
        ("recommender", "repeated_target_share"): 0.33,
        ("sae", "fvu"): 0.5,
    }
    lines = as_markdown(
        [AuditResult("data", "model", "blocks.0", metrics, {"train_recommender": 61.4})], {}
    ).splitlines()
    (recommender,) = [line for line in lines if "| .125 |" in line]
    assert recommender.startswith("| data | model, site blocks.0 | – | .125 | –")
    assert recommender.endswith("| – | .440 | .330 | 61 | 61 |")
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| data | model, site blocks.0 | ")][1:]
    assert [row[2] for row in rows] == [
        *("SAE", "SAE, shuffled labels", "untrained SAE", "untrained SAE, fitted decoder"),
        *("clusters", "random users", "dimensions"),
    ]
    assert {len(row) for row in rows} == {len(UNIT_COLUMNS)}


def test_counts_have_their_interval_over_seeds() -> None:
    metrics: dict[tuple[str, str], float | None] = {
        ("sae", "seeds"): 2.0,
        ("sae", "interpretable_units"): 12.0,
        ("sae", "interpretable_units_mean"): 11.0,
        ("sae", "interpretable_units_high"): 12.96,
        ("sae", "confirmed_units"): 9.0,
        ("sae", "confirmed_units_mean"): 8.5,
        ("sae", "confirmed_units_high"): 9.48,
        ("sae", "mean_hard_auc"): 0.75,
        ("sae", "mean_hard_auc_mean"): 0.8125,
        ("sae", "mean_removal_effect"): 0.25,
        ("sae", "found_again_share"): 0.7,
        ("sae", "feature_coverage_of_confirmed"): 0.5,
        ("cluster", "interpretable_units"): 14.0,
        ("cluster", "confirmed_units"): 0.0,
    }
    lines = as_markdown([AuditResult("data", "model", "last", metrics, {})], {}).splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| data | model | ")]
    rows = {row[2]: dict(zip(UNIT_COLUMNS, row, strict=True)) for row in cells[1:]}
    sae, clusters = rows["SAE"], rows["clusters"]
    assert [sae[name] for name in ("seeds", "interpretable", "confirmed")] == ["2", "11.0 ± 2.0", "8.5 ± 1.0"]
    assert [sae[name] for name in ("hard AUC", "removal", "found again", "by confirmed")] == [
        *(".812", ".250", ".700", ".500"),
    ]
    # Nobody has looked for the clusters again: none can be confirmed, which is no zero.
    assert (clusters["interpretable"], clusters["confirmed"]) == ("14", "–")
