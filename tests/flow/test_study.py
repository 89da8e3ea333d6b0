"""The study that the suite comes with: every audit of it has settings that are accepted."""

from __future__ import annotations

from recsae_lib.config.shipped import shipped
from recsae_lib.flow.study import load_study


def test_the_shipped_study_has_every_model_on_every_data_set() -> None:
    _, audits = load_study(shipped("study.yaml"), shipped("base.yaml"), [])
    assert [audit.settings.namespace for audit in audits[::4]] == [
        *("study_ml_100k", "study_ml_1m", "study_ml_latest_small", "study_lastfm_2k"),
    ]
    assert {audit.model for audit in audits} == {"bpr_mf", "lightgcn", "sasrec", "timirec"}
    assert len(audits) == 16
    assert {audit.settings.dataset.path for audit in audits if audit.data_set == "ml_1m"} == {"data/ml-1m"}
