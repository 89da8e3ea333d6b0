"""Coherence and distinctiveness against all pairs, formed one by one with scikit-learn."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import cosine_similarity

from recsae_lib.concepts.coherence import coherence_metrics
from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.config import TermSettings

ACTIVATIONS = "user_id string, latent_ids array<int>, activations array<float>"
LATENT_ITEMS = "latent_id int, item_id string, weight double, users bigint, rank int"
ITEMS = "item_id string, title string, text string, features array<string>"
TERMS = TermSettings(longest_ngram=1, stop_words="none")


def frames(
    spark: SparkSession,
    fired: dict[str, dict[int, float]],
    ranked: dict[int, list[str]],
    representations: dict[str, list[float]],
    embeddings: dict[str, list[float]],
    items: list[tuple[str, str, list[str]]],
) -> tuple[DataFrame, ...]:
    links = [(latent, item, 1.0, 1, n) for latent, of_latent in ranked.items() for n, item in enumerate(of_latent, 1)]
    return (
        spark.createDataFrame([(user, list(z), list(z.values())) for user, z in fired.items()], ACTIVATIONS),
        spark.createDataFrame(links, LATENT_ITEMS),
        spark.createDataFrame(list(representations.items()), "user_id string, representation array<float>"),
        spark.createDataFrame(list(embeddings.items()), "item_id string, embedding array<float>"),
        spark.createDataFrame([(item, "title", text, features) for item, text, features in items], ITEMS),
    )


def expected(vectors: dict[int, np.ndarray]) -> tuple[float, float]:
    """Mean cosine over the pairs of each latent's vectors, and over the pairs of the latents' centroids."""
    coherence, centroids = [], []
    for of_latent in vectors.values():
        of_latent = of_latent[np.linalg.norm(of_latent, axis=1) > 0]
        if len(of_latent) >= 2:
            cosines = cosine_similarity(of_latent)
            coherence.append(np.mean([cosines[i, j] for i, j in combinations(range(len(of_latent)), 2)]))
            centroids.append(np.mean(of_latent / np.linalg.norm(of_latent, axis=1, keepdims=True), axis=0))
    cosines = cosine_similarity(centroids)
    between = [cosines[i, j] for i, j in combinations(range(len(centroids)), 2)]
    return float(np.mean(coherence)), float(np.mean(between))


def text_vectors(items: list[tuple[str, str, list[str]]]) -> dict[str, np.ndarray]:
    counts = [
        {**{f"w:{word}": text.split().count(word) for word in text.split()}, **{f"f:{name}": 1 for name in features}}
        for _, text, features in items
    ]
    weighted = TfidfTransformer().fit_transform(DictVectorizer().fit_transform(counts)).toarray()
    return dict(zip([item for item, _, _ in items], weighted, strict=True))


def test_all_pairs_agree_whatever_the_partitioning(spark: SparkSession) -> None:
    random = np.random.default_rng(2)
    users, names, latents, cases = [f"u{n}" for n in range(40)], [f"i{n}" for n in range(50)], range(6), 5
    # Whole numbers: many equal activations, to be broken by user_id.
    fired = {
        user: {latent: float(random.integers(1, 4)) for latent in latents if random.random() < 0.5} for user in users
    }
    ranked = {latent: random.choice(names, 9, replace=False).tolist() for latent in latents}
    representations = {user: random.normal(1, 1, 4).tolist() for user in users[:-3]}
    representations["u0"] = [0.0] * 4
    embeddings = {name: random.normal(0.5, 1, 3).tolist() for name in names}
    vocabulary = ["star", "wars", "night", "river", "king"]
    items = [
        (
            name,
            " ".join(random.choice(vocabulary, random.integers(0, 5))),
            list({str(random.choice(["Drama", "star"]))}),
        )
        for name in names
    ]
    inputs = frames(spark, fired, ranked, representations, embeddings, items)
    metrics = coherence_metrics(*inputs, TERMS, cases)[0]

    top = {
        latent: sorted((user for user in users if latent in fired[user]), key=lambda u: (-fired[u][latent], u))[:cases]
        for latent in latents
    }
    texts = text_vectors(items)
    wanted = {
        "representation": expected(
            {latent: np.array([representations[u] for u in top[latent] if u in representations]) for latent in latents}
        ),
        "item_embedding": expected(
            {latent: np.array([embeddings[i] for i in ranked[latent][:cases]]) for latent in latents}
        ),
        "item_text": expected({latent: np.array([texts[i] for i in ranked[latent][:cases]]) for latent in latents}),
    }
    assert metrics == {
        f"{name}_{variant}": pytest.approx(value, abs=1e-6)
        for variant, values in wanted.items()
        for name, value in zip(("coherence", "distinctiveness"), values, strict=True)
    }
    scattered = coherence_metrics(*(frame.repartition(5) for frame in inputs), TERMS, cases)[0]
    assert scattered == pytest.approx(metrics, abs=1e-9)


def test_literal_cases(spark: SparkSession) -> None:
    metrics = coherence_metrics(
        *frames(
            spark,
            # Latent 0: a right angle, the third user is beyond the cases. Latent 1: one case, counts for nothing.
            {"a": {0: 3.0, 2: 1.0}, "b": {0: 2.0, 1: 1.0}, "c": {0: 1.0, 2: 2.0}},
            {0: ["x", "y"], 2: ["x", "z"]},
            {"a": [2.0, 0.0], "b": [0.0, 1.0], "c": [5.0, 0.0]},
            {"x": [1.0], "y": [-2.0], "z": [3.0]},
            [("x", "same words", []), ("y", "same words", []), ("z", "other", []), ("w", "", [])],
        ),
        TERMS,
        2,
    )[0]
    assert metrics["coherence_representation"] == pytest.approx((0 + 1) / 2)
    assert metrics["distinctiveness_representation"] == pytest.approx(np.sqrt(0.5))  # between the diagonal and the axis
    assert metrics["coherence_item_embedding"] == pytest.approx((-1 + 1) / 2)
    assert metrics["distinctiveness_item_embedding"] is None  # opposite vectors have no centroid
    assert metrics["coherence_item_text"] == pytest.approx((1 + 0) / 2)
    assert metrics["distinctiveness_item_text"] == pytest.approx(np.sqrt(0.5))


def test_nothing_is_none(spark: SparkSession) -> None:
    inputs = frames(spark, {"a": {0: 1.0}}, {0: ["x"]}, {"a": [1.0]}, {"x": [1.0]}, [("x", "word", [])])
    metrics = coherence_metrics(*inputs, TERMS, 10)[0]
    assert len(metrics) == 6
    assert set(metrics.values()) == {None}


def test_dictionaries_side_by_side_are_those_of_each_alone(spark: SparkSession) -> None:
    random = np.random.default_rng(6)
    users, names = [f"u{n}" for n in range(12)], [f"i{n}" for n in range(9)]
    representations = {user: random.normal(1, 1, 4).tolist() for user in users}
    embeddings = {name: random.normal(0.5, 1, 3).tolist() for name in names}
    items = [
        (name, " ".join(random.choice(["star", "wars", "night"], 3)), [str(n % 2)]) for n, name in enumerate(names)
    ]
    fired, ranked = {}, {}
    for first, units in ((0, 4), (first_id(1), 3), (first_id(700), 2)):
        ids = range(first, first + units)
        fired[first] = {user: {unit: float(random.random()) for unit in ids if random.random() < 0.6} for user in users}
        ranked[first] = {unit: random.choice(names, 5, replace=False).tolist() for unit in ids}
    all_fired = {user: {unit: z for of in fired.values() for unit, z in of[user].items()} for user in users}
    all_ranked = {unit: of for one in ranked.values() for unit, of in one.items()}

    def measured(fired: dict[str, dict[int, float]], ranked: dict[int, list[str]]) -> dict:
        inputs = frames(spark, fired, ranked, representations, embeddings, items)
        return coherence_metrics(*inputs, TERMS, 4)

    together = measured(all_fired, all_ranked)
    assert sorted(together) == [0, 1, 700]
    for number, first in ((0, 0), (1, first_id(1)), (700, first_id(700))):
        alone = measured(fired[first], ranked[first])
        assert together[number] == pytest.approx(alone[number], rel=1e-9)
        assert None not in alone[number].values()
