from __future__ import annotations

import errno
import os
import socket
import sqlite3
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
import requests
from py4j.protocol import Py4JNetworkError
from pyspark.errors import PySparkException

from recsae_lib.errors import CheckError, InputError, PassingError
from recsae_lib.platform.job.failures import bad_input, guarded, passing
from tests.loopback import Loopback


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


@pytest.mark.parametrize(
    ("failure", "said", "remedy"),
    [
        (OSError(errno.EROFS, "Read-only file system", "var"), "Read-only file system: var", "set paths.var"),
        (RuntimeError("Job aborted: java.io.IOException: No space left on device"), "No space left", "MiB are left in"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/x']"), "No usable", "MiB are left in"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "readonly database", "may be written"),
        (
            RuntimeError(
                "java.nio.file.InvalidPathException: Malformed input or input contains unmappable characters: ?"
            ),
            "unmappable",
            "LC_ALL=C.UTF-8",
        ),
        (UnicodeEncodeError("ascii", "día", 1, 2, "ordinal not in range(128)"), "'día'", "LC_ALL=C.UTF-8"),
        (RuntimeError("Failed to create a temp directory (under /x) for local dir"), "local dir", "spark.local.dir"),
    ],
)
def test_faults_of_the_machine_are_one_line_with_a_remedy(failure: Exception, said: str, remedy: str) -> None:
    line = str(bad_input(failure))
    assert said in line
    assert remedy in line
    assert "\n" not in line


def test_a_certificate_that_is_not_trusted_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-keyout", str(certificate), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Loopback(lambda call: call.reply(200, b""), context) as server:
        address = server.address

        def ask() -> None:
            requests.get(address, proxies={"no_proxy": "*"}, timeout=5)

        def ask_for_a_library() -> None:
            try:
                ask()
            except requests.RequestException as error:
                raise PassingError("MLflow does not answer", "Try again") from error

        assert guarded(ask) == 2
        assert "CERTIFICATE_VERIFY_FAILED" in (said := capsys.readouterr().err)
        assert "REQUESTS_CA_BUNDLE" in said
        assert "Traceback" not in said
        assert guarded(ask_for_a_library) == 2
        assert "recsae: MLflow does not answer. Give the certificate of its authority" in capsys.readouterr().err


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
        "A server or database that the job needs does not answer: java.net.ConnectException: Call From here to there "
        "failed. See to it, then run again."
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
