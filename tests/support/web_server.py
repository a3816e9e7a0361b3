"""A server on this machine for files that are downloaded."""

import re
import socket
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CHANGED = "Mon, 02 Jan 2017 03:04:05 GMT"


class Server(ThreadingHTTPServer):
    """Serves what `files` holds, below `/datasets/`.

    Attributes:
        requests: the paths asked for, with the range if one was asked for.
        hang_up: names whose connection is broken off half way,
        reset: by a reset instead of an orderly end,
        times: so often; for ever if it is None.
        resumes: whether it answers with parts of files.
        changed: when its files were, as it says.
        leads_to: where it sends everybody.
        pause: seconds before the second half of an answer.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.files: dict[str, bytes] = {}
        self.hang_up: set[str] = set()
        self.reset = False
        self.times: int | None = None
        self.resumes = False
        self.changed = CHANGED
        self.leads_to: str | None = None
        self.pause = 0.0
        self.requests: list[str] = []

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        if self.reset:
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have hung up; show what else happens."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/datasets/"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"] if self.server.resumes else None
        self.server.requests.append(f"{self.path} {wanted}" if wanted else self.path)
        name = self.path.removeprefix("/datasets/")
        if self.server.leads_to:
            self.send_response(302)
            self.send_header("Location", self.server.leads_to)
            self.end_headers()
        elif self.path == "/datasets/":
            links = [f'<li><a href="{file}">{file}</a></li>' for file in self.server.files]
            self._answer("".join(["<a href='../'>up</a><a>no link</a>", *links]).encode())
        elif self.path.startswith("/datasets/") and name in self.server.files:
            is_whole = name not in self.server.hang_up
            if not is_whole and self.server.times is not None:
                self.server.times -= 1
                is_whole = self.server.times < 0
            same = self.headers["If-Range"] == self.server.changed
            self._answer(self.server.files[name], is_whole, wanted if same else None)
        else:
            self.send_error(404)

    def _answer(self, content: bytes, whole: bool = True, wanted: str | None = None) -> None:
        size, start = len(content), 0
        if wanted and (match := re.fullmatch(r"bytes=(\d+)-", wanted)):
            start = int(match[1])
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        content = content[start:]
        self.send_header("Content-Length", str(len(content)))
        if self.server.resumes:
            self.send_header("Last-Modified", self.server.changed)
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        self.wfile.flush()
        time.sleep(self.server.pause)
        if whole:
            self.wfile.write(content[half:])
        elif self.server.reset:
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve until the test ends."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of before
    with running(Server()) as serving:
        yield serving


@contextmanager
def running(serving: Server) -> Iterator[Server]:
    """Let a server answer until the end of the block."""
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield serving
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()
