"""How the DAGs start the suite: its own environment and folder, from the connection ``recsae_spark``.

Airflow and the suite live in environments of their own and share no Python; what they say to each other are command
lines, environment variables, lines of a log, and exit codes.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator, Context, Variable
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from recsae_dags.environment import inherited

SPARK_CONNECTION, LLM_CONNECTION = "recsae_spark", "recsae_llm"
LLM_VARIABLE = "OPENAI_API_KEY"  # what holds the key where the plan names none
TURN = "recsae_turn"  # Variable: which run writes to the warehouse
SECONDS_TO_STOP = 30

Facts = dict[str, Any]  # what a task found out, as the others are handed it

# recsae_lib.platform.job.run says the same; Airflow's environment does not have it.
EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_STOPPED, EXIT_UNFINISHED = 2, 3, 4, 5
MEANINGS = {
    EXIT_BAD_INPUT: "bad input, correct it and clear the task",
    EXIT_CHECK_FAILED: "a check refused the audit; main keeps the last good one",
    EXIT_STOPPED: "stopped with its state saved, the next try goes on",
    EXIT_UNFINISHED: "some answers are still being worked on",
}


def failure_of(job: str, exit_code: int, last_line: str = "") -> AirflowException:
    """Return the exception for a job's exit code: bad input and a failed check fail at once, all else is tried again.

    Parameters
    ----------
    last_line : what the job said last, which is cause and remedy.
    """
    meaning = MEANINGS.get(exit_code, "a fault of the program or the machine, see the log")
    message = f"{job} ended with exit code {exit_code} ({meaning}){': ' if last_line else ''}{last_line}"
    hopeless = exit_code in (EXIT_BAD_INPUT, EXIT_CHECK_FAILED)
    return AirflowFailException(message) if hopeless else AirflowException(message)


@dataclass(frozen=True)
class Suite:
    """Where the suite is installed.

    Parameters
    ----------
    home : folder in which every job runs; relative paths of the settings are in it.
    python : interpreter of the suite's environment; the spark-submit beside it is the one that is used.
    jobs : folder of the job files, within `home` where it is relative.
    properties_file : Spark properties; None for spark-submit's own default.
    properties : Spark properties that win over the file.
    jars : further jars, comma-separated.
    environment : variables of the jobs (JAVA_HOME, AWS_REGION, …); no secrets.
    inherit : names of further variables of the worker that jobs inherit (`environment.inherited`).
    """

    home: str
    python: str
    jobs: str
    properties_file: str | None
    properties: dict[str, str]
    jars: str | None
    environment: dict[str, str]
    inherit: tuple[str, ...]

    @classmethod
    def of_connection(cls) -> Suite:
        """Read the extra of the connection."""
        extra = BaseHook.get_connection(SPARK_CONNECTION).extra_dejson
        if missing := [key for key in ("home", "python") if not extra.get(key)]:
            raise AirflowFailException(
                f"The extra of connection {SPARK_CONNECTION} lacks {' and '.join(missing)}: the folder in which the "
                "suite runs, and the interpreter of its environment"
            )
        return cls(
            extra["home"],
            extra["python"],
            extra.get("jobs", "jobs"),
            extra.get("properties-file"),
            extra.get("properties", {}),
            extra.get("jars"),
            extra.get("environment", {}),
            tuple(extra.get("inherit", ())),
        )

    def job_environment(self, llm_variable: str | None = None) -> dict[str, str]:
        """Return the environment of a job: what it inherits of the worker's, the suite's Python first on PATH.

        Parameters
        ----------
        llm_variable : as the settings name what holds the key of the language model; None for a job that asks nobody.
        """
        return {
            **inherited(os.environ, self.inherit, llm_variable),
            "PATH": f"{Path(self.python).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYSPARK_PYTHON": self.python,
            "PYSPARK_DRIVER_PYTHON": self.python,
            "RECSAE_RUN": " ".join(
                os.environ.get(f"AIRFLOW_CTX_{part}", "") for part in ("DAG_ID", "DAG_RUN_ID")
            ).strip(),
            **self.environment,
            **({} if llm_variable is None else llm_key(llm_variable)),
        }


def llm_key(variable: str) -> dict[str, str]:
    """Return the key of the language model under the name that the suite's settings have; none without a connection.

    Airflow masks a connection's password in every log from here on.
    """
    try:
        connection = BaseHook.get_connection(LLM_CONNECTION)
    except AirflowNotFoundException:
        return {}
    return {variable: connection.password} if connection.password else {}


def job_arguments(night: Facts, plan: Facts | None, step: str | None = None) -> list[str]:
    """Return the command line of a job: the run's arguments, and the settings that the plan chose."""
    chosen = [word for setting in (plan or {}).get("settings", []) for word in ("--set", setting)]
    return [*night["arguments"], *chosen, *(["--step", step] if step else [])]


