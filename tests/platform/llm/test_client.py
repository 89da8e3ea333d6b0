"""The openai client as the inline transport uses it: what it sends, and what comes of what is sent back."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.llm.client import Outcome, ask, open_async_client
from recsae_lib.platform.llm.failures import Failure
from tests.chat_server import Reply
from tests.loopback import Call, Loopback

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Zoë"}], "max_tokens": 5}
COMPLETION = b'{"choices": [{"message": {"content": "hello"}}]}'


def ask_once(url: str, body: dict[str, Any] = BODY, **changes: Any) -> Outcome:
    settings = LlmSettings(base_url=url, model="small", **changes)

    async def run() -> Outcome:
        async with open_async_client(settings) as client:
            return await ask(client, {"custom_id": "latent-1-ab", "body": body}, "latent-1-ab-1", settings)

    return asyncio.run(run())


def failure(url: str, **changes: Any) -> Failure:
    outcome, wait = ask_once(url, **changes)
    assert isinstance(outcome, Failure)
    assert wait == 0.0
    return outcome


def test_what_is_sent_is_the_body_and_what_names_the_call(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-2")
    monkeypatch.setenv("GATEWAY", "s3cret-of-a-gateway")
    body = {**BODY, "top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    answer, _ = ask_once(f"{server.url}/?team=a", body, headers={"X-Gateway": "Bearer ${GATEWAY}"})
    assert isinstance(answer, dict)
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == server.concept()
    (sent,) = server.received
    assert (sent.path, sent.body, sent.custom_id) == ("/v1/chat/completions?team=a", body, "latent-1-ab")
    assert {name: sent.headers[name] for name in ("idempotency-key", "authorization", "x-gateway")} == {
        "idempotency-key": "latent-1-ab-1",
        "authorization": "Bearer none",
        "x-gateway": "Bearer s3cret-of-a-gateway",
    }
    assert (sent.headers["openai-organization"], sent.headers["openai-project"]) == ("org-1", "proj-2")


@pytest.mark.parametrize("deployment", ["", "/deployments/small"])
def test_an_address_of_azure_is_asked_as_azure_wants_it(
    server: Any, monkeypatch: pytest.MonkeyPatch, deployment: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-azure")
    ask_once(f"{server.url.removesuffix('/v1')}/openai{deployment}?api-version=2024-06-01")
    (sent,) = server.received
    assert sent.path == "/openai/deployments/small/chat/completions?api-version=2024-06-01"
    assert sent.headers["api-key"] == "key-of-azure"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X-Gateway": "${NOT_SET}"}, "names the environment variable NOT_SET"),
        ({"X-Gateway": "5 $ a day"}, "has a \\$ that names no environment variable"),
        ({"X-Gateway": "two\nlines"}, "has characters that no header may have"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(server: Any, headers: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask_once(server.url, headers=headers)


def test_a_key_of_several_lines_is_refused_and_not_told(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-1\ncanary-2")
    with pytest.raises(InputError, match="OPENAI_API_KEY") as refused:
        ask_once(server.url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "passing", "remedy"),
    [
        *((400, False, None), (409, True, None), (413, False, None), (422, False, None), (503, True, None)),
        *((401, False, "OPENAI_API_KEY"), (402, False, "credit"), (404, False, "llm.model")),
        *((405, False, "llm.base_url"), (415, False, "llm.base_url"), (300, False, None)),
    ],
)
@pytest.mark.parametrize(
    "told", [b'{"error": {"message": "no such thing", "code": "gone"}}', b"<h1>no such thing</h1>", b"[" * 100_000, b""]
)
def test_an_error_has_the_servers_words_and_what_to_do(
    server: Any, status: int, passing: bool, remedy: str | None, told: bytes
) -> None:
    server.reply = lambda _: Reply(status, told, {"Retry-After": "3"} if status == 503 else {})
    failed = failure(server.url)
    assert (failed.code, failed.passing) == (f"http_{status}", passing)
    assert failed.wait_seconds == (3.0 if status == 503 else None)
    assert "no such thing" in failed.message or b"no such thing" not in told
    assert (remedy or "") in (failed.remedy or "")
    assert (remedy is None) == (failed.remedy is None)


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        (b'{"error": {"message": "lost"}}', "no_completion", "the server sent no chat completion: lost"),
        (b'{"choices": []}', "no_completion", 'the server sent no chat completion: {"choices": []}'),
        (b"null", "no_completion", "the server sent no chat completion: null"),
        (b"{", "no_json", "the server's response is no JSON"),
        (b'{"error": {"message": "too fast", "code": 429}}', "http_429", "too fast"),
    ],
)
def test_a_response_of_200_without_completion_passes(server: Any, told: bytes, code: str, message: str) -> None:
    server.reply = lambda _: server.sends(told)
    failed = failure(server.url)
    assert (failed.code, failed.message, failed.passing) == (code, message, True)


def test_a_model_that_is_not_there_ends_the_job_by_200_too(server: Any) -> None:
    server.reply = lambda _: server.sends(b'{"error": {"message": "no such model", "code": 404}}')
    assert "llm.model" in (failure(server.url).remedy or "")


def test_a_connection_that_breaks_is_no_timeout(server: Any) -> None:
    server.reply = lambda _: server.breaks("drop")
    failed = failure(server.url)
    assert (failed.code, "disconnected" in failed.message.lower()) == ("connection", True)


def test_a_proxy_is_shown_its_password_and_nobody_else(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1").replace("://", "://me:canary-1@"))
    ask_once("http://llm.invalid/v1")
    (sent,) = server.received
    assert sent.headers["proxy-authorization"] == "Basic bWU6Y2FuYXJ5LTE="
    monkeypatch.setenv("HTTP_PROXY", "http://me:canary-1@127.0.0.1:1")
    failed = failure("http://llm.invalid/v1")
    assert failed.code == "connection"
    assert "canary" not in failed.message
    assert "bWU6" not in failed.message


def test_the_timeout_is_that_of_the_whole_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ended = threading.Event()

    def drip(call: Call) -> None:
        call.body()
        call.send_response(200)
        call.send_header("Content-Length", "1000")
        call.end_headers()
        while not ended.wait(0.05):
            call.wfile.write(b" ")  # never silent for long

    with Loopback(drip) as http:
        started = time.monotonic()
        failed = failure(f"{http.address}/v1", timeout_seconds=0.5)
        seconds = time.monotonic() - started
        ended.set()
    assert (failed.code, failed.message) == ("timeout", "no answer within 0.5 seconds")
    assert 0.5 <= seconds < 10


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server of HTTPS, and the certificate that it has signed itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now, address = datetime.now(timezone.utc), x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(COMPLETION)))
            self.end_headers()
            self.wfile.write(COMPLETION)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path, secret)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"https://127.0.0.1:{server.server_port}/v1", path
    server.shutdown()
    serving.join()
    server.server_close()


def test_only_a_certificate_that_is_trusted_is_talked_to(
    certified: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = certified
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    untrusted = failure(url)
    assert (untrusted.code, "CERTIFICATE_VERIFY_FAILED" in untrusted.message) == ("connection", True)
    assert (untrusted.passing, "SSL_CERT_FILE" in (untrusted.remedy or "")) == (False, True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    answer, _ = ask_once(url)
    assert isinstance(answer, dict)
    assert answer["response"]["body"] == json.loads(COMPLETION)
