"""Files that belong together: readers get all of one save, wherever its writer was killed."""

import errno
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import save_set, save_state
from util.base.errors import UserError, WriteError
from util.storage import checkpoint, files, journal
from util.storage.checkpoint import CheckpointError

NAMES = ("latest_net_D.pth", "latest_net_G.pth", "latest_state.pth")
TRACED = {module.__file__ for module in (checkpoint, journal, files)}
KILLED = 9
NOBODY = 2**22 + 1  # higher than any process's number on Linux
NOT_ENDED = (-signal.SIGXFSZ, KILLED)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills itself in a forked process")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only power cuts need it; whoever is killed leaves what the system has taken."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def save(folder: Path, number: int) -> None:
    """Write a save whose files all say `number`; as in a run, two of them are one."""
    with checkpoint.FileSet() as written:
        for name in NAMES[:2]:
            written.add(folder / name, {"number": torch.tensor(number)})
        written.add_link(folder / NAMES[2], folder / NAMES[1])


def read(folder: Path) -> int:
    """Return the number that a save says, by all of its files."""
    paths = [folder / name for name in NAMES]
    with checkpoint.open_save(paths) as opened:
        numbers = {int(checkpoint.load_state(path, file=opened[path])["number"]) for path in paths}
    assert len(numbers) == 1, "two saves are mixed"
    return numbers.pop()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def restart(folder: Path) -> None:
    """Do what the next training run does."""
    journal.recover(folder)
    files.remove_leftovers(folder)


# ---- being killed -------------------------------------------------------------------------------


