"""Lists of images: what their lines mean, and what is said of wrong ones."""

from pathlib import Path

import pytest

from tests.support.drawn import draw
from util.base.errors import UserError
from util.images.file_lists import folder_of, list_beside, natural, read_list, read_rows


def listed(folder: Path, text: str, encoding: str = "utf-8") -> str:
    """Write a list, and return its path."""
    (folder / "list.txt").write_bytes(text.encode(encoding))
    return str(folder / "list.txt")


def test_paths_are_relative_to_the_list_and_other_lines_are_left_out(tmp_path: Path) -> None:
    a, b = draw(tmp_path, ["x/a b.png", "é.png"])
    file = listed(tmp_path, f"# two images\r\n\r\n x/a b.png \r\n{b}\n", "utf-8-sig")
    assert read_list(file) == [a, b]


def test_tabs_separate_the_images_of_a_line(tmp_path: Path) -> None:
    a, b = draw(tmp_path, ["a.png", "b.png"])
    file = listed(tmp_path, "a.png\tb.png\n")
    assert read_rows(file) == [(a, b)]
    with pytest.raises(UserError, match="2 paths on a line.*give a model that learns from them"):
        read_list(file)


def test_an_image_is_a_list_of_itself() -> None:
    assert read_list("photos/1.png") == ["photos/1.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("# nothing\n", "names no image"),
        ("a.png\n\nb.png\n", "line 3: .*b.png\n  Paths are relative"),
        ("b.png\nc.png\nd.png\ne.png", r"(?s)line 1: .*line 3: .*d.png\n  \.\.\."),
    ],
)
def test_wrong_lists_are_described(text: str, message: str, tmp_path: Path) -> None:
    draw(tmp_path, ["a.png"])
    with pytest.raises(UserError, match=message):
        read_list(listed(tmp_path, text))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_list(listed(tmp_path, "é.png", "latin-1"))


def test_a_list_stands_in_for_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train.txt").touch()
    assert list_beside(str(tmp_path / "train")) == str(tmp_path / "train.txt")
    (tmp_path / "train").mkdir()
    assert list_beside(str(tmp_path / "train")) is None


def test_names_are_told_from_the_folder_of_a_file(tmp_path: Path) -> None:
    (path,) = draw(tmp_path, ["a.png"])
    assert folder_of(path) == folder_of(str(tmp_path)) == str(tmp_path)


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    names = ["f10.png", "f9.png", "f09.png", "f1/2.png", "f", "9", "a1b2", "a1b10", "٣.png"]
    ordered = sorted(names, key=natural)
    assert ordered == [
        "9",
        "a1b2",
        "a1b10",
        "f",
        "f1/2.png",
        "f09.png",
        "f9.png",
        "f10.png",
        "٣.png",
    ]
