"""Which date a run is for: the one rule, free of Airflow so that it can be tested by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, tzinfo


def resolve_dt(
    run_type: str,
    asked: str | None,
    interval_start: datetime | None,
    logical_date: datetime | None,
    run_after: datetime,
    event_dates: Sequence[str],
    timezone: tzinfo,
) -> date:
    """Return the date of a run.

    A scheduled run or a backfill is for the day on which its data interval begins, never for the day on which it runs.
    A run that a person or another DAG started is for the date that was asked for, else for its logical date, else for
    the day after which it may run. A run that assets started is for the newest date that their events name, else for
    that day. Days are of the DAG's time zone.

    Parameters
    ----------
    run_type : Airflow's: scheduled, backfill, manual, operator_triggered, asset_triggered, asset_materialization.
    asked : the parameter ``dt``, YYYY-MM-DD.
    interval_start, logical_date : None where the run has none, as an asset's or a manual one may.
    event_dates : what the events of the triggering assets say under ``dt`` in their extra.

    Raises
    ------
    ValueError : a date was asked of a run that has one by itself: every run of a backfill would write the same.
    """
    if run_type in ("scheduled", "backfill"):
        if asked is not None:
            raise ValueError(f"dt={asked} was asked of a {run_type} run, which has a date of its own; leave dt out")
        moment = interval_start or logical_date
        if moment is None:
            raise ValueError(f"a {run_type} run without data interval and logical date; give the DAG a schedule")
        return moment.astimezone(timezone).date()
    if asked is not None:
        return date.fromisoformat(asked)
    if run_type == "asset_triggered":
        return max((date.fromisoformat(text) for text in event_dates), default=run_after.astimezone(timezone).date())
    return (logical_date or run_after).astimezone(timezone).date()
