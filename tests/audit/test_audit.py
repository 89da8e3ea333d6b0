from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from recsae_jobs import compute_latent_effects, interpret_concepts, measure_coverage, verify_concepts
from recsae_lib.cli.summary import print_summary
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.warehouse import tables
from recsae_lib.sae.dictionaries import Dictionary
from recsae_lib.verification.scores import is_confirmed
from recsae_lib.verification.surroundings import Surroundings, audited_dictionary
from recsae_lib.verification.units import judge_baselines
from tests.planted import FEATURES
from tests.workspace import DT, REPOSITORY, Workspace, alike

pytestmark = pytest.mark.integration
COVERED = ("sae", "shuffled", "untrained", "cluster", "random_user", "dimension")


def test_nothing_is_lost_between_the_jobs(audited: Workspace) -> None:
    warehouse = audited.warehouse()
    activations = warehouse.read_published(tables.LATENT_ACTIVATIONS)
    live = {row[0] for row in activations.select(F.explode("latent_ids")).distinct().collect()}
    assert activations.count() == 600
    assert activations.where(F.size("latent_ids") > 2).count() == 0
    assert warehouse.read_published(tables.INTERACTIONS).count() == 600 * 24
    assert warehouse.read_published(tables.ITEMS).count() == 240
    assert warehouse.read_published(tables.RECOMMENDATIONS).count() == 600
    for table in (tables.CONCEPTS, tables.CONCEPT_LABELS, tables.CONCEPT_SCORES, tables.SHUFFLED_SCORES):
        assert {row["latent_id"] for row in warehouse.read_published(table).collect()} == live, table.name
    coverage = warehouse.read_published(tables.CONCEPT_COVERAGE).collect()
    assert {row["unit_kind"] for row in coverage} == set(COVERED)


def test_the_audit_is_published_and_its_sae_is_champion(audited: Workspace) -> None:
    first, *again = audited.rows(tables.AUDITS)  # other tests publish it again
    assert first[:4] == (DT, 1, 1, 1)
    assert {row[2:4] for row in again} <= {(1, 1)}
    published = [row for row in audited.rows(tables.AUDIT_ATTEMPTS) if row[1] == "published"]
    assert [row[:2] for row in published[:1]] == [(DT, "published")]
    registry = audited.context("any").registry
    assert registry.resolve("recsae-planted", "champion") == 1
    (champion,) = registry.versions("recsae-planted")
    kept = registry.client.download_artifacts(champion.run_id, f"audits/{DT}/checks.json")
    local = audited.folder / "var" / "reports" / "planted" / DT.isoformat() / "checks.json"
    assert Path(kept).read_text("utf-8") == local.read_text("utf-8")
    for table in tables.TABLES.values():
        assert table.scope != "audit" or f"audit-{DT}" not in audited.warehouse().references(table), table.name


def test_every_column_has_its_comment_in_the_warehouse(audited: Workspace) -> None:
    for table in (*tables.AUDIT_TABLES, tables.AUDITS, tables.AUDIT_ATTEMPTS):
        described = audited.spark.sql(f"DESCRIBE {audited.warehouse().full_name(table)}").collect()
        comments = {row["col_name"]: row["comment"] for row in described if row["comment"]}
        for field in table.schema.fields:
            assert comments.get(field.name) == field.metadata["comment"], f"{table.name}.{field.name}"


def test_the_planted_features_are_the_top_terms(audited: Workspace) -> None:
    top = audited.warehouse().read_published(tables.CONCEPT_TERMS).where("significant AND rank = 1").collect()
    found = {row["term"] for row in top if row["kind"] == "feature"}
    assert len(found & set(FEATURES)) >= 0.9 * len(FEATURES)
    # Words of the titles are noise: hardly ever the best term of a latent.
    assert sum(row["kind"] == "word" for row in top) <= 0.1 * len(top)


