from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import ExternalSettings, ModuleSettings, RepresentationSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.loading import prepare_external, prepare_module
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.recommend import recommend, recommend_given
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import load_recommender, save_recommender, weights_digest
from recsae_lib.representations.extract import extract
from recsae_lib.representations.item_embeddings import item_embeddings
from tests.foreign_ranker import build_factors

SEEN = {"u1": ["b", "a", "d"], "u2": ["c", "b"], "u3": ["d"], "u9": ["e"]}
FACTORS = "tests.foreign_ranker:build_factors"
VECTORS = {"a": [1.0, 0.0], "b": [0.0, 1.0], "d": [1.0, 1.0], "z": [5.0, 5.0]}  # none of c and e; z was not ingested


@pytest.fixture(scope="module")
def interactions(spark: SparkSession) -> DataFrame:
    rows = [
        (user, item, datetime.fromtimestamp(step, tz=timezone.utc), step)
        for user, items in SEEN.items()
        for step, item in enumerate(items)
    ]
    return spark.createDataFrame(rows, "user_id string, item_id string, ts timestamp, source_order bigint")


@pytest.fixture(scope="module")
def items(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(item,) for item in "ebadc"], "item_id string")


def view(spark: SparkSession, name: str, rows: list[tuple[object, ...]], columns: str) -> str:
    spark.createDataFrame(rows, columns).createOrReplaceTempView(name)
    return name


def vocabulary(folder: Path, kind: str) -> list[str]:
    found: list[str] = pq.read_table(folder / f"{kind}s.parquet").column(0).to_pylist()
    return found


def external(spark: SparkSession, items: DataFrame, folder: Path, **tables: str) -> External:
    folder.mkdir()
    settings = ExternalSettings.model_validate({"representations": "own_x", **tables})
    model = prepare_external(spark, items, settings, folder, f"{folder}-bulk")
    save_recommender(model, Split(), folder)
    return model


def own_vectors(spark: SparkSession) -> str:
    return view(spark, "own_e", list(VECTORS.items()), "item_id string, embedding array<double>")


def test_item_vectors_of_ingested_items_become_the_model(spark: SparkSession, items: DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    external(spark, items, folder, item_embeddings=own_vectors(spark))
    loaded = load_recommender(folder)
    assert isinstance(loaded, External)
    assert vocabulary(folder, "item") == ["a", "b", "d"]
    assert loaded.item_embeddings().tolist() == [VECTORS["a"], VECTORS["b"], VECTORS["d"]]
    assert loaded.score(torch.tensor([[2.0, 3.0]])).tolist() == [[2.0, 3.0, 5.0]]
    rows = item_embeddings(spark, folder).collect()
    assert {row["item_id"]: row["embedding"] for row in rows} == {item: VECTORS[item] for item in "abd"}
    with pytest.raises(InputError, match="have 3 dimensions, item vectors 2"):
        loaded.score(torch.zeros(1, 3))
    with pytest.raises(InputError, match="read from their table"):
        loaded.represent({})


def test_without_item_vectors_the_settings_identify_the_version(
    spark: SparkSession, items: DataFrame, tmp_path: Path
) -> None:
    lists = view(spark, "own_p", [("u1", ["a"])], "user_id string, item_ids array<string>")
    for name, table in (("one", "own_x"), ("two", "own_x"), ("other", "own_y")):
        external(spark, items, tmp_path / name, recommendations=lists, representations=table)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["items.parquet", "recommender.json"]
    assert weights_digest(tmp_path / "one") == weights_digest(tmp_path / "two") != weights_digest(tmp_path / "other")
    assert vocabulary(tmp_path / "one", "item") == list("abcde")
    rows = item_embeddings(spark, tmp_path / "one")
    assert rows.dtypes == [("item_id", "string"), ("embedding", "array<float>")]
    assert rows.collect() == []


def test_a_truncated_matrix_of_item_vectors_is_refused(spark: SparkSession, items: DataFrame, tmp_path: Path) -> None:
    external(spark, items, tmp_path / "model", item_embeddings=own_vectors(spark))
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"weights\.safetensors does not match the digest"):
        load_recommender(tmp_path / "model")


def test_item_vectors_of_other_items_are_refused(spark: SparkSession, items: DataFrame, tmp_path: Path) -> None:
    name = view(spark, "own_e", [("z", [1.0])], "item_id string, embedding array<float>")
    with pytest.raises(InputError, match="No ingested item has a usable vector in own_e"):
        external(spark, items, tmp_path / "model", item_embeddings=name)


