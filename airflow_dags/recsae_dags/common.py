"""What the DAGs share: parameters, the first task, and the chain of jobs that makes an audit."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    Context,
    Param,
    PokeReturnValue,
    TriggerRule,
    Variable,
    XComArg,
    chain,
    conf,
    task,
)
from airflow.sdk.exceptions import AirflowFailException

from recsae_dags.dates import resolve_dt
from recsae_dags.failures import RUN_TIMEOUT, failed_checks, report_failure
from recsae_dags.rights import allowed_file, allowed_settings
from recsae_dags.suite import TURN, AnswersSensor, SparkJob, Suite, SuiteCommand

SPARK_POOL, TRAINING_POOL, TURN_POOL = "recsae_spark", "recsae_training", "recsae_turn"
TRAINING_QUEUE = "recsae_training"
ASKING_FOR_RETRAINING = "asking_for_retraining"  # XCom of publish_audit: the violated checks, a line each
CONCEPTS = AssetAlias("recsae/concepts")  # stands for recsae/<namespace>/concepts of every namespace
SECONDS_BETWEEN_TURNS = conf.getint("recsae", "seconds_between_turns", fallback=30)
SECONDS_BETWEEN_LOOKS = 300
LONGEST_BATCH = timedelta(hours=26)  # the Batch API promises 24


def hours(setting: str, default: float) -> timedelta | None:
    """Return a time from the section [recsae] of Airflow's configuration; None where it is 0."""
    return timedelta(hours=conf.getfloat("recsae", setting, fallback=default)) or None


DEFAULT_ARGS: dict[str, Any] = {
    "owner": "recsae",
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=30),
    "trigger_rule": TriggerRule.NONE_FAILED,  # a training that was not needed is skipped, and the night goes on
    "execution_timeout": hours("task_timeout_hours", 12),  # of one try
    "on_failure_callback": report_failure,
}
# Of a whole run, also while it waits for its turn; then the turn is free.
LONGEST_RUN = hours(RUN_TIMEOUT, 72)
TAGS = ["recsae"]

PARAMS = {
    "dt": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Date of the audit",
        description="The partition to write. Of runs started by hand; without it, the day of the run's logical date.",
    ),
    "conf": Param(
        None,
        type=["null", "string"],
        title="Settings file",
        description="One of those that the Variable recsae_conf lists. Without it, the first of them.",
    ),
    "set": Param(
        [],
        type="array",
        items={"type": "string", "pattern": "^[a-z_.0-9]+=.*$"},
        title="Single settings",
        description="Each as a.b=value, over the settings file. Only numbers and choices of the method: what names "
        "code, files, addresses or variables stands in the settings file alone.",
    ),
}


def dt_of(context: Context) -> str:
    """Resolve the date of this run, once; every task takes the first one's answer."""
    run, dag = context["dag_run"], context["dag"]
    events = (context.get("triggering_asset_events") or {}).values()
    dates = [event.extra["dt"] for of_asset in events for event in of_asset if event.extra.get("dt")]
    try:
        dt = resolve_dt(
            str(getattr(run.run_type, "value", run.run_type)),
            context["params"]["dt"],
            context.get("data_interval_start"),
            run.logical_date,
            run.run_after,
            dates,
            dag.timezone,
        )
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    return dt.isoformat()


def night_of(context: Context) -> dict[str, Any]:
    """Return the date of this run and the arguments that every job takes."""
    params, dt = context["params"], dt_of(context)
    try:
        settings_file = allowed_file(params["conf"], Variable.get("recsae_conf"))
        settings = allowed_settings(params["set"])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    overrides = [word for setting in settings for word in ("--set-by-trigger", setting)]
    return {"dt": dt, "arguments": ["--conf", settings_file, "--dt", dt, *overrides]}


@task.sensor(task_id="begin", mode="reschedule", poke_interval=SECONDS_BETWEEN_TURNS, timeout=7 * 86400, pool=TURN_POOL)
def begin(**context: Any) -> PokeReturnValue:
    """Take the turn and resolve the date.

    Audits write to the same tables and move the same aliases, so one runs at a time, of whatever DAG; max_active_runs
    does not do it, since a backfill counts by itself. The pool has one slot: no two runs look at the same time.
    """
    ti = context["ti"]
    night, me = night_of(context), [ti.dag_id, ti.run_id]
    holder = Variable.get(TURN, default=None, deserialize_json=True)
    if holder not in (None, me) and is_under_way(ti, *holder):
        ti.task.log.info("waiting for run %s of %s", holder[1], holder[0])
        return PokeReturnValue(is_done=False)
    Variable.set(TURN, me, serialize_json=True, description="the run that writes to the warehouse")
    return PokeReturnValue(is_done=True, xcom_value=night)


