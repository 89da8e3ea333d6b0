"""Every night: what the recommender knows about its users now, as published concept tables."""

from __future__ import annotations

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, conf
from pendulum import datetime

from recsae_dags.common import DEFAULT_ARGS, LONGEST_RUN, PARAMS, TAGS, audit
from recsae_dags.failures import report_timeout
from recsae_dags.retraining import Retraining, drifted

# [recsae] nightly_schedule in Airflow's configuration; empty for none. In UTC; each run is for the day before.
SCHEDULE = conf.get("recsae", "nightly_schedule", fallback="0 2 * * *")

DOC = """
### nightly_audit

Reads the interactions, extracts and encodes the representations of all users, names and judges the latents, and
publishes the tables of one date. It trains only what is missing: the recommender on the first night of all, the SAE
then and whenever the recommender has a new version.

- **Date** (`dt`): of a scheduled run and of a backfill, the day on which the data interval begins; of a run started by
  hand, the parameter `dt`, else the day of its logical date. The task `begin` resolves it for all others.
- **One at a time**: `begin` waits until no other audit or retraining is under way (Variable `recsae_turn`).
- **Failures**: bad input (exit code 2) and a failed check (3) fail at once; all else is tried again, later each time.
  A failed check leaves the last good audit published; the audit stays on the branch `audit-<dt>`. What was done before
  a failure need not be done again: clear the failed task.
- **Language model**: with `llm.transport: batch` nothing waits on a worker: `interpret_concepts_collect`
  and `verify_concepts_collect` look every few minutes.
- **Drift**: where fewer latents than `checks.retrain_stable_share` are stable, `drifted` lets the task `retrain_sae`
  start the DAG of that name for the same date, which begins when this run has ended.
- **Published**: the asset `recsae/<namespace>/concepts`, with `dt` and `namespace` in its extra.
"""

with DAG(
    "nightly_audit",
    schedule=CronDataIntervalTimetable(SCHEDULE, "UTC") if SCHEDULE else None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=LONGEST_RUN,
    on_failure_callback=report_timeout,
    default_args=DEFAULT_ARGS,
    params={
        **PARAMS,
        "retrain": Param(
            "nothing",
            type="string",
            enum=["nothing", "sae", "all"],
            title="Train again",
            description="Even where a fitting version is registered: the SAE, or recommender and SAE.",
        ),
    },
    tags=TAGS,
    description="recsae: audit the recommender and publish its concepts",
    doc_md=DOC,
):
    compare, publish = audit("{{ params.retrain }}")
    compare >> publish >> drifted() >> Retraining(task_id="retrain_sae", trigger_dag_id="retrain_sae")
