"""Which files count as images, in which order, and how they are opened."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.image_folder import (
    IMG_EXTENSIONS,
    ImageFolder,
    default_loader,
    is_image_file,
    make_dataset,
)
from tests.support.drawn import draw, drawn_image
from util.base.errors import UserError


def names(folder: Path, found: list[str]) -> list[str]:
    """Return paths relative to the folder."""
    return [os.path.relpath(path, folder) for path in found]


# ---- listing ------------------------------------------------------------------------------


def test_images_are_sorted_by_path_whatever_the_order_on_disk(tmp_path: Path) -> None:
    written = ["b.png", "a10.png", "a9.png", "z/1.png", "Z.png", "a/2.png", "a.png"]
    paths = draw(tmp_path, written)
    assert make_dataset(str(tmp_path)) == sorted(paths)


@given(
    written=st.lists(
        st.from_regex(r"\A[a-zA-Z0-9_]{1,3}(/[a-zA-Z0-9_]{1,3}){0,2}\Z"), max_size=12, unique=True
    ),
    cap=st.one_of(st.integers(0, 14), st.just(float("inf"))),
)
def test_listing_is_what_a_plain_walk_finds(
    written: list[str], cap: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("walk")
    for name in written:
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")
    wanted = sorted(
        os.path.join(folder, file)
        for folder, _, files in os.walk(root)
        for file in files
        if file.endswith(".png")
    )
    assert make_dataset(root, cap) == wanted[: len(wanted) if cap == float("inf") else int(cap)]


def test_cap_takes_the_first_after_sorting(tmp_path: Path) -> None:
    draw(tmp_path, ["c.png", "sub/a.png", "b.png", "a.png"])
    assert names(tmp_path, make_dataset(tmp_path, 2)) == ["a.png", "b.png"]


def test_names_that_start_with_a_dot_are_left_out_below_the_folder(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png", "._a.png", ".hidden/b.png", "sub/.c.png", "sub/d.png", "sub/.e/f.png"])
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.png", "sub/d.png"]


@pytest.mark.parametrize("root", [".images", ".deep/.er/images"])
def test_the_folder_itself_may_be_hidden(root: str, tmp_path: Path) -> None:
    draw(tmp_path / root, ["a.png", ".b.png"])
    assert names(tmp_path / root, make_dataset(tmp_path / root)) == ["a.png"]


def test_folder_may_be_given_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / ".here", ["a.png"])
    monkeypatch.chdir(tmp_path / ".here")
    assert [os.path.normpath(path) for path in make_dataset(".")] == ["a.png"]
    assert [os.path.normpath(path) for path in make_dataset("../.here")] == ["../.here/a.png"]


def test_every_known_ending_is_found(tmp_path: Path) -> None:
    endings = [ending for ending in IMG_EXTENSIONS if ending not in (".PPM", ".WEBP")]
    paths = draw(tmp_path, [f"{number:02d}{ending}" for number, ending in enumerate(endings)])
    assert make_dataset(tmp_path) == paths
    for path in paths:
        assert default_loader(path).size == (8, 8)


@pytest.mark.parametrize("name", ["a.webp", "b.WEBP", "c.Png", "d.jPeG", "e.WebP", "f.tIf"])
def test_endings_that_the_reference_did_not_know_are_found(name: str, tmp_path: Path) -> None:
    assert is_image_file(name)
    kind = {"p": "PNG", "j": "JPEG", "t": "TIFF", "w": "WEBP"}[name.split(".")[1].lower()[0]]
    drawn_image().save(tmp_path / name, format=kind)
    assert names(tmp_path, make_dataset(tmp_path)) == [name]
    assert default_loader(tmp_path / name).size == (8, 8)


@pytest.mark.parametrize("content", [b"", b"x", b"RI", b"just some text", b"<html>"])
@pytest.mark.parametrize("name", ["odd.Png", "odd.webp", "sub/odd.JPg"])
def test_files_that_the_reference_passed_over_are_passed_over_unless_images(
    name: str, content: bytes, tmp_path: Path
) -> None:
    draw(tmp_path, ["a.png"])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.png"]


@pytest.mark.parametrize("name", ["odd.Png", "odd.webp"])
def test_dangling_link_that_the_reference_passed_over_is_passed_over(
    name: str, tmp_path: Path
) -> None:
    draw(tmp_path, ["a.png"])
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.png"]


def test_known_endings_are_listed_without_looking_inside(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    assert names(tmp_path, make_dataset(tmp_path)) == ["broken.png"]


@pytest.mark.parametrize("name", ["a.txt", "png", "a.png.part", "a.gif", "a.npy", "", "a.jpg~"])
def test_other_names_are_no_images(name: str) -> None:
    assert not is_image_file(name)


def test_other_files_are_left_out(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png"])
    for name in ("notes.txt", "Thumbs.db", "a.json", "png"):
        (tmp_path / name).write_text("x")
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.png"]


def test_folder_that_is_called_like_an_image_is_searched(tmp_path: Path) -> None:
    draw(tmp_path, ["folder.png/a.png"])
    assert names(tmp_path, make_dataset(tmp_path)) == ["folder.png/a.png"]


# ---- links --------------------------------------------------------------------------------


def test_linked_images_are_found(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", ["a.png"])
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (path,) = make_dataset(tmp_path / "here")
    assert default_loader(path).size == (8, 8)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", ["a.png"])
    (tmp_path / "here").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(tmp_path, make_dataset(tmp_path / "here")) == ["here/a.png"]


def test_loops_of_linked_folders_end(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png", "sub/b.png"])
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "sub" / "self").symlink_to(tmp_path / "sub", target_is_directory=True)
    (tmp_path / "loop.png").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.png", "sub/b.png"]


# ---- folders that cannot be used ----------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "file.png"])
def test_what_is_no_folder_is_refused_by_name(what: str, tmp_path: Path) -> None:
    draw(tmp_path, ["file.png"])
    with pytest.raises(UserError, match=re.escape(str(tmp_path / what)) + ".*--dataroot"):
        make_dataset(tmp_path / what)


def test_image_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"0 images in {re.escape(str(tmp_path))}"):
        ImageFolder(str(tmp_path))


def test_hundred_thousand_files_are_listed_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand links to one image must take a tenth of the two seconds."""
    (path,) = draw(tmp_path, ["source.png"])
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_000):
        os.link(path, folder / f"{number}.png")
    began = time.process_time()
    assert len(make_dataset(folder)) == 10_000
    assert time.process_time() - began < 0.2


