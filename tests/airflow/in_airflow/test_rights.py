"""What who may start a run may ask of it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from recsae_dags import common
from recsae_dags.rights import allowed_file, allowed_settings

HOSTILE = [
    *("recommender.module.factory=os:system", "recommender={module: {factory: os:system}}", "recommender.kind=module"),
    *("llm.base_url=http://elsewhere", "llm.api_key_variable=AWS_SECRET_ACCESS_KEY", "llm.headers={a: b}"),
    *("spark.properties=/tmp/evil", "catalog=other", "paths.var=/", "dataset.path=/etc", "checks.maximum_fvu=9"),
    *("--conf=/tmp/evil.yaml", "sae.k =8", "", "sae={}"),
]


@pytest.mark.parametrize("setting", HOSTILE)
def test_a_setting_that_is_not_listed_is_refused(setting: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(ValueError, match="come from the settings file") as refusal:
        allowed_settings(["sae.k=8", setting])
    assert f"may not set {name}" in str(refusal.value)
    assert "sae.k=8" not in str(refusal.value)


def test_numbers_and_choices_of_the_method_are_taken() -> None:
    given = ["sae.k=8", "sae.start=random", "seed=7"]
    assert allowed_settings(given) == given
    with pytest.raises(ValueError, match="more than 500 characters"):
        allowed_settings([f"sae.sweep=[{'{k: 8},' * 100}]"])


@pytest.mark.parametrize("asked", ["/tmp/evil.yaml", "../evil.yaml", "conf/a.yaml,conf/b.yaml", "", "conf/A.yaml"])
def test_a_settings_file_that_is_not_listed_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match=r"none of the settings files in the Variable recsae_conf: conf/a\.yaml, "):
        allowed_file(asked, "conf/a.yaml, conf/b.yaml")


def test_the_first_settings_file_is_for_runs_that_name_none() -> None:
    assert allowed_file(None, "conf/a.yaml, conf/b.yaml") == "conf/a.yaml"
    assert allowed_file("conf/b.yaml", "conf/a.yaml, conf/b.yaml") == "conf/b.yaml"
    with pytest.raises(ValueError, match="names no settings file"):
        allowed_file(None, " , ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"set": ["recommender.module.factory=os:system"]}, "recommender.module.factory"),
        ({"conf": "/tmp/e.yaml"}, "conf"),
    ],
)
def test_the_first_task_fails_for_good(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], said: str) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_RECSAE_CONF", "conf/local.yaml")
    monkeypatch.setattr(common, "dt_of", lambda context: "2026-11-20")
    with pytest.raises(AirflowFailException, match=said):
        common.night_of({"params": {"conf": None, "set": [], **asked}})
    night = common.night_of({"params": {"conf": None, "set": ["sae.k=8"]}})
    assert night["arguments"] == ["--conf", "conf/local.yaml", "--dt", "2026-11-20", "--set-by-trigger", "sae.k=8"]
