"""What is reported when a task has failed for good: what, why, which checks, and where to look."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import requests
from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact

from recsae_dags.suite import Suite

ALERTS_CONNECTION = "recsae_alerts"
SECONDS_TO_POST = 10
CHECKS = "checks.json"
RUN_TIMEOUT = "run_timeout_hours"  # in the section [recsae] of Airflow's configuration

log = logging.getLogger("airflow.task")


def report_failure(context: Context) -> None:
    """Log the message, and post it to the connection ``recsae_alerts`` where there is one (a chat's webhook, say)."""
    report(failure_message(context))


def report_timeout(context: Context) -> None:
    """Report a run that took too long, as a failure of the whole: what it ran was stopped, and no task has failed."""
    if context.get("reason") == "timed_out":  # else it is a task that failed, and has said so
        report(
            f"{context['dag'].dag_id}: run {context['run_id']} was given up: it took longer than {RUN_TIMEOUT} in the "
            "section [recsae] of Airflow's configuration. Clear it from its first task when the cause is gone"
        )


def report(message: str) -> None:
    """Log a message, and post it to the connection ``recsae_alerts`` where there is one."""
    message = str(redact(message))  # what jobs say tells no key; Airflow knows those of connections
    log.error("%s", message)
    try:
        connection = BaseHook.get_connection(ALERTS_CONNECTION)
    except AirflowNotFoundException:
        return
    # The address of a webhook is a secret: it lies in the password, which is masked in logs.
    # So of an error, which has the address in it, only the kind is reported.
    try:
        response = requests.post(connection.password, json={"text": message}, timeout=SECONDS_TO_POST)
    except requests.RequestException as failure:
        log.error("The message did not reach connection %s: %s", ALERTS_CONNECTION, type(failure).__name__)
    else:
        if not response.ok:
            log.error("Connection %s refuses the message with HTTP %s", ALERTS_CONNECTION, response.status_code)


def failure_message(context: Context) -> str:
    """Say which task of which run failed and why; of a refused audit, the checks that failed and where all are."""
    ti = context["ti"]
    night = ti.xcom_pull(task_ids="begin") or {}
    lines = [
        f"{ti.dag_id}: {ti.task_id} failed for dt={night.get('dt', '?')} (run {ti.run_id})",
        str(context.get("exception") or "no reason is known").split("\nLast spark-submit output")[0],
    ]
    if ti.task_id == "publish_audit":
        plan = ti.xcom_pull(task_ids="plan") or {}
        home = Path(Suite.of_connection().home)
        lines += [line for report in plan.get("reports", []) for line in refused_by(home / report)]
    return "\n".join([*lines, f"log: {ti.log_url}"])


def refused_by(report: Path) -> list[str]:
    """Return the checks that refused an audit and where to look, a line each; nothing where none did."""
    failed = failed_checks(report, "fail")
    return ["failed checks:", *failed, f"all checks: {report / CHECKS}"] if failed else []


def failed_checks(report: Path, severity: str) -> list[str]:
    """Return the violated checks of a severity (fail, warn, retrain) in the reports of one audit, a line each."""
    if not (report / CHECKS).is_file():
        return []
    results: list[dict[str, Any]] = json.loads((report / CHECKS).read_text(encoding="utf-8"))
    return [
        f"- {result['table']}: {result['name']}: {result['violations']} violations {result['detail']}".rstrip()
        for result in results
        if result["severity"] == severity and not result["passed"]
    ]
