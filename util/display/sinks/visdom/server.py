"""A visdom server of our own: asked for by a flag, seen only from this machine, never in the way.

The reference starts `python -m visdom.server` through a shell. That server downloads scripts at
its first start and dies without internet, listens on every interface, and writes its log into a
pipe that nobody reads: after about 1,160 requests the pipe is full, and the training hangs.
"""

import atexit
import os
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

from util.base.errors import UserError

START_SECONDS = 15.0
STOP_SECONDS = 3.0
LOG_NAME = "visdom_server.log"
NOTHING, VISDOM, FORBIDDEN, OTHER = "nothing", "visdom", "forbidden", "other"
TAKEN = {
    FORBIDDEN: "The visdom server on port {port} answers 403 instead of its page, as it does with "
    'tornado 6.6. Stop it, and pip install "tornado<6.6".',
    OTHER: "Port {port} is in use by something that is no visdom server, or one that hangs. "
    "Choose another --display_port, or stop what uses this one.",
}
# The server's program. It goes when the process that started it is gone, however that ended.
_PROGRAM = """
import os, sys, threading, time

def watch(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)

threading.Thread(target=watch, args=(int(sys.argv.pop(1)),), daemon=True).start()
from visdom.server.run_server import main
main()
"""


class VisdomServer:
    """A running server; one that was found running already is left alone by `stop`."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self.port = port
        self.url = f"http://localhost:{port}"  # of the page
        self.process = process
        self._owner = os.getpid()
        if process is not None:
            atexit.register(self.stop)

    def stop(self) -> None:
        """Stop the server if it is ours; more calls do nothing."""
        if self.process is None or os.getpid() != self._owner:  # not from a forked child
            return
        process, self.process = self.process, None
        atexit.unregister(self.stop)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_server(port: int, env_path: str | Path) -> VisdomServer:
    """Start a server for this machine alone, or find the one that is running, else UserError.

    `env_path` is the folder for what is saved from the page, and for the server's log.
    """
    if not 0 < port < 65536:
        raise UserError(f"--display_port {port} is no port. Choose one from 1024 to 65535.")
    there = look(port)
    if there == VISDOM:
        return VisdomServer(port)
    if there in TAKEN:
        raise UserError(TAKEN[there].format(port=port))
    if find_spec("visdom") is None:
        raise UserError(f"A visdom server was asked for, but {how_to_install()}")
    folder = Path(env_path)
    log = folder / LOG_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = VisdomServer(port, _launch(port, folder, log))
    except OSError as error:
        raise UserError(
            f"The visdom server cannot keep its files in {folder} ({error.strerror}). "
            "Make the folder writable, or start the server yourself."
        ) from error
    try:
        return _when_it_answers(server, log)
    except BaseException:
        server.stop()
        raise


def look(port: int, seconds: float = 2.0) -> str:
    """Find out what listens on a port of this machine: NOTHING, VISDOM, FORBIDDEN or OTHER."""
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().lower()
    except ConnectionRefusedError:
        return NOTHING
    except (OSError, HTTPException):
        return OTHER
    finally:
        connection.close()
    if answer.status == 200 and b"visdom" in text:
        return VISDOM
    tornado = "tornado" in (answer.headers.get("Server") or "").lower()
    return FORBIDDEN if answer.status == 403 and tornado else OTHER


def how_to_install() -> str:
    """Say how visdom gets installed for this Python."""
    how = 'pip install "visdom>=0.3" "tornado<6.6"'
    if sys.version_info < (3, 12):
        older = 'pip install --no-build-isolation "visdom<0.3" "tornado<6.6"'
        how = f'pip install "setuptools<81" wheel, then {older}'
    return f"visdom is not installed. To install it: uv sync, or {how} (see requirements.txt)."


def _launch(port: int, folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start the process. No shell, no pipe that could fill up, and Ctrl-C is not for it."""
    # -P: what lies in the working folder (our `data`, `test.py`) is not imported by mistake.
    command = [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid())]
    command += ["-port", str(port), "-bind_local", "-env_path", str(folder)]
    command += ["-logging_level", "WARNING"]  # else a line for every request
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _when_it_answers(server: VisdomServer, log: Path) -> VisdomServer:
    assert server.process is not None
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last:
        ended = server.process.poll() is not None
        there = look(server.port)
        if there == VISDOM:
            if not ended:
                return server
            server.stop()  # another run was quicker
            return VisdomServer(server.port)
        if there == FORBIDDEN:
            raise UserError(TAKEN[there].format(port=server.port))
        if ended:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = f"{lines[-1]}." if lines else "it left no message."
            raise UserError(
                f"The visdom server ended at once: {said} Its log is {log}. "
                "Try another --display_port, or train without --start_visdom."
            )
        time.sleep(0.1)
    raise UserError(
        f"The visdom server did not answer on port {server.port} in {START_SECONDS:.0f} s. "
        f"Its log is {log}. Try again, or train without --start_visdom."
    )