def test_latents_push_the_planted_features(audited: Workspace) -> None:
    concepts = {row["latent_id"]: row for row in audited.warehouse().read_published(tables.CONCEPTS).collect()}
    rows = [row.asDict() for row in audited.warehouse().read_published(tables.LATENT_EFFECTS).collect()]
    found = Counter((row["latent_id"], row["kind"]) for row in rows)
    for latent in concepts:
        assert (found[latent, "item"], found[latent, "feature"]) == (40, len(FEATURES))
    assert {latent for latent, _ in found} == set(concepts)
    # What makes a latent fire is what it does here, as users take the items of one feature.
    best = {latent: row["best_feature"] for latent, row in concepts.items() if row["confirmed"]}
    assert len(set(best.values()) & set(FEATURES)) >= 0.9 * len(FEATURES)
    assert {latent: concepts[latent]["output_feature"] for latent in best} == best
    items = {row["item_id"]: row["features"] for row in audited.warehouse().read_published(tables.ITEMS).collect()}
    pushed = [row for row in rows if row["kind"] == "item" and row["rank"] > 0 and row["latent_id"] in best]
    named = [concepts[row["latent_id"]]["output_feature"] in items[row["item_id"]] for row in pushed]
    assert np.mean(named) >= 0.8

    context = audited.context("compute_latent_effects")
    compute_latent_effects.run(context)
    again = [row.asDict() for row in context.warehouse.read(tables.LATENT_EFFECTS).collect()]
    assert sorted(again, key=repr) == sorted(rows, key=repr)


