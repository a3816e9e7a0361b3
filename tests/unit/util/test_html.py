"""Pages of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.html import HTML, heading, page, picture_row

ReadPage = Callable[[Path], Any]

UNUSUAL = [
    "a#b",
    "50%25 off",
    "two  words",
    "<script>alert(1)</script>",
    "a&amp;b",
    'q"q',
    "☃",
    "?x",
]


def add_row(web: HTML, name: str, labels: list[str]) -> None:
    """Put files into the page's folder and show them."""
    files = [f"{name}_{label}.png" for label in labels]
    for file in files:
        path = Path(web.get_image_dir(), file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    web.add_header(name)
    web.add_images(files, labels, files, width=128)


def test_a_page_shows_headings_and_pictures_in_the_order_they_were_added(
    tmp_path: Path, read_page: ReadPage
) -> None:
    web = HTML(tmp_path / "web", "My results")
    assert Path(web.get_image_dir()) == tmp_path / "web" / "images"
    add_row(web, "2", ["real", "fake"])
    add_row(web, "1", ["real"])
    web.save()
    shown = read_page(tmp_path / "web" / "index.html")
    assert shown.text("title") == ["My results"]
    assert shown.text("h3") == ["2", "1"]
    assert shown.pictures == ["images/2_real.png", "images/2_fake.png", "images/1_real.png"]
    assert shown.links == shown.pictures
    assert shown.labels == ["real", "fake", "real"]
    assert set(shown.values("img", "style")) == {"width:128px"}


def test_pictures_and_links_may_differ(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(str(tmp_path), "t", 0)
    for name in ("small.png", "large.png"):
        Path(web.get_image_dir(), name).touch()
    web.add_images(["small.png"], ["label"], ["large.png"])
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert shown.pictures == ["images/small.png"]
    assert shown.links == ["images/large.png"]


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_names_lead_to_their_files_and_are_shown_as_they_are(
    tmp_path: Path, read_page: ReadPage, name: str
) -> None:
    web = HTML(tmp_path, name)
    web.add_header(name)
    file = f"{name.replace('/', '')}.png"
    Path(web.get_image_dir(), file).touch()
    web.add_images([file], [name], [file])
    web.save()
    shown = read_page(tmp_path / "index.html")  # no script in it
    assert shown.pictures == [f"images/{file}"]
    assert shown.text("title") == shown.text("h3") == shown.labels == [name]


@given(text=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_no_text_can_become_markup(text: str) -> None:
    plain = page("", heading("x") + picture_row(["x"], ["x"], ["x"]))
    with_text = page(text, heading(text) + picture_row([text], [text], [text]))
    assert with_text.count("<") == plain.count("<")
    assert with_text.count('"') == plain.count('"')


def test_pictures_in_folders_are_linked_there(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(tmp_path, "t")
    add_row(web, "x/7", ["fake"])
    web.save()
    assert read_page(tmp_path / "index.html").pictures == ["images/x/7_fake.png"]


@pytest.mark.parametrize(("seconds", "expected"), [(0, []), (3, ["3"])])
def test_a_page_reloads_itself_only_if_asked_to(
    tmp_path: Path, read_page: ReadPage, seconds: int, expected: list[str]
) -> None:
    HTML(tmp_path, "t", refresh=seconds).save()
    shown = read_page(tmp_path / "index.html")
    refreshes = [
        attributes["content"]
        for tag, attributes in shown.tags
        if tag == "meta" and attributes.get("http-equiv") == "refresh"
    ]
    assert refreshes == expected


def test_the_page_says_that_it_is_utf8(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(tmp_path, "t")
    web.add_header("Zürich ☃")
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert any(attributes.get("charset") == "utf-8" for tag, attributes in shown.tags)
    assert shown.text("h3") == ["Zürich ☃"]


def test_saving_again_replaces_the_page(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(tmp_path, "t")
    add_row(web, "1", ["fake"])
    web.save()
    add_row(web, "2", ["fake"])
    web.save()
    assert read_page(tmp_path / "index.html").text("h3") == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "index.html"]


def test_rows_need_as_many_labels_as_pictures() -> None:
    with pytest.raises(ValueError, match="zip"):
        picture_row(["a.png", "b.png"], ["a"], ["a.png", "b.png"])