# ---- opening ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_image_becomes_rgb(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    else:
        image = drawn_image().convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    loaded = default_loader(path)
    assert loaded.mode == "RGB"
    assert loaded.size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_the_right_way_up(orientation: int, tmp_path: Path) -> None:
    """EXIF 2.32, tag 274: what stored rows and columns stand for."""
    upright = drawn_image(5, 9)
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.rotate(180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    loaded = default_loader(str(path))
    assert np.array_equal(np.asarray(loaded), np.asarray(upright))


def test_opened_images_do_not_keep_their_file(tmp_path: Path) -> None:
    (path,) = draw(tmp_path, ["a.png"])
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    images = [default_loader(path) for _ in range(5)]
    if opened:
        assert len(os.listdir("/proc/self/fd")) == opened
    assert all(image.getpixel((0, 0)) for image in images)


def write_bad(path: Path, kind: str) -> None:
    """Write a file of a kind that cannot be read."""
    if kind == "text":
        path.write_text("this is no image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut off":
        drawn_image(64, 64).save(path, format="PNG")
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "bytes changed":
        drawn_image(64, 64).save(path, format="PNG")
        data = bytearray(path.read_bytes())
        data[60:200] = bytes(140)
        path.write_bytes(data)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "cut off", "bytes changed", "folder"])
def test_file_that_cannot_be_read_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    write_bad(path, kind)
    with pytest.raises(UserError, match=re.escape(str(path))):
        default_loader(path)


def test_broken_exif_does_not_stop_a_good_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    drawn_image(16, 16).save(path, exif=b"Exif\0\0not really exif at all")
    assert default_loader(path).size == (16, 16)


# ---- ImageFolder --------------------------------------------------------------------------


def test_image_folder_gives_images_transformed_with_their_paths(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["b.png", "a.png"])
    plain = ImageFolder(str(tmp_path))
    assert len(plain) == 2
    assert plain[0].size == (8, 8)
    full = ImageFolder(
        str(tmp_path),
        transform=lambda image: image.size,
        return_paths=True,
        loader=lambda path: Image.open(path).resize((3, 4)),
    )
    assert list(full[1]) == [(3, 4), paths[0]]


# ---- endings of others --------------------------------------------------------------------


@pytest.fixture
def endings() -> Iterator[list[str]]:
    """Return the list of endings, which a test may change."""
    before = list(IMG_EXTENSIONS)
    yield IMG_EXTENSIONS
    IMG_EXTENSIONS[:] = before


def test_endings_that_are_added_in_place_count(tmp_path: Path, endings: list[str]) -> None:
    for name in ("a.npy", "b.NPY", "c.txt"):
        (tmp_path / name).write_bytes(b"numbers")
    endings.append(".npy")
    assert is_image_file("x/a.npy")
    assert names(tmp_path, make_dataset(tmp_path)) == ["a.npy"]
    assert ImageFolder(tmp_path).imgs == make_dataset(tmp_path)


def test_endings_that_are_removed_in_place_do_not_count(tmp_path: Path, endings: list[str]) -> None:
    draw(tmp_path, ["a.png", "b.bmp"])
    endings[:] = [".bmp"]
    assert not is_image_file("a.png")
    assert names(tmp_path, make_dataset(tmp_path)) == ["b.bmp"]
