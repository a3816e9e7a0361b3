"""Strange images and names, ways to damage files, and watchers for hangs and stray writes."""

import io
import os
import signal
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.support.tiers import LONG

Pixels = NDArray[np.uint8]  # (H, W, 3)


def tries(number: int) -> settings:
    """Return hypothesis's settings for so many examples, 20 times as many in long runs.

    The fast tier tries the same ones every time, so that nobody's commit fails by chance.
    """
    return settings(
        max_examples=20 * number if LONG else number,
        deadline=None,
        derandomize=not LONG,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,  # examples may share a folder
        ],
    )


# ---- names --------------------------------------------------------------------------------------

NAMES = (
    "two words",
    " first and last a blank ",
    "a#b",
    "50%25 off",
    "%2e%2e%2fup",
    "it's",
    'a "quote"',
    "a&amp;b",
    "?q=1&b=2",
    "smile 😀",
    "风景照片",
    "cafe\N{COMBINING ACUTE ACCENT}",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "-rf",
    "--help",
    "back\\slash",
    "down\\..\\..\\up",
    "a:b",
    "~",
    "*",
    "{model}",
    "x.tar.gz",
    "two\nlines",
    "\x1b[31mred",
    "not utf-8 \udcff",
    "x" * 251,
    "x" * 250 + "y",
    "漢" * 83,
    "$(touch marker)",
    "`touch marker`",
    "; touch marker",
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
)


# ---- images -----------------------------------------------------------------------------------


def noise(width: int = 16, height: int = 12, seed: int = 0) -> Pixels:
    """Return random pixels."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **keywords: Any) -> bytes:
    """Return an image file's content."""
    file = io.BytesIO()
    image.save(file, kind, **keywords)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG file made by hand: whatever it claims, `rows` is what is in it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(*entries: tuple[int, int, int]) -> bytes:
    """Return EXIF data with one value for each (tag, type, value)."""
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


# ---- damage -------------------------------------------------------------------------------------

Edit = Callable[[bytearray], None]


def _flip(where: float, value: int) -> Edit:
    def edit(content: bytearray) -> None:
        if content:
            content[int(where * len(content))] ^= value

    return edit


def _insert(where: float, new: bytes) -> Edit:
    def edit(content: bytearray) -> None:
        place = int(where * len(content))
        content[place:place] = new

    return edit


def _remove(where: float, length: int) -> Edit:
    def edit(content: bytearray) -> None:
        place = int(where * len(content))
        del content[place : place + length]

    return edit


def _cut(where: float) -> Edit:
    def edit(content: bytearray) -> None:
        del content[int(where * len(content)) :]

    return edit


# Headers are short and decide most: half of all damage is near the beginning. (Integers, since
# hypothesis draws 0.0 too often.)
_SHARE = st.integers(0, 9999).map(lambda number: number / 10_000)
_WHERE = st.one_of(_SHARE, _SHARE.map(lambda share: share**4))
_EDITS = st.one_of(
    *[st.builds(_flip, _WHERE, st.integers(1, 255))] * 3,
    st.builds(_insert, _WHERE, st.binary(min_size=1, max_size=8)),
    st.builds(_remove, _WHERE, st.integers(1, 16)),
    st.builds(_cut, _WHERE),
)


def damaged(originals: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of the files, with some bytes flipped, inserted, removed or cut off."""

    def apply(original: bytes, edits: Sequence[Edit]) -> bytes:
        content = bytearray(original)
        for edit in edits:
            edit(content)
        return bytes(content)

    few = st.lists(_EDITS, min_size=1, max_size=1)
    return st.builds(
        apply, st.sampled_from(originals), st.one_of(few, few, st.lists(_EDITS, max_size=6))
    )


# ---- watchers -----------------------------------------------------------------------------------


class _TooLong(BaseException):
    """Not an `Exception`, so that no code under test takes it for a damaged file."""


@contextmanager
def time_limit(seconds: float = 20) -> Iterator[None]:
    """Fail if the block takes longer: opening a pipe, for example, would wait for ever."""

    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLong:
        raise AssertionError(f"not finished after {seconds} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_FIRST, _SECOND, _BOTH = slice(0, 1), slice(1, 2), slice(0, 2)
_CHANGES = {  # which arguments of Python's audit events are changed
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"), _FIRST),
    **dict.fromkeys(("os.link", "os.symlink"), _SECOND),
    "os.rename": _BOTH,
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_watched: list[set[Path]] = []  # where the writes of running `writes` blocks are noted
_hooked: list[bool] = []


def _note_writes(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    changed: Sequence[Any] = ()
    if event == "open":
        path, _, flags = arguments
        changed = [path] if isinstance(flags, int) and flags & _WRITING else []
    elif event in _CHANGES:
        changed = arguments[_CHANGES[event]]
    for path in changed:
        if isinstance(path, str | bytes | os.PathLike) and "__pycache__" not in os.fsdecode(path):
            for found in _watched:
                found.add(Path(os.path.realpath(os.fsdecode(path))))


@contextmanager
def writes() -> Iterator[set[Path]]:
    """Collect all paths that this process writes, makes, renames or deletes in the block."""
    if not _hooked:  # a hook stays until Python ends; without a block around it does nothing
        sys.addaudithook(_note_writes)
        _hooked.append(True)
    found: set[Path] = set()
    _watched.append(found)
    try:
        yield found
    finally:
        _watched.remove(found)


def outside(paths: set[Path], *folders: Path) -> list[Path]:
    """Return those of the paths that are in none of the folders; torch's cache does not count."""
    inside = [folder.resolve() for folder in folders]
    return sorted(
        path
        for path in paths - {Path(os.devnull)}
        if not any(path.is_relative_to(folder) for folder in inside)
        and not any(part.startswith("torchinductor_") for part in path.parts)
    )


def tree(folder: Path) -> dict[str, str]:
    """Return everything below a folder: what it is, or a file's content."""

    def shown(path: Path) -> str:
        if path.is_symlink():
            return f"link to {os.readlink(path)}"
        return repr(path.read_bytes()) if path.is_file() else "no file"

    return {str(path.relative_to(folder)): shown(path) for path in sorted(folder.rglob("*"))}
