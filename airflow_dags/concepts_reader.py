"""An example of what follows an audit: a DAG that the published concepts start."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task
from pendulum import datetime

from recsae_dags.common import CONCEPTS, DEFAULT_ARGS, PARAMS, TAGS, night_of
from recsae_dags.suite import SuiteCommand

DOC = """
### concepts_reader

An example to copy, paused until somebody wants it: runs whenever an audit is published, of whatever namespace, and
prints its best concepts for the date that the asset's event names. Schedule yours on
`Asset("recsae/<namespace>/concepts")` to follow one namespace.
"""

with DAG(
    "concepts_reader",
    schedule=[CONCEPTS],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,  # an example runs where somebody wants it
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=[*TAGS, "example"],
    description="recsae: an example that reads concepts when they have been published",
    doc_md=DOC,
):

    @task(task_id="begin")
    def begin(**context: Any) -> dict[str, Any]:
        """Resolve the date, from the event of the asset."""
        return night_of(context)

    SuiteCommand(task_id="print_concepts", command=["concepts", "--top", "10"], night=begin())