def is_under_way(ti: Any, dag_id: str, run_id: str) -> bool:
    """Whether a run has not ended, nor been deleted."""
    return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]))


def audit(retrain: str) -> tuple[SparkJob, SparkJob]:
    """Declare the tasks of an audit in the DAG that is being defined.

    Parameters
    ----------
    retrain : what to train even where it is registered: nothing, sae or all; may be a template.

    Returns
    -------
    The last task before publication, and the publication; the DAG says what comes between them.
    """
    night = begin()
    plan = SuiteCommand(
        task_id="plan",
        command=["plan", "--retrain", retrain],
        night=night,
        gives_json=True,
        post_execute=require_same_jobs,
    )
    planned = {"night": night, "plan": XComArg(plan)}
    training = {**planned, "pool": TRAINING_POOL, "queue": TRAINING_QUEUE}

    ingest = spark_job("ingest_dataset", night=night)
    train_recommender = spark_job("train_recommender", needed="train_recommender", **training)
    extract = spark_job("extract_representations", night=night)
    recommend = spark_job("recommend_items", night=night)
    train_sae = SuiteCommand(
        task_id="train_sae", command=["run", "train_sae"], needed="train_sae", writes=True, **training
    )
    choose = spark_job("choose_sae", needed="choose_sae", **planned)
    encode = spark_job("encode_latents", **planned)
    terms = spark_job("compute_concept_terms", **planned)
    effects = spark_job("compute_latent_effects", **planned)
    interpret, verify = in_two_steps("interpret_concepts", **planned), in_two_steps("verify_concepts", **planned)
    coverage = spark_job("measure_coverage", **planned)
    tune = spark_job("tune_recommendations", needed="tune_recommendations", **planned)
    compare = spark_job("compare_versions", **planned)
    publish = spark_job("publish_audit", outlets=[CONCEPTS], post_execute=announce, **planned)

    night >> [plan, ingest]
    [plan, ingest] >> train_recommender >> [extract, recommend]
    chain(extract, train_sae, choose, encode, terms, effects, *interpret, *verify, coverage, tune, compare)
    recommend >> [choose, terms]
    publish >> spark_job("build_explorer", **planned)
    return compare, publish


def spark_job(job: str, **options: Any) -> SparkJob:
    """Declare a Spark job under its own name."""
    return SparkJob(task_id=job, job=job, **{"pool": SPARK_POOL, **options})


def in_two_steps(job: str, **handed_on: Any) -> tuple[SparkJob, AnswersSensor]:
    """Declare a job that may ask a language model: it submits, then collects, with the worker free in between.

    Where the plan says that it asks nobody, the first task does the whole job, and the second is skipped.
    """
    asks = f"{job}_asks"
    submit = spark_job(job, submits_if=asks, with_llm_key=True, **handed_on)
    collect = AnswersSensor(
        task_id=f"{job}_collect",
        job=job,
        needed=asks,
        poke_interval=SECONDS_BETWEEN_LOOKS,
        timeout=LONGEST_BATCH,
        pool=SPARK_POOL,
        **handed_on,
    )
    return submit, collect


def require_same_jobs(context: Context, plan: Any) -> None:
    """Fail where the suite has a job or a second step that no task runs: it is not of the release of these DAGs."""
    names = [name for job in plan["jobs"] for name in (job["name"], *([f"{job['name']}_collect"] * job["steps"]))]
    if missing := [name for name in names if name not in context["dag"].task_ids]:
        raise AirflowFailException(
            f"The suite has {', '.join(missing)}, of which this DAG knows nothing. Bring the folder of the DAGs and "
            "the suite to the same release"
        )


def announce(context: Context, result: Any) -> None:
    """Emit the asset of each namespace that was published, with the date for those whom it starts; and hand on what
    asks for retraining, since another worker may not see the reports of this one.
    """
    ti = context["ti"]
    dt, plan = ti.xcom_pull(task_ids="begin")["dt"], ti.xcom_pull(task_ids="plan")
    home = Path(Suite.of_connection().home)
    asking = [line for report in plan["reports"] for line in failed_checks(home / report, "retrain")]
    ti.xcom_push(ASKING_FOR_RETRAINING, asking)
    for namespace in plan["namespaces"]:
        extra = {"dt": dt, "namespace": namespace}
        context["outlet_events"][CONCEPTS].add(Asset(f"recsae/{namespace}/concepts"), extra=extra)
