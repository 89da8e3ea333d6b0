from __future__ import annotations

import random
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.recommenders import vocabulary
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.training_data import prepare_training_data, read_training_histories, training_folder

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
COLUMNS = "user_id string, item_id string, ts timestamp, source_order bigint"


def interactions(seed: int) -> list[tuple[str, str, datetime, int]]:
    draw = random.Random(seed)
    return [
        (
            f"u{user}",
            draw.choice(["1", "10", "2", "9", "z", "é"]),
            START + timedelta(microseconds=draw.randrange(8)),
            draw.choice([0, 1, 2**40]),
        )
        for user in range(25)
        for _ in range(draw.randrange(1, 20))
    ]


def test_training_data_is_that_of_plain_python(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "ROW_GROUP", 4)
    rows = interactions(seed=1)
    users, items = (sorted({row[column] for row in rows}) for column in (0, 1))
    contents = []
    for partitions in (1, 3):
        random.Random(partitions).shuffle(rows)
        folder = tmp_path / f"model-{partitions}"
        folder.mkdir()
        frame = spark.createDataFrame(rows, COLUMNS).repartition(partitions)
        histories = prepare_training_data(frame, Split(), folder, str(tmp_path / "bulk"), user_vocabulary=True)
        vocabularies = [pq.read_table(folder / name) for name in ("users.parquet", "items.parquet")]
        assert [table.column(0).to_pylist() for table in vocabularies] == [users, items]
        assert [table.column(1).to_pylist() for table in vocabularies] == [list(range(25)), list(range(6))]
        expected = [
            [
                items.index(item)
                for user, item, *_ in sorted(rows, key=lambda row: (row[2], row[3], row[1]))
                if user == wanted
            ]
            for wanted in users
        ]
        assert histories.item_count == 6
        assert [histories.items[a:b].tolist() for a, b in pairwise(histories.offsets)] == expected
        lengths = [len(user) for user in expected]
        assert histories.train_ends.tolist() == [length - 2 if length >= 3 else length for length in lengths]
        assert histories.test_starts.tolist() == [length - 1 if length >= 3 else length for length in lengths]
        contents.append([(folder / name).read_bytes() for name in ("users.parquet", "items.parquet")])
    assert contents[0] == contents[1]


def test_a_model_without_users_gets_no_user_vocabulary(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame(interactions(seed=2)[:5], COLUMNS)
    prepare_training_data(frame, Split(), tmp_path, str(tmp_path / "bulk"), user_vocabulary=False)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["items.parquet"]


def write(folder: Path, name: str, users: list[str], items: list[list[int]]) -> None:
    folder.mkdir(exist_ok=True)
    counts = pa.array([len(user) for user in items], pa.int32())
    lists = pa.array(items, pa.list_(pa.int32()))
    columns = {"user_id": users, "item_indices": lists, "train_end": counts, "test_start": counts}
    pq.write_table(pa.table(columns), folder / name)


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "part-00001.parquet", ["c", "d"], [[5], [0, 0, 3]])
    write(tmp_path, "part-00000.parquet", ["a", "b"], [[1, 2], [4]])
    write(tmp_path, "part-00002.parquet", [], [])
    histories = read_training_histories(str(tmp_path), item_count=6)
    assert histories.offsets.tolist() == [0, 2, 3, 4, 7]
    assert histories.items.tolist() == [1, 2, 4, 5, 0, 0, 3]


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [(["b"], [[0]], "not sorted"), (["c"], [[6]], "no index"), (["c"], [[-1]], "no index")],
)
def test_damaged_files_are_refused(tmp_path: Path, users: list[str], items: list[list[int]], message: str) -> None:
    write(tmp_path, "part-0.parquet", ["a", "b"], [[1], [2]])
    write(tmp_path, "part-1.parquet", users, items)
    with pytest.raises(InputError, match=message):
        read_training_histories(str(tmp_path), item_count=6)


def test_every_model_and_date_has_a_folder_of_its_own() -> None:
    folder = training_folder("s3a://shop/bulk/", "recommender-shop", date(2026, 11, 20))
    assert folder == "s3a://shop/bulk/training/model=recommender-shop/dt=2026-11-20"
