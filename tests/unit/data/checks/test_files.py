"""What is found in image files and folders, thoroughly or at a glance."""

import hashlib
import io
import itertools
import os
import struct
import time
import zlib
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from data.base_dataset import get_transform
from data.checks import files
from data.checks.files import (
    ALPHA,
    DEEP,
    Inspection,
    glance,
    inspect_image,
    look_side_by_side,
    odd_width,
    shown_name,
    too_small,
)
from data.checks.folders import find_folders
from data.image_folder import default_loader, make_dataset
from tests.support.commands import imported
from tests.support.drawn import draw, drawn_image
from tests.support.paths import ROOT
from util.base.errors import UserError
from util.images.reading import read_image
from util.images.transforms import size_of

ORIENTATION = 0x0112
SCRIPT = ROOT / "scripts" / "check_dataset.py"


def spot_check(paths: Sequence[str], **how: Any) -> list[str]:
    """Return the problems that a quick look finds."""
    return glance(paths, **how).problems


def saved(format: str, mode: str = "RGB", width: int = 8, height: int = 6, **how: object) -> bytes:
    """Return the bytes of an image file."""
    file = io.BytesIO()
    drawn_image(width, height, mode=mode).save(file, format, **how)
    return file.getvalue()


def turned() -> Image.Exif:
    """Return EXIF data that say: turn by a quarter."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file of that size without any pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def inspected(folder: Path, name: str, content: bytes) -> Inspection:
    """Write a file and inspect it."""
    (folder / name).write_bytes(content)
    return inspect_image(str(folder / name))


# ---- one file -----------------------------------------------------------------------------


def test_a_sound_image_has_size_mode_and_digest_and_no_problem(tmp_path: Path) -> None:
    content = saved("PNG")
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    wanted = Inspection(str(tmp_path / "a.png"), (8, 6), "RGB", None, (), digest)
    assert inspected(tmp_path, "a.png", content) == wanted


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jpg", b"", "empty (0 bytes)"),
        ("a.png", b"hello", "no image, or of a format that is not known"),
        ("a.jpg", saved("JPEG", width=99)[:-40], "truncated or broken: image file is truncated"),
        ("a.png", saved("PNG", width=99)[:-90], "truncated or broken: image file is truncated"),
        ("a.png", png_header(60000, 60000), "too large: Image size (3600000000 pixels) exceeds"),
    ],
    ids=["empty", "text", "cut JPEG", "cut PNG", "bomb"],
)
def test_what_cannot_be_read_is_explained(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    found = inspected(tmp_path, name, content).problem
    assert found is not None
    assert found.startswith(problem)
    assert str(tmp_path) not in found  # the report names the file anyway


def test_a_truncated_image_still_has_size_mode_and_digest(tmp_path: Path) -> None:
    found = inspected(tmp_path, "a.jpg", saved("JPEG", "L", 99, 50)[:-90])
    assert (found.size, found.mode, found.problem is None) == ((99, 50), "L", False)
    assert found.digest is not None


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "missing, or a link to nowhere"),
        (lambda path: path.symlink_to("nowhere"), "missing, or a link to nowhere"),
        (lambda path: path.symlink_to(path.name), "not readable: Too many levels"),
        (lambda path: path.mkdir(), "no file, but a folder, a pipe or a device"),
        (lambda path: os.mkfifo(path), "no file, but a folder, a pipe or a device"),
    ],
    ids=["missing", "dangling link", "link to itself", "folder", "pipe"],
)
def test_what_is_no_file_is_explained_and_not_opened(
    make: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    make(path)
    found = inspect_image(str(path))
    assert found == Inspection(str(path), problem=found.problem)
    assert str(found.problem).startswith(problem)


def test_a_file_that_may_not_be_read_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:  # root, who runs tests in containers, may read everything
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Image, "open", refuse)
    assert inspected(tmp_path, "a.png", saved("PNG")).problem == "not readable: Permission denied"


def test_what_the_loader_itself_refuses_keeps_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise UserError(f"{path} is PostScript. Convert it to PNG.")

    monkeypatch.setattr(files, "read_image", refuse)
    found = inspected(tmp_path, "a.png", saved("PNG"))
    assert found.problem == "PostScript. Convert it to PNG."


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_size_is_that_of_the_image_the_right_way_up(format: str, tmp_path: Path) -> None:
    ending = ".jpg" if format == "JPEG" else f".{format.lower()}"
    content = saved(format, width=30, height=10, exif=turned())
    assert inspected(tmp_path, f"a{ending}", content).size == (10, 30)


@pytest.mark.parametrize(
    ("name", "content", "mode", "notes"),
    [
        ("a.jpeg", saved("JPEG", "CMYK"), "CMYK", []),
        ("a.png", saved("PNG", "P", transparency=b"\x10\x20"), "P", []),
        ("a.TIF", saved("TIFF", "L"), "L", []),
        ("a.png", saved("JPEG"), "RGB", ["holds JPEG, whatever its ending says"]),
        ("a.jpg", saved("GIF", "P"), "P", ["holds GIF, whatever its ending says"]),
        (
            "a.tiff",
            saved("TIFF", save_all=True, append_images=[drawn_image()]),
            "RGB",
            ["holds 2 images, of which the first is used"],
        ),
        ("a.png", saved("PNG", "I;16"), "I;16", []),
    ],
    ids=["CMYK", "palette", "grey TIFF", "JPEG as PNG", "GIF as JPEG", "pages", "16 bits"],
)
def test_odd_but_usable_files_have_notes_and_no_problem(
    name: str, content: bytes, mode: str, notes: list[str], tmp_path: Path
) -> None:
    found = inspected(tmp_path, name, content)
    assert (found.mode, found.problem, list(found.notes)) == (mode, None, notes)


@pytest.mark.parametrize(
    ("content", "losses"),
    [
        (saved("PNG"), ()),
        (saved("PNG", "P"), ()),
        (saved("PNG", "I;16"), (DEEP,)),
        (saved("TIFF", "F"), (DEEP,)),
        (saved("PNG", "RGBA"), (ALPHA,)),
        (saved("PNG", "LA"), (ALPHA,)),
        (saved("PNG", "P", transparency=b"\x10\x20"), (ALPHA,)),
        (saved("PNG", transparency=(1, 2, 3)), (ALPHA,)),
    ],
    ids=["RGB", "palette", "16 bits", "float", "RGBA", "LA", "clear entry", "clear colour"],
)
def test_what_reading_loses_is_seen(
    content: bytes, losses: tuple[str, ...], tmp_path: Path
) -> None:
    assert inspected(tmp_path, "a.png", content).losses == losses


def test_what_is_said_about_16_bits_is_so(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    loaded = np.asarray(default_loader(tmp_path / "a.png"))
    assert loaded[0, :, 0].tolist() == [0, 255, 255, 255]


WHOLE = [
    saved("JPEG", exif=turned()),
    saved("JPEG", "CMYK"),
    saved("PNG", exif=turned()),
    saved("PNG", "P", transparency=b"\x10\x20"),
    saved("PNG", save_all=True, append_images=[drawn_image()]),
    saved("TIFF", compression="tiff_lzw"),
    saved("TIFF", exif=turned(), save_all=True, append_images=[drawn_image()]),
    saved("WEBP", exif=turned()),
    saved("BMP", "P"),
    saved("PPM"),
    saved("GIF", "P"),
    saved("ICO"),
    saved("DDS"),
]
DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), max_size=4)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an image file with some bytes overwritten, and perhaps the end missing."""
    content = bytearray(draw(st.sampled_from(WHOLE)))
    for at, new in draw(DAMAGE):
        content[at : at + len(new)] = new
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@given(content=st.one_of(damaged(), st.binary(max_size=60)))
@example(content=b"")
@example(content=saved("PNG", exif=turned())[:-30])
def test_whatever_the_bytes_the_verdict_is_the_loader_s_and_nothing_is_raised(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(content)
    found = inspect_image(str(path))
    try:
        size = size_of(read_image(path))
    except UserError:
        assert found.problem
    else:
        assert (found.problem, found.size) == (None, size)
        assert found.mode


@pytest.mark.parametrize(
    "content",
    [
        saved("TIFF", compression="jpeg").replace(b"\xff\xda", b"\xff\x0f"),  # libtiff's own words
        saved("PNG", "P", transparency=b"\x10\x20"),  # a warning of Pillow's
        png_header(10000, 10000),  # another
    ],
    ids=["libtiff", "palette", "large"],
)
def test_nothing_reaches_the_console(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inspected(tmp_path, "a.png", content)
    os.write(2, b"this does, afterwards")
    assert capfd.readouterr() == ("", "this does, afterwards")


# ---- sizes that the options need ----------------------------------------------------------


@given(
    preprocess=st.sampled_from(
        [
            *("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "resize", "none"),
            *("scale_shortside", "scale_shortside_and_crop"),
        ]
    ),
    width=st.integers(1, 24),
    height=st.integers(1, 24),
    crop_size=st.integers(1, 16),
)
@example(preprocess="crop", width=8, height=8, crop_size=8)
@example(preprocess="crop", width=8, height=7, crop_size=8)
def test_too_small_is_what_the_transform_of_the_options_refuses(
    preprocess: str, width: int, height: int, crop_size: int
) -> None:
    opt = Namespace(preprocess=preprocess, load_size=18, crop_size=crop_size, no_flip=True)
    try:
        get_transform(opt)(drawn_image(width, height))
        refused = False
    except UserError:
        refused = True
    found = too_small((width, height), preprocess=preprocess, crop_size=crop_size)
    assert (found is not None) == refused


def test_too_small_says_which_size_and_which_option() -> None:
    found = too_small((20, 300), preprocess="crop", crop_size=64)
    assert found == "20x300, which is too small for --crop_size 64"


def test_of_pairs_side_by_side_the_halves_count() -> None:
    found = too_small((100, 64), preprocess="crop", crop_size=64, side_by_side=True)
    assert found == "50x64 in each half, which is too small for --crop_size 64"
    assert too_small((128, 64), preprocess="crop", crop_size=64, side_by_side=True) is None


def test_an_odd_width_cannot_be_halved() -> None:
    assert odd_width((511, 256)) == "511 pixels wide, an odd number, so A and B differ"
    assert odd_width((512, 255)) is None


# ---- a quick look -------------------------------------------------------------------------


def test_a_quick_look_finds_nothing_wrong_with_sound_images(tmp_path: Path) -> None:
    paths = draw(tmp_path, [f"{number}.png" for number in range(60)])
    assert spot_check(paths, preprocess="crop", crop_size=8) == []
    assert spot_check([]) == []


def test_a_quick_look_names_empty_files_and_what_is_no_image(tmp_path: Path) -> None:
    paths = draw(tmp_path / "trainA", [f"{number:02}.jpg" for number in range(80)])
    for number in (3, 41, 78):
        Path(paths[number]).write_bytes(b"")
    Path(paths[0]).write_bytes(b"hello")
    assert spot_check(paths, root=tmp_path, headers=2) == [
        "trainA/00.jpg is no image, or of a format that is not known",
        "trainA/03.jpg is empty (0 bytes)",
        "trainA/41.jpg is empty (0 bytes)",
        "trainA/78.jpg is empty (0 bytes)",
    ]


def test_a_quick_look_knows_the_sizes_that_the_options_need(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["a.png"], 8, 8) + draw(tmp_path, ["b.png"], 8, 7)
    too_low = f"{paths[1]} is 8x7, which is too small for --crop_size 8"
    assert spot_check(paths, preprocess="crop", crop_size=8) == [too_low]
    assert spot_check(paths, preprocess="resize_and_crop", crop_size=8) == []


def test_a_quick_look_at_pairs_knows_that_they_need_halves(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["a.png"], 15, 8) + draw(tmp_path, ["b.png"], 14, 8)
    assert spot_check(paths, preprocess="crop", crop_size=8, side_by_side=True, root=tmp_path) == [
        "a.png is 15 pixels wide, an odd number, so A and B differ",
        "b.png is 7x8 in each half, which is too small for --crop_size 8",
    ]


def test_a_quick_look_sees_turned_images_the_right_way_up(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", width=30, height=10, exif=turned()))
    found = spot_check([str(tmp_path / "a.jpg")], preprocess="crop", crop_size=20, root=tmp_path)
    assert found == ["a.jpg is 10x30, which is too small for --crop_size 20"]


def test_a_quick_look_does_not_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for name, content in (
        ("a.jpg", saved("JPEG")),
        ("b.png", saved("PNG")),
        ("c.tif", saved("TIFF")),
    ):
        (tmp_path / name).write_bytes(content)
        paths.append(str(tmp_path / name))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    assert spot_check(paths, preprocess="crop", crop_size=6) == []


def test_a_quick_look_reads_headers_all_over_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = draw(tmp_path, [f"{number:03}.png" for number in range(100)])
    opened: list[int] = []
    plain_open = Image.open

    def note(path: str) -> Image.Image:
        opened.append(int(Path(path).stem))
        return plain_open(path)

    monkeypatch.setattr(Image, "open", note)
    spot_check(paths, headers=12)
    assert opened == [0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]


def test_a_quick_look_ends_when_its_time_is_over_and_has_seen_all_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count()  # a second goes by whenever somebody looks
    seen: list[int] = []

    def note(path: str) -> None:
        seen.append(int(path))

    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(files, "_trouble_on_disk", note)
    paths = [str(number) for number in range(100_000)]
    assert spot_check(paths, headers=0, seconds=1000) == []
    assert 900 <= len(seen) <= 1000
    assert max(np.diff(sorted(seen))) == 100


def test_a_quick_look_at_a_million_files_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["a.png"]) * 1_000_000
    began = time.perf_counter()
    assert spot_check(paths, seconds=0.1) == []
    assert time.perf_counter() - began < 1  # machines are shared; looking at all takes several


def test_a_quick_look_at_every_file_looks_at_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(files, "_trouble_on_disk", seen.append)
    paths = [str(number) for number in range(4321)]
    spot_check(paths, headers=0, seconds=60)
    assert sorted(seen) == sorted(paths)


# ---- folders ------------------------------------------------------------------------------

PAIRED, UNPAIRED, ITSELF = ["train", "test"], ["trainA", "trainB"], ["."]


@pytest.mark.parametrize(
    ("there", "mode", "wanted"),
    [
        (["train", "test"], None, PAIRED),
        (["train", "test"], "aligned", PAIRED),
        (["train", "test"], "colorization", PAIRED),
        (["train", "test"], "unaligned", []),
        (["trainA", "trainB"], None, UNPAIRED),
        (["trainA", "trainB"], "unaligned", UNPAIRED),
        (["trainA", "trainB"], "single", ITSELF),
        (["train", "test", "trainA", "trainB"], None, PAIRED + UNPAIRED),
        (["train", "test", "trainA", "trainB"], "unaligned", UNPAIRED),
        (["trainB"], None, ["trainB"]),
        (["A/train", "B/train", "A/val"], None, ["A/train", "B/train", "A/val"]),
        (["A/train", "B/train"], "aligned", ["A/train", "B/train"]),
        (["trainA", "trainB"], "aligned", UNPAIRED),
        (["A", "C"], None, ITSELF),  # a folder called A by chance
        (["A", "B"], "single", ITSELF),
        (["A", "B", "train"], None, ["train"]),
        ([], None, ITSELF),
        ([], "aligned", []),
        (["cats", "dogs"], None, ITSELF),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_folders_are_found_by_their_names(
    there: list[str], mode: str | None, wanted: list[str], tmp_path: Path
) -> None:
    for name in there:
        (tmp_path / name).mkdir(parents=True)
    found = find_folders(tmp_path, mode)
    assert [folder.name for folder in found] == wanted
    assert [Path(folder.path) for folder in found] == [tmp_path / name for name in wanted]
    assert [folder.phase for folder in found] == [name.strip("AB./") for name in wanted]


def test_two_folders_without_phases_are_refused_with_advice(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match="folders A and B, but nothing says.*A/train and .*B/train"):
        find_folders(tmp_path)


def test_a_data_set_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"nowhere does not exist\. Give the folder of a data set"):
        find_folders(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"file is a file\. Give the folder"):
        find_folders(tmp_path / "file")


def test_what_no_training_reads_is_listed_but_hidden_files_are_not(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png", "sub/b.png", "elsewhere/c.png"])
    root = tmp_path / "root"
    draw(root, ["a.png", "sub/b.png", ".hidden/c.png"])
    for name in ("x.heic", "x.jpg.txt", "sub/x.gif", ".DS_Store", "x.webp"):
        (root / name).write_bytes(b"no image")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "linked.png").symlink_to(tmp_path / "a.png")
    with imported(SCRIPT) as script:
        found = script.passed_over(str(root), make_dataset(root))
    assert found == ["linked", "sub/x.gif", "x.heic", "x.jpg.txt", "x.webp"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("sub/a.png", "sub/a.png"), ("grün €.png", "grün €.png"), ("\udcff.png", "\\udcff.png")],
)
def test_shown_names_are_relative_and_can_be_printed(name: str, shown: str) -> None:
    assert shown_name(f"/data/set/{name}", "/data/set/") == shown
    assert shown_name(f"/data/set/{name}", None) == f"/data/set/{shown}"


# ---- several files ------------------------------------------------------------------------


def test_files_with_the_same_bytes_are_grouped_empty_ones_are_not(tmp_path: Path) -> None:
    paths = draw(tmp_path, ["a.png", "b.png", "c/a.png"])
    Path(paths[2]).write_bytes(Path(paths[0]).read_bytes())
    for name in ("x.png", "y.png"):
        (tmp_path / name).touch()
        paths.append(str(tmp_path / name))
    with imported(SCRIPT) as script:
        found = script.duplicates(map(inspect_image, paths))
    assert found == [[paths[0], paths[2]]]


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(512, 256), (500, 256)], True),
        ([(512, 256), (256, 256), (512, 256)], True),
        ([(512, 256), (256, 256)], False),
        ([(300, 200)], False),
        ([], False),
    ],
)
def test_most_images_decide_whether_they_are_pairs(
    sizes: list[tuple[int, int]], wanted: bool
) -> None:
    assert look_side_by_side(sizes) is wanted
