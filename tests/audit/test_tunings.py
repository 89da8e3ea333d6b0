from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

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
        ("{name: x, latents: [99999], strength: 0}", "Tuning x names latent 99999: there are latents 0 to "),
        ("{name: x, latents: [1], strength: 1.0e+39}", "Tuning x moves representations beyond all numbers"),
        ("{name: x, strength: 1}", "tuning x: set exactly one of latents, feature, like and debias"),
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