def in_child(action: Callable[[], object]) -> int:
    """Return the exit status of a process that does something, negative if a signal ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        finally:  # never back into pytest
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def each_line(action: Callable[[], object], then: Callable[[int], object]) -> None:
    """Call `then(n)` before the n-th line of the modules under test, while something is done."""
    lines = itertools.count()

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            then(next(lines))
        return local

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename in TRACED else None

    before = sys.gettrace()
    sys.settrace(trace)
    threading.settrace(trace)  # for those that begin meanwhile
    try:
        action()
    finally:
        sys.settrace(before)
        threading.settrace(before)


def lines_of_a_save(folder: Path) -> int:
    folder.mkdir()
    save(folder, 0)
    passed: list[int] = []
    each_line(lambda: save(folder, 1), passed.append)
    return len(passed)


def killed_save(folder: Path, number: int, line: int, *, process: int | None = None) -> int:
    """Save in another process that is killed before a line; `process` is its number."""

    def die(reached: int) -> None:
        if reached == line:
            os._exit(KILLED)

    def action() -> None:
        if process is not None:  # as in a container, where each start is the same
            os.getpid = lambda: process
            files._numbers = itertools.count()
        each_line(lambda: save(folder, number), die)

    return in_child(action)


@needs_fork
@pytest.mark.slow
def test_killed_before_any_line_of_a_save_the_old_or_the_new_one_is_there(tmp_path: Path) -> None:
    found = []
    for line in range(lines_of_a_save(tmp_path / "count")):
        folder = tmp_path / str(line)
        folder.mkdir()
        save(folder, 1)
        assert killed_save(folder, 2, line) == KILLED
        found.append(read(folder))
        restart(folder)
        assert names(folder) == list(NAMES)
        assert read(folder) == found[-1]
    assert set(found) == {1, 2}
    assert found == sorted(found)  # from some line on it counts, and stays so


@needs_fork
def test_killed_in_the_first_save_it_is_whole_or_not_there(tmp_path: Path) -> None:
    found = []
    for line in range(0, lines_of_a_save(tmp_path / "count"), 3):
        folder = tmp_path / str(line)
        folder.mkdir()
        killed_save(folder, 1, line)
        try:
            found.append(read(folder))
        except CheckpointError:
            found.append(0)
        restart(folder)
        assert names(folder) == list(NAMES) * found[-1]
    assert set(found) == {0, 1}
    assert found == sorted(found)


@needs_fork
@pytest.mark.parametrize("process", [None, NOBODY], ids=["other numbers", "one number for all"])
def test_killed_again_and_again_a_newer_save_is_never_followed_by_an_older_one(
    tmp_path: Path, process: int | None
) -> None:
    lines = lines_of_a_save(tmp_path / "count")
    chance = random.Random(4)
    for attempt in range(15):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        save(folder, 1)
        newest = 1
        for number in (2, 3, 4):
            late = chance.random() < 0.7  # where files are renamed
            line = chance.randrange(int(lines * 0.6) if late else 0, lines)
            killed_save(folder, number, line, process=process)
            assert read(folder) in (newest, number), (attempt, line)
            newest = read(folder)
        restart(folder)
        assert read(folder) == newest
        assert names(folder) == list(NAMES)


@needs_fork
@pytest.mark.parametrize("size", [0, 1, 700, 1200])
def test_killed_in_the_middle_of_a_file_the_old_save_is_there(tmp_path: Path, size: int) -> None:
    def action() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        save(tmp_path, 2)

    save(tmp_path, 1)
    assert (tmp_path / NAMES[0]).stat().st_size > size
    assert in_child(action) in NOT_ENDED
    assert len(names(tmp_path)) > len(NAMES)
    assert read(tmp_path) == 1
    restart(tmp_path)
    assert names(tmp_path) == list(NAMES)


@pytest.mark.parametrize("alive", [os.getpid(), os.getppid()], ids=["this", "another"])
def test_a_save_left_by_a_process_whose_number_lives_comes_before_newer_ones(
    tmp_path: Path, alive: int
) -> None:
    """Numbers are given again, and whoever was killed keeps his until his parent asks for him."""
    save(tmp_path, 1)
    temporaries = {tmp_path / name: tmp_path / f".{alive}-0.tmp-{name}" for name in NAMES}
    for temporary in temporaries.values():
        save_state({"number": torch.tensor(2)}, temporary)
    journal.write_journal(temporaries).rename(tmp_path / f".{alive}.commit")
    assert read(tmp_path) == 2
    save(tmp_path, 3)
    assert read(tmp_path) == 3
    assert names(tmp_path) == list(NAMES)


# ---- errors -------------------------------------------------------------------------------------


class FailAt:
    """Let the n-th call of the system's functions that change files fail."""

    def __init__(self, number: int) -> None:
        self.calls = itertools.count()
        self.number = number

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if next(self.calls) == self.number:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(arguments[0]))
            return function(*arguments, **keywords)

        return call

    def save(self, folder: Path, number: int) -> bool:
        """Save; False if a call has failed."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "fsync", "open", "unlink", "link"):
                patch.setattr(os, name, self.wrap(getattr(os, name)))
            patch.setattr(io, "open", self.wrap(io.open))
            try:
                save(folder, number)
            except OSError:
                return False
        return True


def test_whichever_call_of_the_system_fails_one_save_is_whole(tmp_path: Path) -> None:
    refused = 0
    for call in itertools.count():
        folder = tmp_path / str(call)
        folder.mkdir()
        save(folder, 1)
        failing = FailAt(call)
        refused += not failing.save(folder, 2)
        if next(failing.calls) <= call:  # so many are not made
            break
        found = read(folder)
        restart(folder)
        assert read(folder) == found
        assert names(folder) == list(NAMES)
        save(folder, 3)
        assert read(folder) == 3
    assert call > 15
    assert refused > 10


def test_a_save_that_is_given_up_half_way_leaves_the_old_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    def give_up() -> None:
        with checkpoint.FileSet() as written:
            written.add(tmp_path / NAMES[0], {"number": torch.tensor(2)})
            raise KeyboardInterrupt

    save(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert read(tmp_path) == 1
    assert names(tmp_path) == list(NAMES)


def save_without_renames(folder: Path, number: int) -> None:
    """Begin a save that counts already, but whose files cannot be renamed now."""
    replace = os.replace

    def refuse_checkpoints(source: Path, target: Path) -> None:
        if target.suffix == ".pth":
            raise PermissionError(errno.EPERM, "not now", str(target))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", refuse_checkpoints)
        with pytest.raises(WriteError, match="not now"):
            save(folder, number)


def test_renames_that_fail_are_done_by_the_next_save(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save_without_renames(tmp_path, 2)
    assert read(tmp_path) == 2
    save_state({"number": 3}, tmp_path / "3_state.pth")
    assert names(tmp_path) == ["3_state.pth", *NAMES]
    assert read(tmp_path) == 2


def test_renames_that_fail_in_another_thread_meanwhile_are_done_first(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with checkpoint.FileSet() as written:
        written.add(tmp_path / "3_state.pth", {"number": 3})
        save_without_renames(tmp_path, 2)
    assert names(tmp_path) == ["3_state.pth", *NAMES]
    assert read(tmp_path) == 2


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"a": 3}', b"\xff", b'{"latest'])
def test_a_damaged_journal_is_named_and_nothing_is_guessed(tmp_path: Path, content: bytes) -> None:
    save(tmp_path, 1)
    damaged = tmp_path / ".12.commit"
    damaged.write_bytes(content)
    for action in (lambda: read(tmp_path), lambda: journal.recover(tmp_path)):
        with pytest.raises(UserError, match="Delete it") as caught:
            action()
        assert str(damaged) in str(caught.value)
    damaged.unlink()
    assert read(tmp_path) == 1


def test_a_journal_leads_to_no_other_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    save(folder, 1)
    (tmp_path / "precious").write_text("kept")
    (folder / ".12.commit").write_text(json.dumps({"latest_net_G.pth": "../precious"}))
    restart(folder)
    assert (tmp_path / "precious").read_text() == "kept"
    assert read(folder) == 1


# ---- what power cuts need -----------------------------------------------------------------------


def test_everything_is_on_the_disk_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents before the journal counts, the journal before renames, these before it goes."""
    save(tmp_path, 1)
    events: list[str] = []
    folder = tmp_path.stat().st_ino
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def note_flush(descriptor: int) -> None:
        events.append("flush folder" if os.fstat(descriptor).st_ino == folder else "flush file")
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        events.append("journal" if target.suffix == ".commit" else "rename")
        replace(source, target)

    def note_unlink(path: Path, **keywords: Any) -> None:
        if path.exists():
            events.append(f"remove {path.suffix}")
        unlink(path, **keywords)

    for name, note in (("fsync", note_flush), ("replace", note_rename), ("unlink", note_unlink)):
        monkeypatch.setattr(os, name, note)
    save(tmp_path, 2)
    assert events == [
        *["flush file"] * 3,  # the third is the journal; a link has been flushed already
        *["journal", "flush folder"],
        *["rename"] * 3,
        *["flush folder", "remove .commit"],
    ]


