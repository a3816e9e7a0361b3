"""Python processes that begin with torch loaded: as separate as others, two seconds sooner.

A process that has only loaded other people's libraries waits, and forks whenever a test starts a
script. What comes out is a process of its own, a child of the test's: it can be signalled, killed
and waited for, has its own folder, environment and streams, and runs the script, or what stands
behind `-c`, as `__main__`. What decides how Python itself starts cannot be had this way; `popen`
then starts an ordinary one.
"""

import atexit
import contextlib
import ctypes
import inspect
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

LIBRARIES = ("torch", "numpy", "PIL.Image", "PIL.PngImagePlugin", "torch.utils.data", "dominate")
READ_AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "CUDA_", "LD_", "MALLOC_", "TORCH")
OF_COMMANDS = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # of all that tests start
BECOME_PARENT_OF_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
ON_LINUX = sys.platform == "linux"


class Order(NamedTuple):
    """What a new process is to be; its three streams come with it."""

    command: list[str]  # a script, or -c and a program, and the arguments
    folder: str
    environment: dict[str, str]
    has_own_session: bool
    umask: int
    ignored: list[int]  # signals
    blocked: list[int]


class WarmProcess(subprocess.Popen):
    """What `subprocess.Popen` is, begun by a fork."""

    def _execute_child(self, *arguments: Any) -> None:
        given = inspect.signature(subprocess.Popen._execute_child).bind(self, *arguments).arguments  # type: ignore[attr-defined]
        streams = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [mine if theirs == -1 else theirs for mine, theirs in enumerate(streams)]
        self.pid = _nursery().fork(
            Order(
                command=[os.fspath(word) for word in given["args"]][1:],
                folder=os.fspath(given["cwd"] or os.getcwd()),
                environment=dict(given["env"]),
                has_own_session=given["start_new_session"],
                umask=_umask(),
                ignored=_ignored(),
                blocked=list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            ),
            streams,
        )
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in ends))  # type: ignore[attr-defined]


def popen(command: Sequence[str | Path], **keywords: Any) -> "subprocess.Popen[Any]":
    """Start a command; one that runs Python as other commands do, in a warm process."""
    keywords.setdefault("env", {**os.environ, **OF_COMMANDS})
    is_warm = _can_be_warm(command, keywords)
    return (WarmProcess if is_warm else subprocess.Popen)(command, **keywords)


def run(
    command: Sequence[str | Path], *, timeout: float = 150, **keywords: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, as `popen` starts it, and return what it said."""
    keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **keywords}
    with popen(command, **keywords) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _can_be_warm(command: Sequence[str | Path], keywords: Mapping[str, Any]) -> bool:
    known = {"cwd", "env", "stdin", "stdout", "stderr", "text", "start_new_session", "encoding"}
    is_python = command[0] == sys.executable and str(command[1]).endswith((".py", "-c"))
    if not (ON_LINUX and is_python and known >= keywords.keys()):
        return False
    return _read_at_start(keywords["env"]) == _read_at_start(_nursery().environment)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith(READ_AT_START)}


def _ignored() -> list[int]:
    return [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]


def _umask() -> int:
    os.umask(now := os.umask(0))
    return now


# ---- the process that forks, seen from the tests ------------------------------------------------


class Nursery:
    """The process that waits with its libraries loaded; ends with this one."""

    def __init__(self) -> None:
        self.environment = {**os.environ, **OF_COMMANDS}
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=self.environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(self.end)

    def fork(self, order: Order, streams: Sequence[int]) -> int:
        """Return the number of a new process, whose parent is this one."""
        data = json.dumps(order).encode()
        _adopt(True)  # the child of a child that ends is ours
        try:
            socket.send_fds(self._socket, [struct.pack("I", len(data))], streams)
            self._socket.sendall(data)
            (number,) = struct.unpack("I", _receive(self._socket, 4))
        finally:
            _adopt(False)
        return int(number)

    def end(self) -> None:
        """Let it end."""
        self._socket.close()
        self._process.wait(timeout=30)


@cache
def _nursery() -> Nursery:
    return Nursery()


def _adopt(orphans: bool) -> None:
    ctypes.CDLL(None).prctl(BECOME_PARENT_OF_ORPHANS, int(orphans), 0, 0, 0)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise EOFError("the process that forks has ended")
        data += more
    return data


# ---- and from within ----------------------------------------------------------------------------


def _wait_for_orders(connection: socket.socket) -> Order:
    """Fork at every order; return, in the new process, what that is to be."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, 4, 3)
        if not head:
            sys.exit()
        (size,) = struct.unpack("I", head)
        order = Order(*json.loads(_receive(connection, size)))
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            between = os.getpid()
            if (number := os.fork()) == 0:
                while os.getppid() == between:  # until the tests' process is the parent
                    os.sched_yield()
                _become(order, streams)
                return order
            os.write(writing, struct.pack("I", number))
            os._exit(0)
        os.waitpid(between, 0)
        connection.sendall(os.read(reading, 4))
        streams += [reading, writing]
        for stream in streams:
            os.close(stream)


def _become(order: Order, streams: Sequence[int]) -> None:
    for mine, theirs in enumerate(streams):
        os.dup2(theirs, mine)
    os.closerange(3, 1024)
    if order.has_own_session:
        os.setsid()
    os.umask(order.umask)
    os.chdir(order.folder)
    vars(sys.modules["multiprocessing.process"])["ORIGINAL_DIR"] = order.folder  # of scripts
    os.environ.clear()
    os.environ.update(order.environment)
    for number in order.ignored:
        with contextlib.suppress(OSError):  # SIGKILL is what it is
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, order.blocked)
    sys.stdin = os.fdopen(0, errors=sys.stdin.errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.modules["torch"].seed()  # random, as the seeds of new processes are
    sys.modules["numpy"].random.seed()
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _run(order: Order) -> None:
    """Run it as `python script.py` and `python -c PROGRAM` do."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    program: str | bytes
    if order.command[0] == "-c":
        _, program, *arguments = order.command
        sys.argv, path, folder = ["-c", *arguments], "<string>", ""
    else:
        sys.argv, path = order.command, os.path.abspath(order.command[0])
        program, folder = Path(path).read_bytes(), os.path.dirname(os.path.realpath(path))
        main.__file__ = path
    sys.path.insert(0, folder)
    exec(compile(program, path, "exec"), vars(main))


if __name__ == "__main__":
    del sys.path[0]
    for library in LIBRARIES:
        import_module(library)
    _run(_wait_for_orders(socket.socket(fileno=int(sys.argv[1]))))
