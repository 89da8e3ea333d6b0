from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.study import load_study
from recsae_lib.warehouse.store import Warehouse
from recsae_lib.warehouse.tables import AUDIT_METRICS, COMPARISONS, INTERACTIONS
from tests.workspace import DT, PLANTED_SETTINGS, Workspace, open_workspace

OWN = ("namespace", "dataset")
STUDY: dict[str, Any] = {
    "name": "trial",
    "settings": {
        **{name: value for name, value in PLANTED_SETTINGS.items() if name not in OWN},
        "checks": {"maximum_fvu": 1.0},  # a barely trained BPR-MF is not to be refused
    },
    "data_sets": {"planted": {"dataset": PLANTED_SETTINGS["dataset"]}},
    "models": {
        "bpr_mf": {"recommender": {"kind": "bpr_mf", "bpr_mf": {"epochs": 3}}, "sae": {"epochs": 5}},
        "deep": {
            "recommender": {"kind": "sasrec", "sasrec": {"layers": 2, "epochs": 10}},
            "representations": {"sites": ["last", "blocks.0"]},
        },
    },
}


def write_study(workspace: Workspace, **changes: Any) -> None:
    content = yaml.safe_dump({**STUDY, **changes})
    (workspace.folder / "conf" / "trial.yaml").write_text(content, encoding="utf-8")


def compare(workspace: Workspace) -> int:
    conf = workspace.folder / "conf" / "trial.yaml"
    return workspace.recsae_here("compare", "--conf", str(conf), "--dt", DT.isoformat())


def rows_of(workspace: Workspace) -> list[tuple[Any, ...]]:
    warehouse = Warehouse(workspace.spark, workspace.catalog, {"data": "trial"}, DT)
    return sorted((tuple(row) for row in warehouse.read_published(COMPARISONS).collect()), key=repr)


@pytest.mark.integration
def test_a_study_is_run_compared_and_not_run_again(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_workspace(spark, tmp_path / "study", "study")
    absent = {"kind": "module", "module": {"factory": "no_such_package:build", "item_embeddings": "items.weight"}}
    impossible = {"planted": {"bpr_mf": {"recommender": absent}}}
    write_study(workspace, pairs=impossible)
    assert compare(workspace) == 3
    assert "refused: bpr_mf on planted" in capsys.readouterr().err
    assert "no_such_package:build cannot be imported" in caplog.text
    assert {row[2] for row in rows_of(workspace)} == {"deep"}

    write_study(workspace)
    caplog.clear()
    assert compare(workspace) == 0
    shown = capsys.readouterr().out
    assert "planted: 1 of 2 audits are done" in caplog.text
    assert "compare: bpr_mf on planted" in caplog.text
    assert "compare: deep on planted" not in caplog.text
    table = rows_of(workspace)
    assert {row[2:4] for row in table} == {("bpr_mf", "last"), ("deep", "last"), ("deep", "blocks.0")}
    values = {row[2:6]: row[6] for row in table}
    for model, site in (("bpr_mf", "last"), ("deep", "last"), ("deep", "blocks.0")):
        assert 0 < values[model, site, "sae", "fvu"] < 1.0
        assert values[model, site, "recommender", "ndcg_at_10"] > 0
        assert values[model, site, "item_knn", "ndcg_at_10"] > 0
        assert 0 <= values[model, site, "sae", "feature_coverage_at_0.8"] <= 1
        for kind in ("sae", "init", "dimension"):
            assert (model, site, kind, "interpretable_units_expected_by_chance") in values
    # What reconstruction keeps is known where held-out users are scored.
    assert ("deep", "last", "reconstructed", "ndcg_at_10") in values
    assert ("deep", "blocks.0", "reconstructed", "ndcg_at_10") not in values
    assert values["deep", "last", "sae", "fvu"] != values["deep", "blocks.0", "sae", "fvu"]
    # A table of each audit beside those of the data that all share.
    scopes = {"data": "trial_planted", "model": "trial_planted__deep", "audit": "trial_planted__deep__blocks_0"}
    warehouse = Warehouse(spark, workspace.catalog, scopes, DT)
    assert warehouse.read_published(INTERACTIONS).count() == 600 * 24
    assert warehouse.read_published(AUDIT_METRICS).where("metric = 'fvu'").first()["value"] == pytest.approx(
        values["deep", "blocks.0", "sae", "fvu"]
    )

    caplog.clear()
    assert compare(workspace) == 0
    assert "planted: 2 of 2 audits are done" in caplog.text
    assert "started for" not in caplog.text
    assert capsys.readouterr().out == shown
    assert rows_of(workspace) == table
    assert "deep, site blocks.0" in shown


def study_file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}}, "is no study: models"),
        ({"modles": {}}, "unknown key modles"),
        ({"name": "Not a name"}, "is no study: name"),
        ({"pairs": {"planted": {"bpr": {}}}}, "unknown 'bpr'"),
        ({"pairs": {"plant": {}}}, "unknown 'plant'"),
        ({"models": {"a": {"sae": {"kk": 3}}}}, r"unknown key sae\.kk"),
        (
            {"models": {"a": {}, "b": {"dataset": {"format": "movielens_100k_embedded"}}}},
            "changes the settings dataset",
        ),
    ],
)
def test_a_wrong_study_is_refused_before_anything_runs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study(study_file(tmp_path, {**STUDY, **changes}), None, [])


def test_settings_are_laid_over_each_other(tmp_path: Path) -> None:
    content = {
        **STUDY,
        "data_sets": {"planted": {**STUDY["data_sets"]["planted"], "sae": {"k": 3, "epochs": 7}}},
        "pairs": {"planted": {"deep": {"sae": {"epochs": 9}}}},
    }
    _, audits = load_study(study_file(tmp_path, content), None, ["sae.batch_size=99"])
    assert [(audit.data_set, audit.model) for audit in audits] == [("planted", "bpr_mf"), ("planted", "deep")]
    bpr_mf, deep = (audit.settings for audit in audits)
    assert (bpr_mf.sae.k, bpr_mf.sae.epochs, bpr_mf.sae.batch_size) == (3, 5, 99)
    assert (deep.sae.k, deep.sae.epochs, deep.namespace, deep.recommender.name) == (3, 9, "trial_planted", "deep")
