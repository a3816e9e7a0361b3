"""Files from the web: resumed, refused, compared; from a server on this machine."""

import hashlib
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_disk import small_disk
from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.base.errors import UserError, WriteError
from util.storage import downloads
from util.storage.downloads import SUMS, check_digest, download

DATA = os.urandom(300_000)
FILE = "/datasets/file.zip"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def url(server: Server) -> str:
    server.files, server.resumes = {"file.zip": DATA}, True
    return f"{server.url}file.zip"


def test_progress_is_told_from_the_first_byte_to_the_last(url: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    download(url, tmp_path / "new" / "file.zip", lambda there, total: told.append((there, total)))
    assert (tmp_path / "new" / "file.zip").read_bytes() == DATA
    assert [told[0], told[-1]] == [(0, len(DATA)), (len(DATA), len(DATA))]
    assert [there for there, _ in told] == sorted(there for there, _ in told)


@pytest.mark.parametrize("reset", [False, True])
def test_cuts_are_gone_on_from_at_once(
    server: Server, url: str, tmp_path: Path, reset: bool
) -> None:
    server.hang_up, server.times, server.reset = {"file.zip"}, 1 if reset else 3, reset
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA
    assert os.listdir(tmp_path) == ["file.zip"]
    ranges = [request.partition("bytes=")[2] for request in server.requests]
    assert len(ranges) == (2 if reset else 4)
    if not reset:  # else some of what was on its way is lost
        assert ranges == ["", "150000-", "225000-", "262500-"]


def test_a_later_attempt_fetches_only_the_rest(server: Server, url: str, tmp_path: Path) -> None:
    server.hang_up = {"file.zip"}
    with pytest.raises(UserError, match=r"broke off at .* bytes .* goes on from there"):
        download(url, tmp_path / "file.zip")
    assert len(server.requests) == downloads.ATTEMPTS
    there = (tmp_path / "file.zip.part").stat().st_size
    assert 0 < there < len(DATA)
    server.hang_up, server.requests = set(), []
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA
    assert server.requests == [f"{FILE} bytes={there}-"]


@pytest.mark.parametrize("stamp", ["yesterday", "Mon, 99 Jan 2017 03:04:05 GMT"])
def test_a_time_of_another_form_is_as_good_as_none(
    server: Server, url: str, tmp_path: Path, stamp: str
) -> None:
    server.changed, server.hang_up, server.times = stamp, {"file.zip"}, 1
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA
    assert server.requests == [FILE, FILE]  # from the beginning, since it cannot be resumed


def test_a_file_that_has_changed_meanwhile_is_fetched_anew(
    server: Server, url: str, tmp_path: Path
) -> None:
    server.hang_up = {"file.zip"}
    with pytest.raises(UserError, match="broke off"):
        download(url, tmp_path / "file.zip")
    other = os.urandom(len(DATA))
    server.hang_up, server.files = set(), {"file.zip": other}
    server.changed = "Tue, 03 Jan 2017 03:04:05 GMT"
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == other


@pytest.mark.parametrize("more", [b"", b"of another file"])
def test_a_part_that_is_whole_or_longer_is_fetched_anew(
    url: str, tmp_path: Path, more: bytes
) -> None:
    download(url, tmp_path / "file.zip")
    part, changed = tmp_path / "file.zip.part", (tmp_path / "file.zip").stat().st_mtime
    part.write_bytes(DATA + more)
    os.utime(part, (changed, changed))
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA
    assert not part.exists()


def test_a_server_that_sends_no_parts_is_asked_for_all(
    server: Server, url: str, tmp_path: Path
) -> None:
    server.resumes, server.hang_up = False, {"file.zip"}
    with pytest.raises(UserError, match="broke off"):  # a second attempt brought no more
        download(url, tmp_path / "file.zip")
    assert server.requests == [FILE] * 3
    server.hang_up = set()
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA


def test_a_server_that_falls_silent_is_given_up_and_asked_again(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    server.pause = 0.5
    with pytest.raises(UserError, match="broke off at .*timed out"):
        download(url, tmp_path / "file.zip")
    server.pause = 0.0
    download(url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == DATA


@pytest.mark.parametrize("page", [b"<html>log in</html>", b" \r\n<!DOCTYPE html><p>log in"])
def test_a_web_page_is_refused_and_not_kept(
    server: Server, url: str, tmp_path: Path, page: bytes
) -> None:
    server.files = {"file.zip": page}
    with pytest.raises(UserError, match="answers with a web page instead of a file"):
        download(url, tmp_path / "file.zip")
    assert os.listdir(tmp_path) == []


def test_a_way_that_is_not_encrypted_any_more_is_refused(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No certificate here: the server's address only says https."""

    def without_encryption(request: Any, timeout: float) -> Any:
        request.full_url = url
        return opened(request, timeout=timeout)

    opened: Any = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", without_encryption)
    with pytest.raises(UserError, match="is not encrypted.*--http"):
        download(url.replace("http:", "https:"), tmp_path / "file.zip")
    assert not (tmp_path / "file.zip").exists()


def test_a_full_disk_is_one_message_and_the_download_goes_on_when_there_is_room(
    url: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        (disk / "ballast").write_bytes(bytes(150_000))
        with pytest.raises(WriteError, match=r"file\.zip\.part: No space left"):
            download(url, disk / "file.zip")
        (disk / "ballast").unlink()
        download(url, disk / "file.zip")
        assert (disk / "file.zip").read_bytes() == DATA


def test_the_first_digest_is_kept_and_a_different_file_refused(tmp_path: Path) -> None:
    for name, content in (("a.zip", b"a"), ("b c.zip", b"b")):
        (tmp_path / name).write_bytes(content)
        assert check_digest(tmp_path / name, name) == hashlib.sha256(content).hexdigest()
    lines = (tmp_path / SUMS).read_text().splitlines()
    assert [line[64:] for line in lines] == ["  a.zip", "  b c.zip"]  # as sha256sum --check reads
    (tmp_path / "a.zip").write_bytes(b"other")
    with pytest.raises(UserError, match=r"a\.zip is not what it was.*delete that line"):
        check_digest(tmp_path / "a.zip", "a.zip")
    assert (tmp_path / SUMS).read_text().splitlines() == lines
    check_digest(tmp_path / "b c.zip", "b c.zip")
