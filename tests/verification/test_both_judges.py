"""Right labels pass and shuffled ones do not, by the term scorer and by a language model that sees the prompt only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import InterpretationSettings, LlmSettings, VerificationSettings
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.transports import submit
from recsae_lib.verification.llm_judge import write_judge_requests
from recsae_lib.verification.scores import is_confirmed
from recsae_lib.verification.shuffled_labels import shuffled_terms
from recsae_lib.verification.verdicts import add_llm_verdicts, own_scores, scores_by_shuffled, verdicts_line
from tests.toy_world import BLANK, FEATURES, LINKED, UNITS, ToyWorld
from tests.workspace import REPOSITORY

pytestmark = pytest.mark.integration


def oracle(request: Any) -> str:
    """Say "fires" where two items or more carry the feature that the label names first."""
    shown = json.loads(request.body["messages"][1]["content"])
    wanted = shown["concept"]["label"].split(", ")[0]  # two concepts of one label have a second term
    verdicts = [
        {"case": case["case"], "fires": sum(wanted in item["features"] for item in case["items"]) >= 2}
        for case in shown["cases"]
    ]
    return json.dumps({"verdicts": verdicts})


def test_right_labels_pass_and_shuffled_ones_do_not(spark: SparkSession, server: Any, tmp_path: Path) -> None:
    world = ToyWorld(spark, tmp_path)
    settings = world.settings = world.settings.model_copy(
        update={"verification": VerificationSettings(judge_items=LINKED)}
    )
    around = replace(world.around, model=None)  # as at a site from which no items are scored
    named = world.named(around)
    verdicts = world.judge(around, named, shuffle=True)
    cases, scores = (
        rows.withColumns({"dt": F.lit(None), "sae_version": F.lit(1)}).cache()
        for rows in (verdicts.cases(), own_scores(verdicts, settings))
    )
    shuffled_scores = scores_by_shuffled(verdicts, settings)
    no_twins = spark.createDataFrame([], "latent_id int, same_as int")
    labels = interpret_with_terms(named.live, named.terms, no_twins, InterpretationSettings(label_terms=1)).cache()
    server.reply = lambda request: server.says(oracle(request))

    def by_llm(labels: DataFrame) -> pd.DataFrame:
        llm, path = LlmSettings(base_url=server.url, model="small", retries=0), tmp_path / "requests.jsonl"
        prompt, seed = load_prompt(REPOSITORY / "conf" / "prompts" / "judge.md"), settings.seed
        shown = cases, labels, around.linked, around.items
        write_judge_requests(path, *shown, settings.verification, llm, prompt, seed)
        with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-20 tests", path, llm) as ledger:
            ledger.intend("inline")
            submit(ledger, llm, lambda done, total: None)
            of_both = add_llm_verdicts(ledger, cases, scores, settings)
        assert of_both.rejects.count() == 0
        assert of_both.scores.where("judge = 'terms'").count() == UNITS
        by_llm = of_both.scores.where("judge = 'llm'").orderBy("latent_id").toPandas()
        assert set(by_llm["llm_model"]) == {"small"}
        assert set(by_llm["prompt_version"]) == {prompt.version}
        assert by_llm["best_feature"].tolist() == by_terms["best_feature"].tolist()  # known whoever judges
        return by_llm

    by_terms = verdicts.scores(settings)
    assert by_terms["removal_effect"].isna().all()
    assert not is_confirmed(by_terms, settings.verification).any()  # nothing says that they change anything
    for right in (by_terms, by_llm(labels)):
        assert len(right) == UNITS
        features = right[right["latent_id"] < len(FEATURES)]
        assert (features["confidence"] >= 0.9).mean() >= 0.95
        assert features["interpretable"].mean() >= 0.95
        assert not right["interpretable"][BLANK]
    assert (features["cases"] == 20).mean() > 0.9
    for shuffled in (shuffled_scores.toPandas(), by_llm(shuffled_terms(labels, shuffled_scores))):
        assert len(shuffled) == UNITS
        assert shuffled["interpretable"].mean() <= 0.05
        assert shuffled["confidence"].mean() == pytest.approx(0.5, abs=0.05)


def test_verdicts_are_counted_in_one_line(spark: SparkSession) -> None:
    scores = spark.createDataFrame(
        [(1, "terms", True), (2, "terms", True), (1, "llm", True), (2, "llm", False)],
        "latent_id int, judge string, interpretable boolean",
    )
    shuffled = spark.createDataFrame([(False,), (True,)], "interpretable boolean")
    cases, rejects, nobody = spark.range(1200), spark.range(3), scores.withColumn("interpretable", F.lit(False))
    assert verdicts_line(cases, rejects, scores, shuffled) == (
        "1,200 cases, 3 refused answers; of 2 latents interpretable: 1 by judge llm, 2 by judge terms, 1 by both; "
        "with shuffled labels: 1"
    )
    by_terms = scores.where("judge = 'terms'")
    assert "interpretable: 2 by judge terms; with" in verdicts_line(cases, rejects, by_terms, shuffled)
    assert "interpretable: none, 0 by both;" in verdicts_line(cases, rejects, nobody, shuffled)