# ---- reading meanwhile --------------------------------------------------------------------------


def steps_of_a_save(folder: Path, number: int) -> Iterator[None]:
    """Save as `FileSet` does, but pause after every change that others can see."""
    temporaries = {folder / name: files.temporary_name(folder / name) for name in NAMES}
    for temporary in temporaries.values():
        temporary.write_bytes(str(number).encode())
    yield
    announced = journal.write_journal(temporaries)
    yield
    for final, temporary in temporaries.items():
        os.replace(temporary, final)
        yield
    announced.unlink()
    yield


@given(schedule=st.dictionaries(st.integers(0, 60), st.integers(1, 8), max_size=3))
@settings(max_examples=400, deadline=None)
def test_whatever_a_writer_does_between_two_lines_of_a_reader(
    schedule: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("interleaved")
    steps = (step for number in range(6) for step in steps_of_a_save(folder, number))
    for _ in range(6):
        next(steps)  # one save is there
    seen: list[bytes] = []

    def read_bytes() -> None:
        with journal.open_together([folder / name for name in NAMES]) as opened:
            seen.extend(file.read() for file in opened.values())

    def write(line: int) -> None:
        for _ in range(schedule.get(line, 0)):
            next(steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: None)
        each_line(read_bytes, write)
    assert len(seen) == len(NAMES)
    assert len(set(seen)) == 1, "two saves are mixed"
    shutil.rmtree(folder)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[int]:
    """Let another process save constantly, counting up."""
    save(tmp_path, 0)

    def write() -> None:
        for number in itertools.count(1):
            save(tmp_path, number)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            write()
        finally:
            os._exit(1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@needs_fork
def test_readers_never_mix_two_saves_nor_go_back_in_time(tmp_path: Path, writer: int) -> None:
    seen = [read(tmp_path) for _ in range(150)]
    while len(set(seen)) < 10:  # on a busy machine the writer may not have had its turn
        seen.append(read(tmp_path))
    assert seen == sorted(seen)


def test_threads_that_save_at_once_do_not_mix(tmp_path: Path) -> None:
    save(tmp_path, 0)
    problems: list[Exception] = []

    def write(numbers: Sequence[int]) -> None:
        try:
            for number in numbers:
                save(tmp_path, number)
        except Exception as error:  # noqa: BLE001 - shown below
            problems.append(error)

    threads = [threading.Thread(target=write, args=(range(n, n + 10),)) for n in (100, 200, 300)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read(tmp_path)
    for thread in threads:
        thread.join()
    assert problems == []
    assert read(tmp_path) in (109, 209, 309)
    assert names(tmp_path) == list(NAMES)


def test_a_file_that_is_not_there_is_named_at_once_though_a_save_is_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    temporary = files.temporary_name(tmp_path / NAMES[0])
    save_state({"number": torch.tensor(2)}, temporary)
    journal.write_journal({tmp_path / NAMES[0]: temporary})
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(CheckpointError, match=r"7_net_G\.pth does not exist"):
        checkpoint.load_state(tmp_path / "7_net_G.pth")


def test_whoever_cannot_get_all_of_one_save_gives_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    number = itertools.count(2)
    current = journal._is_current

    def disturbed(*arguments: Any) -> bool:
        save(tmp_path, next(number))
        return current(*arguments)

    monkeypatch.setattr(journal, "_is_current", disturbed)
    monkeypatch.setattr(journal, "ATTEMPTS", 5)
    monkeypatch.setattr(journal, "PAUSE_SECONDS", 0)
    with pytest.raises(UserError, match="replaced faster than it can be read"):
        read(tmp_path)


# ---- more than one folder -----------------------------------------------------------------------


def test_files_of_several_folders_are_all_replaced(tmp_path: Path) -> None:
    paths = [tmp_path / "run" / "latest_state.pth", tmp_path / "weights" / "latest_net_G.pth"]
    for number in (1, 2):
        for path in paths:
            path.parent.mkdir(exist_ok=True)
        save_set({path: {"number": number} for path in paths})
        assert [checkpoint.load_state(path)["number"] for path in paths] == [number] * 2
    assert [names(path.parent) for path in paths] == [[path.name] for path in paths]
