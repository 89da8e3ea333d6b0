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
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import InterpretationSettings, LlmSettings, Settings, VerificationSettings
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.transports import submit
from recsae_lib.verification.judging import verify_units
from recsae_lib.verification.llm_judge import read_judged_cases, write_judge_requests
from recsae_lib.verification.scores import score_concepts, score_shuffled
from recsae_lib.verification.shuffled_labels import shuffle_labels, shuffled_terms

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
        latent_items = link_latents_to_items(self.activations.where(construct), self.linked, 100).cache()
        self.terms = concept_terms(latent_items, self.items, SETTINGS.terms).cache()
        live = self.terms.select("latent_id").distinct()
        self.labels = interpret_with_terms(live, self.terms, SETTINGS.interpretation).cache()
        self.neighbours = neighbours_of(latent_items, 5)


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
    labels_of_others = shuffle_labels(world.terms, SETTINGS.seed).cache()
    verdicts = verify_units(
        world.activations,
        world.linked,
        world.items,
        world.terms,
        world.neighbours,
        SETTINGS,
        shuffled_terms(world.terms, labels_of_others),
    )
    by_shuffled = verdicts.cases.withColumn("judged", F.col("judged_by_shuffled"))
    server.reply = lambda request: server.says(oracle(request))

    def by_llm(labels: DataFrame) -> pd.DataFrame:
        cases = verdicts.cases.select("latent_id", "user_id", "kind", "fires")
        llm, path = LlmSettings(base_url=server.url, model="small", retries=0), tmp_path / "requests.jsonl"
        prompt, seed = load_prompt(PROMPT_FILE), SETTINGS.seed
        write_judge_requests(path, cases, labels, world.linked, world.items, verification, llm, prompt, seed)
        with Ledger.open(tmp_path / "ledger.sqlite", "2026-11-20 tests", path, llm) as ledger:
            ledger.intend("inline")
            submit(ledger, llm, lambda done, total: None)
            judged = read_judged_cases(ledger, cases, verification, seed)
        assert judged.rejects.count() == 0
        return score_concepts(judged.cases, "llm", verdicts.scores, verdicts.scores, verification).toPandas()

    for right in (verdicts.scores.toPandas(), by_llm(world.labels)):
        assert len(right) == len(FEATURES)
        assert (right["cases"] == 20).mean() > 0.9
        assert (right["confidence"] >= 0.9).mean() >= 0.95
        assert right["interpretable"].mean() >= 0.95
    for shuffled in (
        score_shuffled(by_shuffled, verdicts.scores, labels_of_others, verification).toPandas(),
        by_llm(shuffled_terms(world.labels, labels_of_others)),
    ):
        assert len(shuffled) == len(FEATURES)
        assert (shuffled["cases"] == 20).mean() > 0.9
        assert shuffled["interpretable"].mean() <= 0.05
        assert shuffled["confidence"].mean() == pytest.approx(0.5, abs=0.05)
