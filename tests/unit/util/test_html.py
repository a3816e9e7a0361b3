"""Pages of images."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.paths import ROOT, needs_any_name
from tests.support.warm import run
from util.display.pages.elements import FOLDER, asset, heading, image_row, image_size, numbers, page
from util.html import HTML

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
        path.write_bytes(b"image")
    web.add_header(name)
    web.add_images(files, labels, files, width=128)


def add_row_of_images(web: HTML, name: str) -> None:
    """Show an image below what there is."""
    file = f"{name}_real.png"
    Path(web.get_image_dir(), file).write_bytes(b"image")
    web.add_images([file], ["real"], [file])


def test_a_page_shows_headings_and_images_in_the_order_they_were_added(
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
    assert shown.images == ["images/2_real.png", "images/2_fake.png", "images/1_real.png"]
    assert shown.links == shown.images
    assert shown.labels == ["real", "fake", "real"]
    assert set(shown.values("img", "style")) == {"width:128px"}


def test_images_and_links_may_differ(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(str(tmp_path), "t", 0)
    for name in ("small.png", "large.png"):
        Path(web.get_image_dir(), name).touch()
    web.add_images(["small.png"], ["label"], ["large.png"])
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert shown.images == ["images/small.png"]
    assert shown.links == ["images/large.png"]


@needs_any_name
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
    assert shown.images == [f"images/{file}"]
    assert shown.text("title") == shown.text("h3") == shown.labels == [name]


@given(text=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_no_text_can_become_markup(text: str) -> None:
    def whole(text: str) -> str:
        parts = heading(text), numbers({text: 1.0}, for_scripts=True)
        body = "".join(parts) + image_row([text], [text], [text])
        return page(text, body, 0, kind="results")

    plain, with_text = whole("x"), whole(text)
    assert with_text.count("<") == plain.count("<")
    assert with_text.count('"') == plain.count('"')


def test_images_in_folders_are_linked_there(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(tmp_path, "t")
    add_row(web, "x/7", ["fake"])
    web.save()
    assert read_page(tmp_path / "index.html").images == ["images/x/7_fake.png"]


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


def test_rows_need_as_many_labels_as_images() -> None:
    with pytest.raises(ValueError, match="zip"):
        image_row(["a.png", "b.png"], ["a"], ["a.png", "b.png"])


def test_scripts_take_over_the_reloading(tmp_path: Path, read_page: ReadPage) -> None:
    HTML(tmp_path, "t", refresh=3).save()
    shown = read_page(tmp_path / "index.html")
    assert shown.values("body", "data-refresh") == ["3"]
    assert "<noscript><meta" in re.sub(r"\s", "", shown.source)  # only without them


# ---- sizes -----------------------------------------------------------------------------------


def test_images_tell_their_size_before_they_are_loaded(tmp_path: Path, read_page: ReadPage) -> None:
    web = HTML(tmp_path, "t")
    Image.new("RGB", (60, 40)).save(Path(web.get_image_dir(), "a.png"))
    Path(web.get_image_dir(), "b.png").write_bytes(b"no image")
    web.add_header("x")
    web.add_images(["a.png", "b.png"], ["a", "b"], ["a.png", "b.png"], width=120)
    web.save()
    shown = read_page(tmp_path / "index.html")
    first, second = [attributes for tag, attributes in shown.tags if tag == "img"]
    assert (first["width"], first["height"]) == ("60", "40")
    assert "width" not in second
    assert first["loading"] == second["loading"] == "lazy"
    assert "--n:2;--h:160px" in shown.values("section", "style")[0]  # 120 x 80, and what is around


def test_the_size_of_an_image_is_read_from_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    assert image_size(path) is None
    for mode, size in (("RGB", (3, 70000)), ("L", (1, 1)), ("RGBA", (500, 2))):
        Image.new(mode, size).save(path)
        assert image_size(path) == size
    whole = path.read_bytes()
    for length in range(24):
        path.write_bytes(whole[:length])
        assert image_size(path) is None
    Image.new("RGB", (3, 2)).save(tmp_path / "x.jpg")
    assert image_size(tmp_path / "x.jpg") is None


# ---- scores ----------------------------------------------------------------------------------


def with_scores(folder: Path, *scores: dict[str, float]) -> HTML:
    web = HTML(folder, "t")
    for number, values in enumerate(scores):
        add_row(web, str(number), ["fake_B"])
        web.add_scores(values)
    web.save()
    return web


def test_scores_stand_below_their_heading_for_readers_and_scripts(
    tmp_path: Path, read_page: ReadPage
) -> None:
    with_scores(tmp_path, {"PSNR": 21.3456, "L1": 0.05}, {"PSNR": 18.0, "L1": 0.07})
    shown = read_page(tmp_path / "index.html")
    assert shown.text("b") == ["19.67", "0.06000", "21.35", "0.05000", "18.00", "0.07000"]
    found = [at for tag, at in shown.tags if tag == "span" and "data-score" in at]
    assert [(at["data-score"], at["data-value"]) for at in found] == [
        *[("PSNR", "21.3456"), ("L1", "0.05"), ("PSNR", "18.0"), ("L1", "0.07")]
    ]


def test_the_mean_leaves_out_what_is_infinite_unless_all_is(
    tmp_path: Path, read_page: ReadPage
) -> None:
    with_scores(tmp_path, {"PSNR": math.inf, "x": math.inf}, {"PSNR": 20.0, "x": math.inf})
    shown = read_page(tmp_path / "index.html")
    assert shown.text("b")[:2] == ["20.00", "\u221e"]
    values = [at["data-value"] for tag, at in shown.tags if tag == "span" and "data-value" in at]
    assert values == ["Infinity", "Infinity", "20.0", "Infinity"]  # what JavaScript's Number reads


def test_a_score_that_is_no_number_does_not_hide(tmp_path: Path, read_page: ReadPage) -> None:
    with_scores(tmp_path, {"PSNR": math.nan}, {"PSNR": 20.0})
    assert read_page(tmp_path / "index.html").text("b") == ["nan", "nan", "20.00"]


def test_the_page_tells_how_many_inputs_there_are(tmp_path: Path, read_page: ReadPage) -> None:
    assert "0 inputs" in with_scores(tmp_path)._summary()
    assert "1 input<" in with_scores(tmp_path, {})._summary()
    with_scores(tmp_path, {}, {})
    assert "2 inputs" in read_page(tmp_path / "index.html").text("div")


# ---- style and scripts -----------------------------------------------------------------------

ASSETS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".js", ".css"))


@pytest.mark.parametrize("name", ASSETS)
def test_style_and_scripts_can_stand_inside_a_page_and_need_nothing_else(name: str) -> None:
    text = asset(name)
    assert text.isascii()
    assert not re.search(r"</|<!--|://|url\(|@import", text)
    assert not re.search(r"\beval\b|\bFunction\(|innerHTML|fetch\(|XMLHttp|\bimport\b", text)
    assert not re.search(r"src=\W?images", text), "tests count those in pages"


def test_there_are_a_style_and_four_scripts() -> None:
    assert ASSETS == ["page.js", "results.js", "style.css", "training.js", "viewer.js"]


WITHOUT_NEW_LOOPS = """
import asyncio, sys
from util.html import HTML

