"""HTTP servers on a free port of this machine, for tests of what talks to one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any, cast


class Call(BaseHTTPRequestHandler):
    """One request and the way to answer it. Connections stay open, and what is sent goes out at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        cast(_Server, self.server).answer(self)

    def do_POST(self) -> None:
        cast(_Server, self.server).answer(self)

    def body(self) -> bytes:
        """The body of the request, whole or in chunks."""
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def reply(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        """Send a whole response, or the beginning of one that claims to be longer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reply_json(self, status: int, body: bytes) -> None:
        """Send JSON."""
        self.reply(status, body, {"Content-Type": "application/json"})

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ValueError):  # the client was killed while it was sending or receiving
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of more connections at once than fit, the kernel lets some try again after a second
    answer: Callable[[Call], None]


def answering(answer: Callable[[Call], None], port: int = 0) -> _Server:
    """A server that has each call answered by a function, in a thread of its connection; 0 is any free port."""
    server = _Server(("127.0.0.1", port), Call)
    server.answer = answer
    return server


class Loopback:
    """Has each call answered by a function, in a thread of its connection, until it is closed."""

    def __init__(self, answer: Callable[[Call], None], tls: SSLContext | None = None) -> None:
        self._http = answering(answer)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.address = f"http{'' if tls is None else 's'}://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
