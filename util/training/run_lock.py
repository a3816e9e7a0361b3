"""One training run for each folder: a second one would overwrite the first one's checkpoints."""

import errno
import json
import os
import socket
import sys
import time
from argparse import Namespace
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self

from util.base import system
from util.base.errors import UserError, writing
from util.base.log import note, warn
from util.processes import group
from util.storage import files, journal
from util.storage.run_folder import RunFolder
from util.training.new_run import move_back

NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network disks

_held: set[Path] = set()  # by this process, for which the system's locks are no obstacle


class RunLock:
    """Hold a run's folder for this process, until the end of a `with` block.

    The system's own lock decides (POSIX record locks): it ends with the process however that ends,
    and processes that load images do not inherit it, so a run that was killed can be continued
    at once. The file's text only tells people who holds it.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        self._made: list[Path] = []  # folders that were not there before, inner ones first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()
        if error is not None:  # a start that failed leaves no folder
            with suppress(OSError):  # something has been trained there
                for folder in self._made:
                    folder.rmdir()

    def take(self, opt: Namespace) -> None:
        """Take the run's folder, unless another run has it; tidy up what a killed run left.

        Of several processes that train together the first one takes it, for all.
        """
        if system.is_main_process():
            self._take(opt)
        group.wait_for_all()

    def _take(self, opt: Namespace) -> None:
        folder = RunFolder(opt.checkpoints_dir, opt.name)
        above = (folder.path, *folder.path.parents)
        self._made = [path for path in above if not path.exists()]
        folder.path.mkdir(parents=True, exist_ok=True)
        path = RunFolder(folder.path.resolve()).lock
        if path in _held:
            raise UserError(_refusal(folder, opt.name, f"this process ({os.getpid()})"))
        with writing(path):
            file = _open_locked(path)
            if file is None:
                raise UserError(_refusal(folder, opt.name, _holder(path)))
            self._path, self._file = path, file
            _held.add(path)
            who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%c")}
            file.truncate(0)
            file.write(json.dumps(who).encode())
        journal.recover(folder.path)
        if move_back(folder):
            note(f"{folder} is whole again: a new run was killed while it moved this one away.")
        for place in (folder.path, folder.web, folder.web_images):
            files.remove_leftovers(place)

    def release(self) -> None:
        """Let go of the folder; more calls do nothing."""
        if self._path is None or self._file is None:
            return
        try:
            if os.name != "nt":
                with suppress(OSError):  # a disk that went bad has been spoken of already
                    self._path.unlink()  # while it is held: nobody can take it between
        finally:
            self._file.close()
            _held.discard(self._path)
            self._path = self._file = None


def _open_locked(path: Path) -> IO[bytes] | None:
    """Return the lock file, open and locked; None if another process has locked it."""
    while True:
        file = path.open("a+b", buffering=0)
        with ExitStack() as on_failure, suppress(FileNotFoundError):
            on_failure.callback(file.close)
            if not _lock(file):
                return None
            # If its holder let go and removed it after we had opened it: once more.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                on_failure.pop_all()
                return file


def _lock(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        import msvcrt

        with suppress(OSError):
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        return False
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # neither Windows nor POSIX
        return _is_free_without_locks(file)
    except (BlockingIOError, PermissionError):  # what POSIX has for "somebody else's"
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
        return _is_free_without_locks(file)
    return True


def _is_free_without_locks(file: IO[bytes]) -> bool:
    warn(f"{file.name}: there are no locks here. Do not train twice with one --name.")
    who = _read_holder(Path(file.name))
    is_another = who.get("host") == socket.gethostname() and who["pid"] != os.getpid()
    return not (is_another and files.process_exists(who["pid"]))


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        who = json.loads(path.read_bytes())
        return {"host": str(who["host"]), "pid": int(who["pid"]), "since": str(who["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # not written yet, or not by us


def _holder(path: Path) -> str:
    who = _read_holder(path)
    return "process {pid} on {host}, since {since}".format(**who) if who else "another process"


def _refusal(folder: RunFolder, name: str, holder: str) -> str:
    return (
        f"A run with --name {name} is training already ({holder}); two would overwrite each "
        f"other's checkpoints in {folder}. Choose another --name, or stop that one first."
    )
