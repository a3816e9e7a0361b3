"""A visdom server of our own: what comes up, who stops it, and what is said when it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.warm import popen
from util.base.errors import UserError
from util.display.sinks.visdom import server as visdom_server
from util.display.sinks.visdom.server import (
    FORBIDDEN,
    NOTHING,
    OTHER,
    VISDOM,
    VisdomServer,
    look,
    start_server,
)


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisdomServer]:
    running = start_server(free_port(), tmp_path_factory.mktemp("visdom") / "new" / "folder")
    yield running
    running.stop()


@pytest.fixture
def impostor() -> Iterator[Callable[[int, str], int]]:
    """Return a function that starts an HTTP server which always gives the same answer."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(status: int, kind: str) -> int:
        class Handler(BaseHTTPRequestHandler):
            server_version = kind

            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        web = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((web, thread))
        return int(web.server_address[1])

    yield start
    for web, thread in servers:
        web.shutdown()
        thread.join()
        web.server_close()


def test_its_page_is_there_without_internet(server: VisdomServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert answer.status == 200
    assert "visdom" in page
    assert server.url == f"http://localhost:{server.port}"
    assert look(server.port) == VISDOM


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_it_listens_on_the_loopback_interface_only(server: VisdomServer) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    tables = [*lines, *Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [fields[1] for fields in map(str.split, tables) if fields[3] == "0A"]
    assert [each for each in listening if each.endswith(f":{server.port:04X}")] == [
        f"0100007F:{server.port:04X}"
    ]


def test_it_has_its_own_session_and_no_pipes(server: VisdomServer) -> None:
    process = server.process
    assert process is not None
    assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_more_requests_than_the_reference_survived(server: VisdomServer) -> None:
    # Its server hung after about 1,160 requests: their log filled a pipe.
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    question = json.dumps({"win": "1", "eid": "main"})
    for _ in range(1300):
        connection.request("POST", "/win_exists", question)
        assert connection.getresponse().read() == b"false"
    connection.close()


def test_a_server_that_runs_already_is_used_and_not_stopped(
    server: VisdomServer, tmp_path: Path
) -> None:
    second = start_server(server.port, tmp_path / "unused")
    assert second.process is None
    second.stop()
    assert look(server.port) == VISDOM
    assert not (tmp_path / "unused").exists()


def test_stop_ends_the_process_and_may_be_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(visdom_server, "STOP_SECONDS", 0.3)
    running = start_server(free_port(), tmp_path)
    process = running.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # even a frozen one
    running.stop()
    running.stop()
    assert process.poll() is not None
    assert look(running.port) == NOTHING


def test_it_goes_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys; from util.display.sinks.visdom.server import start_server; "
        "start_server(int(sys.argv[1]), sys.argv[2]); print('up', flush=True); sys.stdin.read()"
    )
    ports = [free_port(), free_port()]
    ends_well, gets_killed = (
        popen(
            [sys.executable, "-c", program, str(port), str(tmp_path / str(port))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for port in ports
    )
    with ends_well, gets_killed:
        for training in (ends_well, gets_killed):
            assert training.stdout is not None
            assert training.stdout.readline() == b"up\n"
        assert [look(port) for port in ports] == [VISDOM, VISDOM]
        gets_killed.kill()
        ends_well.communicate()
    assert ends_well.returncode == 0
    wait_until(lambda: [look(port) for port in ports] == [NOTHING, NOTHING])


def test_a_taken_port_is_reported(impostor: Callable[[int, str], int], tmp_path: Path) -> None:
    port = impostor(200, "Other/1.0")
    assert look(port) == OTHER
    with pytest.raises(UserError, match=f"Port {port} is in use.*--display_port"):
        start_server(port, tmp_path)


def test_a_port_that_never_answers_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(visdom_server, "look", lambda port: look(port, seconds=0.1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use.*hangs"):
            start_server(port, tmp_path)


def test_a_page_that_tornado_forbids_is_reported(
    impostor: Callable[[int, str], int], tmp_path: Path
) -> None:
    port = impostor(403, "TornadoServer/6.6.1")
    assert look(port) == FORBIDDEN
    with pytest.raises(UserError, match='answers 403.*pip install "tornado<6.6"'):
        start_server(port, tmp_path)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_number_that_is_no_port_is_reported(port: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--display_port {port} is no port"):
        start_server(port, tmp_path)


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "visdom", None)
    with pytest.raises(UserError, match="visdom is not installed.*tornado<6.6.*requirements.txt"):
        start_server(free_port(), tmp_path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep its files in .*file.*writable"):
        start_server(free_port(), tmp_path / "file")


def test_a_server_that_ends_at_once_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(visdom_server, "_PROGRAM", "raise SystemExit('no luck')")
    with pytest.raises(UserError, match=r"ended at once: no luck\. Its log is .*\.log"):
        start_server(free_port(), tmp_path)


def test_a_server_that_does_not_answer_is_reported_and_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    launch = visdom_server._launch

    def remember(port: int, folder: Path, log: Path) -> "subprocess.Popen[bytes]":
        started.append(launch(port, folder, log))
        return started[0]

    monkeypatch.setattr(visdom_server, "_launch", remember)
    monkeypatch.setattr(visdom_server, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(visdom_server, "START_SECONDS", 0.3)
    with pytest.raises(UserError, match="did not answer on port"):
        start_server(free_port(), tmp_path)
    assert started[0].poll() is not None


def test_of_two_runs_that_start_a_server_the_slower_one_uses_the_others(
    monkeypatch: pytest.MonkeyPatch, server: VisdomServer, tmp_path: Path
) -> None:
    answers = [NOTHING]  # the port was free when the slower one looked
    monkeypatch.setattr(
        visdom_server, "look", lambda port: answers.pop() if answers else look(port)
    )
    monkeypatch.setattr(visdom_server, "_PROGRAM", "raise SystemExit('address in use')")
    started = threading.Event()
    launch = visdom_server._launch

    def slowly(port: int, folder: Path, log: Path) -> "subprocess.Popen[bytes]":
        process = launch(port, folder, log)
        process.wait()
        started.set()
        return process

    monkeypatch.setattr(visdom_server, "_launch", slowly)
    second = start_server(server.port, tmp_path)
    assert started.is_set()
    assert second.process is None
    assert look(server.port) == VISDOM
