"""Cases: balanced, of the right users, the same on every run, and drawn without favour."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from recsae_lib.config import VerificationSettings
from recsae_lib.platform.warehouse.tables import VERIFICATION_CASES
from recsae_lib.verification import cases as cases_module
from recsae_lib.verification.cases import select_cases

LEVEL_5 = VerificationSettings(minimum_level=5)
Firing = dict[int, dict[str, int]]  # latent → user → level


def names(number: int) -> list[str]:
    return [f"u{index}" for index in range(number)]


def draw(
    spark: SparkSession,
    firing: Firing,
    users: list[str],
    neighbours: dict[int, list[int]],
    per_kind: int = 4,
    seed: int = 1,
    partitions: int | None = None,
    half_of: Callable[[str], bool] = lambda _: False,
) -> DataFrame:
    fired: dict[str, list[int]] = defaultdict(list)
    for latent, levels in firing.items():
        for user in levels:
            fired[user].append(latent)
    pairs = [
        (half_of(user), user, fired[user], latent, level)
        for latent, levels in firing.items()
        for user, level in levels.items()
    ]
    near = [(latent, other, rank) for latent, others in neighbours.items() for rank, other in enumerate(others, 1)]
    frames = [
        spark.createDataFrame(
            pairs, "construct boolean, user_id string, latent_ids array<int>, latent_id int, level int"
        ),
        spark.createDataFrame([(half_of(user), user) for user in users], "construct boolean, user_id string"),
        spark.createDataFrame(near, "latent_id int, neighbour_id int, rank int"),
    ]
    if partitions is not None:
        frames = [frame.orderBy(frame.columns[0], ascending=False).repartition(partitions) for frame in frames]
    return select_cases(*frames, per_kind, LEVEL_5, seed)


def by_latent(cases: DataFrame) -> dict[int, dict[str, list[str]]]:
    users: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in cases.collect():
        assert row["fires"] == (row["kind"] == "positive")
        users[row["latent_id"]][row["kind"]].append(row["user_id"])
    return users


def check_cases(
    drawn: dict[int, dict[str, list[str]]],
    firing: Firing,
    users: list[str],
    neighbours: dict[int, list[int]],
    per_kind: int,
) -> None:
    for latent, levels in firing.items():
        eligible = {user for user, level in levels.items() if level >= 5}
        silent = set(users) - set(levels)
        fire_a_neighbour = {user for other in neighbours.get(latent, []) for user in firing.get(other, {})} & silent
        kinds = drawn.get(latent, {})
        positive, random, hard = (kinds.get(kind, []) for kind in ("positive", "random", "hard"))
        everybody = [*positive, *random, *hard]
        assert len(everybody) == len(set(everybody))
        assert set(positive) <= eligible
        assert set(random) <= silent
        assert set(hard) <= fire_a_neighbour
        expected = min(per_kind, len(eligible), len(silent))
        assert len(positive) == len(random) + len(hard) == expected
        assert len(hard) <= expected // 2 or len(random) + len(fire_a_neighbour) >= len(silent)
        assert len(hard) >= min(expected // 2, len(fire_a_neighbour))


@st.composite
def worlds(draw_from: Any) -> tuple[Firing, list[str], dict[int, list[int]], int]:
    users = names(draw_from(st.integers(1, 25)))
    levels = st.dictionaries(st.sampled_from(users), st.integers(1, 10), max_size=len(users))
    firing = {latent: draw_from(levels) for latent in range(15)}
    neighbours = {
        latent: draw_from(st.lists(st.sampled_from([o for o in range(16) if o != latent]), max_size=3, unique=True))
        for latent in range(15)
    }
    return firing, users, neighbours, draw_from(st.integers(1, 8))


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_any_world_gives_balanced_cases_of_the_right_users(spark: SparkSession, world: tuple) -> None:
    firing, users, neighbours, per_kind = world
    drawn = by_latent(draw(spark, firing, users, neighbours, per_kind))
    check_cases(drawn, firing, users, neighbours, per_kind)


@pytest.fixture(scope="module")
def crowd() -> tuple[Firing, list[str], dict[int, list[int]]]:
    """60 latents, each firing for a tenth of 400 users; the three next latents are the nearest."""
    random = np.random.default_rng(3)
    users = names(400)
    firing = {
        latent: {users[index]: int(random.integers(1, 11)) for index in random.choice(400, 40, replace=False)}
        for latent in range(60)
    }
    return firing, users, {latent: [(latent + step) % 60 for step in (1, 2, 3)] for latent in range(60)}


def test_enough_users_give_n_positives_and_half_hard_negatives(spark: SparkSession, crowd: tuple) -> None:
    cases = draw(spark, *crowd, per_kind=10)
    drawn = by_latent(cases)
    check_cases(drawn, *crowd, per_kind=10)
    assert {latent: {kind: len(users) for kind, users in kinds.items()} for latent, kinds in drawn.items()} == {
        latent: {"positive": 10, "random": 5, "hard": 5} for latent in range(60)
    }
    declared = {field.name: field.dataType for field in VERIFICATION_CASES.schema}
    assert {field.name: field.dataType for field in cases.schema} == {
        "construct": T.BooleanType(),
        **{name: declared[name] for name in ("latent_id", "user_id", "kind", "fires")},
    }


def test_partitioning_and_order_change_nothing_but_the_seed_does(spark: SparkSession, crowd: tuple) -> None:
    def rows(**how: int) -> list:
        return sorted(map(tuple, draw(spark, *crowd, per_kind=10, **how).collect()))

    first = rows()
    assert rows(partitions=7) == first
    assert len(set(first) & set(rows(seed=2))) < len(first) / 2


def test_the_halves_are_drawn_apart(spark: SparkSession, crowd: tuple) -> None:
    firing, users, neighbours = crowd

    def half_of(user: str) -> bool:
        return int(user.removeprefix("u")) % 3 == 0

    expected = []
    for half in (True, False):
        own = [user for user in users if half_of(user) == half]
        of_half = {
            latent: {user: level for user, level in levels.items() if user in own} for latent, levels in firing.items()
        }
        expected += draw(spark, of_half, own, neighbours, per_kind=5, half_of=half_of).collect()
    both = draw(spark, firing, users, neighbours, per_kind=5, half_of=half_of).collect()
    assert {row["construct"] for row in both} == {True, False}
    assert sorted(both) == sorted(expected)


def test_the_draw_favours_neither_level_nor_user(spark: SparkSession, crowd: tuple) -> None:
    firing = crowd[0]
    rows = draw(spark, *crowd, per_kind=10).collect()
    drawn = [firing[row["latent_id"]][row["user_id"]] for row in rows if row["fires"]]
    # Levels 5 to 10 in equal shares: mean 7.5, standard error 1.7 / sqrt(600) = .07.
    assert np.mean(drawn) == pytest.approx(7.5, abs=0.3)
    for kind in ("random", "hard"):
        times = Counter(row["user_id"] for row in rows if row["kind"] == kind)
        # 300 draws out of 400 users: 400 (1 - e^(-3/4)) = 211 distinct ones expected, rarely anybody six times.
        assert 180 <= len(times) <= 245
        assert max(times.values()) <= 7


def test_a_latent_active_for_most_users_is_cut_to_its_negatives(spark: SparkSession) -> None:
    users = names(30)
    firing = {1: dict.fromkeys(users[:27], 9), 2: dict.fromkeys(users, 9), 3: {"u29": 9}}
    drawn = by_latent(draw(spark, firing, users, {1: [3]}, per_kind=10))
    assert sorted(drawn) == [1, 3]  # nobody is silent on latent 2
    assert drawn[1]["hard"] == ["u29"]
    assert sorted(drawn[1]["random"]) == ["u27", "u28"]
    assert len(drawn[1]["positive"]) == 3
    assert drawn[3]["positive"] == ["u29"]
    assert len(drawn[3]["random"]) == 1


def test_latent_below_the_level_has_no_cases(spark: SparkSession) -> None:
    drawn = by_latent(draw(spark, {1: {"u0": 4}, 2: {"u0": 5}}, names(4), {}))
    assert list(drawn) == [2]
    assert drawn[2]["positive"] == ["u0"]


def test_random_negatives_fill_up_if_neighbours_share_all_users(spark: SparkSession) -> None:
    users = names(40)
    same = dict.fromkeys(users[:10], 7)
    drawn = by_latent(draw(spark, {1: same, 2: same}, users, {1: [2], 2: [1]}, per_kind=6))
    assert {kind: len(drawn[1][kind]) for kind in drawn[1]} == {"positive": 6, "random": 6}


def test_only_negatives_come_from_a_bounded_sample_of_users(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases_module, "SAMPLE_USERS", 120)
    monkeypatch.setattr(cases_module, "POOL_USERS", 30)
    users = names(1000)
    firing = {latent: dict.fromkeys(users[latent * 20 : latent * 20 + 20], 8) for latent in range(50)}
    neighbours = {latent: [(latent + 1) % 50] for latent in range(50)}
    drawn = by_latent(draw(spark, firing, users, neighbours, per_kind=20))
    assert [len(kinds["positive"]) for kinds in drawn.values()] == [20] * 50
    assert len({user for kinds in drawn.values() for user in kinds["random"]}) <= 30
    hard = {user for kinds in drawn.values() for user in kinds.get("hard", [])}
    assert 80 <= len(hard) <= 160
    for latent, kinds in drawn.items():
        assert set(kinds.get("hard", [])) <= set(firing[(latent + 1) % 50])
        assert not set(kinds["random"]) & set(firing[latent])


@pytest.mark.parametrize("missing", ["levels", "users", "neighbours"])
def test_empty_input(spark: SparkSession, missing: str) -> None:
    firing: Firing = {} if missing == "levels" else {1: {"u0": 9}}
    users = [] if missing == "users" else names(5)
    neighbours = {} if missing == "neighbours" else {1: [2]}
    kinds = sorted(row["kind"] for row in draw(spark, firing, users, neighbours).collect())
    assert kinds == (["positive", "random"] if missing == "neighbours" else [])


@pytest.mark.parametrize("per_kind", [10, 5000])
def test_every_draw_is_cut_before_the_shuffle(spark: SparkSession, per_kind: int) -> None:
    """A latent that fires for 30 million users would otherwise be sorted whole by one task."""
    firing: Firing = {latent: dict.fromkeys(names(30), 9) for latent in range(3)}
    plan = draw(spark, firing, names(60), {0: [1], 1: [2], 2: [0]}, per_kind)._jdf.queryExecution().executedPlan()
    nodes = plan.toString().splitlines()
    assert (
        sum("WindowGroupLimit" in node and "Partial" in node for node in nodes) == 2
    )  # positives, users of neighbours
