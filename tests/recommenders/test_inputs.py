from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders import inputs
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.grouping import group_batches
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary

LEAVE_ONE_OUT = Split()
ITEMS = ["1", "10", "2", "9", "z", "é"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

Interaction = tuple[str, str, datetime, int]
COLUMNS = "user_id string, item_id string, ts timestamp, source_order bigint"


def model_folder(folder: Path, users: list[str] | None, split: Split = LEAVE_ONE_OUT) -> Path:
    folder.mkdir()
    write_vocabulary(folder, "item", [pa.array(ITEMS)])
    if users is None:
        save_recommender(Sasrec(len(ITEMS), 4, SasrecSettings()), split, folder)
    else:
        write_vocabulary(folder, "user", [pa.array(users)])
        save_recommender(BprMf(len(users), len(ITEMS), 4), split, folder)
    return folder


def interactions(users: int, seed: int) -> list[Interaction]:
    """Shuffled, many of the same time, some with unknown items, some repeated; one user has only unknown items."""
    draw = random.Random(seed)
    rows = [
        (
            f"u{user}",
            draw.choice([*ITEMS, "unknown", "99"]),
            START + timedelta(microseconds=draw.randrange(8)),
            draw.choice([0, 1, 2**40]),
        )
        for user in range(users)
        for _ in range(draw.randrange(1, 40))
    ]
    rows += [("only-unknown", "unknown", START, 0)]
    draw.shuffle(rows)
    return rows


def plain(rows: list[Interaction], users: list[str] | None) -> dict[str, tuple[int | None, list[int]]]:
    expected: dict[str, tuple[int | None, list[int]]] = {}
    for user, item, *_ in sorted(rows, key=lambda row: (row[0], row[2], row[3], row[1].encode())):
        if item in ITEMS:
            index = users.index(user) if users is not None and user in users else None
            expected.setdefault(user, (index, []))[1].append(ITEMS.index(item))
    return expected


@pytest.mark.parametrize("small", [True, False], ids=["broadcast", "shuffled"])
@pytest.mark.parametrize("users", [None, [f"u{n}" for n in range(0, 10, 3)]], ids=["sasrec", "bpr_mf"])
def test_inputs_are_those_of_plain_python(
    spark: SparkSession, tmp_path: Path, users: list[str] | None, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(inputs, "BROADCAST_BYTES", 0)
    folder = model_folder(tmp_path / "model", users)
    rows = interactions(10, seed=3)
    frame = spark.createDataFrame(rows, COLUMNS)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 7)  # users run across batches
    try:
        for partitions in (1, 3):
            result = model_inputs(frame.repartition(partitions), folder)
            found = result.collect()
            assert result.dtypes == [
                ("user_id", "string"),
                ("user_index", "int"),
                ("item_indices", "array<int>"),
                ("train_end", "int"),
                ("test_start", "int"),
            ]
            assert len(found) == len({row["user_id"] for row in found})
            assert {r["user_id"]: (r["user_index"], r["item_indices"]) for r in found} == plain(rows, users)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_interactions_are_shuffled_once(spark: SparkSession, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", ["u1"])
    rows = spark.createDataFrame(interactions(3, seed=0), COLUMNS)
    plan = model_inputs(rows, folder)._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange hashpartitioning(user_id") == 2, plan  # interactions and users
    assert plan.count("Exchange") == 3, plan  # … and the items, which are broadcast
    assert "SortMergeJoin" not in plan


def test_a_damaged_folder_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", None)
    (folder / "recommender.json").unlink()
    rows = spark.createDataFrame(interactions(1, seed=0), COLUMNS)
    with pytest.raises(InputError, match="holds no intact recommender"):
        model_inputs(rows, folder)


def batches_of(rows: list[tuple[str, int]], cuts: list[int]) -> list[pa.RecordBatch]:
    positions = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [
        pa.RecordBatch.from_arrays(
            [
                pa.array([user for user, _ in rows[a:b]], pa.string()),
                pa.array([None if user == "a" else ord(user) for user, _ in rows[a:b]], pa.int32()),
                pa.array([item for _, item in rows[a:b]], pa.int32()),
                pa.array([(item - ord(user)) // 400 for user, item in rows[a:b]], pa.int32()),
            ],
            names=["user_id", "user_index", "item_index", "period"],
        )
        for a, b in pairwise(positions)
    ]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 12)), st.lists(st.integers(0, 60), max_size=8))
def test_users_are_put_together_across_batches(counts: dict[str, int], cuts: list[int]) -> None:
    rows = [(user, 100 * step + ord(user)) for user in sorted(counts) for step in range(counts[user])]
    grouped = [row for batch in group_batches(iter(batches_of(rows, cuts))) for row in batch.to_pylist()]
    assert grouped == [
        {
            "user_id": user,
            "user_index": None if user == "a" else ord(user),
            "item_indices": [item for other, item in rows if other == user],
            "train_end": min(counts[user], 4),
            "test_start": min(counts[user], 8),
        }
        for user in sorted(counts)
    ]
