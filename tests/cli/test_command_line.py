from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from py4j.protocol import Py4JNetworkError
from pyspark.errors import PySparkException

from recsae_lib.errors import CheckError, InputError, PassingError
from recsae_lib.platform.job.jobs import JOBS
from recsae_lib.platform.job.run import bad_input, guarded, passing

REPOSITORY = Path(__file__).resolve().parents[2]


def recsae(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recsae_lib.cli", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_help_names_every_command_and_every_job() -> None:
    assert recsae("--help").returncode == 0
    for command in ("audit", "run", "sql", "concepts", "ratings", "versions", "promote", "config"):
        assert command in recsae("--help").stdout
    jobs_help = recsae("run", "--help").stdout
    for job in JOBS:
        assert job.name in jobs_help.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "--set", "sae.kk=3"], "the nearest known one is sae.k"),
        (["config", "--set", "sae.k=many"], "should be a valid integer"),
        (["config", "--conf", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "encode_latents", "--dt", "yesterday"], "is not a date of the form YYYY-MM-DD"),
        (["run", "encode_latent", "--dt", "2026-11-20"], "invalid choice"),
        (["run", "encode_latents", "--dt", "2026-11-20", "--estimate"], "encode_latents asks no language model"),
        (["config", "--set", "verification.judges=[llm]"], "verification.judges is [terms] or [terms, llm]"),
        (["ratings"], "the following arguments are required: ACTION"),
        (["ratings", "import"], "the following arguments are required: FILE"),
        (["ratings", "export", "--concepts", "0"], "--concepts is 0"),
    ],
)
def test_bad_arguments_exit_with_2_and_one_clear_line(arguments: list[str], message: str) -> None:
    answer = recsae(*arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_config_prints_what_was_set(tmp_path: Path) -> None:
    answer = recsae("config", "--set", "sae.k=32", cwd=tmp_path)
    assert answer.returncode == 0
    assert "  k: 32\n" in answer.stdout


def test_exit_codes_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise InputError("The file is empty", "Write something into it")

    def fail_check() -> None:
        raise CheckError("not published")

    def lose_the_server() -> None:
        raise PassingError("MLflow does not answer", "Try again")

    def break_down() -> None:
        raise RuntimeError("a fault of ours")

    assert guarded(lambda: None) == 0
    assert guarded(refuse) == 2
    assert "recsae: The file is empty. Write something into it." in capsys.readouterr().err
    assert guarded(fail_check) == 3
    assert guarded(lose_the_server) == 1
    said = capsys.readouterr().err
    assert "recsae: MLflow does not answer. Try again." in said
    assert "Traceback" not in said
    assert guarded(break_down) == 1
    assert "RuntimeError: a fault of ours" in capsys.readouterr().err


def test_errors_of_workers_and_of_the_jvm_become_one_line() -> None:
    worker = RuntimeError(
        "Job aborted\n  recsae_lib.errors.InputError: The SAE reads 64 floats, the rows have 32.\n at x"
    )
    assert bad_input(worker) == "The SAE reads 64 floats, the rows have 32."
    footer = RuntimeError(
        "Caused by: java.lang.RuntimeException: file:/a.parquet is not a Parquet file. Expected magic"
    )
    assert str(bad_input(footer)).startswith("file:/a.parquet is not a Parquet file")
    assert bad_input(RuntimeError("index out of range")) is None


def refused_connection() -> BaseException:
    """What requests raises where nobody listens, inside of what MLflow makes of it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        try:
            try:
                requests.get(f"http://127.0.0.1:{unused.getsockname()[1]}", proxies={"no_proxy": "*"}, timeout=5)
            except requests.RequestException as error:
                raise RuntimeError(f"API request failed with exception {type(error)}") from None
        except RuntimeError as error:
            return error
    raise AssertionError("somebody listens there")


def test_servers_that_do_not_answer_are_told_from_faults() -> None:
    assert "Connection refused" in str(passing(refused_connection()))
    jvm = RuntimeError("Job aborted\nCaused by: java.net.ConnectException: Call From here to there failed\n\tat x")
    assert passing(jvm) == (
        "A server that the job needs does not answer: java.net.ConnectException: Call From here to there failed. "
        "See to it, then run again."
    )
    lost = PySparkException(
        "Lost task 0.3: org.apache.spark.SparkException: Checkpoint block rdd_11_0 not found! Either"
    )
    assert str(passing(lost)).startswith(
        "Executors were lost with what they kept for the job (Checkpoint block rdd_11_0"
    )
    assert passing(RuntimeError("index out of range")) is None
    assert passing(Py4JNetworkError("Answer from Java side is empty")) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission_is_bad_input(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError) as refusal:
        (tmp_path / "x").write_text("")
    assert "Permission denied" in str(bad_input(refusal.value))
