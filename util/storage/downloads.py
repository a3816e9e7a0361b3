"""Files from the web: whole or not there, and gone on with where an earlier attempt broke off."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from util.base.errors import UserError, writing
from util.storage.files import write_text

TIMEOUT_SECONDS = 30  # without a byte
ATTEMPTS = 5  # fewer, if two in a row bring nothing
PAUSE_SECONDS = 1.0
CHUNK = 2**18  # bytes
SUMS = "SHA256SUMS"  # as the command sha256sum writes and checks it

Show = Callable[[int, int | None], None]  # bytes that are there, and of how many if that is known


def download(
    url: str, file: Path, show: Show = lambda there, total: None, *, part: Path | None = None
) -> None:
    """Fetch a file, resuming what an earlier attempt has left in `part`: by default `<file>.part`.

    Raises:
        UserError: no connection, no such file, or something else in its place, as the page of a
            network that wants a password.
        WriteError: the disk does not take it; what is there stays for the next attempt.
    """
    part = part or file.with_name(f"{file.name}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    idle = 0  # attempts one after the other that brought nothing
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        reason = _fetch_rest(url, part, show)
        if reason is None:
            break
        idle = 0 if _size(part) > before else idle + 1
        if attempt == ATTEMPTS or idle == 2:
            raise UserError(
                f"Downloading {url} broke off at {_size(part):,} bytes ({reason}). The same "
                "command goes on from there."
            )
        time.sleep(PAUSE_SECONDS)
    _refuse_web_page(url, part)
    os.replace(part, file)


def open_url(url: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Ask a server for a file.

    Raises:
        UserError: no connection, an error for an answer, or one that is no longer encrypted.
    """
    request = urllib.request.Request(url, headers=headers or {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        text = f"{url} answers {error.code} {error.reason}. Is the name right?"
        raise UserError(text) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)  # urllib wraps what the system says
        raise UserError(f"{url} cannot be reached ({reason}). Are you online?") from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise UserError(
            f"{url} leads to {response.url}, which is not encrypted: anybody on the way could "
            "change the file. To take it all the same, give --http, or of a shard its http address."
        )
    return response


def _fetch_rest(url: str, part: Path, show: Show) -> str | None:
    """Fetch what `part` lacks; return why that broke off, or None when the file is whole.

    The time of `part` is that of the server's file, so that a file that has changed meanwhile is
    fetched anew (If-Range).
    """
    there = _size(part)
    headers = {}
    if there and (changed := part.stat().st_mtime):
        headers = {"Range": f"bytes={there}-", "If-Range": formatdate(changed, usegmt=True)}
    try:
        response = open_url(url, headers)
    except UserError as error:
        cause = error.__cause__
        if not isinstance(cause, urllib.error.HTTPError) or cause.code != 416:
            raise
        part.unlink()  # longer than the server's file, or as long: fetched anew
        return _fetch_rest(url, part, show)
    with response, writing(part):
        resumed = response.status == 206
        there = there if resumed else 0
        length = response.headers["Content-Length"]
        total = there + int(length) if length and length.isdecimal() else None
        reason = _copy(response, part, there, total, show)
        changed = _time_of(response.headers["Last-Modified"])
        os.utime(part, (changed, changed))
    return reason


def _time_of(stamp: str | None) -> float:
    """Return when a server's file was changed; 0, with which it cannot be resumed, if unknown."""
    try:
        return parsedate_to_datetime(stamp).timestamp() if stamp else 0.0
    except (ValueError, TypeError, OverflowError):  # not the form that the standard wants
        return 0.0


def _copy(
    response: HTTPResponse, part: Path, there: int, total: int | None, show: Show
) -> str | None:
    with part.open("ab" if there else "wb") as out:
        while True:
            show(there, total)
            try:
                chunk = response.read(CHUNK)
            except (OSError, HTTPException) as error:
                return str(error) or type(error).__name__
            if not chunk:
                break
            out.write(chunk)
            there += len(chunk)
    return None if total in (None, there) else f"{total:,} were announced"


def _refuse_web_page(url: str, part: Path) -> None:
    """Look at the first bytes: servers and networks answer with pages in place of files."""
    with part.open("rb") as file:
        if not file.read(512).lstrip().startswith(b"<"):
            return
    part.unlink()
    raise UserError(
        f"{url} answers with a web page instead of a file. Open it in a browser to see why."
    )


def check_digest(file: Path, name: str) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, and compare it with an earlier one.

    The first one of a `name` is noted in `SHA256SUMS` beside the file.

    Raises:
        UserError: it is another one than before.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    sums = file.parent / SUMS
    text = sums.read_text(encoding="utf-8") if sums.is_file() else ""
    known = {line[66:]: line[:64] for line in text.splitlines()}
    if known.setdefault(name, digest) != digest:
        raise UserError(
            f"{name} is not what it was when it was downloaded first: its SHA-256 is {digest}, "
            f"{sums} says {known[name]}. If it was changed on purpose, delete that line."
        )
    write_text(sums, "".join(f"{value}  {key}\n" for key, value in known.items()))
    return digest


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