def llm_variable(plan: Facts | None) -> str:
    """Return the name of the variable that holds the key, as the plan has it from the settings."""
    return str((plan or {}).get("llm_key_variable", LLM_VARIABLE))


def skip_unless_needed(task_id: str, plan: Facts | None, needed: str | None) -> None:
    """Skip the task where the plan says that it need not run."""
    if needed is not None and not (plan or {})[needed]:
        raise AirflowSkipException(f"{task_id} is not needed: {needed} is false in the plan")


def require_turn(context: Context) -> None:
    """Fail where another run has the warehouse: this one was cleared in its middle, past the task that takes turns."""
    ti = context["ti"]
    holder = Variable.get(TURN, default=None, deserialize_json=True)
    if holder is not None and holder != [ti.dag_id, ti.run_id]:
        raise AirflowFailException(
            f"Run {holder[1]} of {holder[0]} took the warehouse since. Clear this run from its first task, and it "
            "waits for its turn"
        )


class SuiteSparkHook(SparkSubmitHook):
    """spark-submit in the suite's folder and environment, as a process group of its own."""

    def __init__(self, job: str, arguments: Sequence[str], llm_variable: str | None) -> None:
        suite = Suite.of_connection()
        super().__init__(
            conf=dict(suite.properties),
            conn_id=SPARK_CONNECTION,
            name=job,
            properties_file=suite.properties_file,
            jars=suite.jars,
            application_args=list(arguments),
        )
        self.job, self.suite, self.llm_variable = job, suite, llm_variable

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Run the job's file, wherever the connection says that it is; a failure is raised as `failure_of` says."""
        environment = self.suite.job_environment(self.llm_variable)
        # Not by env_vars: on YARN and Kubernetes the provider writes those on the command line, the key with them.
        options = {"cwd": self.suite.home, "env": environment, "start_new_session": True}
        try:
            driver: str | None = super().submit(str(Path(self.suite.jobs) / application), **options, **kwargs)
            return driver
        except AirflowException as failure:
            process = self._submit_sp
            if process is None or not process.returncode:
                raise
            said = [line for line in self._last_submit_log_lines if line.startswith("recsae: ")]
            raise failure_of(self.job, process.returncode, said[-1] if said else "") from failure

    @property
    def exit_code(self) -> int | None:
        """Exit code of the job that has ended; None of one that has not."""
        return None if self._submit_sp is None else self._submit_sp.returncode

    def on_kill(self) -> None:
        """Stop the driver with its JVM: killing spark-submit alone would leave the Python driver writing."""
        process = self._submit_sp
        if process is not None and process.poll() is None:
            ends = time.monotonic() + SECONDS_TO_STOP
            with suppress(ProcessLookupError):  # of the group, once its last process has ended
                os.killpg(process.pid, signal.SIGTERM)
                while time.monotonic() < ends:
                    time.sleep(0.1)
                    process.poll()
                    os.killpg(process.pid, 0)
                os.killpg(process.pid, signal.SIGKILL)
        super().on_kill()