page = HTML(sys.argv[1], "t")

def fail(*_):
    raise SystemExit("an event loop was made")

asyncio.BaseEventLoop.__init__ = fail
page.add_header("first")
page.add_images(["a.png"], ["a"], ["a.png"])
"""


def test_what_a_signal_may_interrupt_makes_no_event_loop(tmp_path: Path) -> None:
    # dominate does with its first tag; a half-made one complains on standard error
    command = [sys.executable, "-c", WITHOUT_NEW_LOOPS, str(tmp_path)]
    done = run(command, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_others_add_to_the_document_is_on_the_page_where_they_added_it(
    tmp_path: Path, read_page: ReadPage
) -> None:
    from dominate.tags import h3, p, style

    web = HTML(tmp_path, "t")
    with web.doc.head:
        style("p { color: red }")
    with web.doc:
        p("at the top")
    add_row(web, "1", ["real"])
    with web.doc:  # as the original's add_header did
        h3("of a fork")
    add_row_of_images(web, "2")
    with web.doc:
        web.add_header("inside")
    web.doc.body.add("at the <end>")
    web.save()
    shown = read_page(tmp_path / "index.html")
    assert shown.text("h3") == ["1", "of a fork", "inside"]
    assert shown.images == ["images/1_real.png", "images/2_real.png"]
    places = ["color: red", "at the top", "1_real.png", "of a fork", "2_real.png", "&lt;end&gt;"]
    found = [shown.source.index(text) for text in places]
    assert found == sorted(found)
