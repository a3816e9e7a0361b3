"""One training run for each folder: the second is refused, a killed one is no obstacle."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from tests.support.paths import ROOT
from tests.support.warm import popen
from util.base.errors import UserError
from util.storage import files, journal
from util.training import run_lock
from util.training.run_lock import RunLock

NOBODY = 2**22 + 1  # higher than any process's number on Linux

HOLD = """
import os, sys, time
from argparse import Namespace
from util.training.run_lock import RunLock

with RunLock() as lock:
    lock.take(Namespace(checkpoints_dir=sys.argv[1], name="run"))
    worker = 0
    if "worker" in sys.argv:
        worker = os.fork()
        if worker == 0:
            time.sleep(1000)
    if "short worker" in sys.argv:
        worker = os.fork()
        if worker == 0:
            os._exit(0)
        os.waitpid(worker, 0)
    print("taken", worker, flush=True)
    sys.stdin.readline()
"""

COMPETE = """
import os, sys
from argparse import Namespace
from pathlib import Path
from util.base.errors import UserError
from util.training.run_lock import RunLock

folder, taken = Path(sys.argv[1]), 0
while taken < 30:
    with RunLock() as lock:
        try:
            lock.take(Namespace(checkpoints_dir=folder, name="run"))
        except UserError:
            continue
        os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
        taken += 1
        os.unlink(folder / "alone")
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that runs a script beside this process, which ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: str) -> "subprocess.Popen[str]":
        process = popen(
            [sys.executable, "-c", script, str(tmp_path), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.communicate()


def holder_and_worker(start: Start, *arguments: str) -> tuple["subprocess.Popen[str]", int]:
    """Start a process that has the lock, and return it with its worker's number, if it has one."""
    process = start(HOLD, *arguments)
    assert process.stdout is not None
    said, worker = process.stdout.readline().split()
    assert said == "taken"
    return process, int(worker)


def holder(start: Start, *arguments: str) -> "subprocess.Popen[str]":
    return holder_and_worker(start, *arguments)[0]


def of_run(tmp_path: Path, name: str = "run") -> Namespace:
    return Namespace(checkpoints_dir=str(tmp_path), name=name)


def take(tmp_path: Path, name: str = "run") -> RunLock:
    lock = RunLock()
    lock.take(of_run(tmp_path, name))
    return lock


def refused(tmp_path: Path, name: str = "run") -> str:
    """Return the message with which the folder is refused."""
    with pytest.raises(UserError) as caught:
        take(tmp_path, name)
    return str(caught.value)


def test_the_folder_is_made_and_the_lock_says_who_has_it(tmp_path: Path) -> None:
    with take(tmp_path):
        who = json.loads((tmp_path / "run" / ".lock").read_text())
        assert (who["host"], who["pid"]) == (socket.gethostname(), os.getpid())
    assert list((tmp_path / "run").iterdir()) == []
    take(tmp_path).release()


def test_a_second_run_is_refused_and_changes_nothing(tmp_path: Path, start: Start) -> None:
    process = holder(start)
    folder = tmp_path / "run"
    (folder / f".{NOBODY}-0.tmp-latest_net_G.pth").write_text("being written")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    for _ in range(2):
        message = refused(tmp_path)
        assert "--name run" in message
        assert f"process {process.pid} on {socket.gethostname()}" in message
        assert "another --name" in message
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert set(folder.iterdir()) == set(before)
    take(tmp_path, "other").release()


def test_a_run_that_has_ended_is_no_obstacle(tmp_path: Path, start: Start) -> None:
    process = holder(start)
    process.communicate("end\n")
    assert process.returncode == 0
    assert list((tmp_path / "run").iterdir()) == []
    take(tmp_path).release()


def test_a_run_that_was_killed_is_no_obstacle(tmp_path: Path, start: Start) -> None:
    holder(start).kill()
    process = holder(start)  # at once, whether its parent has asked for the dead one or not
    assert f"process {process.pid}" in refused(tmp_path)


def test_workers_of_a_killed_run_are_no_obstacle(tmp_path: Path, start: Start) -> None:
    process, worker = holder_and_worker(start, "worker")
    process.kill()
    process.wait()
    assert files.process_exists(worker)
    take(tmp_path).release()
    assert files.process_exists(worker)


def test_a_worker_that_ends_leaves_the_lock_with_its_parent(tmp_path: Path, start: Start) -> None:
    process = holder(start, "short worker")
    assert f"process {process.pid}" in refused(tmp_path)


@pytest.mark.parametrize("other", ["run", "link", "./run"])
def test_one_process_cannot_take_a_folder_twice(tmp_path: Path, other: str) -> None:
    (tmp_path / "link").symlink_to("run")
    with take(tmp_path):
        assert f"this process ({os.getpid()})" in refused(tmp_path, other)
        assert "this process" in refused(tmp_path, other)  # being refused released nothing
    take(tmp_path, other).release()


def test_a_link_to_another_disk_is_followed(tmp_path: Path, start: Start) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    process = holder(start)
    assert (tmp_path / "disk" / ".lock").exists()
    assert f"process {process.pid}" in refused(tmp_path, "disk")


def test_never_do_two_have_it_though_the_file_comes_and_goes(start: Start, tmp_path: Path) -> None:
    processes = [start(COMPETE) for _ in range(3)]
    for process in processes:
        assert process.wait(60) == 0
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_file_that_is_replaced_before_it_is_locked_does_not_count(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    path = tmp_path / "run" / ".lock"
    lock = run_lock._lock
    holders: list[int] = []

    def lock_late(file: IO[bytes]) -> bool:
        if not holders:  # its holder lets go, and perhaps the next one comes
            path.unlink()
            holders.append(holder(start).pid if is_taken else 0)
        return lock(file)

    monkeypatch.setattr(run_lock, "_lock", lock_late)
    if is_taken:
        message = refused(tmp_path)
        assert f"process {holders[0]}" in message
    else:
        with take(tmp_path):
            assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}', '{"pid": "x"}', "\xff"])
def test_a_lock_whose_text_is_damaged_refuses_still(
    tmp_path: Path, start: Start, text: str
) -> None:
    holder(start)
    (tmp_path / "run" / ".lock").write_text(text, encoding="latin-1")
    assert "another process" in refused(tmp_path)


def test_what_a_killed_run_left_is_tidied_up(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    images = folder / "web" / "images"
    images.mkdir(parents=True)
    (folder / "latest_state.pth").write_text("old")
    temporary = folder / f".{NOBODY}-1.tmp-latest_state.pth"
    temporary.write_text("new")
    announced = journal.write_journal({folder / "latest_state.pth": temporary})
    announced.rename(folder / f".{NOBODY}.commit")
    alive = [place / f".{os.getppid()}-1.tmp-test_opt.txt" for place in (folder, images)]
    left = [place / f".{NOBODY}-2.tmp-x.png" for place in (folder, folder / "web", images)]
    for path in (*alive, *left):
        path.touch()
    with take(tmp_path):
        found = {path for path in folder.rglob("*") if path.is_file()}
        assert found == {folder / ".lock", folder / "latest_state.pth", *alive}
        assert (folder / "latest_state.pth").read_text() == "new"


def test_a_damaged_journal_stops_the_start_and_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".1.commit").write_text("{")
    with pytest.raises(UserError, match="Delete it"), RunLock() as lock:
        lock.take(of_run(tmp_path))
    (tmp_path / "run" / ".1.commit").unlink()
    take(tmp_path).release()


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(FileExistsError):
        take(tmp_path)


# ---- disks with peculiarities -------------------------------------------------------------------


@pytest.fixture(params=["on this disk", "on this system"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if request.param == "on this disk":
        monkeypatch.setattr(fcntl, "lockf", refuse)
    else:
        monkeypatch.setitem(sys.modules, "fcntl", None)  # importing it fails


@pytest.mark.usefixtures("no_locks")
def test_a_disk_without_locks_gets_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with take(tmp_path):
        pass
    warned = capsys.readouterr().err
    assert "Do not train twice" in warned
    assert str(tmp_path / "run") in warned


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    ("host", "pid", "obstacle"),
    [
        (socket.gethostname(), os.getppid(), True),
        (socket.gethostname(), NOBODY, False),
        (socket.gethostname(), os.getpid(), False),  # given again
        ("elsewhere", os.getppid(), False),
    ],
    ids=["another process", "none", "this one", "elsewhere"],
)
def test_without_locks_a_process_that_lives_here_decides(
    tmp_path: Path, host: str, pid: int, obstacle: bool
) -> None:
    (tmp_path / "run").mkdir()
    who = {"host": host, "pid": pid, "since": "long ago"}
    (tmp_path / "run" / ".lock").write_text(json.dumps(who))
    if obstacle:
        assert f"process {pid} on {host}, since long ago" in refused(tmp_path)
    else:
        take(tmp_path).release()


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.ENOENT, errno.ESTALE])
def test_a_disk_that_went_bad_hides_no_other_error(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **keywords: bool) -> None:
        raise OSError(error, os.strerror(error), str(path))

    def run() -> None:
        with take(tmp_path):
            monkeypatch.setattr(os, "unlink", refuse)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    monkeypatch.undo()
    take(tmp_path).release()  # it was let go all the same


def test_a_folder_deleted_meanwhile_is_let_go(tmp_path: Path) -> None:
    with take(tmp_path):
        (tmp_path / "run" / ".lock").unlink()
        (tmp_path / "run").rmdir()
    assert run_lock._held == set()
    take(tmp_path).release()


def test_processes_are_told_apart_by_their_numbers() -> None:
    assert files.process_exists(os.getpid())
    assert files.process_exists(1)
    assert not files.process_exists(NOBODY)
    assert not files.process_exists(10**30)
