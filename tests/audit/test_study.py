from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from pyspark.sql import SparkSession
from safetensors.torch import save_file

from recsae_lib.errors import InputError
from recsae_lib.flow.study import load_study
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import (
    AUDIT_METRICS,
    COMPARISONS,
    CONCEPTS,
    INTERACTIONS,
    LATENT_EFFECTS,
    RECOMMENDATIONS,
)
from recsae_lib.representations.layout import RepresentationSet
from tests.foreign_ranker import build_ranker
from tests.planted import FEATURES
from tests.tastes import DIMENSION, ITEMS, representations_alone, taste_vectors, write_lists
from tests.workspace import DT, PLANTED_SETTINGS, REPOSITORY, Workspace, open_workspace

LAYER, LAYER_NAME = "encoder.layers.0", "encoder_layers_0"
MODULE: dict[str, Any] = {
    "factory": "tests.foreign_ranker:build_ranker",
    "arguments": {"rows": ITEMS + 1, "dimension": DIMENSION, "length": 6, "normalise": False},
    "history_length": 6,
    "item_embeddings": "items.weight",
}
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
        "foreign": {
            "recommender": {"kind": "module", "module": MODULE},
            "representations": {"sites": ["last", LAYER]},
        },
    },
}


def write_study(workspace: Workspace, **changes: Any) -> None:
    content = yaml.safe_dump({**STUDY, **changes})
    (workspace.folder / "conf" / "trial.yaml").write_text(content, encoding="utf-8")


def write_foreign_ranker(folder: Path) -> dict[str, Any]:
    """Write a model that was not trained here, whose item vectors say the planted feature; returns its settings."""
    random = np.random.default_rng(3)
    directions = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0]
    vectors = directions[np.arange(ITEMS) % len(FEATURES)] + 0.05 * random.standard_normal((ITEMS, DIMENSION))
    weights = build_ranker(**MODULE["arguments"]).state_dict()
    weights["items.weight"][1:] = torch.from_numpy(vectors.astype(np.float32))
    save_file(weights, folder / "ranker.safetensors")
    numbering = {"item_id": [f"i{item}" for item in range(ITEMS)], "item_index": range(1, ITEMS + 1)}
    pq.write_table(pa.table(numbering), folder / "items.parquet")
    module = {**MODULE, "weights": f"{folder}/ranker.safetensors", "items": f"{folder}/items.parquet"}
    return {**STUDY["models"]["foreign"], "recommender": {"kind": "module", "module": module}}


def write_representations(folder: Path, interactions: Path) -> dict[str, Any]:
    """Write representations, one of them broken, and recommendations of an unknown model; returns its settings."""
    users, vectors = taste_vectors(interactions)
    best = np.argsort(-(users.to_numpy() @ vectors.T), axis=1)[:, :20]
    item_ids = pa.array([[f"i{item}" for item in row] for row in best])
    recommendations = write_lists(folder / "p.parquet", user_id=pa.array(users.index), item_ids=item_ids)
    external = {**representations_alone(folder, users), "recommendations": recommendations}
    return {"recommender": {"kind": "external", "external": external}}


def compare(workspace: Workspace) -> int:
    conf = workspace.folder / "conf" / "trial.yaml"
    return workspace.recsae_here("compare", "--conf", str(conf), "--dt", DT.isoformat())


def rows_of(workspace: Workspace) -> list[tuple[Any, ...]]:
    warehouse = Warehouse(workspace.spark, workspace.catalog, {"data": "trial"}, DT)
    return sorted((tuple(row) for row in warehouse.read_published(COMPARISONS).collect()), key=repr)


def metrics_of(warehouse: Warehouse) -> dict[tuple[str, str], float | None]:
    rows = warehouse.read_published(AUDIT_METRICS).collect()
    return {(row["unit_kind"], row["metric"]): row["value"] for row in rows}


