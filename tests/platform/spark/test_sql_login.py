"""Who may log in to the SQL server, asked by Spark's own client over the wire."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark
import pytest

from recsae_lib.config.shipped import shipped
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.java import find_java_home
from recsae_lib.platform.spark.sql_login import TOKEN_VARIABLE, is_of_this_machine, login_of
from tests.workspace import tiny_spark, write_properties

TOKEN = "0f3c9a7e5d1b-only-for-this-test"
LOCAL = shipped("spark/local.conf")


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "")  # `login_of` takes it away


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "no.such.host.invalid"])
def test_an_open_server_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(InputError, match=rf"let everybody who reaches .* Set .* {TOKEN_VARIABLE}"):
        login_of(LOCAL, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_on_this_machine_nobody_has_to_be_asked(host: str) -> None:
    assert is_of_this_machine(host)
    assert login_of(LOCAL, host).properties == {}


def test_a_token_leaves_the_environment_and_stands_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    login = login_of(LOCAL, "0.0.0.0")
    assert TOKEN_VARIABLE not in os.environ
    assert TOKEN not in repr(login)
    assert login.properties == {"spark.hadoop.hive.server2.authentication": "CUSTOM"}


def test_a_token_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "hunter2")
    with pytest.raises(InputError, match="shorter than 20 characters") as refusal:
        login_of(LOCAL, "127.0.0.1")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("means", ["NONE", "none", "NOSASL"])
def test_means_that_let_everybody_in_are_none(tmp_path: Path, means: str) -> None:
    file = tmp_path / "spark.conf"
    file.write_text(f"spark.hadoop.hive.server2.authentication {means}\n", encoding="utf-8")
    with pytest.raises(InputError, match="let everybody"):
        login_of(file, "0.0.0.0")


def test_a_token_beside_other_means_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spark.conf"
    file.write_text("spark.hadoop.hive.server2.authentication LDAP\n", encoding="utf-8")
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with pytest.raises(InputError, match=r"authentication LDAP\. Keep one of the two"):
        login_of(file, "0.0.0.0")


@contextmanager
def server(folder: Path, *words: str, token: str | None = None, login: dict[str, str] | None = None) -> Iterator[int]:
    """A SQL server with an empty namespace; yields its port. What it says is in the file log.

    Parameters
    ----------
    login : Spark properties beside those of the tests.
    """
    (folder / "var" / "warehouse" / "shop").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    environment = {key: value for key, value in os.environ.items() if key != TOKEN_VARIABLE}
    properties = folder / "spark.conf"
    write_properties(properties, {**tiny_spark(), **(login or {})})
    given = ["--port", str(port), "--set", f"spark.properties={properties}", *words]
    command = [sys.executable, "-m", "recsae_lib.cli", "sql-server", *given]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, **({TOKEN_VARIABLE: token} if token else {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        ends = time.monotonic() + 300
        while b"jdbc:hive2" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def ask(port: int, user: str, password: str, *statements: str) -> subprocess.CompletedProcess[str]:
    beeline = [str(Path(pyspark.__file__).parent / "bin" / "beeline"), "-u", f"jdbc:hive2://127.0.0.1:{port}/shop"]
    questions = [word for statement in statements for word in ("-e", statement)]
    return subprocess.run(
        [*beeline, "-n", user, "-p", password, "--outputformat=csv2", "--silent=true", *questions],
        # What ends at once is not worth optimising.
        env={**os.environ, "JAVA_HOME": str(find_java_home()), "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.integration
def test_only_who_knows_the_token_is_let_in(tmp_path: Path) -> None:
    # Even who may run code on the server does not find it there.
    looking = ["SET", "SELECT reflect('java.lang.System', 'getenv', 'RECSAE_SQL_TOKEN') AS found"]
    with server(tmp_path, "--host", "0.0.0.0", "--no-read-only", token=TOKEN) as port:
        answer = ask(port, "reader", TOKEN, *looking)
        wrong = [ask(port, "reader", password, "SELECT 1") for password in ("wrong", TOKEN[:-1], f"{TOKEN}x")]
    assert answer.stdout.split("> found\n")[1].startswith("null\n"), answer.stdout + answer.stderr
    assert TOKEN not in answer.stdout
    for refused in wrong:
        assert refused.returncode != 0
        assert "Error validating the login" in refused.stderr
    assert TOKEN not in (tmp_path / "log").read_text()


@pytest.mark.integration
def test_a_mistake_of_a_client_is_a_line_of_the_server(tmp_path: Path) -> None:
    mistakes = {
        "SELECT * FROM nowhere": "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found.",
        "SELEC 1": "[PARSE_SYNTAX_ERROR] Syntax error at or near 'SELEC'.",
        "DELETE FROM x": "DeleteFromTable does more than read. Only queries are taken",
        "SELECT `a\x1b[31m\u202e\nb` FROM range(1)": "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column",
    }
    with server(tmp_path, "--set", "namespace=shop") as port:
        answers = [ask(port, "reader", "", mistake) for mistake in mistakes]
    for answer in answers:
        assert "Traceback" not in answer.stderr
        assert "Error" in answer.stderr
    address, *lines = (tmp_path / "log").read_text("utf-8").splitlines()
    assert address == f"jdbc:hive2://127.0.0.1:{port}/shop"
    failed = [line.partition(" A statement failed: ")[2] for line in lines if "A connection ended" not in line]
    assert [line[: len(said)] for line, said in zip(failed, mistakes.values(), strict=True)] == list(mistakes.values())
    assert not [line for line in lines if not line.isprintable()]


@pytest.mark.integration
def test_a_directory_says_who_is_let_in(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as directory:
        threading.Thread(
            target=answer_binds, args=(directory, b"uid=ann,dc=shop", b"secret-of-ann"), daemon=True
        ).start()
        given = {
            "spark.hadoop.hive.server2.authentication": "LDAP",
            "spark.hadoop.hive.server2.authentication.ldap.url": f"ldap://127.0.0.1:{directory.getsockname()[1]}",
            "spark.hadoop.hive.server2.authentication.ldap.baseDN": "dc=shop",
        }
        with server(tmp_path, "--host", "0.0.0.0", login=given) as port:
            answers = [ask(port, "ann", password, "SELECT 1 + 41 AS sum") for password in ("secret-of-ann", "wrong")]
    assert "42" in answers[0].stdout, answers[0].stderr
    assert "Error validating the login" in answers[1].stderr


def answer_binds(directory: socket.socket, name: bytes, password: bytes) -> None:
    """A directory that knows one person, as far as LDAP's simple bind (RFC 4511) goes."""
    while True:
        try:
            connection, _ = directory.accept()
        except OSError:
            return
        with connection:
            while request := connection.recv(4096):
                # SEQUENCE, its length, INTEGER of one byte; then a bind (0x60), or an unbind, which wants no answer.
                if request[5] != 0x60:
                    break
                code = 0 if name in request and request.endswith(password) else 49
                connection.sendall(bytes([0x30, 12, 2, 1, request[4], 0x61, 7, 10, 1, code, 4, 0, 4, 0]))
