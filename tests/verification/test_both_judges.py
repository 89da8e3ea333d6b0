"""Right labels pass and shuffled ones do not, by the term scorer and by a language model that sees the prompt only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import InterpretationSettings, LlmSettings, Settings, VerificationSettings
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.transports import submit
from recsae_lib.verification.judging import add_llm_verdicts, verdicts_line, verify_latents
from recsae_lib.verification.llm_judge import write_judge_requests
from recsae_lib.verification.shuffled_labels import shuffled_terms

pytestmark = pytest.mark.integration

FEATURES = [f"genre{number}" for number in range(40)]
USERS, LIKED, ITEMS_A_FEATURE = 600, 4, 12
SETTINGS = Settings(
    interpretation=InterpretationSettings(label_terms=1), verification=VerificationSettings(judge_items=20)
)
PROMPT_FILE = Path(__file__).resolve().parents[2] / "conf" / "prompts" / "judge.md"


class World:
    """Every user likes four of forty features; latent n fires for those who like feature n."""

    def __init__(self, spark: SparkSession) -> None:
        random = np.random.default_rng(17)
        activations, linked = [], []
        for user in range(USERS):
            liked = random.choice(len(FEATURES), LIKED, replace=False)
            items = [f"i{feature}_{n}" for feature in liked for n in random.choice(ITEMS_A_FEATURE, 3, replace=False)]
            noise = [f"i{random.integers(len(FEATURES))}_{random.integers(ITEMS_A_FEATURE)}" for _ in range(3)]
            activations.append((f"u{user}", liked.tolist(), (1 + random.random(LIKED)).tolist()))
            linked.append((f"u{user}", random.permutation(items + noise).tolist()))
        catalogue = [
            (f"i{feature}_{n}", f"night {random.integers(9)}", "", [name])
            for feature, name in enumerate(FEATURES)
            for n in range(ITEMS_A_FEATURE)
        ]
        self.activations = spark.createDataFrame(
            activations, "user_id string, latent_ids array<int>, activations array<float>"
        ).cache()
        self.linked = spark.createDataFrame(linked, "user_id string, item_ids array<string>").cache()
        self.items = spark.createDataFrame(
            catalogue, "item_id string, title string, text string, features array<string>"
        ).cache()
        construct = in_construct_half(F.col("user_id"), SETTINGS.evidence.salt)
        self.latent_items = link_latents_to_items(self.activations.where(construct), self.linked, 100).cache()
        self.terms = concept_terms(self.latent_items, self.items, SETTINGS.terms).cache()
        live = self.terms.select("latent_id").distinct()
        no_twins = spark.createDataFrame([], "latent_id int, same_as int")
        self.labels = interpret_with_terms(live, self.terms, no_twins, SETTINGS.interpretation).cache()


def oracle(request: Any) -> str:
    """Say "fires" where two items or more carry the feature that the label names."""
    shown = json.loads(request.body["messages"][1]["content"])
    wanted = shown["concept"]["label"]
    verdicts = [
        {"case": case["case"], "fires": sum(wanted in item["features"] for item in case["items"]) >= 2}
        for case in shown["cases"]
    ]
    return json.dumps({"verdicts": verdicts})


def test_right_labels_pass_and_shuffled_ones_do_not(spark: SparkSession, server: Any, tmp_path: Path) -> None:
    world, verification = World(spark), SETTINGS.verification
    verdicts, shuffled_scores = verify_latents(
        world.activations, world.linked, world.items, world.terms, world.latent_items, SETTINGS
    )
    server.reply = lambda request: server.says(oracle(request))

    def by_llm(labels: DataFrame) -> pd.DataFrame:
        cases, scores = verdicts.cases, verdicts.scores
        llm, path = LlmSettings(base_url=server.url, model="small", retries=0), tmp_path / "requests.jsonl"
        prompt, seed = load_prompt(PROMPT_FILE), SETTINGS.seed
        write_judge_requests(path, cases, labels, world.linked, world.items, verification, llm, prompt, seed)
        with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-20 tests", path, llm) as ledger:
            ledger.intend("inline")
            submit(ledger, llm, lambda done, total: None)
            of_both = add_llm_verdicts(ledger, cases, scores, SETTINGS)
        assert of_both.rejects.count() == 0
        assert of_both.cases.count() == 2 * cases.count()
        assert of_both.scores.where("judge = 'terms'").count() == len(FEATURES)
        by_llm = of_both.scores.where("judge = 'llm'").toPandas()
        assert set(by_llm["llm_model"]) == {"small"}
        assert set(by_llm["prompt_version"]) == {prompt.version}
        return by_llm

    for right in (verdicts.scores.toPandas(), by_llm(world.labels)):
        assert len(right) == len(FEATURES)
        assert (right["cases"] == 20).mean() > 0.9
        assert (right["confidence"] >= 0.9).mean() >= 0.95
        assert right["interpretable"].mean() >= 0.95
    for shuffled in (
        shuffled_scores.toPandas(),
        by_llm(shuffled_terms(world.labels, shuffled_scores)),
    ):
        assert len(shuffled) == len(FEATURES)
        assert (shuffled["cases"] == 20).mean() > 0.9
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
