"""How jobs are started, and what becomes of their exit codes: by the operators, on a spark-submit that stands in."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DagRunTriggerException,
)
from airflow.sdk.execution_time.timeout import timeout

from recsae_dags.retraining import Retraining
from recsae_dags.suite import AnswersSensor, SparkJob, SuiteCommand, SuiteSparkHook, failure_of, require_turn
from tests.airflow.in_airflow.stand_in import StandIn

ARGUMENTS = ["--conf", "conf/local.yaml", "--dt", "2026-11-20"]
NIGHT = {"dt": "2026-11-20", "arguments": ARGUMENTS}
KEY = "sk-never-to-be-seen"


class Instance:
    dag_id, run_id = "nightly_audit", "night"


CONTEXT: Any = {"ti": Instance()}
MINE = ["nightly_audit", "night"]


def job(**options: Any) -> SparkJob:
    return SparkJob(task_id="encode_latents", job="encode_latents", night=NIGHT, **options)


def execute(operator: Any) -> Any:
    """Run an operator outside of Airflow's task runner."""
    return type(operator).execute.__wrapped__(operator, CONTEXT)


@pytest.mark.parametrize(
    ("exit_code", "is_final", "meaning"),
    [
        (1, False, "fault of the program"),
        (2, True, "bad input"),
        (3, True, "main keeps the last good one"),
        (4, False, "the next try goes on"),
        (5, False, "still being worked on"),
        (137, False, "fault of the program or the machine"),
    ],
)
def test_only_what_a_second_try_cannot_change_is_final(exit_code: int, is_final: bool, meaning: str) -> None:
    failure = failure_of("encode_latents", exit_code, "recsae: cause. Remedy.")
    assert isinstance(failure, AirflowFailException) is is_final
    assert meaning in str(failure)
    assert str(failure).endswith(": recsae: cause. Remedy.")


@pytest.mark.parametrize(("exit_code", "is_final"), [(2, True), (3, True), (4, False), (1, False)])
def test_a_job_that_fails_raises_what_it_said(
    stand_in: StandIn, turn: Callable[[Any], None], exit_code: int, is_final: bool
) -> None:
    turn(MINE)
    stand_in.order(exit_code=exit_code, says="recsae: the table is empty. Run ingest_dataset first.")
    with pytest.raises(AirflowException, match="Run ingest_dataset first") as raised:
        execute(job())
    assert isinstance(raised.value, AirflowFailException) is is_final


def test_the_suite_is_started_as_the_connection_says(stand_in: StandIn, turn: Callable[[Any], None]) -> None:
    turn(MINE)
    execute(job(plan={"settings": ["sae.version=champion"], "asks": True}, submits_if="asks"))
    (submitted,) = stand_in.calls()
    assert submitted["words"] == [
        *("--master", "local[2]", "--conf", "spark.ui.enabled=false", "--properties-file", "conf/spark.conf"),
        *("--jars", "a.jar", "--name", "encode_latents", "--deploy-mode", "client", "jobs/encode_latents.py"),
        *ARGUMENTS,
        *("--set", "sae.version=champion", "--step", "submit"),
    ]
    assert submitted["cwd"] == str(stand_in.home)
    assert submitted["environment"]["PYSPARK_PYTHON"] == stand_in.python
    assert submitted["environment"]["JAVA_HOME"] == "/java"


