"""A folder of shards from the web, of bounded size, shared by all processes of a machine."""

import hashlib
import os
import socket
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TypeVar

from data.shards.lists import ENDING, INDEX, Shard, index_text, read_index
from util.base.errors import LoadError, UserError, WriteError
from util.base.log import note_of_process, warn
from util.storage.downloads import download
from util.storage.files import write_text

Result = TypeVar("Result")
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds, between attempts
PATIENCE_SECONDS = 60.0  # after which no further attempt is made
EVICTED = 3  # times in a row that others may remove a shard between fetching and opening it
PASSING = (408, 425, 429)  # of 400 to 499: answers that a later attempt may not get


class ShardError(LoadError):
    """A shard that cannot be fetched: nothing is wrong with single images."""

    hint = "Once the server answers, and the disk takes it, the run can go on."


def default_folder() -> Path:
    """Return where shards go on this machine: below $XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "cyclegan-pix2pix" / "shards"


class ShardCache:
    """Shards from the web, fetched whole; those that were used last stay, up to `most` bytes.

    One is fetched at a time, whatever processes share the folder, so that none is fetched twice
    and the bound holds. On a disk without locks each process fetches for itself.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self.most = most

    def path_of(self, shard: Shard) -> Path:
        """Return where a shard lies when it is there."""
        digest = hashlib.sha256(shard.where.encode()).hexdigest()[:16]
        name = shard.where.partition("?")[0].rpartition("/")[2].removesuffix(ENDING)
        return self.folder / f"{name[-100:]}-{digest}{ENDING}"

    def fetch(self, shard: Shard, *, patiently: bool = True) -> Path:
        """Return the file of a shard, which is fetched first if it is not there.

        Unless `patiently`, a server that does not give it is not asked again.

        Raises:
            ShardError: the server does not give it, or the disk does not take it.
        """
        path = self.path_of(shard)
        if self.has(shard):
            return path
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / "lock") as is_locked:
                if not self.has(shard):
                    part = None if is_locked else own_part(path)
                    self._make_room(shard.bytes or 0, path)
                    (_download if patiently else download)(shard.where, path, part=part)
                    self._check_size(shard, path)
                    self._make_room(0, path)
        except ShardError:
            raise
        except UserError as error:
            raise ShardError(str(error)) from error
        except OSError as error:
            raise ShardError(str(WriteError(self.folder, error))) from error
        return path

    def use(self, shard: Shard, work: Callable[[Path], Result]) -> Result:
        """Return what `work` makes of the file of a shard, here or from the web.

        Raises:
            UserError: it is not there.
        """
        for _ in range(EVICTED):
            with suppress(FileNotFoundError):
                return work(self.fetch(shard) if shard.is_remote else Path(shard.where))
        raise UserError(f"{shard.where} is not there (any more).")

    def forget(self, shard: Shard) -> None:
        """Remove what is there of a shard, which is fetched anew when it is used next."""
        with suppress(OSError), locked(self.folder / "lock"):  # it is gone, or somebody else's
            self.path_of(shard).unlink()

    def counted(self, shard: Shard) -> Shard | None:
        """Return a shard from the web as `keep_count` was given it; None if it was not."""
        if not shard.is_remote:
            return None
        kept = self.path_of(shard).with_suffix(INDEX)
        try:
            (known,) = read_index(kept.read_text(encoding="utf-8"), str(kept))
        except FileNotFoundError:
            return None
        return known

    def keep_count(self, shard: Shard) -> None:
        """Note the size and the number of samples of a shard from the web, for later runs."""
        kept = self.path_of(shard).with_suffix(INDEX)
        write_text(kept, index_text([shard], kept.stem))

    def has(self, shard: Shard) -> bool:
        """Tell whether a shard is there; it counts as used."""
        path = self.path_of(shard)
        try:
            size = path.stat().st_size
        except OSError:
            return False
        with suppress(OSError):  # somebody else's, or gone
            os.utime(path)
        return shard.bytes in (None, size)

    def _make_room(self, size: int, keep: Path) -> None:
        """Remove what was used longest ago until so many bytes more may come."""
        held = {}
        for path in (*self.folder.glob(f"*{ENDING}"), *self.folder.glob(f"*{ENDING}.part")):
            if not path.name.startswith(keep.name):
                with suppress(FileNotFoundError):
                    held[path] = path.stat()
        kept = keep.stat().st_size if keep.exists() else 0
        total = size + kept + sum(status.st_size for status in held.values())
        for path in sorted(held, key=lambda one: held[one].st_mtime):
            if total <= self.most:
                break
            path.unlink(missing_ok=True)
            total -= held[path].st_size

    def _check_size(self, shard: Shard, path: Path) -> None:
        os.utime(path)  # its time is that of the server's file
        size = path.stat().st_size
        if shard.bytes in (None, size):
            return
        path.unlink()
        counted = self.counted(shard)
        path.with_suffix(INDEX).unlink(missing_ok=True)  # what was counted of another one
        if counted is not None and counted.bytes == shard.bytes:
            raise ShardError(
                f"{shard.where} has {size:,} bytes, but had {shard.bytes:,} when its samples were "
                "counted: it is another one now. Give the command again, which counts them anew. "
                f"If other shards were replaced as well, delete {self.folder} first."
            )
        raise ShardError(
            f"{shard.where} has {size:,} bytes, its index says {shard.bytes:,}: one of them "
            "is old. Put up the shards and the index that belong together."
        )


def own_part(path: Path) -> Path:
    """Return where a thread fetches a shard to if others may be fetching it as well."""
    who = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f"{path.name.removesuffix(ENDING)}.{who}{ENDING}.part")


def _download(url: str, path: Path, *, part: Path | None) -> None:
    """Fetch a file; try again for a while if the server does not give it."""
    began = time.monotonic()
    for pause in PAUSES:
        try:
            return download(url, path, part=part)
        except UserError as error:
            if _is_final(error) or time.monotonic() - began + pause > PATIENCE_SECONDS:
                raise
            note_of_process(f"warning: {error} Trying again in {pause:g} s.")
        time.sleep(pause)
    return download(url, path, part=part)


def _is_final(error: UserError) -> bool:
    """Tell whether another attempt would end alike."""
    if isinstance(error.__cause__, urllib.error.HTTPError):
        return error.__cause__.code < 500 and error.__cause__.code not in PASSING
    return isinstance(error, WriteError)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Keep other processes and threads out; tell whether that works, as it may not on a network."""
    with path.open("a+b") as file:
        is_locked = _lock(file)
        if not is_locked:
            _tell_of_no_locks(path.parent)
        try:
            yield is_locked
        finally:
            if is_locked:
                _unlock(file)


@cache
def _tell_of_no_locks(folder: Path) -> None:  # once in a process
    warn(
        f"{folder} is on a disk without locks, so each process fetches shards for itself. Give "
        "a folder on a disk of this machine: --shard_cache."
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        while True:
            file.seek(0)
            with suppress(OSError):  # after ten seconds
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _lock(file: IO[bytes]) -> bool:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)  # of this open file: threads keep each other out too
            return True
        return False

    def _unlock(file: IO[bytes]) -> None:
        # By name: a process that was started meanwhile has the file open as well.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_UN)