class SparkJob(SparkSubmitOperator):
    """One job of the suite by spark-submit; task id, file and Spark application have the job's name.

    Parameters
    ----------
    job : name of the job.
    night : what the first task gives: the date and the arguments of all jobs.
    plan : what `recsae plan` gives; None for jobs that do not depend on it.
    submits_if : what in the plan says that the job has two steps, of which this task is the first; None for never.
    needed : what in the plan says whether to run it at all; None for always.
    with_llm_key : whether the job asks a language model.
    """

    template_fields = (*SparkSubmitOperator.template_fields, "night", "plan")

    def __init__(
        self,
        *,
        job: str,
        night: Any,
        plan: Any = None,
        submits_if: str | None = None,
        needed: str | None = None,
        with_llm_key: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(application=f"{job}.py", conn_id=SPARK_CONNECTION, name=job, **kwargs)
        self.job, self.night, self.plan, self.submits_if = job, night, plan, submits_if
        self.needed, self.with_llm_key = needed, with_llm_key

    def execute(self, context: Context) -> None:
        """Run the job where it is needed."""
        skip_unless_needed(self.task_id, self.plan, self.needed)
        require_turn(context)
        super().execute(context)

    def _get_hook(self) -> SuiteSparkHook:
        step = "submit" if self.submits_if is not None and (self.plan or {})[self.submits_if] else None
        variable = llm_variable(self.plan) if self.with_llm_key else None
        return SuiteSparkHook(self.job, job_arguments(self.night, self.plan, step), variable)


class AnswersSensor(BaseSensorOperator):
    """Wait for a language model's answers: the job's second half, again and again until it has all of them.

    Between two looks the worker is free. Each look lands what has been answered, so nothing is lost with a worker.

    Parameters
    ----------
    job, night, plan, needed : as of `SparkJob`.
    """

    template_fields = ("night", "plan")

    def __init__(self, *, job: str, night: Any, plan: Any = None, needed: str | None = None, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.job, self.night, self.plan, self.needed = job, night, plan, needed
        self._hook: SuiteSparkHook | None = None

    def poke(self, context: Context) -> bool:
        """Collect; True when there is nothing left to wait for."""
        skip_unless_needed(self.task_id, self.plan, self.needed)
        require_turn(context)
        arguments = job_arguments(self.night, self.plan, "collect")
        self._hook = SuiteSparkHook(self.job, arguments, llm_variable(self.plan))
        try:
            self._hook.submit(f"{self.job}.py")
        except AirflowException:
            if self._hook.exit_code != EXIT_UNFINISHED:
                raise
            return False
        return True

    def on_kill(self) -> None:
        """Stop a look that is under way."""
        if self._hook is not None:
            self._hook.on_kill()


class SuiteCommand(BaseOperator):
    """A command of the suite that needs no spark-submit: `recsae run train_sae`, `recsae plan`, …

    Parameters
    ----------
    command : the words after `recsae`.
    night, plan, needed : as of `SparkJob`.
    writes : whether it writes what audits write, so that the run must have the turn.
    gives_json : whether the last line of output is JSON, to be the result of the task.
    """

    template_fields = ("command", "night", "plan")

    def __init__(
        self,
        *,
        command: list[str],
        night: Any,
        plan: Any = None,
        needed: str | None = None,
        writes: bool = False,
        gives_json: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command, self.night, self.plan, self.needed = command, night, plan, needed
        self.writes, self.gives_json = writes, gives_json
        self._hook = SubprocessHook()

    def execute(self, context: Context) -> Any:
        """Run the command where it is needed."""
        skip_unless_needed(self.task_id, self.plan, self.needed)
        if self.writes:
            require_turn(context)
        suite = Suite.of_connection()
        done = self._hook.run_command(
            [suite.python, "-m", "recsae_lib.cli", *self.command, *job_arguments(self.night, self.plan)],
            env=suite.job_environment(),
            cwd=suite.home,
        )
        if done.exit_code:
            raise failure_of(self.task_id, done.exit_code, done.output)
        return json.loads(done.output) if self.gives_json else None

    def on_kill(self) -> None:
        """Stop the command; a training saves its state."""
        self._hook.send_sigterm()
