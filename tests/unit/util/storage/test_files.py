"""Files are whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.base.errors import WriteError
from util.storage.files import replacing, write_file, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half_then_fail(error: BaseException) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        file.write(b"half of the new con")
        file.flush()
        raise error

    return write


def test_write_file_replaces_the_content(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    path.write_bytes(b"a longer old content")
    write_file(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["state.bin"]


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("x"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "state.bin"
    path.write_bytes(b"old content")
    with pytest.raises(type(error)):
        write_file(path, half_then_fail(error))
    assert path.read_bytes() == b"old content"
    assert names(tmp_path) == ["state.bin"]


def test_a_first_write_that_fails_leaves_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        write_file(tmp_path / "state.bin", half_then_fail(OSError("disk full")))
    assert names(tmp_path) == []


def test_a_rename_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError("read-only")

    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_the_old_file_can_be_read_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    path.write_bytes(b"old")
    seen = []

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())

    write_file(path, write)
    assert seen == [b"old"]


def test_the_content_is_on_the_disk_before_the_name_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        events.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        events.append(("replace", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_file(tmp_path / "state.bin", lambda file: file.write(b"12345"))
    assert events == [("fsync", 5), ("replace", 5)]


def test_the_temporary_name_is_hidden_and_keeps_folder_and_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "fake_B.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")  # such names are never taken for images
        temporary.write_bytes(b"x")
    assert names(tmp_path) == ["fake_B.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root, /dev/null would become a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(WriteError, match=r"pipe: It is no file that can be replaced\. "):
        write_text(path, "text")
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    """As root, /dev/stdout that leads into a file would become one itself."""
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    target.write_text("before")
    link.symlink_to("elsewhere/target")
    write_text(link, "after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert names(target.parent) == ["target"]


def test_a_missing_folder_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="nowhere.page.html: No such file") as caught:
        write_text(tmp_path / "nowhere" / "page.html", "text")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert names(tmp_path) == []


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_text_comes_back_as_it_was(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "text.txt"
    write_text(path, text)
    assert path.read_bytes().decode("utf-8") == text


def test_text_that_utf8_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "x" * 100_000 + "\ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]
