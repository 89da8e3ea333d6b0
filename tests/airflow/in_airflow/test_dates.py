from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recsae_dags.dates import resolve_dt

BERLIN = ZoneInfo("Europe/Berlin")


def moment(day: int, hour: int = 2) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=timezone.utc)


def resolved(run_type: str, **given: Any) -> date:
    arguments: dict[str, Any] = {
        "asked": None,
        "interval_start": None,
        "logical_date": None,
        "run_after": moment(25, 23),
        "event_dates": [],
        "timezone": timezone.utc,
    }
    return resolve_dt(run_type, **{**arguments, **given})


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_scheduled_runs_and_backfills_are_for_the_interval_begin(run_type: str) -> None:
    assert resolved(run_type, interval_start=moment(20), logical_date=moment(21)) == date(2026, 11, 20)
    assert resolved(run_type, logical_date=moment(21)) == date(2026, 11, 21)


@pytest.mark.parametrize("run_type", ["manual", "operator_triggered", "asset_materialization"])
def test_a_run_by_hand_is_for_dt_else_logical_date_else_today(run_type: str) -> None:
    interval = moment(1)  # of a manual run it is the last whole one, which nobody asked for
    assert resolved(run_type, asked="2026-11-03", interval_start=interval, logical_date=moment(20)) == date(2026, 11, 3)
    assert resolved(run_type, interval_start=interval, logical_date=moment(20)) == date(2026, 11, 20)
    assert resolved(run_type) == date(2026, 11, 25)


def test_a_run_of_assets_is_for_their_newest_date_else_today() -> None:
    dates = ["2026-11-19", "2026-11-20", "2026-11-18"]
    assert resolved("asset_triggered", event_dates=dates) == date(2026, 11, 20)
    assert resolved("asset_triggered") == date(2026, 11, 25)


def test_days_are_of_the_time_zone_of_the_dag() -> None:
    late = moment(20, 23)
    assert resolved("scheduled", interval_start=late, timezone=BERLIN) == date(2026, 11, 21)
    assert resolved("manual", logical_date=late, timezone=BERLIN) == date(2026, 11, 21)
    assert resolved("manual", timezone=BERLIN) == date(2026, 11, 26)
    assert resolved("asset_triggered", timezone=BERLIN) == date(2026, 11, 26)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_no_date_can_be_asked_of_a_run_that_has_one(run_type: str) -> None:
    with pytest.raises(ValueError, match="date of its own"):
        resolved(run_type, asked="2026-11-03", interval_start=moment(20))


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError, match="20-11-2026"):
        resolved("manual", asked="20-11-2026")
    with pytest.raises(ValueError, match="without data interval"):
        resolved("scheduled")
