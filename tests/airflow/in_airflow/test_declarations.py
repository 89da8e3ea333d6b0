"""The DAGs as Airflow reads them: structure, parameters, pools, what is emitted; and how long reading takes."""

from __future__ import annotations

import runpy
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from recsae_dags.common import require_same_jobs
from recsae_dags.suite import AnswersSensor, SparkJob, SuiteCommand
from tests.airflow.in_airflow.stand_in import DAGS, REPOSITORY

PARSE_SECONDS = 1.0


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(DAGS))


@pytest.fixture
def nightly(bag: DagBag) -> DAG:
    return bag.dags["nightly_audit"]


def edges(dag: DAG) -> dict[str, set[str]]:
    """What follows each task at once, without what follows from the results that tasks hand on."""
    handing_on = {"begin", "plan"}
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks if task.task_id not in handing_on}


def test_every_file_is_read_without_an_error(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {"nightly_audit", "retrain_sae", "concepts_reader"}


def test_plugins_with_common_names_do_not_shadow_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow puts the folder of the plugins on the path before that of the DAGs.
    for shared in (DAGS / "recsae_dags").glob("[a-z]*.py"):
        (tmp_path / shared.name).write_text("raise ImportError('a plugin of the site')", encoding="utf-8")
        monkeypatch.delitem(sys.modules, shared.stem, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("recsae_dags")]:
        monkeypatch.delitem(sys.modules, name)
    bag = DagBag(str(DAGS))
    assert bag.import_errors == {}
    assert len(bag.dags) == 3


def test_each_file_is_read_within_a_second(bag: DagBag) -> None:
    # By the processor's time, which other work on the machine does not lengthen; Airflow itself is loaded by now.
    for file in ("nightly_audit.py", "retrain_sae.py", "concepts_reader.py"):
        started = time.process_time()
        assert DagBag(str(DAGS / file)).dags
        assert time.process_time() - started < PARSE_SECONDS, file


@pytest.mark.parametrize("dag_id", ["nightly_audit", "retrain_sae"])
def test_the_jobs_follow_each_other_as_the_data_flows(bag: DagBag, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert edges(dag) == {
        "ingest_dataset": {"train_recommender"},
        "train_recommender": {"extract_representations", "recommend_items"},
        "extract_representations": {"train_sae"},
        "recommend_items": {"choose_sae", "compute_concept_terms"},
        "train_sae": {"choose_sae"},
        "choose_sae": {"encode_latents"},
        "encode_latents": {"compute_concept_terms"},
        "compute_concept_terms": {"compute_latent_effects"},
        "compute_latent_effects": {"interpret_concepts"},
        "interpret_concepts": {"interpret_concepts_collect"},
        "interpret_concepts_collect": {"verify_concepts"},
        "verify_concepts": {"verify_concepts_collect"},
        "verify_concepts_collect": {"measure_coverage"},
        "measure_coverage": {"tune_recommendations"},
        "tune_recommendations": {"compare_versions"},
        "compare_versions": {"publish_audit"},
        **(
            {"publish_audit": {"build_explorer", "drifted"}, "drifted": {"retrain_sae"}, "retrain_sae": set()}
            if dag_id == "nightly_audit"
            else {"publish_audit": {"build_explorer"}}
        ),
        "build_explorer": set(),
    }
    assert dag.get_task("ingest_dataset").upstream_task_ids == {"begin"}
    assert dag.get_task("train_recommender").upstream_task_ids == {"plan", "ingest_dataset"} | {"begin"}
    reading_no_date = {"begin", "drifted", "retrain_sae"}
    assert all("begin" in task.upstream_task_ids for task in dag.tasks if task.task_id not in reading_no_date)


@pytest.mark.parametrize("dag_id", ["nightly_audit", "retrain_sae"])
def test_a_dag_has_a_task_for_each_job_of_the_suite(bag: DagBag, dag_id: str) -> None:
    # The suite's list, which imports nothing of the suite's environment.
    jobs = runpy.run_path(str(REPOSITORY / "recsae_lib" / "platform" / "job" / "jobs.py"))["AUDIT_JOBS"]
    tasks = bag.dags[dag_id].tasks
    run = {task.job for task in tasks if isinstance(task, SparkJob)}
    run |= {task.command[1] for task in tasks if isinstance(task, SuiteCommand) and task.command[0] == "run"}
    assert run == {job.name for job in jobs}
    assert {task.job for task in tasks if isinstance(task, AnswersSensor)} == {job.name for job in jobs if job.steps}


def test_a_suite_of_another_release_is_refused(nightly: DAG) -> None:
    known = [{"name": "ingest_dataset", "steps": False}, {"name": "interpret_concepts", "steps": True}]
    require_same_jobs({"dag": nightly}, {"jobs": known})
    others = [{"name": "tune", "steps": True}, {"name": "ingest_dataset", "steps": True}]
    with pytest.raises(AirflowFailException, match="suite has tune, tune_collect, ingest_dataset_collect, of which"):
        require_same_jobs({"dag": nightly}, {"jobs": known + others})


def test_what_is_trained_is_planned(bag: DagBag) -> None:
    assert bag.dags["nightly_audit"].get_task("plan").command == ["plan", "--retrain", "{{ params.retrain }}"]
    assert bag.dags["retrain_sae"].get_task("plan").command == ["plan", "--retrain", "sae"]
    assert dict(bag.dags["nightly_audit"].params)["retrain"] == "nothing"


def test_only_publication_emits_the_concepts(bag: DagBag) -> None:
    emitting = {
        (dag.dag_id, task.task_id): task.outlets for dag in bag.dags.values() for task in dag.tasks if task.outlets
    }
    concepts = [AssetAlias("recsae/concepts")]
    assert emitting == {("nightly_audit", "publish_audit"): concepts, ("retrain_sae", "publish_audit"): concepts}


def test_waiting_for_answers_leaves_the_worker_free(nightly: DAG) -> None:
    for job in ("interpret_concepts", "verify_concepts"):
        collect = nightly.get_task(f"{job}_collect")
        assert (collect.mode, collect.poke_interval, collect.timeout) == ("reschedule", 300, 26 * 3600)
    assert nightly.get_task("begin").mode == "reschedule"


def test_trainings_have_a_pool_and_a_queue_of_their_own(nightly: DAG) -> None:
    placed = {task.task_id: (task.pool, task.queue) for task in nightly.tasks}
    assert placed["train_sae"] == placed["train_recommender"] == ("recsae_training", "recsae_training")
    assert placed["begin"] == ("recsae_turn", "default")
    elsewhere = {"train_sae", "train_recommender", "begin", "plan", "drifted", "retrain_sae"}
    others = {place for task, place in placed.items() if task not in elsewhere}
    assert others == {("recsae_spark", "default")}


def test_failures_are_retried_later_each_time_and_reported(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.max_active_runs == 1
        assert not dag.catchup
        for task in dag.tasks:
            assert task.retries == 3
            assert task.retry_delay == timedelta(minutes=1)
            assert task.retry_exponential_backoff
            assert task.max_retry_delay == timedelta(minutes=30)
            assert [callback.__name__ for callback in task.on_failure_callback] == ["report_failure"]


def test_a_job_and_a_run_may_take_so_long(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    def limits(of: DagBag) -> dict[str, tuple[timedelta | None, set[timedelta | None]]]:
        return {
            dag_id: (of.dags[dag_id].dagrun_timeout, {task.execution_timeout for task in of.dags[dag_id].tasks})
            for dag_id in ("nightly_audit", "retrain_sae")
        }

    assert set(map(str, limits(bag).values())) == {str((timedelta(hours=72), {timedelta(hours=12)}))}
    for dag_id in ("nightly_audit", "retrain_sae"):
        assert bag.dags[dag_id].on_failure_callback.__name__ == "report_timeout"
    monkeypatch.setenv("AIRFLOW__RECSAE__TASK_TIMEOUT_HOURS", "0.5")
    monkeypatch.setenv("AIRFLOW__RECSAE__RUN_TIMEOUT_HOURS", "0")
    for name in [name for name in sys.modules if name.startswith("recsae_dags")]:
        monkeypatch.delitem(sys.modules, name)
    assert set(map(str, limits(DagBag(str(DAGS))).values())) == {str((None, {timedelta(minutes=30)}))}


def test_only_the_example_waits_until_somebody_wants_it(bag: DagBag) -> None:
    paused = {dag.dag_id: dag.is_paused_upon_creation for dag in bag.dags.values()}
    assert paused == {"nightly_audit": None, "retrain_sae": None, "concepts_reader": True}


def test_every_dag_is_documented_and_owned(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert f"### {dag.dag_id}" in dag.doc_md
        assert dag.owner == "recsae"
        assert "recsae" in dag.tags
        assert dag.description
        for name in dag.params:
            parameter = dag.params.get_param(name)
            assert parameter.description, name
            assert parameter.schema["type"], name


def test_parameters_of_another_type_are_refused(nightly: DAG) -> None:
    for name, value in (("dt", "20-11-2026"), ("retrain", "everything"), ("set", ["no setting"]), ("conf", 3)):
        with pytest.raises(Exception, match=r"(?i)invalid|validat"):
            nightly.params.get_param(name).resolve(value)


def test_the_schedule_is_of_data_intervals_and_can_be_left_out(bag: DagBag) -> None:
    timetable = bag.dags["nightly_audit"].timetable
    assert type(timetable).__name__ == "CronDataIntervalTimetable"
    assert timetable.expression == "0 2 * * *"
    assert bag.dags["retrain_sae"].timetable.can_be_scheduled is False