def test_an_installed_suite_has_its_jobs_elsewhere(
    stand_in: StandIn, turn: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn(MINE)
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_SPARK", stand_in.connection(jobs="/venv/site-packages/recsae_jobs"))
    execute(job())
    AnswersSensor(task_id="collect", job="encode_latents", night=NIGHT).poke(CONTEXT)
    file = "/venv/site-packages/recsae_jobs/encode_latents.py"
    assert [file in call["words"] for call in stand_in.calls()] == [True, True]


def test_the_key_reaches_only_the_environment_of_jobs_that_ask(
    stand_in: StandIn,
    turn: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    turn(MINE)
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_LLM", f'{{"conn_type": "generic", "password": "{KEY}"}}')
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asking = job(with_llm_key=True)
    execute(asking)
    execute(job())
    with_key, without = (call["environment"] for call in stand_in.calls())
    assert with_key["OPENAI_API_KEY"] == KEY
    assert KEY not in str(without)
    assert not any(name.startswith("AIRFLOW_CONN_") for name in with_key)
    assert all(KEY not in word for call in stand_in.calls() for word in call["words"])
    logged = "".join(capsys.readouterr())
    assert "Spark-Submit cmd" in logged
    assert KEY not in logged
    assert KEY not in str({name: getattr(asking, name) for name in asking.template_fields})


# What is Airflow's own, or was set for the code of others.
OF_THE_WORKER = {
    "AIRFLOW__CORE__FERNET_KEY": "secret",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:secret@db/airflow",
    "AIRFLOW__API_AUTH__JWT_SECRET": "secret",
    "AIRFLOW_CONN_WAREHOUSE": "postgresql://secret@db/warehouse",
    "CELERY_BROKER_URL": "redis://:secret@redis",
    "DATABASE_URL": "postgresql://secret@db/airflow",
    "POSTGRES_PASSWORD": "secret",
    "FERNET_KEY": "secret",
    "PYTHONPATH": "/opt/another/project",
    "PYTHONHOME": "/opt/python",
    "VIRTUAL_ENV": "/opt/airflow",
    "GITHUB_TOKEN": "secret",
}
OF_JOBS = {
    "HOME": "/home/recsae",
    "TMPDIR": "/scratch",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SPARK_LOCAL_DIRS": "/scratch/spark",
    "HADOOP_CONF_DIR": "/etc/hadoop",
    "JAVA_TOOL_OPTIONS": "-Xss1m",
    "AWS_REGION": "eu-central-1",
    "GOOGLE_APPLICATION_CREDENTIALS": "/keys/gcs.json",
    "MLFLOW_TRACKING_TOKEN": "token",
    "https_proxy": "http://proxy:3128",
    "NO_PROXY": "127.0.0.1",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
    "CUDA_VISIBLE_DEVICES": "0",
}


def test_a_job_inherits_what_is_named_and_nothing_else(
    stand_in: StandIn, turn: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn(MINE)
    for name, value in {**OF_THE_WORKER, **OF_JOBS, "OPENAI_API_KEY": KEY, "VLLM_KEY": KEY, "OTHER_KEY": KEY}.items():
        monkeypatch.setenv(name, value)
    plan = {"llm_key_variable": "VLLM_KEY"}
    execute(job())
    execute(job(with_llm_key=True, plan=plan))
    AnswersSensor(task_id="collect", job="encode_latents", night=NIGHT, plan=plan).poke(CONTEXT)
    command = SuiteCommand(task_id="plan", command=["plan"], night=NIGHT)
    type(command).execute.__wrapped__(command, CONTEXT)
    started = [call["environment"] for call in stand_in.calls()]
    assert len(started) == 4
    for environment in started:
        assert environment.keys() & OF_THE_WORKER.keys() == set()
        assert "secret" not in str(environment)
        assert environment.items() >= OF_JOBS.items()
    keys = [sorted(name for name, value in environment.items() if value == KEY) for environment in started]
    assert keys == [[], ["OPENAI_API_KEY", "VLLM_KEY"], ["OPENAI_API_KEY", "VLLM_KEY"], []]


def test_a_site_names_what_else_is_inherited(
    stand_in: StandIn, turn: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn(MINE)
    named = {"SHOP_REGION": "eu", "SHOP_SITE": "1", "PYTHONPATH": "/opt/shop"}
    for name, value in {**named, **OF_THE_WORKER, "PYTHONPATH": "/opt/shop"}.items():
        monkeypatch.setenv(name, value)
    extra = {"inherit": ["SHOP_*", "PYTHONPATH", "AIRFLOW_*"]}
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_SPARK", stand_in.connection(**extra))
    execute(job())
    (call,) = stand_in.calls()
    assert call["environment"].items() >= named.items()
    assert not any(name.startswith("AIRFLOW_") for name in call["environment"])


def test_a_job_that_hangs_is_stopped_when_its_time_is_over(stand_in: StandIn, turn: Callable[[Any], None]) -> None:
    turn(MINE)
    stand_in.order(sleeps=600)
    operator = job()
    child = stand_in.folder / "child"

    waiting = threading.get_ident()

    def end_the_time() -> None:
        while not (child.is_file() and child.read_text(encoding="utf-8")):
            time.sleep(0.05)
        signal.pthread_kill(waiting, signal.SIGALRM)

    threading.Thread(target=end_the_time, daemon=True).start()
    with pytest.raises(AirflowTaskTimeout), timeout(600):  # as Airflow's task runner does with execution_timeout
        execute(operator)
    operator.on_kill()
    assert has_ended(child)


def has_ended(child: Path) -> bool:
    """Whether the process whose id a file holds has ended, and nobody may have asked yet."""
    state = Path(f"/proc/{child.read_text(encoding='utf-8')}/stat")
    return not state.exists() or state.read_text(encoding="utf-8").split()[2] == "Z"


def test_a_job_that_asks_nobody_is_done_by_its_first_task(stand_in: StandIn, turn: Callable[[Any], None]) -> None:
    turn(MINE)
    execute(job(plan={"asks": False}, submits_if="asks"))
    assert stand_in.calls()[-1]["words"][-2:] == ARGUMENTS[-2:]
    sensor = AnswersSensor(task_id="collect", job="encode_latents", night=NIGHT, plan={"asks": False}, needed="asks")
    with pytest.raises(AirflowSkipException, match="not needed"):
        sensor.poke(CONTEXT)
    assert len(stand_in.calls()) == 1


def test_a_job_that_is_not_needed_is_skipped_and_starts_nothing(stand_in: StandIn) -> None:
    with pytest.raises(AirflowSkipException, match="not needed"):
        execute(job(plan={"train_sae": False}, needed="train_sae"))
    assert stand_in.calls() == []


def test_answers_are_waited_for_by_looking_again(stand_in: StandIn, turn: Callable[[Any], None]) -> None:
    turn(MINE)
    sensor = AnswersSensor(task_id="collect", job="interpret_concepts", night=NIGHT)
    assert sensor.mode == "reschedule"
    stand_in.order(exit_code=5, says="recsae: not finished yet: 3 of 10 requests; collect again later")
    assert sensor.poke(CONTEXT) is False
    stand_in.order()
    assert sensor.poke(CONTEXT) is True
    assert stand_in.calls()[-1]["words"][-3:] == ["2026-11-20", "--step", "collect"]
    for exit_code, is_final in ((2, True), (1, False)):
        stand_in.order(exit_code=exit_code)
        with pytest.raises(AirflowException) as raised:
            sensor.poke(CONTEXT)
        assert isinstance(raised.value, AirflowFailException) is is_final


def test_a_killed_task_leaves_no_process_behind(stand_in: StandIn) -> None:
    stand_in.order(sleeps=600)
    hook = SuiteSparkHook("encode_latents", ARGUMENTS, llm_variable=None)

    def submit() -> None:
        with pytest.raises(AirflowException):
            hook.submit("encode_latents.py")

    running = threading.Thread(target=submit, daemon=True)
    running.start()
    child = stand_in.folder / "child"
    while not (child.is_file() and child.read_text(encoding="utf-8")):
        time.sleep(0.05)
    hook.on_kill()
    running.join(timeout=60)
    assert not running.is_alive()
    assert has_ended(child)


def test_a_run_without_the_turn_does_nothing(stand_in: StandIn, turn: Callable[[Any], None]) -> None:
    turn(["retrain_sae", "by hand"])
    with pytest.raises(AirflowFailException, match="Clear this run from its first task"):
        execute(job())
    assert stand_in.calls() == []
    turn(MINE)
    require_turn(CONTEXT)


class Night:
    """The task of a night that asks for a retraining, and what Airflow says of the DAG that does it."""

    def __init__(self, is_paused: bool, unfinished: int) -> None:
        self.is_paused, self.unfinished = is_paused, unfinished

    def get_dag(self, dag_id: str) -> Any:
        assert dag_id == "retrain_sae"
        return self

    def get_dr_count(self, dag_id: str, states: list[str]) -> int:
        assert (dag_id, states) == ("retrain_sae", ["queued", "running"])
        return self.unfinished

    def xcom_pull(self, task_ids: str) -> Any:
        return {"begin": NIGHT}[task_ids]


def retrain(is_paused: bool, unfinished: int) -> None:
    operator = Retraining(task_id="retrain_sae", trigger_dag_id="retrain_sae")
    context = {"ti": Night(is_paused, unfinished), "params": {"conf": None, "set": []}}
    type(operator).execute.__wrapped__(operator, context)


def test_retrainings_do_not_pile_up() -> None:
    with pytest.raises(AirflowSkipException, match=r"retrain_sae is paused\. Unpause it, then clear this task"):
        retrain(is_paused=True, unfinished=0)
    with pytest.raises(AirflowSkipException, match="A run of retrain_sae has not ended"):
        retrain(is_paused=False, unfinished=1)
    with pytest.raises(DagRunTriggerException) as started:
        retrain(is_paused=False, unfinished=0)
    assert started.value.conf == {"dt": "2026-11-20", "conf": None, "set": ["sae.start=champion"]}


def test_a_connection_that_lacks_the_suite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_SPARK", '{"conn_type": "spark", "host": "yarn", "extra": {"home": "/r"}}')
    with pytest.raises(AirflowFailException, match="lacks python"):
        SuiteSparkHook("encode_latents", ARGUMENTS, llm_variable=None)
