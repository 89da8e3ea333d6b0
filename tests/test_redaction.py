"""Secrets are in no text that leaves: known ones, those in addresses, and what is named as one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from recsae_lib.cli.main import main
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.log import JsonLines, TextLines
from recsae_lib.platform.job.record import JobRecord, book_path
from recsae_lib.redaction import redacted, remember, without_secrets

CANARY = "canary-5f0c/9+Q=x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("MLflow at http://me:pw@host:5000 is lost", "MLflow at http://***@host:5000 is lost"),
        ("postgresql+psycopg2://me:p/w#1@db/x and more", "postgresql+psycopg2://***@db/x and more"),
        ("http://token@host/x?y", "http://***@host/x?y"),
        ("see http://127.0.0.1:8000/v1/a@b", "see http://127.0.0.1:8000/v1/a@b"),
        ("<'Authorization': 'Bearer abc.def'>", "<'Authorization': '***'>"),
        ("(b'Proxy-Authorization', b'Basic bWU6cHc=')", "(b'Proxy-Authorization', b'***')"),
        ('{"api-key": "abc d", "model": "m"}', '{"api-key": "***", "model": "m"}'),
        ('"{\\"x-api-key\\": \\"abc\\"}"', '"{\\"x-api-key\\": \\"***\\"}"'),
        ("OPENAI_API_KEY=abc MODEL=m", "OPENAI_API_KEY=*** MODEL=m"),
        ("BasicAuth(login='me', password='pw')", "BasicAuth(login='me', password='***')"),
        ("https://host/x?sig=abc&v=1", "https://host/x?sig=***&v=1"),
        ("Incorrect API key provided: sk-proj-abcdefgh.", "Incorrect API key provided: ***."),
        ("sent bearer abcdefgh1", "sent bearer ***"),
        ('api_key_variable: "OPENAI_API_KEY"', 'api_key_variable: "OPENAI_API_KEY"'),
        ("OPENAI_API_KEY holds no key for https://api.openai.com/v1", None),
        ("max_tokens: 400, 12 prompt tokens", None),
    ],
)
def test_what_is_named_a_secret_is_not_told(text: str, told: str | None) -> None:
    assert redacted(text) == (told or text)


def test_a_known_secret_is_not_told_however_it_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_KEY", CANARY)
    remember(["Custom r4nd0m-w0rd"])
    texts = [CANARY, json.dumps([CANARY + '"']), "canary-5f0c%2F9%2BQ%3Dx", "Y2FuYXJ5LTVmMGMvOStRPXg=", "r4nd0m-w0rd"]
    assert [without_secrets(f"a {text} b") for text in texts] == [
        *("a *** b", 'a ["***\\""] b', "a *** b", "a *** b", "a *** b"),
    ]


def test_short_words_and_paths_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "shop")
    monkeypatch.setenv("TLS_KEY", "/etc/tls/key.pem")
    assert without_secrets("the shop of /etc/tls/key.pem") == "the shop of /etc/tls/key.pem"


def test_errors_log_and_last_line_tell_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOP_API_KEY", CANARY)
    for kind in (InputError, PassingError):
        assert str(kind(f"It says {CANARY}", f"Ask {CANARY}")) == "It says ***. Ask ***."

    def fail() -> None:
        raise RuntimeError(f"a fault with {CANARY}")

    assert guarded(fail) == 1
    assert capsys.readouterr().err.count("a fault with ***") == 1
    record = logging.LogRecord("x", logging.INFO, "", 0, "told %s", (CANARY,), None)
    assert TextLines("%(message)s").format(record) == "told ***"
    assert json.loads(JsonLines().format(record))["message"] == "told ***"


def test_the_book_of_jobs_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_KEY", CANARY)
    JobRecord("a_job", "shop", "2026-11-20", "", cause="x" * 1990 + CANARY).append_to(tmp_path)
    written = book_path(tmp_path, "shop").read_text("utf-8")
    assert "x***" in written
    assert "canary" not in written


def test_printed_settings_tell_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf.yaml"
    conf.write_text(
        "paths: {tracking_uri: 'http://me:canary@host:5000'}\n"
        "llm: {base_url: 'https://me:canary@host/v1', headers: {x-gateway: canary-of-a-gateway}}\n"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["config", "--conf", str(conf)])
    printed = capsys.readouterr().out
    assert "http://***@host:5000" in printed
    assert "https://***@host/v1" in printed
    assert "canary" not in printed
