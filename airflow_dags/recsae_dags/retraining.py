"""What a night does when its concepts have drifted away from those of before: it starts `retrain_sae`."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context, task
from airflow.sdk.exceptions import AirflowSkipException

from recsae_dags.common import ASKING_FOR_RETRAINING

WARM_START = "sae.start=champion"  # latent ids keep their meaning

log = logging.getLogger("airflow.task")


@task.short_circuit(task_id="drifted")
def drifted(**context: Any) -> bool:
    """Whether a check of severity `retrain` is violated in the audit that was published; what follows is skipped if
    none is.
    """
    # Nothing was handed on where a person marked the publication as done.
    asking = context["ti"].xcom_pull(task_ids="publish_audit", key=ASKING_FOR_RETRAINING) or []
    for line in asking:
        log.info("asks for retraining: %s", line)
    return bool(asking)


class Retraining(TriggerDagRunOperator):
    """Start `retrain_sae` for the date and the settings of this run, from the champion's weights unless the settings
    say where to start. It waits until this run has ended.

    It is skipped where nobody would run what it starts, night after night: the DAG is paused, or a run of it has not
    ended.
    """

    def execute(self, context: Context) -> Any:
        """Start the run."""
        dag_id, ti = self.trigger_dag_id, context["ti"]
        if ti.get_dag(dag_id).is_paused:
            raise AirflowSkipException(f"{dag_id} is paused. Unpause it, then clear this task to retrain for this date")
        if ti.get_dr_count(dag_id=dag_id, states=["queued", "running"]):
            raise AirflowSkipException(f"A run of {dag_id} has not ended. Later nights say whether another is needed")
        params = context["params"]
        says_start = any(setting.startswith("sae.start=") for setting in params["set"])
        self.conf = {
            "dt": context["ti"].xcom_pull(task_ids="begin")["dt"],
            "conf": params["conf"],
            "set": params["set"] if says_start else [*params["set"], WARM_START],
        }
        return super().execute(context)
