"""Marks of lists: runs that were planted are found, what is random or one genre is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from recsae_lib.concepts.artefacts import TOP_ITEMS, item_artefacts, marked, runs_p_value, titles_p_value

ITEMS, LATENTS = 1200, 60
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
LATENT_ITEMS = "latent_id int, item_id string, rank int"


class Catalogue:
    """Items with numeric ids, random titles and a random first interaction; orders give the item numbers in order."""

    def __init__(self, spark: SparkSession, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.spark, self.random = spark, random
        self.titles = ["".join(random.choice(LETTERS, 7)) for _ in range(ITEMS)]
        self.times = random.permutation(ITEMS)
        self.orders = {
            "title": np.argsort(self.titles),
            "id": np.arange(ITEMS),
            "time": np.argsort(self.times),
        }

    def marks_of(self, latents: list[np.ndarray]) -> pd.DataFrame:
        """What `item_artefacts` says of latents with these items, best first."""
        rows = [(n, str(item), rank) for n, items in enumerate(latents) for rank, item in enumerate(items, start=1)]
        items = [(str(item), f"{title} {item % 7}, The") for item, title in enumerate(self.titles)]
        seen = [(str(item), int(1000 + 10 * self.times[item] + again)) for item in range(ITEMS) for again in (0, 5000)]
        found: pd.DataFrame = item_artefacts(
            self.spark.createDataFrame(rows, LATENT_ITEMS),
            self.spark.createDataFrame(items, "item_id string, title string"),
            self.spark.createDataFrame(seen, "item_id string, ts long"),
        ).toPandas()
        return found.set_index("latent_id").sort_index()

    def drawn(self, number: int, of: int = ITEMS) -> list[np.ndarray]:
        """Latents of 40 items of the first `of` in id order, drawn at random."""
        return [self.random.choice(of, 40, replace=False) for _ in range(number)]


def test_a_list_is_found_in_each_order_and_chance_is_not(spark: SparkSession) -> None:
    catalogue = Catalogue(spark, seed=1)
    planted = [order[300:340] for order in catalogue.orders.values()]
    found = catalogue.marks_of([*planted, *catalogue.drawn(LATENTS)])
    assert found["artefact"].tolist()[:3] == ["title", "id", "time"]
    assert (found["artefact_p_value"][:3] < 1e-4).all()
    assert found["artefact"][3:].notna().mean() <= 0.05
    assert len(found) == LATENTS + 3


def test_going_down_titles_is_found_with_gaps(spark: SparkSession) -> None:
    """People rate every third title of a part of the list, so that no two stand next to each other."""
    catalogue = Catalogue(spark, seed=2)
    found = catalogue.marks_of([catalogue.orders["title"][500:620:3], *catalogue.drawn(LATENTS)])
    assert found["artefact"][0] == "title"
    assert found["artefact"][1:].notna().mean() <= 0.05


def test_films_of_one_time_are_a_concept(spark: SparkSession) -> None:
    """Latents of 40 items among 200 whose ids and first interactions go together: they crowd, but leave gaps."""
    catalogue = Catalogue(spark, seed=3)
    catalogue.times = np.arange(ITEMS)
    found = catalogue.marks_of([*catalogue.drawn(10, of=200), *catalogue.drawn(LATENTS)])
    assert found["artefact"][:10].notna().sum() == 0


def test_a_genre_with_scattered_titles_is_not_marked(spark: SparkSession) -> None:
    catalogue = Catalogue(spark, seed=4)
    genres = [np.arange(genre, ITEMS, 8)[:40] for genre in range(8)]
    assert catalogue.marks_of(genres)["artefact"].notna().sum() == 0


def test_a_series_has_one_place_among_titles(spark: SparkSession) -> None:
    catalogue = Catalogue(spark, seed=5)
    series = catalogue.random.choice(ITEMS, 40, replace=False)
    for item in series:
        catalogue.titles[item] = f"The Star Trek {item}"
    found = catalogue.marks_of([series, *catalogue.drawn(20)])
    assert found["artefact"][0] is None
    assert found["artefact_p_value"][0] == 1.0


def test_ids_that_are_text_are_in_the_order_of_text(spark: SparkSession) -> None:
    """Places of i0, i1, i10, i100 …: what is a run among them is none among numbers."""
    ids = [f"i{number}" for number in range(400)]
    run = sorted(ids)[100 : 100 + TOP_ITEMS]
    random = np.random.default_rng(6)
    sets = [run, *([str(item) for item in random.choice(ids, 40, replace=False)] for _ in range(20))]
    rows = [(n, item, rank) for n, items in enumerate(sets) for rank, item in enumerate(items, start=1)]
    nothing = spark.createDataFrame([], "item_id string, title string, ts long")
    found = item_artefacts(spark.createDataFrame(rows, LATENT_ITEMS), nothing, nothing).toPandas()
    assert found.set_index("latent_id")["artefact"][0] == "id"


def test_no_evidence_gives_no_rows(spark: SparkSession) -> None:
    nothing = spark.createDataFrame([], "latent_id int, item_id string, rank int, title string, ts long")
    assert item_artefacts(nothing, nothing, nothing).collect() == []


@pytest.mark.parametrize(("number", "taken"), [(60, 5), (240, 10), (1000, 20), (1000, 3)])
def test_p_values_of_drawn_places_are_no_smaller_than_they_say(number: int, taken: int) -> None:
    random = np.random.default_rng(7)
    draws = [random.choice(number, taken, replace=False) for _ in range(2000)]
    for test in (titles_p_value, runs_p_value):
        p_values = np.array([test(places, number) for places in draws])
        assert [float((p_values <= level).mean()) <= 1.2 * level for level in (0.05, 0.01)] == [True, True]


def test_p_values_have_their_literal_values() -> None:
    # Of 3 places among 40, d = 1: both gaps are 1, each with chance 1 - binom(39, 3) / binom(40, 3) = 3 / 40.
    assert titles_p_value(np.array([7, 5, 6, 6]), 40) == pytest.approx((3 / 40) ** 2)
    # 4 of 4 in a row among 10: of 6 pairs at most 9 apart, 3 are next to each other; 9 of all 45 pairs are.
    binomial = sum(c * 0.2**k * 0.8 ** (6 - k) for k, c in ((3, 20), (4, 15), (5, 6), (6, 1)))
    assert runs_p_value(np.array([4, 3, 6, 5]), 10) == pytest.approx(binomial)
    assert runs_p_value(np.array([4, 3, 5]), 1000) == 1.0  # three in a row are no run


def test_marks_count_all_orders_and_latents() -> None:
    p_values = pd.DataFrame({"title": [0.01, 0.02], "id": [0.5, 0.004], "time": [1.0, 1.0]}, index=[4, 9])
    found = marked(p_values)
    assert found["latent_id"].tolist() == [4, 9]
    assert found["artefact_p_value"].tolist() == pytest.approx([0.03, 0.012])
    assert found["artefact"].tolist() == ["title", "id"]  # q = 0.03 and 0.024
    assert marked(p_values * 2)["artefact"].tolist() == [None, "id"]  # 0.06 and 0.048