def test_own_representations_are_scored_and_seen_items_masked(
    spark: SparkSession, interactions: DataFrame, items: DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    external(spark, items, folder, item_embeddings=own_vectors(spark))
    users = [("u1", [1.0, 2.0]), ("u2", [1.0, 2.0]), ("new", [3.0, 1.0])]
    x = spark.createDataFrame(users, "user_id string, representation array<float>")
    rows = recommend(model_inputs(interactions, folder), folder, 2, 2, 64, None, x).collect()
    assert {row["user_id"]: (row["item_ids"], row["scores"], row["context_ids"]) for row in rows} == {
        "u1": ([], [], ["a", "d"]),
        "u2": (["d", "a"], [3.0, 1.0], ["b"]),  # c has no vector
        "new": (["d", "a"], [4.0, 3.0], []),
    }


@pytest.mark.parametrize("scores", [True, False])
def test_own_recommendations_are_cut_and_get_their_context(
    scores: bool, spark: SparkSession, interactions: DataFrame, items: DataFrame, tmp_path: Path
) -> None:
    lists = [("u1", ["e", "a", "c"], [9.0, 8.0, 7.0]), ("new", ["a"], [1.0])]
    given = spark.createDataFrame(lists, "user_id string, item_ids array<string>, scores array<float>")
    given = given if scores else given.drop("scores")
    given.createOrReplaceTempView("own_p")
    folder = tmp_path / "model"
    external(spark, items, folder, recommendations="own_p")
    rows = recommend_given(given, model_inputs(interactions, folder), folder, 2, 2).collect()
    assert {row["user_id"]: (row["item_ids"], row["scores"], row["context_ids"]) for row in rows} == {
        "u1": (["e", "a"], [9.0, 8.0] if scores else [1.0, 0.5], ["a", "d"]),
        "new": (["a"], [1.0], []),
    }


def factors_settings(**changes: object) -> ModuleSettings:
    base = {"factory": FACTORS, "arguments": {"users": 9, "rows": 9}, "scorer": "module"}
    return ModuleSettings.model_validate({**base, **changes})


def test_a_module_keeps_its_own_rows_of_items_and_users(
    spark: SparkSession, interactions: DataFrame, items: DataFrame, tmp_path: Path
) -> None:
    item_rows = view(spark, "own_items", [("d", 1), ("a", 7), ("z", 2), ("b", 3)], "item_id string, item_index int")
    user_rows = view(spark, "own_users", [("u3", 4), ("u1", 8), ("zz", 0)], "user_id string, user_index bigint")
    folder = tmp_path / "model"
    folder.mkdir()
    settings = factors_settings(items=item_rows, users=user_rows)
    prepared = prepare_module(interactions, items, Split(), settings, folder, f"{folder}-bulk")
    assert (vocabulary(folder, "item"), vocabulary(folder, "user")) == (["a", "b", "d"], ["u1", "u3"])
    assert prepared.model.item_rows.tolist() == [7, 3, 1]
    assert prepared.model.user_rows.tolist() == [8, 4]
    # Measured on all five items, which are a to e; of u1 and u3.
    assert (len(prepared.histories), prepared.histories.items.tolist()) == (2, [1, 0, 3, 3])
    assert prepared.known.tolist() == [True, True, False, True, False]

    save_recommender(prepared.model, Split(), folder)
    histories = model_inputs(interactions, folder)
    x = extract(histories, folder, "last", RepresentationSettings(), 1, settings.call).collect()
    vectors = build_factors(9, 9).users.weight
    found = {row["user_id"]: row["representation@last"] for row in x}
    assert found == {"u1": vectors[8].tolist(), "u3": vectors[4].tolist()}
    recommended = recommend(histories, folder, 3, 2, 64, settings.call).collect()
    scores = build_factors(9, 9).output(vectors[4])[[7, 3]].tolist()
    of_u3 = next(row for row in recommended if row["user_id"] == "u3")
    assert of_u3["item_ids"] == [item for _, item in sorted(zip(scores, "ab", strict=True), reverse=True)]
    np.testing.assert_allclose(of_u3["scores"], sorted(scores, reverse=True), rtol=1e-5)
    with pytest.raises(Exception, match="not imported"):
        recommend(histories, folder, 3, 2, 64).collect()


def test_without_a_numbering_the_ingested_items_are_the_rows(
    spark: SparkSession, interactions: DataFrame, items: DataFrame, tmp_path: Path
) -> None:
    settings = factors_settings(
        factory="tests.foreign_ranker:build_ranker",
        arguments={"rows": 6},
        scorer="dot",
        item_embeddings="items.weight",
        history_length=6,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    prepared = prepare_module(interactions, items, Split(), settings, folder, f"{folder}-bulk")
    assert vocabulary(folder, "item") == list("abcde")
    assert prepared.model.item_rows.tolist() == [1, 2, 3, 4, 5]  # row 0 is padding
    assert len(prepared.histories) == 4
    assert prepared.known.all()


@pytest.mark.parametrize("kind", ["items", "users"])
def test_a_numbering_of_other_ids_is_refused(
    kind: str, spark: SparkSession, interactions: DataFrame, items: DataFrame, tmp_path: Path
) -> None:
    view(spark, "own_items", [("a", 1)], "item_id string, item_index int")
    view(spark, "own_users", [("u1", 1)], "user_id string, user_index int")
    singular = kind.removesuffix("s")
    view(spark, f"own_{kind}", [("other", 0)], f"{singular}_id string, {singular}_index int")
    settings = factors_settings(items="own_items", users="own_users")
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(InputError, match=rf"No .* in own_{kind}"):
        prepare_module(interactions, items, Split(), settings, folder, f"{folder}-bulk")
