"""A disk that refuses whatever is asked of it, from a chosen request on."""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class DiskFaults:
    """Count what is asked of the disk below a folder, and refuse some of it.

    Counted are folders that are made, files that are opened for writing, every write that reaches
    the system, what is flushed, linked and renamed. Removing always works, as on a full disk.

    Args:
        folder: what lies elsewhere is left alone.
        first: the first request that is refused, from 1; none if 0.
        lasting: refuse all that follow too, as a full disk does, or only that one.
        number: the system's reason.
    """

    def __init__(
        self, folder: Path, first: int = 0, *, lasting: bool = True, number: int = errno.ENOSPC
    ) -> None:
        self.folder = str(folder)
        self.first = first
        self.lasting = lasting
        self.number = number
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def ask(self, what: str, path: object, *, names: bool) -> None:
        """Count a request, and refuse it if its turn has come; `names`: the error has the file."""
        with self._lock:
            self.asked.append(f"{what} {os.path.relpath(str(path), self.folder)}")
            now = len(self.asked)
        if 0 < self.first <= now and (self.lasting or now == self.first):
            reason = os.strerror(self.number)
            raise OSError(self.number, reason, str(path)) if names else OSError(self.number, reason)

    def concerns(self, path: object) -> bool:
        """Tell whether a path lies below the folder."""
        if not isinstance(path, str | Path):
            return False
        return f"{os.path.realpath(path)}{os.sep}".startswith(self.folder + os.sep)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Stand between the program and the disk."""
        self.folder = os.path.realpath(self.folder)
        with pytest.MonkeyPatch.context() as patch:
            opener = self._opener(builtins.open)
            patch.setattr(builtins, "open", opener)
            patch.setattr(io, "open", opener)
            patch.setattr(os, "mkdir", self._named("mkdir", os.mkdir))
            for what in ("replace", "rename", "link"):
                patch.setattr(os, what, self._named(what, getattr(os, what), target=1))
            patch.setattr(os, "fsync", self._fsync(os.fsync))
            yield

    def _named(self, what: str, call: Callable[..., Any], target: int = 0) -> Callable[..., Any]:
        def asking(*paths: Any, **keywords: Any) -> Any:
            if self.concerns(paths[target]):
                self.ask(what, paths[target], names=True)
            return call(*paths, **keywords)

        return asking

    def _fsync(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def asking(descriptor: int) -> None:
            self.ask("fsync", os.path.join(self.folder, "a file"), names=False)
            call(descriptor)

        return asking

    def _opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def asking(
            file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
            errors: str | None = None, newline: str | None = None, *more: Any, **keywords: Any,
        ) -> Any:  # fmt: skip
            if set(mode).isdisjoint("wax+") or not self.concerns(file):
                return real(file, mode, buffering, encoding, errors, newline, *more, **keywords)
            self.ask("open", file, names=True)
            raw = _CountedFile(str(file), mode.replace("b", "").replace("t", ""), self)
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding, errors, newline)

        return asking


class _CountedFile(io.FileIO):
    """A file whose writes are asked for."""

    def __init__(self, path: str, mode: str, faults: DiskFaults) -> None:
        self._faults = faults
        super().__init__(path, mode)

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Write as far as the disk allows."""
        self._faults.ask("write", self.name, names=False)
        return super().write(data)