@pytest.mark.integration
def test_a_study_is_run_compared_and_not_run_again(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    workspace = open_workspace(spark, tmp_path / "study", "study")
    alone = write_representations(tmp_path, workspace.folder / "data" / "interactions.csv")
    models = {"alone": alone, "foreign": write_foreign_ranker(tmp_path)}
    absent = {"kind": "module", "module": {"factory": "no_such_package:build", "item_embeddings": "items.weight"}}
    impossible = {"planted": {"alone": {"recommender": absent}}}
    write_study(workspace, models=models, pairs=impossible)
    assert compare(workspace) == 3
    assert "refused: alone on planted" in capsys.readouterr().err
    assert "no_such_package:build cannot be imported" in caplog.text
    assert {row[2] for row in rows_of(workspace)} == {"foreign"}

    write_study(workspace, models=models)
    caplog.clear()
    assert compare(workspace) == 0
    shown = capsys.readouterr().out
    assert "planted: 1 of 2 audits are done" in caplog.text
    assert "compare: alone on planted" in caplog.text
    assert "compare: foreign on planted" not in caplog.text
    table = rows_of(workspace)
    audits = (("alone", "last"), ("foreign", "last"), ("foreign", LAYER))
    assert {row[2:4] for row in table} == set(audits)
    values = {row[2:6]: row[6] for row in table}
    for model, site in audits:
        assert 0 < values[model, site, "sae", "fvu"] < 1.0
        for what in ("recommender", "item_knn"):
            ranks = values.get((model, site, what, "ndcg_at_10"))
            assert ranks is None if model == "alone" else ranks > 0
        assert 0 <= values[model, site, "sae", "feature_coverage_at_0.8"] <= 1
        for kind in ("sae", "untrained", "dimension"):
            assert (model, site, kind, "interpretable_units_expected_by_chance") in values
    # Both read the planted tastes.
    assert values["alone", "last", "sae", "found_in_foreign"] > values["alone", "last", "untrained", "found_in_foreign"]
    assert "| planted | alone | foreign | " in shown
    # What reconstruction keeps is known where held-out users are scored.
    assert ("foreign", "last", "reconstructed", "ndcg_at_10") in values
    assert ("foreign", LAYER, "reconstructed", "ndcg_at_10") not in values
    assert values["foreign", "last", "sae", "fvu"] != values["foreign", LAYER, "sae", "fvu"]
    # A table of each audit beside those of the data that all share.
    alone, last, layer = (
        Warehouse(spark, workspace.catalog, {"data": "trial_planted", "model": model, "audit": f"{model}{site}"}, DT)
        for model, site in (
            ("trial_planted__alone", ""),
            ("trial_planted__foreign", ""),
            ("trial_planted__foreign", f"__{LAYER_NAME}"),
        )
    )
    assert last.read_published(INTERACTIONS).count() == 600 * 24
    found = metrics_of(last)
    assert found["recommender", "ndcg_at_10"] is not None
    assert found["sae", "ndcg_at_10_kept"] is not None
    assert found["sae", "coherence_item_embedding"] is not None
    # What a latent does to the lists is known where items are scored from the representation.
    effects = [warehouse.read_published(LATENT_EFFECTS).count() for warehouse in (alone, last, layer)]
    assert (effects[0], effects[2]) == (0, 0)
    assert effects[1] > 0
    assert metrics_of(layer)["sae", "fvu"] == pytest.approx(values["foreign", LAYER, "sae", "fvu"])
    assert ("sae", "ndcg_at_10_kept") not in metrics_of(layer)
    assert_known_by_representations(workspace, alone)
    bulk, model = str(workspace.folder / "var" / "bulk"), "recommender-trial_planted__foreign"
    held = {
        (site, rows)
        for site in ("last", LAYER)
        for rows in ("training", "dev")
        if RepresentationSet(bulk, model, 1, site, rows, DT).exists()  # type: ignore[arg-type]
    }
    assert held == {("last", "training"), ("last", "dev"), (LAYER, "training")}

    caplog.clear()
    assert compare(workspace) == 0
    assert "planted: 2 of 2 audits are done" in caplog.text
    assert "started for" not in caplog.text
    assert capsys.readouterr().out == shown
    assert rows_of(workspace) == table
    assert f"foreign, site {LAYER}" in shown


def assert_known_by_representations(workspace: Workspace, alone: Warehouse) -> None:
    """Of a model of which representations and recommendations are all that is known."""
    concepts = alone.read_published(CONCEPTS)
    assert concepts.where("interpretable").count() >= 3
    found = metrics_of(alone)
    assert ("sae", "ndcg_at_10_kept") not in found
    assert found["sae", "coherence_item_embedding"] is None
    assert found["sae", "coherence_representation"] is not None
    recommended = alone.read_published(RECOMMENDATIONS).collect()
    assert len(recommended) == 600
    assert {len(row["item_ids"]) for row in recommended} == {10}
    assert {len(row["context_ids"]) for row in recommended} == {10}
    bulk = str(workspace.folder / "var" / "bulk")
    last = RepresentationSet(bulk, "recommender-trial_planted__alone", 1, "last", "last", DT)
    rejected = pq.read_table(last.rejected("representations")).to_pylist()
    assert rejected == [{"id": "broken", "reason": "representation holds a null, NaN or infinity"}]


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
        "pairs": {"planted": {"foreign": {"sae": {"epochs": 9}}}},
    }
    _, audits = load_study(study_file(tmp_path, content), None, ["sae.batch_size=99"])
    assert [(audit.data_set, audit.model) for audit in audits] == [("planted", "bpr_mf"), ("planted", "foreign")]
    bpr_mf, foreign = (audit.settings for audit in audits)
    assert (bpr_mf.sae.k, bpr_mf.sae.epochs, bpr_mf.sae.batch_size) == (3, 5, 99)
    assert (foreign.sae.k, foreign.sae.epochs) == (3, 9)
    assert (foreign.namespace, foreign.recommender.name) == ("trial_planted", "foreign")