def test_popularity_tiers_are_those_of_the_training_part(audited: Workspace) -> None:
    histories: dict[str, list[tuple[Any, ...]]] = {}
    for row in audited.warehouse().read_published(tables.INTERACTIONS).collect():
        histories.setdefault(row["user_id"], []).append((row["ts"], row["source_order"], row["item_id"]))
    counts = Counter(item for history in histories.values() for _, _, item in sorted(history)[:-2])
    tiers, begin = {0: "lowest"}, 0
    for _, count in counts.most_common():
        tiers.setdefault(count, ("highest", "high", "low", "lowest")[4 * begin // counts.total()])
        begin += count
    items = audited.warehouse().read_published(tables.ITEMS).collect()
    found = {row["item_id"]: row["derived_features"] for row in items}
    assert found == {row["item_id"]: [f"popularity: {tiers[counts[row['item_id']]]}"] for row in items}


def test_planted_concepts_are_interpretable_and_shuffled_are_not(audited: Workspace) -> None:
    concepts = audited.warehouse().read_published(tables.CONCEPTS).collect()
    interpretable = [row for row in concepts if row["interpretable"]]
    assert len({feature for row in interpretable for feature in row["features"]} & set(FEATURES)) >= 0.9 * len(FEATURES)
    # Of the latents that fire for enough users to be judged on all 10 + 10 cases.
    frequent = [row for row in concepts if row["active_users"] >= 60]
    assert len(frequent) >= len(FEATURES)
    assert sum(row["interpretable"] for row in frequent) >= 0.8 * len(frequent)

    # Users who got each other's representations: what fires for them says nothing of their items.
    context = audited.context("shuffled")
    around, dictionary = Surroundings.of_context(context), audited_dictionary(context)
    rows = around.representations.orderBy("user_id").collect()
    users = np.random.default_rng(11).permutation([row["user_id"] for row in rows]).tolist()
    shuffled = context.spark.createDataFrame(
        [(user, row["representation"]) for user, row in zip(users, rows, strict=True)],
        around.representations.schema,
    )
    same = [Dictionary(tables.UnitKind.SAE, 1, dictionary.folder)]
    baselines = judge_baselines(same, dictionary, replace(around, representations=shuffled), context.settings)
    judged = baselines.verdicts.scores(context.settings)
    assert len(judged) == len(concepts)
    assert judged["interpretable"].sum() <= 0.05 * len(judged)
    assert is_confirmed(judged, context.settings.verification).sum() <= 0.01 * len(judged)
    baselines.release()


def test_shuffled_labels_stand_beside_the_right_ones(audited: Workspace) -> None:
    warehouse = audited.warehouse()
    metrics = {
        (row["unit_kind"], row["metric"]): row["value"]
        for row in warehouse.read_published(tables.AUDIT_METRICS).collect()
    }
    for metric in ("live_units", "judged_units"):
        assert metrics["shuffled", metric] == metrics["sae", metric] > 0, metric
    assert metrics["shuffled", "interpretable_units"] < 0.5 * metrics["sae", "interpretable_units"]
    assert metrics["shuffled", "mean_confidence"] < metrics["sae", "mean_confidence"] - 0.1
    for kind in COVERED:
        spread = [metrics[kind, f"confidence_p{share}"] for share in (10, 50, 90)]
        assert spread == sorted(spread)
    assert metrics["sae", "best_feature_units"] > 5 * metrics["sae", "best_feature_units_expected_by_chance"] > 0
    assert ("shuffled", "coherence_representation") not in metrics
    owners = {row["latent_id"]: row["label_of"] for row in warehouse.read_published(tables.SHUFFLED_SCORES).collect()}
    significant = warehouse.read_published(tables.CONCEPT_TERMS).where("significant")
    named = {row[0] for row in significant.select("latent_id").distinct().collect()}
    given = [latent for latent in owners.values() if latent is not None]
    assert sorted(given) == sorted(named) == sorted(latent for latent, owner in owners.items() if owner is not None)
    assert all(latent != other for latent, other in owners.items())


def test_a_language_model_judges_beside_the_term_scorer(
    audited: Workspace, judging_server: tuple[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, asked = judging_server
    overrides = [
        "verification.judges=[terms, llm]",
        f"verification.judge_prompt={REPOSITORY}/conf/prompts/judge.md",
        f"llm.base_url={url}",
        "llm.concurrency=1",
        "llm.price_per_million_prompt_tokens=0.5",
        "llm.price_per_million_completion_tokens=1.5",
    ]
    before = audited.rows(tables.CONCEPT_SCORES)
    verify_concepts.estimate(audited.context("verify_concepts", *overrides))
    estimate = capsys.readouterr().out
    naming = ["interpretation.interpreter=llm", f"interpretation.prompt={REPOSITORY}/conf/prompts/interpret.md"]
    interpret_concepts.estimate(audited.context("interpret_concepts", *overrides, *naming))
    named = audited.warehouse().read(tables.LATENT_ITEMS).select("latent_id").distinct().count()
    assert f"interpret_concepts: {named} requests to gpt-4o-mini" in capsys.readouterr().out
    assert asked == []
    verify_concepts.run(audited.context("verify_concepts", *overrides))
    measured = audited.context("measure_coverage", *overrides)
    measure_coverage.run(measured)
    assert f"{len(asked)} requests to gpt-4o-mini" in estimate
    assert "cost about" in estimate

    warehouse = measured.warehouse
    rejects = warehouse.read(tables.VERIFICATION_REJECTS).collect()
    assert len(rejects) == len(asked) // 8 > 0
    assert {row["reason"].partition(" ")[2] for row in rejects} <= {f"of {n} cases are not judged" for n in range(23)}
    scores = {(row["judge"], row["latent_id"]): row for row in warehouse.read(tables.CONCEPT_SCORES).collect()}
    by_terms = [
        row
        for row in sorted((tuple(row) for row in warehouse.read(tables.CONCEPT_SCORES).collect()), key=repr)
        if row[3] == "terms"
    ]
    assert alike(by_terms, before)
    for row in rejects:
        score = scores["llm", row["latent_id"]]
        assert (score["cases"], score["confidence"], score["p_value"], score["interpretable"]) == (0, None, 1.0, False)
    by_llm = [row for (judge, _), row in scores.items() if judge == "llm"]
    assert len(by_llm) == len(before)
    assert {(row["llm_model"], row["prompt_version"]) for row in by_llm} == {
        ("gpt-4o-mini", load_prompt(REPOSITORY / "conf" / "prompts" / "judge.md").version)
    }
    metrics = {
        row["metric"]: row["value"] for row in warehouse.read(tables.AUDIT_METRICS).where("unit_kind = 'sae'").collect()
    }
    assert metrics["llm_refused_answers"] == len(rejects)
    assert metrics["llm_judged_units"] == sum(row["cases"] > 0 for row in by_llm)
    assert 0.5 < metrics["judge_agreement"] <= 1
    assert metrics["interpretable_by_both_judges"] == sum(
        row["interpretable"] and scores["terms", row["latent_id"]]["interpretable"] for row in by_llm
    )
    for table in tables.AUDIT_TABLES:
        warehouse.drop_branch(table)


def test_people_can_look_at_what_was_published(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT count(*) AS concepts, max(density) AS density FROM concepts"
    conf = ("--conf", str(audited.folder / "conf" / "planted.yaml"))
    assert audited.recsae_here("sql", *conf, query, "--format", "json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["concepts"] == len(audited.rows(tables.CONCEPTS))
    assert 0 < row["density"] <= 1
    assert audited.recsae_here("sql", *conf, "DROP TABLE concepts") == 2
    assert "DropTable does more than read" in capsys.readouterr().err
    assert audited.recsae_here("concepts", *conf, "--top", "3") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Concepts of planted, dt=2026-11-20, SAE version 1\n")
    assert shown.count("terms: ") == 3
    assert audited.recsae_here("versions", *conf) == 0
    assert capsys.readouterr().out.startswith(
        "Versions of the SAE of planted, dt=2026-11-20, SAE version 1 (champion)\n"
    )


def test_the_audit_stands_above_rows_but_not_in_csv(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    conf = ("--conf", str(audited.folder / "conf" / "planted.yaml"))
    asked = ("sql", *conf, "SELECT min(dt) AS first FROM concepts")
    assert audited.recsae_here(*asked) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["planted, dt=2026-11-20, SAE version 1", "┏━━━━━━━━━━━━┓"]
    assert audited.recsae_here(*asked, "--format", "csv") == 0
    assert capsys.readouterr().out == "first\n2026-11-20\n"
    assert audited.recsae_here("sql", *conf, "--as-of", "2026-11-19", "SELECT 1 AS one") == 0
    assert capsys.readouterr().out.startswith("planted, nothing published\n")


def test_the_summary_names_the_settings_in_use(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(audited.context("audit"), {"ingest_dataset": 1.0}, " --conf 'my settings.yaml'")
    assert "`recsae concepts --conf 'my settings.yaml' --latent ID` · `recsae sql --conf" in capsys.readouterr().out


def test_concepts_that_are_not_published_are_not_lost(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    conf = ("--conf", str(audited.folder / "conf" / "planted.yaml"))
    refused = audited.warehouse(DT + timedelta(days=1))
    refused.replace(tables.CONCEPTS, audited.warehouse().read_published(tables.CONCEPTS).drop("dt"))
    try:
        assert audited.recsae_here("sql", *conf, f"SELECT count(*) FROM concepts WHERE dt = '{refused.dt}'") == 0
        said = capsys.readouterr()
        assert "│ 0 " in said.out
        hint = f"not published: {refused.branch} of planted.concepts (SELECT … FROM planted.concepts VERSION AS OF"
        assert hint in said.err
        assert audited.recsae_here("concepts", *conf, "--dt", refused.dt.isoformat()) == 2
        assert f"they are on the branch {refused.branch}" in capsys.readouterr().err
        query = f"SELECT count(*) AS rows FROM concepts VERSION AS OF '{refused.branch}' WHERE dt = '{refused.dt}'"
        assert audited.recsae_here("sql", *conf, query) == 0
        said = capsys.readouterr()
        assert "│ 0 " not in said.out
        assert "not published" not in said.err
    finally:
        refused.drop_branch(tables.CONCEPTS)


def test_the_sites_of_the_registered_model_are_listed(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited.recsae_here("sites", "--conf", str(audited.folder / "conf" / "planted.yaml")) == 0
    shown = capsys.readouterr().out
    for part in ("last", "blocks.0.inner", "(batch, T, d)"):
        assert part in shown
