"""What publishing leaves in MLflow, on a registry with three SAE versions."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.tracking.publication import keep_checks, note_findings, promote_sae, sae_shape, tag_outcome
from recsae_lib.platform.warehouse.checks import SaeShape
from recsae_lib.platform.warehouse.results import CheckResult
from tests.publishing import publication
from tests.workspace import write_mlflow_database

NAME = "recsae-shop"
FRIDAY, SATURDAY = date(2026, 11, 20), date(2026, 11, 21)


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    """The audit of Friday by version 2; version 1 is champion."""
    write_mlflow_database(tmp_path / "mlflow.db")
    paths = {
        "var": str(tmp_path / "var"),
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "artifacts": str(tmp_path / "artifacts"),
    }
    context = JobContext(
        "publish_audit", Settings.model_validate({"namespace": "shop", "paths": paths, "sae": {"version": 2}}), FRIDAY
    )
    registry = context.registry
    (tmp_path / "weights.txt").write_text("weights", encoding="utf-8")
    with registry.training_run(NAME, {"job": "train_sae"}, {}) as run:
        for number, dt in enumerate((FRIDAY, FRIDAY, SATURDAY), start=1):
            tags = {"dt": str(dt), "model_version": "3", "num_latents": "16", "k": "2"}
            registry.register_recommender(run, NAME, tmp_path / "weights.txt", f"digest-{number}", tags)
        registry.register_recommender(run, "recommender-shop", tmp_path / "weights.txt", "digest-4", {})
    registry.promote(NAME, 1)
    warehouse: Any = SimpleNamespace(snapshot_id=lambda table: len(table.name))
    vars(context)["warehouse"] = warehouse
    return context


def test_rows_must_agree_with_what_training_wrote(context: JobContext) -> None:
    shape = SaeShape(model_version=3, sae_version=2, num_latents=16, most_active=2)
    assert sae_shape(context) == shape  # of an earlier release, which had the tag k alone
    context.registry.set_tags(NAME, 2, {"most_active_latents": "8"})
    assert sae_shape(context) == replace(shape, most_active=8)


@pytest.mark.parametrize(("published", "champion"), [([], 2), ([date(2026, 11, 19), FRIDAY], 2), ([SATURDAY], 1)])
def test_only_the_newest_audit_makes_its_sae_champion(
    context: JobContext, published: list[date], champion: int
) -> None:
    promote_sae(context, publication(FRIDAY, 2), published)
    assert context.registry.champion(NAME) == champion
    assert context.registry.champion("recommender-shop") == (1 if champion == 2 else None)


def test_a_recommender_that_is_gone_is_no_champion(context: JobContext) -> None:
    promote_sae(context, publication(FRIDAY, 2, model_version=9), [])
    assert (context.registry.champion(NAME), context.registry.champion("recommender-shop")) == (2, None)


def test_the_newest_audit_of_a_version_is_described(context: JobContext) -> None:
    def described() -> str:
        return str(context.registry.client.get_model_version(NAME, "2").description)

    for dt, sentence in ((FRIDAY, "first"), (SATURDAY, "second"), (FRIDAY, "third")):
        note_findings(context, publication(dt, 2), [sentence], {"confirmed_units": 1.0})
        context.registry.set_tags(
            NAME, 2, {"published_dt": max(str(dt), context.registry.tags(NAME, 2).get("published_dt", ""))}
        )
        assert ("**second.**" if sentence == "third" else f"**{sentence}.**") in described()


def test_a_version_is_tagged_with_its_outcome(context: JobContext) -> None:
    def audit_tags(version: int) -> dict[str, str]:
        found = context.registry.tags(NAME, version)
        return {name: value for name, value in found.items() if name not in ("recsae.weights_sha256", "k")}

    before = audit_tags(2), audit_tags(3)
    tag_outcome(context, 2, "published")
    tag_outcome(context, 3, "failed")  # trained for another date: its data are not those of Friday
    outcome = {"audit_dt": "2026-11-20", "audit_status": "published", "published_dt": "2026-11-20"}
    snapshots = {"interactions_snapshot": "12", "items_snapshot": "5"}
    assert audit_tags(2) == {**before[0], **outcome, **snapshots}
    assert audit_tags(3) == {**before[1], "audit_dt": "2026-11-20", "audit_status": "failed"}


def test_checks_are_kept_and_what_fails_is_shown(context: JobContext, caplog: pytest.LogCaptureFixture) -> None:
    results = [
        CheckResult("items", "key", "fail", 0),
        CheckResult("concepts", "range", "warn", 4, "of density"),
    ]
    with caplog.at_level(logging.INFO, "recsae"):
        keep_checks(context, results)
    file = Path(context.settings.paths.var) / "reports" / "shop" / "2026-11-20" / "checks.json"
    rows = json.loads(file.read_text("utf-8"))
    assert [(row["table"], row["passed"], row["violations"]) for row in rows] == [
        ("items", True, 0),
        ("concepts", False, 4),
    ]
    run_id = context.registry.versions(NAME)[1].run_id
    kept = context.registry.client.download_artifacts(run_id, "audits/2026-11-20/checks.json")
    assert Path(kept).read_bytes() == file.read_bytes()
    assert caplog.messages == [
        "publish_audit: WARN (4 violations): concepts: range [of density]",
        f"publish_audit: 1 of 2 checks pass, all in {file}",
    ]
