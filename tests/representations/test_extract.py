from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import RepresentationSettings, SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.failures import bad_input
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.grouping import INPUT_COLUMNS
from recsae_lib.recommenders.probing import Site
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.representations.extract import (
    extract,
    represent_batches,
    sites_of,
    training_positions,
)

ITEMS, REACH = 12, 4
USERS = {f"u{n}": [(5 * n + step * step) % ITEMS for step in range(n + 1)] for n in range(9)}  # 1 to 9 interactions
KNOWN = sorted(USERS)[1:]  # u0 has no index in the model of the general family
REPRESENTATION = "representation@last"
LAST = (Site("last", "user", 4),)


def sasrec() -> Sasrec:
    torch.manual_seed(0)
    return Sasrec(ITEMS, 4, SasrecSettings(history_length=REACH)).eval()


def bpr_mf() -> BprMf:
    torch.manual_seed(0)
    return BprMf(len(KNOWN), ITEMS, 4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    saved = {}
    for model in (sasrec(), bpr_mf()):
        folder = saved[model.kind] = tmp_path_factory.mktemp(model.kind)
        write_vocabulary(folder, "item", [pa.array([f"{n:02d}" for n in range(ITEMS)])])
        if model.reads_user_index:
            write_vocabulary(folder, "user", [pa.array(KNOWN)])
        save_recommender(model, Split(), folder)
    return saved


@pytest.fixture(scope="module")
def histories(spark: SparkSession) -> DataFrame:
    held_out = {user: len(items) >= 3 for user, items in USERS.items()}
    rows = [
        (
            user,
            KNOWN.index(user) if user in KNOWN else None,
            items,
            len(items) - 2 * held_out[user],
            len(items) - held_out[user],
        )
        for user, items in USERS.items()
    ]
    return spark.createDataFrame(rows, INPUT_COLUMNS)


def settings_of(**changes: object) -> RepresentationSettings:
    return RepresentationSettings.model_validate({"batch_size": 2, **changes})


def after(items: list[int]) -> list[float]:
    """What SASRec holds after these interactions."""
    model = sasrec()
    history = Histories(np.array([-1]), np.array([0, len(items)]), np.array(items))
    return model.represent(model.build_inputs(history))[0].tolist()


def assert_close(found: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_last_is_each_user_once_after_the_whole_history(histories: DataFrame, folders: dict[str, Path]) -> None:
    rows = extract(histories, folders["sasrec"], "last", settings_of(), seed=1)
    assert rows.dtypes == [("user_id", "string"), (REPRESENTATION, "array<float>")]
    found = rows.collect()
    assert sorted(row["user_id"] for row in found) == sorted(USERS)
    for row in found:
        assert_close(row[REPRESENTATION], after(USERS[row["user_id"]]))


@pytest.mark.parametrize("rows", ["last", "training"])
def test_a_model_of_user_vectors_knows_those_it_was_trained_on(
    rows: str, histories: DataFrame, folders: dict[str, Path]
) -> None:
    found = extract(histories, folders["bpr_mf"], rows, settings_of(), seed=1).collect()  # type: ignore[arg-type]
    vectors = bpr_mf().users.weight.detach()
    assert sorted(row["user_id"] for row in found) == KNOWN
    for row in found:
        assert row[REPRESENTATION] == vectors[KNOWN.index(row["user_id"])].tolist()


def test_training_rows_stand_after_drawn_positions(histories: DataFrame, folders: dict[str, Path]) -> None:
    found = extract(histories, folders["sasrec"], "training", settings_of(training_positions=3), seed=1).collect()
    positions = {
        row["user_id"]: row["positions"]
        for row in histories.select(
            "user_id", training_positions(F.size("item_indices"), F.col("user_id"), 3, 1).alias("positions")
        ).collect()
    }
    for user, drawn in positions.items():
        assert len(drawn) == min(3, len(USERS[user]))
        of_user = sorted(row[REPRESENTATION] for row in found if row["user_id"] == user)
        np.testing.assert_allclose(of_user, sorted(after(USERS[user][:p]) for p in drawn), rtol=1e-5, atol=1e-6)
    assert len(found) == sum(map(len, positions.values()))


def test_one_position_per_stratum_is_drawn_and_each_can_occur(spark: SparkSession) -> None:
    rows = spark.range(4000).select(
        F.col("id").cast("string").alias("user_id"), (1 + F.col("id") % 10).cast("int").alias("length")
    )
    drawn = rows.select(
        "length", training_positions(F.col("length"), F.col("user_id"), 4, seed=3).alias("positions")
    ).collect()
    counts = {length: np.zeros(length + 1) for length in range(1, 11)}
    for length, positions in drawn:
        n = min(4, length)
        assert len(positions) == n
        for (low, high), position in zip(pairwise([j * length // n for j in range(n + 1)]), positions, strict=True):
            assert low < position <= high
        counts[length][positions] += 1
    for length, count in counts.items():
        assert count[0] == 0
        assert count[1:].min() > 0.75 * 400 * min(4, length) / (length + 2)


@pytest.mark.parametrize(("rows", "held_out"), [("test", 1), ("dev", 2)])
@pytest.mark.parametrize("kind", ["sasrec", "bpr_mf"])
def test_held_out_rows_carry_the_next_item_and_all_before_it(
    rows: str, held_out: int, kind: str, histories: DataFrame, folders: dict[str, Path]
) -> None:
    found = extract(histories, folders[kind], rows, settings_of(), seed=1).collect()  # type: ignore[arg-type]
    long = [user for user, items in USERS.items() if len(items) >= 3]
    assert sorted(row["user_id"] for row in found) == long
    vectors = bpr_mf().users.weight.detach()
    for row in found:
        user, items = row["user_id"], USERS[row["user_id"]]
        assert (row["target_index"], row["seen_indices"]) == (items[-held_out], items[:-held_out])
        expected = after(items[:-held_out]) if kind == "sasrec" else vectors[KNOWN.index(user)].tolist()
        assert_close(row[REPRESENTATION], expected)


def test_held_out_users_depend_on_the_seed_not_the_partitioning(histories: DataFrame, folders: dict[str, Path]) -> None:
    def drawn(frame: DataFrame, seed: int) -> set[str]:
        rows = extract(frame, folders["sasrec"], "test", settings_of(fidelity_users=3), seed).collect()
        return {row["user_id"] for row in rows}

    first = drawn(histories.repartition(3), 1)
    assert len(first) == 3
    assert first == drawn(histories.coalesce(1), 1)
    assert any(drawn(histories, seed) != first for seed in (2, 3, 4))


def test_all_sites_of_a_user_stand_in_one_row(histories: DataFrame, folders: dict[str, Path]) -> None:
    sites = settings_of(sites=["blocks.0.inner", "last", "norm"])
    rows = extract(histories, folders["sasrec"], "last", sites, seed=1)
    assert rows.columns == ["user_id", "representation@blocks.0.inner", REPRESENTATION, "representation@norm"]
    found = {row["user_id"]: row for row in rows.collect()}
    assert sorted(found) == sorted(USERS)
    model = sasrec()
    for user, items in USERS.items():
        latest = torch.tensor([items[-REACH:]])
        h = model.norm(model.items(latest) + model.positions.weight[: latest.shape[1]])
        assert_close(found[user]["representation@norm"], h[0, -1].tolist())
        assert_close(found[user][REPRESENTATION], after(items))
        assert len(found[user]["representation@blocks.0.inner"]) == model.settings.inner_dimension


def test_held_out_users_are_extracted_at_the_default_site_only(histories: DataFrame, folders: dict[str, Path]) -> None:
    both = settings_of(sites=["blocks.0", "last"])
    assert sites_of("training", both) == ("blocks.0", "last")
    assert sites_of("dev", both) == ("last",)
    assert sites_of("test", settings_of(sites=["blocks.0"])) == ()
    rows = extract(histories, folders["sasrec"], "test", both, seed=1)
    assert rows.columns == ["user_id", "target_index", "seen_indices", REPRESENTATION]


def test_an_unknown_site_is_refused_with_the_nearest_names(histories: DataFrame, folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"no probing site 'block\.0'.*e\.g\. blocks\.0, "):
        extract(histories, folders["sasrec"], "last", settings_of(sites=["block.0"]), seed=1)


class Broken(Sasrec):
    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        x = super().represent(inputs).clone()
        x[inputs["items"][:, 0] == 7, 2] = torch.inf
        return x


def batch_of(users: dict[str, list[int]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(list(users), pa.string()),
            pa.array([None] * len(users), pa.int32()),
            pa.array(range(len(users)), pa.int32()),
            pa.array(list(users.values()), pa.list_(pa.int32())),
        ],
        names=["user_id", "user_index", "target_index", "item_indices"],
    )


def test_a_non_finite_representation_is_refused_with_its_user() -> None:
    model = Broken(ITEMS, 4, SasrecSettings(history_length=REACH))
    with pytest.raises(InputError, match="representation of user b at site last is not finite") as refusal:
        list(represent_batches(iter([batch_of({"a": [1], "b": [7], "c": [2]})]), model, LAST, 1024))
    assert bad_input(RuntimeError(f"in a worker: InputError: {refusal.value}\n")) == str(refusal.value)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=7), max_size=9), st.integers(1, 5))
def test_blocks_change_nothing_and_other_columns_stay(items: list[list[int]], batch_size: int) -> None:
    model, users = sasrec(), {f"u{n}": row for n, row in enumerate(items)}
    blocks = list(represent_batches(iter([batch_of(users)]), model, LAST, batch_size))
    assert all(block.num_rows <= batch_size for block in blocks)
    rows = [row for block in blocks for row in block.to_pylist()]
    assert [(row["user_id"], row["target_index"]) for row in rows] == [(user, n) for n, user in enumerate(users)]
    for row in rows:
        assert_close(row[REPRESENTATION], after(users[row["user_id"]]))
