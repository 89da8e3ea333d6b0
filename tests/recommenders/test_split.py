from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import SasrecSettings, SplitSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import read_description, save_recommender
from recsae_lib.recommenders.training_data import prepare_training_data

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
COLUMNS = "user_id string, item_id string, ts timestamp, source_order bigint"
DEV_FROM, TEST_FROM = START + timedelta(hours=60), START + timedelta(hours=80)


def interactions(seed: int) -> list[tuple[str, str, datetime, int]]:
    draw = random.Random(seed)
    return [
        (f"u{user:02d}", f"i{draw.randrange(9)}", START + timedelta(hours=draw.randrange(100)), 0)
        for user in range(30)
        for _ in range(draw.randrange(1, 9))
    ]


def test_a_split_by_time_holds_out_what_plain_python_does(spark: SparkSession, tmp_path: Path) -> None:
    rows = interactions(seed=1)
    frame = spark.createDataFrame(rows, COLUMNS)
    chosen = SplitSettings(by="time", dev_from=DEV_FROM, test_from=TEST_FROM.replace(tzinfo=None))
    split = Split.resolve(chosen, frame)
    folder = tmp_path / "model"
    folder.mkdir()
    histories = prepare_training_data(frame, split, folder, str(tmp_path / "bulk"), user_vocabulary=False)
    items = sorted({row[1] for row in rows})
    users = sorted({row[0] for row in rows})
    ordered = [sorted((ts, item) for user, item, ts, _ in rows if user == wanted) for wanted in users]
    train = histories.training_part()
    assert [train.items[a:b].tolist() for a, b in pairwise(train.offsets)] == [
        [items.index(item) for ts, item in user if ts < DEV_FROM] for user in ordered
    ]
    for held_out, first, last in (("dev", DEV_FROM, TEST_FROM), ("test", TEST_FROM, START + timedelta(days=99))):
        expected = {
            number: ([items.index(i) for ts, i in user if ts < first], items.index(later[0]))
            for number, user in enumerate(ordered)
            if (later := [item for ts, item in user if first <= ts < last]) and user[0][0] < DEV_FROM
        }
        found = histories.held_out_users(held_out, 100, seed=0)
        assert found.tolist() == list(expected)
        contexts = histories.contexts(found, held_out)
        for place, (context, target) in enumerate(expected.values()):
            assert contexts.items[contexts.offsets[place] : contexts.offsets[place + 1]].tolist() == context
            assert histories.targets(found, held_out)[place] == target
    # A recommender keeps the split, so that later jobs hold out the same.
    save_recommender(Sasrec(len(items), 4, SasrecSettings()), split, folder)
    assert read_description(folder).split == split
    ends = {row["user_id"]: (row["train_end"], row["test_start"]) for row in model_inputs(frame, folder).collect()}
    assert ends == dict(
        zip(users, zip(histories.train_ends.tolist(), histories.test_starts.tolist(), strict=True), strict=True)
    )


def test_periods_start_after_80_and_90_per_cent_by_default(spark: SparkSession) -> None:
    rows = [("u", f"i{n}", START + timedelta(seconds=n), 0) for n in range(1000)]
    random.Random(0).shuffle(rows)
    split = Split.resolve(SplitSettings(by="time"), spark.createDataFrame(rows, COLUMNS).repartition(3))
    assert split.dev_from is not None
    assert split.test_from is not None
    seconds = [(cut - int(START.timestamp() * 1e6)) / 1e6 for cut in (split.dev_from, split.test_from)]
    assert np.allclose(seconds, [800, 900], atol=2)


@pytest.mark.parametrize("later", [0, 15], ids=["all alike", "nothing before the dev period"])
def test_interactions_of_one_time_cannot_be_split_by_it(spark: SparkSession, later: int) -> None:
    rows = [("u", "i", START, 0)] * 85 + [("u", "i", START + timedelta(days=n + 1), 0) for n in range(later)]
    frame = spark.createDataFrame(rows, COLUMNS)
    with pytest.raises(InputError, match="cannot be split by time"):
        Split.resolve(SplitSettings(by="time"), frame)
    with pytest.raises(InputError, match="cannot be split by time"):
        Split.resolve(SplitSettings(by="time"), frame.limit(0))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"a": 1, "b": 2},
        {"dev_from": 1},
        {"dev_from": 1, "test_from": None},
        {"dev_from": "1", "test_from": 2},
    ],
)
def test_a_damaged_split_is_none(value: object) -> None:
    with pytest.raises(ValueError, match="no split"):
        Split.from_json(value)


def test_a_split_survives_json() -> None:
    for split in (Split(), Split(1, 2)):
        assert Split.from_json(split.as_json()) == split
