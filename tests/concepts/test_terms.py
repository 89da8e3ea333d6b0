"""Concept terms against a plain computation, on a planted truth, and on links that were drawn at random."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from scipy.stats import beta, binom, false_discovery_control
from sklearn.feature_extraction.text import CountVectorizer

from recsae_lib.concepts.dictionaries import first_id
from recsae_lib.concepts.terms import LatentCounts, concept_terms, p_values
from recsae_lib.config import TermSettings
from recsae_lib.platform.warehouse.tables import CONCEPT_TERMS

ITEMS = "item_id string, title string, text string, features array<string>"
LATENT_ITEMS = "latent_id int, item_id string, weight double, users bigint, rank int"

Link = tuple[int, str, float, int, int]
Item = tuple[str, str, str, list[str]]


def ranked(weights: dict[int, dict[str, float]]) -> list[Link]:
    return [
        (latent, item, weight, 3 + rank % 5, rank)
        for latent, of_items in weights.items()
        for rank, (item, weight) in enumerate(sorted(of_items.items(), key=lambda x: (-x[1], x[0])), start=1)
    ]


def frames(spark: SparkSession, links: list[Link], items: list[Item]) -> tuple[DataFrame, DataFrame]:
    return spark.createDataFrame(links, LATENT_ITEMS), spark.createDataFrame(items, ITEMS)


def compute(spark: SparkSession, links: list[Link], items: list[Item], **changed: object) -> list[Row]:
    rows = concept_terms(*frames(spark, links, items), TermSettings(**changed)).collect()
    return sorted(rows, key=lambda row: (row["latent_id"], row["rank"]))


def random_catalogue(random: np.random.Generator, number: int) -> list[Item]:
    words = ["the", "of", "star", "wars", "night", "day", "river", "king", "road", "story", "light", "part two"]
    names = ["Drama", "Comedy", "Horror", "star"]
    return [
        (
            f"i{n:03d}",
            "",
            " ".join(random.choice(words, size=random.integers(0, 7))),
            [name for name in names if random.random() < 0.4],
        )
        for n in range(number)
    ]


def expected_terms(links: list[Link], items: list[Item], settings: TermSettings) -> dict[tuple[int, str, str], tuple]:
    """The equations of the docstrings, one latent and term after the other."""
    vectorizer = CountVectorizer(ngram_range=(1, settings.longest_ngram), stop_words="english")
    counted = vectorizer.fit_transform([text for _, _, text, _ in items]).toarray()
    n_it: dict[str, dict[tuple[str, str], int]] = {}
    for (item, _, _, features), row in zip(items, counted, strict=True):
        n_it[item] = {(t, "word"): int(row[c]) for t, c in vectorizer.vocabulary_.items() if row[c]}
        n_it[item].update({(feature, "feature"): 1 for feature in features})
    df: dict[tuple[str, str], int] = defaultdict(int)
    for terms in n_it.values():
        for term in terms:
            df[term] += 1

    evidence: dict[int, dict] = defaultdict(lambda: defaultdict(float))
    observed: dict[int, dict] = defaultdict(lambda: defaultdict(float))
    support: dict[int, dict] = defaultdict(lambda: defaultdict(list))
    n, number = {}, {}
    for latent in {link[0] for link in links}:
        own = [link for link in links if link[0] == latent]
        mean = sum(w for _, _, w, _, _ in own) / len(own)
        n[latent], number[latent] = 0.0, len(own)
        for _, item, weight, users, _ in own:
            observations = min(1.0, weight / mean)
            n[latent] += observations
            for term, occurrences in n_it.get(item, {}).items():
                evidence[latent][term] += weight * occurrences
                observed[latent][term] += observations
                support[latent][term].append(users)
    evidence_of_all = sum(sum(terms.values()) for terms in evidence.values())
    n_of_all, a0 = sum(n.values()), settings.prior_strength
    result = {}
    for latent, terms in evidence.items():
        names = sorted(terms)
        p_values, rows = [], []
        for term in names:
            tf = terms[term] / sum(terms.values())
            p = sum(other[term] for other in evidence.values() if term in other) / evidence_of_all
            idf = math.log(1 + 1 / p)
            if settings.weighting == "catalogue":
                idf = math.log((1 + len(items)) / (1 + df[term])) + 1
            y = observed[latent][term]
            y_all = sum(other[term] for other in observed.values() if term in other)
            pi = y_all / n_of_all
            prior = a0 * pi
            here, lacking = y + prior, n[latent] + a0 - y - prior
            there = y_all - y + prior
            lacking_there = n_of_all - n[latent] + a0 - (y_all - y) - prior
            z = (math.log(here / lacking) - math.log(there / lacking_there)) / math.sqrt(
                1 / here + 1 / lacking + 1 / there + 1 / lacking_there
            )
            tail = beta.cdf(pi, y, n[latent] - y + 1)
            p_values.append(min(1.0, tail / binom.sf(settings.minimum_items - 1, number[latent], pi)))
            users = support[latent][term]
            rows.append([tf, tf * idf, tf / p, z, len(users), max(users)])
        tested = [k for k, row in enumerate(rows) if row[4] >= settings.minimum_items]
        q_values = dict.fromkeys(range(len(rows)), 1.0)
        q_values.update(zip(tested, false_discovery_control([p_values[k] for k in tested]), strict=True))
        order = sorted(range(len(names)), key=lambda k: (-round(rows[k][1], 12), names[k]))
        for rank, k in enumerate(order[: settings.terms_per_latent], start=1):
            result[(latent, *names[k])] = (*rows[k], q_values[k], q_values[k] < settings.significance, rank)
    return result


@pytest.mark.parametrize(
    "changed", [{}, {"weighting": "catalogue", "terms_per_latent": 7, "prior_strength": 5.0, "longest_ngram": 1}]
)
def test_terms_are_those_of_a_plain_computation(spark: SparkSession, changed: dict[str, object]) -> None:
    random = np.random.default_rng(1)
    items = random_catalogue(random, 60)
    links = ranked(
        {
            latent: {
                items[n][0]: float(weight)
                for n, weight in zip(random.permutation(60)[:12], random.exponential(size=12), strict=True)
            }
            for latent in (0, 3, 4, 11)
        }
    )
    links = [*links, (3, "unknown", 0.25, 1, 13)]  # not in the catalogue: an item without terms
    rows = compute(spark, links, items, **changed)
    found = {
        (row["latent_id"], row["term"], row["kind"]): (
            row["tf"],
            row["tfidf"],
            row["lift"],
            row["z_score"],
            row["items"],
            row["users"],
            row["q_value"],
            row["significant"],
            row["rank"],
        )
        for row in rows
    }
    expected = expected_terms(links, items, TermSettings(**changed))
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-5, abs=1e-6), key


def test_columns_are_those_of_the_table(spark: SparkSession) -> None:
    terms = concept_terms(*frames(spark, [(0, "a", 1.0, 2, 1)], [("a", "", "star", [])]), TermSettings())
    declared = {field.name: field.dataType for field in CONCEPT_TERMS.schema if field.name not in ("dt", "sae_version")}
    assert {field.name: field.dataType for field in terms.schema} == declared
    assert [tuple(row) for row in terms.collect()] == [
        (0, "star", "word", 1.0, pytest.approx(math.log(2)), 1.0, 0.0, 1.0, False, 1, 2, 1)
    ]


def test_equal_terms_rank_by_term_then_kind_in_any_row_order(spark: SparkSession) -> None:
    items: list[Item] = [("a", "", "zeta alpha", ["alpha", "Beta"]), ("b", "", "zeta alpha", ["alpha", "Beta"])]
    links = ranked({0: {"a": 0.1, "b": 0.7}, 1: {"a": 0.3}})
    rows = compute(spark, links, items, terms_per_latent=4)
    assert [(row["term"], row["kind"]) for row in rows if row["latent_id"] == 0] == [
        ("Beta", "feature"),
        ("alpha", "feature"),
        ("alpha", "word"),
        ("zeta", "word"),
    ]
    again = [frame.repartition(5) for frame in frames(spark, links[::-1], items[::-1])]
    assert sorted(map(tuple, concept_terms(*again, TermSettings(terms_per_latent=4)).collect())) == sorted(
        map(tuple, rows)
    )


def planted(
    random: np.random.Generator, latents: int, items_each: int
) -> tuple[list[Link], list[Item], dict[int, str]]:
    """Items as in MovieLens: some genres, frequent and rare; each latent has one theme that 70 % of its items have."""
    genres = {f"genre {n}": share for n, share in enumerate((0.4, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.08, 0.06, 0.05))}
    words = [f"word{n}" for n in range(1500)]
    share = 1 / np.arange(1, len(words) + 1)
    items: list[Item] = []
    for n in range(1500):
        title = " ".join(random.choice(words, size=3, p=share / share.sum()))
        items.append((f"i{n:04d}", "", title, [genre for genre, often in genres.items() if random.random() < often]))
    having = {genre: [item for item, *_, features in items if genre in features] for genre in genres}
    theme = {latent: f"genre {2 + latent % 8}" for latent in range(latents)}
    weights = {}
    for latent, genre in theme.items():
        own = random.choice(having[genre], size=int(0.6 * items_each), replace=False)
        rest = random.choice([item for item, *_ in items], size=items_each, replace=False)
        chosen = [str(item) for item in dict.fromkeys([*own, *rest])][:items_each]
        weights[latent] = dict(zip(chosen, (random.exponential(size=items_each) + 0.2).tolist(), strict=True))
    return ranked(weights), items, theme


@pytest.mark.parametrize("items_each", [20, 60])
def test_the_planted_feature_and_nothing_else_is_significant(spark: SparkSession, items_each: int) -> None:
    links, items, theme = planted(np.random.default_rng(items_each), 80, items_each)
    rows = compute(spark, links, items, terms_per_latent=1000)
    significant = [row for row in rows if row["significant"]]
    right = [row for row in significant if row["term"] == theme[row["latent_id"]]]
    assert len({row["latent_id"] for row in right}) >= (0.7 if items_each == 20 else 0.97) * 80
    assert len(significant) - len(right) <= 0.05 * len(significant)
    assert all(row["z_score"] > 0 and row["items"] >= 2 for row in significant)


@pytest.mark.parametrize("weigh", [np.ones, lambda size: np.random.default_rng(9).pareto(1.3, size)])
def test_links_drawn_at_random_give_few_discoveries(spark: SparkSession, weigh: object) -> None:
    random = np.random.default_rng(8)
    _, items, _ = planted(random, 1, 20)
    weights = {
        latent: dict(
            zip(random.choice([item for item, *_ in items], 100, replace=False).tolist(), weigh(100), strict=True)
        )
        for latent in range(80)
    }
    weights = {latent: {item: float(weight) for item, weight in own.items()} for latent, own in weights.items()}
    rows = compute(spark, ranked(weights), items, terms_per_latent=1000)
    discoveries = {row["latent_id"] for row in rows if row["significant"]}
    assert len(rows) > 80 * 200
    assert len(discoveries) <= 0.05 * 80  # Benjamini-Hochberg on true nulls bounds the latents that have any


def test_the_scale_of_activations_changes_nothing(spark: SparkSession) -> None:
    random = np.random.default_rng(4)
    links, items, _ = planted(random, 6, 20)
    scaled = [(latent, item, 1000 * weight, users, rank) for latent, item, weight, users, rank in links]
    rows, again = compute(spark, links, items), compute(spark, scaled, items)
    assert [row["term"] for row in rows] == [row["term"] for row in again]
    for name in ("tf", "tfidf", "lift", "z_score", "q_value"):
        np.testing.assert_allclose([row[name] for row in again], [row[name] for row in rows], rtol=1e-6)


def test_one_strong_item_does_not_make_its_words_significant(spark: SparkSession) -> None:
    random = np.random.default_rng(2)
    links, items, _ = planted(random, 40, 20)
    items = [*items, ("strong", "", "zyx", []), ("weak", "", "zyx", [])]
    links = [link for link in links if link[4] <= 18]
    links += [(0, "strong", 1000.0, 9, 19), (0, "weak", 0.01, 1, 20)]
    (row,) = [row for row in compute(spark, links, items, terms_per_latent=1000) if row["term"] == "zyx"]
    assert (row["items"], row["users"], row["rank"], row["significant"]) == (2, 9, 1, False)


def test_latents_without_any_term_have_no_rows(spark: SparkSession) -> None:
    items: list[Item] = [("a", "", "", []), ("b", "", "star", [])]
    rows = compute(spark, [(1, "a", 1.0, 1, 1), (2, "b", 1.0, 1, 1), (3, "gone", 1.0, 1, 1)], items)
    assert [(row["latent_id"], row["term"]) for row in rows] == [(2, "star")]


@pytest.mark.parametrize("minimum_items", [1, 2])
def test_p_values_are_binomial_tails_given_that_a_term_is_tested(minimum_items: int) -> None:
    observed, share, of_latent = np.array([2.0, 3.0, 50.0, 100.0]), np.array([0.001, 0.001, 0.4, 1.0]), 100.0
    none = np.zeros(4)
    counts = LatentCounts(none, none, observed, share * 5000.0, observed, none)
    total = LatentCounts(*(np.array([value]) for value in (0.0, 0.0, of_latent, 5000.0, 100.0, 0.0)))
    tail, tested = binom.sf(observed - 1, 100, share), binom.sf(minimum_items - 1, 100, share)
    p_value = p_values(counts, total, minimum_items)
    np.testing.assert_allclose(p_value, tail / tested, rtol=1e-9)
    assert (p_value[0] == pytest.approx(1.0)) == (minimum_items == 2)  # that it is tested at all is no evidence


@pytest.mark.parametrize("weighting", ["class", "catalogue"])
def test_dictionaries_side_by_side_are_those_of_each_alone(spark: SparkSession, weighting: str) -> None:
    random = np.random.default_rng(9)
    items = random_catalogue(random, 60)
    worlds = {}
    # Another scale, other items and another number of units: nothing of one may reach the other.
    for number, units, scale in ((0, 5, 1.0), (1, 3, 1000.0), (2, 4, 0.01)):
        weights = {}
        for unit in range(units):
            chosen = random.choice(60 if number else 30, 12, replace=False)
            weights[unit] = {items[n][0]: scale * float(random.exponential()) for n in chosen}
        worlds[number] = ranked(weights)
    worlds[2].append((1, "unknown", 0.001, 1, 13))
    together = [(first_id(number) + unit, *rest) for number, links in worlds.items() for unit, *rest in links]
    expected = [
        (row["latent_id"] + first_id(number), *tuple(row)[1:])
        for number, links in worlds.items()
        for row in compute(spark, links, items, weighting=weighting)
    ]
    assert list(map(tuple, compute(spark, together, items, weighting=weighting))) == expected
