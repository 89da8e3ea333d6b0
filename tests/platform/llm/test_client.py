"""The client of the inline transport: what it sends and understands, beside the openai client."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openai import OpenAI

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.batch_client import failure_of
from recsae_lib.platform.llm.chat_client import Outcome, open_client
from recsae_lib.platform.llm.failures import Failure
from tests.chat_server import Reply
from tests.openai_server import OpenaiServer

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Zoë"}], "max_tokens": 5}


def ask(url: str) -> Outcome:
    async def run() -> Outcome:
        async with open_client(LlmSettings(base_url=url, model="small")) as client:
            return await client.ask("latent-1-ab", json.dumps(BODY).encode())

    return asyncio.run(run())


def ask_with_openai(url: str) -> Any:
    with OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        return client.chat.completions.create(extra_headers={"Idempotency-Key": "latent-2-ab"}, **BODY)


@pytest.fixture
def whole_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenaiServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    server.answer = lambda body: "hello " + body["messages"][0]["content"]
    yield server
    server.close()


def test_both_clients_read_the_same_of_the_servers_of_tests(server: Any, whole_server: OpenaiServer) -> None:
    server.reply = lambda request: server.says("hello " + request.body["messages"][0]["content"])
    for url in (server.url, whole_server.url):
        answer, wait = ask(url)
        assert not isinstance(answer, Failure)
        assert (answer["custom_id"], answer["response"]["status_code"], wait) == ("latent-1-ab", 200, 0.0)
        theirs = ask_with_openai(url)
        assert theirs.choices[0].message.content == "hello Zoë"
        assert answer["response"]["body"]["choices"][0]["message"]["content"] == "hello Zoë"


def test_both_clients_send_the_same(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-2")
    ask(f"{server.url}/")
    ask_with_openai(f"{server.url}/")
    ours, theirs = server.received
    assert (ours.path, ours.body) == (theirs.path, theirs.body) == ("/v1/chat/completions", BODY)
    assert (ours.headers["openai-organization"], ours.headers["openai-project"]) == ("org-1", "proj-2")
    for name in ("authorization", "content-type", "accept", "openai-organization", "openai-project"):
        assert ours.headers[name] == theirs.headers[name], name
    assert ours.headers["idempotency-key"] == "latent-1-ab"


@pytest.mark.parametrize("status", [307, 400, 401, 404, 409, 422, 429, 503])
@pytest.mark.parametrize(
    "told",
    [
        b'{"error": {"message": "no such thing", "code": "gone"}}',
        b'{"message": "no such thing", "code": 7}',
        b'{"error": "no such thing"}',
        b'{"error": {"message": ["no such thing"]}}',
        b'["no such thing"]',
        b"<h1>no such thing</h1>",
        b"\xff no such thing",
        b"[" * 100_000,
        b"",
    ],
)
def test_both_clients_understand_the_same_of_an_error(server: Any, status: int, told: bytes) -> None:
    headers = {"Retry-After": "3"} if status in (429, 503) else {}
    server.reply = lambda _: Reply(status, told, headers)
    failure, wait = ask(server.url)
    assert isinstance(failure, Failure)
    assert wait == 0.0
    assert failure.code == f"http_{status}"
    if b"no such thing" in told:
        assert "no such thing" in failure.message
    if told.startswith(b"[["):  # which the openai client does not survive
        return
    with pytest.raises(openai.APIStatusError) as error:
        ask_with_openai(server.url)
    theirs = failure_of(error.value, LlmSettings(base_url=server.url))
    assert (failure.passing, failure.wait_seconds, failure.remedy) == (
        theirs.passing,
        theirs.wait_seconds,
        theirs.remedy,
    )


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
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

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
    refused, _ = ask(url)
    assert isinstance(refused, Failure)
    assert (refused.code, "CERTIFICATE_VERIFY_FAILED" in refused.message) == ("connection", True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    answer, _ = ask(url)
    assert not isinstance(answer, Failure)
    assert answer["response"]["body"] == {}
