"""A server in place of visdom's: it swallows what is sent, and counts it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class VisdomStub(ThreadingHTTPServer):
    """Answers like a visdom server that has one window as soon as one was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bytes = 0
        self.has_window = False

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: VisdomStub
    protocol_version = "HTTP/1.1"  # connections stay open
    wbufsize = -1  # an answer leaves in one piece, or its second half waits for 40 ms

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        self.rfile.read(size)
        self.server.bytes += size
        answer = b"window"
        if self.path.startswith("/win_exists"):
            answer = b"true" if self.server.has_window else b"false"
        self.server.has_window |= self.path.startswith("/events")
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def stub_server() -> Iterator[VisdomStub]:
    """Run such a server in a thread."""
    with VisdomStub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
