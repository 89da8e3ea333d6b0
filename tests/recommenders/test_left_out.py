from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import SasrecSettings
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.left_out import find_left_out, left_out_metrics
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary

# The recommenders know the items a and b, and (where they look users up) the users old and gone.
HISTORIES = {"old": "abac", "fresh": "ab", "all new": "ccd", "gone": "dd"}
NEW_ITEMS = {
    ("item", "c", 3, "the recommender does not know the item"),
    ("item", "d", 3, "the recommender does not know the item"),
}
NEW_HISTORY = "the recommender knows no item of the history"
NEW_USER = "the recommender does not know the user"


@pytest.fixture(scope="module")
def interactions(spark: SparkSession) -> DataFrame:
    rows = [(user, item) for user, items in HISTORIES.items() for item in items]
    return spark.createDataFrame(rows, "user_id string, item_id string")


def saved(folder: Path, model: Sasrec | BprMf) -> Path:
    write_vocabulary(folder, "item", [pa.array(["a", "b"])])
    if model.reads_user_index:
        write_vocabulary(folder, "user", [pa.array(["gone", "old"])])
    save_recommender(model, Split(), folder)
    return folder


def found(rows: DataFrame) -> set[tuple[object, ...]]:
    return {tuple(row) for row in rows.collect()}


def test_a_user_whose_whole_history_is_new_is_left_out(interactions: DataFrame, tmp_path: Path) -> None:
    rows = find_left_out(interactions, saved(tmp_path, Sasrec(2, 4, SasrecSettings())))
    assert found(rows) == NEW_ITEMS | {("user", "all new", 3, NEW_HISTORY), ("user", "gone", 2, NEW_HISTORY)}
    # c and d stand in six interactions; no user is left out who has others.
    assert left_out_metrics(rows, interactions) == {
        "new_items": 2.0,
        "left_out_users": 2.0,
        "left_out_interactions": 6.0,
        "left_out_share": 6 / 11,
    }


def test_where_users_are_looked_up_new_ones_are_left_out(interactions: DataFrame, tmp_path: Path) -> None:
    rows = find_left_out(interactions, saved(tmp_path, BprMf(2, 2, 4)))
    users = {("user", "fresh", 2, NEW_USER), ("user", "all new", 3, NEW_USER), ("user", "gone", 2, NEW_HISTORY)}
    assert found(rows) == NEW_ITEMS | users
    metrics = left_out_metrics(rows, interactions)
    assert (metrics["left_out_users"], metrics["left_out_interactions"]) == (3.0, 8.0)


def test_representations_that_were_given_say_who_is_known(interactions: DataFrame, tmp_path: Path) -> None:
    given = interactions.sparkSession.createDataFrame([("old",), ("all new",)], "user_id string")
    rows = find_left_out(interactions, saved(tmp_path, Sasrec(2, 4, SasrecSettings())), given)
    assert found(rows) == NEW_ITEMS | {("user", "fresh", 2, NEW_USER), ("user", "gone", 2, NEW_USER)}


def test_nothing_is_lost_of_what_is_known(interactions: DataFrame, tmp_path: Path) -> None:
    known = interactions.where("item_id IN ('a', 'b')")
    rows = find_left_out(known, saved(tmp_path, Sasrec(2, 4, SasrecSettings())))
    assert found(rows) == set()
    assert set(left_out_metrics(rows, known).values()) == {0.0}
