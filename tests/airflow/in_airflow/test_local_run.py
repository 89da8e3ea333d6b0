"""What `make nightly` does where Airflow's data base is locked for a moment, or its server hangs up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from requests import HTTPError

import local_run

HANG_UP = 0


class Locked(BaseHTTPRequestHandler):
    """Answers with the codes that it was given, in their order, then with 200; by `HANG_UP` it answers nothing."""

    codes: list[int]
    asked: int

    def do_GET(self) -> None:
        cls = type(self)
        cls.asked += 1
        code = cls.codes.pop(0) if cls.codes else 200
        if code == HANG_UP:
            return
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b'{"state": "success"}')

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests readable."""


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[local_run.Airflow]:
    for again in ("AGAIN", "AGAIN_TO_START"):
        monkeypatch.setattr(local_run, again, getattr(local_run, again).new(backoff_factor=0))
    Locked.asked = 0
    with HTTPServer(("127.0.0.1", 0), Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        local = local_run.Airflow(server.server_port)
        local._http.headers["Authorization"] = "Bearer known"
        yield local
        server.shutdown()


def test_a_question_is_asked_again_where_the_database_was_locked(airflow: local_run.Airflow) -> None:
    Locked.codes = [500, 503, 500, 503]
    assert airflow.call("GET", "dags/nightly_audit") == {"state": "success"}
    assert Locked.asked == 5


def test_it_is_not_asked_for_ever_nor_where_another_error_is_met(airflow: local_run.Airflow) -> None:
    Locked.codes = [500] * 9
    with pytest.raises(HTTPError):
        airflow.call("GET", "dags/nightly_audit")
    assert Locked.asked == 5
    Locked.codes = [404]
    with pytest.raises(HTTPError):
        airflow.call("GET", "dags/unknown")
    assert Locked.asked == 6


def test_a_question_is_asked_again_where_the_server_hung_up(airflow: local_run.Airflow) -> None:
    Locked.codes = [HANG_UP, HANG_UP]
    assert airflow.call("GET", "assets/events") == {"state": "success"}
    assert Locked.asked == 3


@pytest.mark.parametrize("codes", [[500, HANG_UP], [HANG_UP, 500, 409]])
def test_a_run_is_asked_for_until_it_has_started(airflow: local_run.Airflow, codes: list[int]) -> None:
    Locked.codes = list(codes)
    airflow.start("nightly_audit", "night", {})
    assert (Locked.asked, Locked.codes) == (3, [])


def test_a_run_that_cannot_start_is_an_error(airflow: local_run.Airflow) -> None:
    Locked.codes = [404]
    with pytest.raises(HTTPError):
        airflow.start("unknown", "night", {})


@pytest.mark.parametrize(("code", "error"), [(500, HTTPError), (HANG_UP, local_run.LocalAirflowError)])
def test_what_changes_something_is_sent_once(airflow: local_run.Airflow, code: int, error: type[Exception]) -> None:
    Locked.codes = [code]
    with pytest.raises(error):
        airflow.call("POST", "backfills", {})
    assert Locked.asked == 1
