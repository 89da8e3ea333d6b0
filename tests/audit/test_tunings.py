from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from pyspark.sql import Row

from recsae_jobs import tune_recommendations
from recsae_lib.platform.warehouse import tables
from recsae_lib.tuning.nothing_tuned import TABLES, write_nothing_where_skipped
from tests.workspace import DT, Workspace


@pytest.fixture
def tuned(audited: Workspace) -> Iterator[Workspace]:
    """The workspace, whose tables of tunings are afterwards as they were published."""
    yield audited
    for table in TABLES:
        audited.warehouse().drop_branch(table)


def setting(latent: int, *tunings: str) -> str:
    return f"tunings=[{', '.join(f'{{latents: [{latent}], {tuning}}}' for tuning in tunings)}]"


def rows_of(audited: Workspace) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, audited.warehouse().read(tables.TUNED_RECOMMENDATIONS).collect()))


@pytest.mark.integration
def test_all_users_are_tuned_and_once_more_the_same(tuned: Workspace) -> None:
    assert tuned.rows(tables.TUNED_RECOMMENDATIONS) == tuned.rows(tables.TUNING_EFFECTS) == []
    activations = tuned.warehouse().read_published(tables.LATENT_ACTIVATIONS).collect()
    latent = activations[0]["latent_ids"][0]
    fires = {row["user_id"] for row in activations if latent in row["latent_ids"]}
    assert 0 < len(fires) < len(activations)
    three = ("name: same, mode: multiply, strength: 1", "name: less, mode: multiply, strength: 0")
    context = tuned.context("tune_recommendations", setting(latent, *three, "name: more, strength: 3"))
    tune_recommendations.run(context)
    rows = rows_of(tuned)
    tune_recommendations.run(context)
    assert rows_of(tuned) == rows
    effects = tuned.warehouse().read(tables.TUNING_EFFECTS).collect()
    assert {row["tuning"] for row in effects} == {"same", "less", "more"}
    assert {row["strength"] for row in effects if (row["tuning"], row["method"]) == ("less", "sae")} >= {0.0}

    base = {row["user_id"]: row for row in tuned.warehouse().read_published(tables.RECOMMENDATIONS).collect()}
    assert {row[:3] for row in rows} == {(DT, 1, 1)}
    assert {row[3:5] for row in rows} == {(name, user) for name in ("same", "less", "more") for user in base}
    for _, _, _, name, user, items, scores, changed in rows:
        assert changed == len(set(items) - set(base[user]["item_ids"])), (name, user)
        if name == "same" or (name == "less" and user not in fires):
            assert (items, scores) == (base[user]["item_ids"], base[user]["scores"]), (name, user)
    assert {user for _, _, _, name, user, *_, changed in rows if name == "less" and changed} <= fires
    for name in ("less", "more"):
        assert any(changed for _, _, _, tuning, *_, changed in rows if tuning == name), name

    warehouse = context.warehouse  # of a night whose scheduler skips the job
    write_nothing_where_skipped(warehouse)
    assert rows_of(tuned) == []
    head = warehouse.snapshot_id(tables.TUNED_RECOMMENDATIONS)
    write_nothing_where_skipped(warehouse)
    assert warehouse.snapshot_id(tables.TUNED_RECOMMENDATIONS) == head, "what is empty is not written again"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tunings", "part"),
    [
        (
            "{name: x, latents: [99999], strength: 0}",
            "tuning x: latent 99999 does not exist; the SAE has the latents 0 to",
        ),
        ("{name: x, feature: war, strength: 1.0e+39}", "moves representations beyond all numbers"),
        ("{name: x, strength: 1}", "tuning x: set exactly one of latents, feature, like, debias and mix"),
    ],
)
def test_tunings_that_cannot_be_are_one_line(
    tuned: Workspace, tunings: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = ("--conf", str(tuned.folder / "conf" / "planted.yaml"), "--dt", DT.isoformat())
    assert tuned.recsae_here("run", "tune_recommendations", *conf, "--set", f"tunings=[{tunings}]") == 2
    said = capsys.readouterr()
    assert part in said.err
    assert "Traceback" not in said.err


@pytest.mark.integration
def test_features_and_mixes_are_turned_for_all_users(tuned: Workspace) -> None:
    tunings = "tunings=[{name: war, feature: war}, {name: mix, mix: {war: 0.5, space: 0.3}}, {name: own, mix: history}]"
    tune_recommendations.run(tuned.context("tune_recommendations", tunings))
    warehouse = tuned.warehouse()
    features = {row["item_id"]: row["features"] for row in warehouse.read_published(tables.ITEMS).collect()}

    def share(feature: str, lists: Iterable[Row]) -> float:
        listed = [features[item] for row in lists for item in row["item_ids"]]
        return sum(feature in one for one in listed) / len(listed)

    before = warehouse.read_published(tables.RECOMMENDATIONS).collect()
    after = warehouse.read(tables.TUNED_RECOMMENDATIONS).collect()
    of = {name: [row for row in after if row["tuning"] == name] for name in ("war", "mix", "own")}
    assert {name: len(rows) for name, rows in of.items()} == dict.fromkeys(of, len(before))
    for name, feature in (("war", "war"), ("mix", "war"), ("mix", "space")):
        assert share(feature, of[name]) > share(feature, before) + 0.05, (name, feature)
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in after)
    value = {
        (row["tuning"], row["method"], row["metric"]): row["value"]
        for row in warehouse.read(tables.TUNING_EFFECTS).where("comparison = 'overlap'").collect()
    }
    assert value["war", "sae", "feature_share_change"] > 3 * abs(value["war", "noise", "feature_share_change"])
    assert value["mix", "sae", "exposure_error"] < value["mix", "untuned", "exposure_error"]


@pytest.mark.integration
def test_a_trial_needs_no_spark_and_writes_nothing(
    tuned: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_session(*_: object) -> None:
        raise AssertionError("a trial reads files")

    monkeypatch.setattr("recsae_lib.platform.spark.session.open_session", no_session)
    conf = ("--conf", str(tuned.folder / "conf" / "planted.yaml"))
    assert tuned.recsae_here("tune", *conf, "--feature", "war", "--overlap", "0.8") == 0
    said = capsys.readouterr().out
    for part in ("Tuning planted, dt=2026-11-20", "war: latents ", "at equal overlap", "re-ranking", ": before"):
        assert part in said
    user = re.search(r"user (u\d+): before", said)
    assert user is not None
    assert tuned.recsae_here("tune", *conf, "--feature", "war", "--multiply", "0", "--user", user[1]) == 0
    assert capsys.readouterr().out.count(": before") == 1
    for arguments, part in (
        (("--feature", "wra"), "Name one of these, or another that has: war"),
        (("--like", "no such title"), "No item has a title that starts with"),
        (("--mix", "war"), "no FEATURE=SHARE"),
        (("--feature", "war", "--user", "nobody"), "User 'nobody' is not among the held-out users"),
        (("--feature", "war", "--overlap", "2"), "overlap: Input should be less than 1"),
    ):
        assert tuned.recsae_here("tune", *conf, *arguments) == 2
        assert part in capsys.readouterr().err
