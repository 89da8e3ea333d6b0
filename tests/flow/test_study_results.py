from __future__ import annotations

import pytest

from recsae_lib.flow.study_results import AuditResult, as_markdown


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
        ("untrained", "feature_coverage_at_0.8"): 0.75,
    }
    lines = as_markdown([AuditResult("data", "model", "blocks.0", metrics, {"train_recommender": 61.4})]).splitlines()
    (recommender,) = [line for line in lines if "| .125 |" in line]
    assert recommender.startswith("| data | model, site blocks.0 | – | .125 | –")
    assert recommender.endswith("| – | .440 | .330 | 61 | 61 |")
    units = [line.split(" | ")[2] for line in lines if line.startswith("| data | model, site blocks.0 | ")][1:]
    assert units == ["SAE", "SAE, shuffled labels", "untrained SAE", "dimensions"]
    assert next(line for line in lines if line.endswith("| .750 |")).split(" | ")[2] == "untrained SAE"
