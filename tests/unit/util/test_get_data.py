"""Downloading published data sets, from a server on this machine."""

import builtins
import gzip
import io
import os
import random
import socket
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.base.errors import UserError
from util.get_data import BASE_URLS, GetData, unpack

Pack = Callable[[Mapping[str, bytes]], bytes]
FILES = {"facades/train/1.jpg": b"one", "facades/test/2.jpg": b"two"}


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_gz_with_link(target: str) -> bytes:
    """Return an archive whose link would lead the file after it elsewhere."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("facades/link")
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)
        member = tarfile.TarInfo("facades/link/evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, hidden ones too, but for the digests of downloads.

    Folders count as files without content.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"(folder)"
        for path in folder.rglob("*")
        if (path.is_file() or not any(path.iterdir())) and path.name != "SHA256SUMS"
    }


def get(server: Server, folder: Path, dataset: str | None = None, verbose: bool = False) -> str:
    return GetData("pix2pix", verbose, base_url=server.url).get(folder, dataset)


# ---- what works --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("archive", "data"), [("facades.tar.gz", tar_gz(FILES)), ("facades.zip", zipped(FILES))]
)
@pytest.mark.parametrize("asked", ["with ending", "without"])
def test_a_data_set_is_downloaded_and_unpacked(
    tmp_path: Path, server: Server, archive: str, data: bytes, asked: str
) -> None:
    server.files = {"other.zip": b"", archive: data}
    save_path = tmp_path / "not" / "yet"
    path = get(server, save_path, archive if asked == "with ending" else "facades")
    assert path == str(save_path / "facades")
    assert content(save_path) == FILES  # and nothing temporary


@pytest.mark.parametrize("name", ["facades.tar", "facades.tar.gz"])
@pytest.mark.parametrize("compressed", [True, False])
def test_what_an_archive_is_tells_its_content_not_its_name(
    tmp_path: Path, server: Server, name: str, compressed: bool
) -> None:
    data = tar_gz(FILES)
    server.files = {name: data if compressed else gzip.decompress(data)}
    get(server, tmp_path, name)
    assert content(tmp_path) == FILES


def test_an_archive_without_a_folder_of_its_own_gets_one(tmp_path: Path, server: Server) -> None:
    server.files = {"maps.zip": zipped({"train/1.jpg": b"1", "val/2.jpg": b"2"})}
    get(server, tmp_path, "maps.zip")
    assert content(tmp_path) == {"maps/train/1.jpg": b"1", "maps/val/2.jpg": b"2"}


def test_a_folder_of_another_name_is_called_after_the_data_set(
    tmp_path: Path, server: Server
) -> None:
    server.files = {"maps.tar.gz": tar_gz({"maps_v2/1.jpg": b"1"})}
    get(server, tmp_path, "maps.tar.gz")
    assert content(tmp_path) == {"maps/1.jpg": b"1"}


def test_a_data_set_that_is_there_is_not_downloaded_again(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "facades").mkdir()
    assert get(server, tmp_path, "facades.zip", verbose=True) == str(tmp_path / "facades")
    assert server.requests == []
    assert "exists already" in capsys.readouterr().out


def test_it_says_what_it_does_only_if_verbose(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files = {"facades.zip": zipped(FILES)}
    get(server, tmp_path / "a", "facades.zip", verbose=False)
    assert capsys.readouterr().out == ""
    get(server, tmp_path / "b", "facades.zip", verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert f"downloading {server.url}facades.zip" in lines
    assert lines[-1].endswith(str(tmp_path / "b" / "facades"))


def test_a_mirror_may_be_given_without_a_slash_at_its_end(tmp_path: Path, server: Server) -> None:
    server.files = {"facades.zip": zipped(FILES)}
    GetData("pix2pix", False, base_url=server.url.rstrip("/")).get(tmp_path, "facades.zip")
    assert content(tmp_path) == FILES


@pytest.mark.parametrize("technique", ["CycleGAN", "cyclegan", "Pix2Pix"])
def test_techniques_are_known_whatever_their_case(technique: str) -> None:
    assert GetData(technique).url == BASE_URLS[technique.lower()]


def test_without_arguments_it_is_cyclegan() -> None:
    data = GetData()
    assert (data.url, data.verbose) == (BASE_URLS["cyclegan"], True)


# ---- asking ------------------------------------------------------------------------------------


def test_without_a_name_it_lists_what_there_is_and_asks(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    questions = []

    def answer(question: str) -> str:
        questions.append(question)
        return "1"

    server.files = {"maps.zip": b"", "facades.zip": zipped(FILES), "README.txt": b"", "a.tgz": b""}
    monkeypatch.setattr(builtins, "input", answer)
    assert get(server, tmp_path) == str(tmp_path / "facades")
    assert capsys.readouterr().out.splitlines() == ["0: a.tgz", "1: facades.zip", "2: maps.zip"]
    assert len(questions) == 1
    assert "0 to 2" in questions[0]
    assert content(tmp_path) == FILES


@pytest.mark.parametrize("answer", ["", "3", "-1", "facades", "1.5", "²", "99999999999999999999"])
def test_an_answer_that_is_none_of_the_numbers_is_an_error(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    server.files = {"a.zip": b"", "b.zip": b"", "c.zip": b""}
    monkeypatch.setattr(builtins, "input", lambda question: answer)
    with pytest.raises(UserError, match="is no number from 0 to 2"):
        get(server, tmp_path)
    assert content(tmp_path) == {}


# ---- what does not work ------------------------------------------------------------------------


def test_an_unknown_technique_is_answered_with_the_near_miss() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'cyclegan'\? Available: pix2pix, cyclegan"):
        GetData("cyclgan")


def test_an_unknown_data_set_is_answered_with_the_near_miss(tmp_path: Path, server: Server) -> None:
    server.files = {"facades.zip": b"", "maps.zip": b""}
    with pytest.raises(UserError, match=r"No data set 'facads'.*'facades\.zip'.*maps\.zip"):
        get(server, tmp_path, "facads")
    assert content(tmp_path) == {}


def test_an_archive_that_the_server_does_not_have_is_an_error_with_its_address(
    tmp_path: Path, server: Server
) -> None:
    with pytest.raises(UserError, match="404 Not Found") as caught:
        get(server, tmp_path / "sets", "nothing.zip")
    assert f"{server.url}nothing.zip" in str(caught.value)
    assert content(tmp_path / "sets") == {}
    answer = caught.value.__cause__
    assert isinstance(answer, urllib.error.HTTPError)
    assert answer.closed  # else its socket stays open until somebody collects garbage


@pytest.mark.parametrize("dataset", ["facades", "facades.zip", None])
def test_a_refused_connection_is_an_error_that_asks_about_the_network(
    tmp_path: Path, server: Server, dataset: str | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(UserError, match="cannot be reached.*Are you online") as caught:
        GetData("pix2pix", False, base_url=url).get(tmp_path / "sets", dataset)
    assert url in str(caught.value)
    assert "urlopen" not in str(caught.value)
    assert not (tmp_path / "sets").exists() or content(tmp_path / "sets") == {}


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_off_is_an_error_and_leaves_what_came(
    tmp_path: Path, server: Server, reset: bool
) -> None:
    server.reset = reset
    server.files = {"facades.zip": zipped({"facades/1.jpg": os.urandom(200_000)})}
    server.hang_up = {"facades.zip"}
    with pytest.raises(UserError, match=r"facades\.zip"):
        get(server, tmp_path, "facades.zip")
    assert set(content(tmp_path)) == {"facades.zip.part"}  # for the next attempt


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize("damage", ["truncated", "empty", "web page"])
def test_a_broken_archive_is_an_error_and_leaves_nothing(
    tmp_path: Path, server: Server, pack: Pack, damage: str
) -> None:
    whole = pack(FILES)
    broken = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "web page": b"<html>please log in</html>",
    }[damage]
    archive = "facades.zip" if pack is zipped else "facades.tar.gz"
    server.files = {archive: broken}
    problem = "answers with a web page" if damage == "web page" else "cannot be unpacked"
    with pytest.raises(UserError, match=f"{archive} {problem}"):
        get(server, tmp_path, archive)
    assert content(tmp_path) == {}


# ---- archives that would write elsewhere -------------------------------------------------------


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize(
    "name", ["../evil.txt", "../../evil.txt", "facades/../../evil.txt", "ABSOLUTE/evil.txt"]
)
def test_an_archive_that_leads_outside_is_refused_and_nothing_is_left(
    tmp_path: Path, server: Server, pack: Pack, name: str
) -> None:
    save_path, elsewhere = tmp_path / "sets", tmp_path / "elsewhere"
    elsewhere.mkdir()
    name = name.replace("ABSOLUTE", str(elsewhere))
    archive = "facades.zip" if pack is zipped else "facades.tar.gz"
    server.files = {archive: pack({"facades/1.jpg": b"fine", name: b"evil"})}
    with pytest.raises(UserError, match=r"facades\.(zip|tar\.gz)"):
        get(server, save_path, archive)
    assert content(tmp_path) == {"elsewhere": b"(folder)", "sets": b"(folder)"}


@pytest.mark.parametrize("target", ["ABSOLUTE", "../../.."])
def test_a_link_that_leads_outside_is_refused_and_nothing_is_left(
    tmp_path: Path, server: Server, target: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    server.files = {"facades.tar.gz": tar_gz_with_link(target.replace("ABSOLUTE", str(elsewhere)))}
    with pytest.raises(UserError, match=r"facades\.tar\.gz"):
        get(server, tmp_path / "sets", "facades.tar.gz")
    assert content(tmp_path) == {"elsewhere": b"(folder)", "sets": b"(folder)"}


def test_unpack_makes_the_folder_and_leaves_the_archive(tmp_path: Path) -> None:
    archive = tmp_path / "facades.tar.gz"
    archive.write_bytes(tar_gz(FILES))
    unpack(archive, tmp_path / "new" / "folder")
    assert content(tmp_path / "new" / "folder") == FILES
    assert archive.exists()


def outcome(archive: Path, folder: Path, expected: Mapping[str, bytes]) -> str:
    """Unpack and say in a few words how that ends."""
    try:
        unpack(archive, folder)
    except UserError as error:
        return "refused" if archive.name in str(error) else "refused without its name"
    except Exception as error:  # noqa: BLE001 - collected, so that one run shows all kinds
        return f"{type(error).__module__}.{type(error).__name__}"
    return "whole" if content(folder) == expected else "damaged images"


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_no_damaged_byte_goes_unnoticed_or_ends_in_another_error(
    tmp_path: Path, pack: Pack
) -> None:
    letters = random.Random(0).choices(b"abcdefgh", k=3000)
    files = {"facades/1.txt": bytes(letters), "facades/2.txt": b"2" * 100}
    good = pack(files)
    archive = tmp_path / ("facades.zip" if pack is zipped else "facades.tar.gz")
    ends = set()
    for place in range(0, int(0.9 * len(good)), 7):  # behind that, zip has no check sums
        damaged = bytearray(good)
        damaged[place] ^= 0xFF
        archive.write_bytes(damaged)
        ends.add(outcome(archive, tmp_path / str(place), files))
    assert ends <= {"refused", "whole"}
