"""Every strange image, name and folder: the right pixels, or an error that names the file."""

import io
import os
import resource
import shutil
import socket
import struct
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import chdir
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image, features

from data import create_dataset
from data.image_folder import default_loader, make_dataset
from models.networks import define_G
from tests.reliability.conftest import Count
from tests.support.checkpoints import save_state
from tests.support.commands import test as run_test
from tests.support.corpus import (
    NAMES,
    Pixels,
    encoded,
    exif,
    noise,
    outside,
    png,
    time_limit,
    tree,
    writes,
)
from tests.support.drawn import options
from tests.support.paths import needs_any_name
from tests.support.tiers import LONG
from util.base.errors import UserError
from util.base.log import printable
from util.inference.result_names import LONGEST, ResultNames
from util.storage import checkpoint

WIDTH, HEIGHT = 16, 12
MANY = 1_000_000 if LONG else 200_000  # files in one folder
PIXELS = noise(WIDTH, HEIGHT)
IMAGE = Image.fromarray(PIXELS)
OTHER = Image.fromarray(noise(WIDTH, HEIGHT, seed=1))
DEEP = np.arange(WIDTH * HEIGHT, dtype=np.int64).reshape(HEIGHT, WIDTH) * 5  # 0 to 955


# ---- images that are fine ---------------------------------------------------------------------


def gray(values: Any) -> Pixels:
    """Return (H, W) as (H, W, 3)."""
    return np.repeat(np.asarray(values).astype(np.uint8)[:, :, None], 3, axis=2)


def with_alpha() -> Image.Image:
    image = IMAGE.convert("RGBA")
    image.putalpha(Image.fromarray(noise(WIDTH, HEIGHT, seed=2)[:, :, 0]))
    return image


def palette() -> Image.Image:
    return IMAGE.convert("P", palette=Image.Palette.ADAPTIVE)


def cmyk() -> tuple[Image.Image, Pixels]:
    """Return an image in four inks, and what light they leave: (255 - ink) (255 - black) / 255."""
    inks = np.concatenate([noise(WIDTH, HEIGHT), noise(WIDTH, HEIGHT, 1)[:, :, :1]], axis=2)
    light = (255.0 - inks[:, :, :3]) * (255.0 - inks[:, :, 3:]) / 255
    return Image.fromarray(inks, mode="CMYK"), light.round().astype(np.uint8)


def sixteen_bit_rgb() -> bytes:
    """Return a PNG file of 16 bits a channel, which Pillow cannot write."""
    values = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 3)).astype(">u2")
    return png(WIDTH, HEIGHT, b"".join(b"\0" + row.tobytes() for row in values), depth=16)


def high_bytes() -> Pixels:
    values = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 3))
    return (values >> 8).astype(np.uint8)


def lossy(content: bytes) -> tuple[bytes, Pixels]:
    """Return a file with what Pillow alone makes of it: JPEG is not exact."""
    return content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


ANIMATED = {"save_all": True, "append_images": [OTHER]}
BILEVEL = IMAGE.convert("1")
INKS, LIGHT = cmyk()

# name: (content, pixels); the ending of the name is often not that of the format
GOOD: dict[str, tuple[bytes, Pixels]] = {
    "rgb.png": (encoded(IMAGE, "PNG"), PIXELS),
    "interlaced.png": (encoded(IMAGE, "PNG", interlace=1), PIXELS),
    "rgba.png": (encoded(with_alpha(), "PNG"), PIXELS),
    "gray.png": (encoded(Image.fromarray(PIXELS[:, :, 0]), "PNG"), gray(PIXELS[:, :, 0])),
    "gray and alpha.png": (
        encoded(Image.fromarray(PIXELS[:, :, 0]).convert("LA"), "PNG"),
        gray(PIXELS[:, :, 0]),
    ),
    "black and white.png": (encoded(BILEVEL, "PNG"), gray(np.asarray(BILEVEL) * 255)),
    "palette.png": (encoded(palette(), "PNG"), np.asarray(palette().convert("RGB"))),
    "palette, one transparent.png": (
        encoded(palette(), "PNG", transparency=3),
        np.asarray(palette().convert("RGB")),
    ),
    "palette, half transparent.png": (  # of which Pillow warns
        encoded(palette(), "PNG", transparency=bytes(range(256))),
        np.asarray(palette().convert("RGB")),
    ),
    "cmyk.tif": (encoded(INKS, "TIFF"), LIGHT),
    "cmyk.jpg": lossy(encoded(INKS, "JPEG", quality=95)),
    # More than 8 bits: as in the reference, Pillow cuts one channel off at 255, and takes the
    # upper eight bits of three.
    "16 bit gray.png": (
        encoded(Image.fromarray(DEEP.astype(np.uint16)), "PNG"),
        gray(DEEP.clip(0, 255)),
    ),
    "16 bit gray.tif": (
        encoded(Image.fromarray(DEEP.astype(np.uint16)), "TIFF"),
        gray(DEEP.clip(0, 255)),
    ),
    "32 bit.tif": (
        encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        gray(DEEP.clip(0, 255)),
    ),
    "negative.tif": (
        encoded(Image.fromarray(-DEEP.astype(np.int32)), "TIFF"),
        gray(np.zeros((HEIGHT, WIDTH))),
    ),
    "float.tif": (
        encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        gray(DEEP.clip(0, 255)),
    ),
    "16 bit rgb.png": (sixteen_bit_rgb(), high_bytes()),
    "animated gif.png": (
        encoded(palette(), "GIF", **ANIMATED),
        np.asarray(palette().convert("RGB")),
    ),
    "animated.png": (encoded(IMAGE, "PNG", **ANIMATED), PIXELS),
    "pages.tif": (encoded(IMAGE, "TIFF", **ANIMATED), PIXELS),
    "jpeg.png": lossy(encoded(IMAGE, "JPEG")),
    "png.jpg": (encoded(IMAGE, "PNG"), PIXELS),
    "bmp.tiff": (encoded(IMAGE, "BMP"), PIXELS),
    "ppm.JPEG": (encoded(IMAGE, "PPM"), PIXELS),
    "progressive.jpg": lossy(encoded(IMAGE, "JPEG", progressive=True)),
    "rest behind.jpg": lossy(encoded(IMAGE, "JPEG") + b"whatever follows"),
    "lzw.tif": (encoded(IMAGE, "TIFF", compression="tiff_lzw"), PIXELS),
    "one pixel.png": (encoded(Image.fromarray(PIXELS[:1, :1]), "PNG"), PIXELS[:1, :1]),
    "line.png": (encoded(Image.fromarray(PIXELS[:1]), "PNG"), PIXELS[:1]),
}
if features.check("webp"):
    GOOD["lossless.webp"] = encoded(IMAGE, "WEBP", lossless=True), PIXELS
    GOOD["animated.webp"] = encoded(IMAGE, "WEBP", lossless=True, **ANIMATED), PIXELS
EXACT = {"cmyk.tif": 1}  # rounding of a product
# More than 8 bits, which data sets read as they are.
AT_DEPTH = {
    "16 bit gray.png": DEEP, "16 bit gray.tif": DEEP, "32 bit.tif": DEEP, "negative.tif": -DEEP,
    "float.tif": DEEP,
    "16 bit rgb.png": np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 3)),
}  # fmt: skip

# EXIF 2.32, tag 274: how the pixels are stored, given the image as it should be seen.
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: np.rot90(seen),
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: np.rot90(seen, -1),
}
for turned, store in STORED.items():
    as_stored = Image.fromarray(np.ascontiguousarray(store(PIXELS)))
    GOOD[f"turned {turned}.png"] = encoded(as_stored, "PNG", exif=exif((274, 3, turned))), PIXELS
    orientation = Image.Exif()
    orientation[274] = turned
    GOOD[f"turned {turned}.tif"] = encoded(as_stored, "TIFF", exif=orientation), PIXELS
    smooth = Image.new("RGB", as_stored.size, (200, 30, 90))
    smooth.paste((20, 180, 60), (0, 0, 8, 8))
    content, decoded = lossy(encoded(smooth, "JPEG", quality=95))
    undo = STORED[{6: 8, 8: 6}.get(turned, turned)]  # all others undo themselves
    content = encoded(smooth, "JPEG", quality=95, exif=exif((274, 3, turned)))
    GOOD[f"turned {turned}.jpg"] = content, undo(decoded)
for number, kind in ((0, 3), (9, 3), (65535, 3), (6, 7)):  # no such orientation; no number
    GOOD[f"turned {number} of type {kind}.png"] = (
        encoded(IMAGE, "PNG", exif=exif((274, kind, number))),
        PIXELS,
    )
# Pillow reads this, but cannot write it again: a whole number stored as text.
GOOD["turned 3, odd EXIF.png"] = (
    encoded(IMAGE.rotate(180), "PNG", exif=exif((274, 3, 3), (296, 2, 2))),
    PIXELS,
)


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def dataset_of(mode: str, root: Path, **changes: object) -> Any:
    """Return a loader of batches that changes no pixel."""
    plain: dict[str, object] = {"preprocess": "keep", "no_flip": True, "serial_batches": True}
    if mode == "colorization":
        plain |= {"input_nc": 1, "output_nc": 2}
    return create_dataset(options(root, dataset_mode=mode, phase="test", **(plain | changes)))


def put_everywhere(root: Path, name: str, content: bytes) -> None:
    """Write a file where each kind of data set looks for it; with A comes a good B."""
    for folder in ("test", "testA", "alone"):
        write(root / folder / name, content)
    write(root / "testB" / "good.png", encoded(IMAGE, "PNG"))


def as_pixels(tensor: torch.Tensor) -> Pixels:
    """Turn one image (1, 3, H, W) in [-1, 1] back into pixels."""
    return ((tensor[0].permute(1, 2, 0).double() + 1) * 127.5).round().numpy().astype(np.uint8)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_image_is_read_as_it_should_be_seen(tmp_path: Path, count: Count, name: str) -> None:
    content, expected = GOOD[name]
    path = write(tmp_path / name, content)
    with time_limit():
        loaded = default_loader(path)
    assert loaded.mode == "RGB"
    assert loaded.size == (expected.shape[1], expected.shape[0])
    difference = np.asarray(loaded).astype(int) - expected
    assert abs(difference).max() <= EXACT.get(name, 0)
    count("corpus: good images")


@pytest.mark.parametrize("name", AT_DEPTH)
def test_more_than_8_bits_pass_at_their_depth(tmp_path: Path, name: str) -> None:
    put_everywhere(tmp_path, name, GOOD[name][0])
    (single,) = dataset_of("single", tmp_path / "alone", value_range=["-955,65535"])
    found = (single["A"][0].permute(1, 2, 0).double() + 1) / 2 * (65535 + 955) - 955
    expected = AT_DEPTH[name].reshape(HEIGHT, WIDTH, -1)
    assert np.abs(found.numpy() - expected).max() < 0.01
    (coloured,) = dataset_of("colorization", tmp_path)  # which takes 8 bits alone
    assert coloured["A"].abs().max() <= 1


@pytest.mark.parametrize("name", [name for name in GOOD if name not in AT_DEPTH])
def test_a_good_image_passes_through_every_kind_of_data_set(tmp_path: Path, name: str) -> None:
    content, expected = GOOD[name]
    put_everywhere(tmp_path, name, content)
    height, width = expected.shape[:2]
    seen = np.asarray(default_loader(tmp_path / "test" / name))

    (single,) = dataset_of("single", tmp_path / "alone")
    assert np.array_equal(as_pixels(single["A"]), seen)
    (unpaired,) = dataset_of("unaligned", tmp_path)
    assert np.array_equal(as_pixels(unpaired["A"]), seen)
    assert np.array_equal(as_pixels(unpaired["B"]), PIXELS)
    (coloured,) = dataset_of("colorization", tmp_path)
    assert coloured["A"].shape == (1, 1, height, width)
    assert coloured["B"].shape == (1, 2, height, width)
    assert coloured["A"].abs().max() <= 1
    if width > 1:
        (pair,) = dataset_of("aligned", tmp_path)
        assert np.array_equal(as_pixels(pair["A"]), seen[:, : width // 2])
        assert np.array_equal(as_pixels(pair["B"]), seen[:, width // 2 :])


@pytest.mark.parametrize("mode", ["resize_and_crop", "scale_width_and_crop", "none"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_tiny_and_thin_images_get_the_size_that_the_options_ask_for(
    tmp_path: Path, mode: str, size: tuple[int, int]
) -> None:
    write(tmp_path / "a.png", encoded(Image.fromarray(noise(*size)), "PNG"))
    (batch,) = dataset_of("single", tmp_path, preprocess=mode)
    height, width = batch["A"].shape[2:]
    if mode == "none":  # a multiple of 4, and not nothing
        assert (width, height) == (max(4, size[0]), max(4, size[1]))
    else:
        assert (width, height) == (8, 8)


# ---- images that are not ----------------------------------------------------------------------

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
WHOLE = {
    kind: encoded(Image.fromarray(noise(64, 64)), kind)
    for kind in ("JPEG", "PNG", "TIFF", "BMP", "PPM")
}

# The entry that says where the pixels are (tag 273) has a whole number (type 4), here a fraction.
ODD_TIFF = WHOLE["TIFF"].replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 273, 11))
BAD: dict[str, bytes] = {
    **{f"half a {kind}.png": content[: len(content) // 2] for kind, content in WHOLE.items()},
    "nothing.png": b"",
    "one byte.jpg": b"\xff",
    "text.jpg": b"this is no image",
    "web page.jpg": b"<!doctype html><title>404</title>",
    "beginning.png": WHOLE["PNG"][:8],
    "zeros.png": bytes(1000),
    "wrong check sum.png": WHOLE["PNG"].replace(b"IDAT", b"IDBT", 1),
    "without pixels.png": png(0, 0, b""),
    "too few rows.png": png(64, 64, bytes(10)),
    "pixels at a fraction.tif": ODD_TIFF,
    "bomb.png": png(60_000, 60_000, bytes(10)),
    "bomb.bmp": WHOLE["BMP"][:18] + (60_000).to_bytes(4, "little") * 2 + WHOLE["BMP"][26:],
    "script.png": POSTSCRIPT,
}


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)  # relative, since a socket's path may have 107 bytes only


def make_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere.png")


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def make_link_to_endless_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES = (
    make_pipe, make_socket, make_link_to_nowhere, make_link_to_itself, make_link_to_endless_zeros,
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_named(tmp_path: Path, count: Count, name: str) -> None:
    path = write(tmp_path / name, BAD[name])
    with time_limit(), pytest.raises(UserError) as caught:
        default_loader(path)
    assert path in str(caught.value)
    count("corpus: bad images")


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("mode", ["single", "unaligned", "aligned", "colorization"])
def test_a_bad_image_is_named_by_every_kind_of_data_set(
    tmp_path: Path, mode: str, name: str
) -> None:
    put_everywhere(tmp_path, name, BAD[name])
    dataset = dataset_of(mode, tmp_path / "alone" if mode == "single" else tmp_path)
    with time_limit(), pytest.raises(UserError) as caught:
        list(dataset)
    assert name in str(caught.value)


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_neither_hangs_nor_hides_the_images_beside_it(
    tmp_path: Path, count: Count, make: Callable[[Path], None]
) -> None:
    good = write(tmp_path / "good.png", encoded(IMAGE, "PNG"))
    os.chdir(tmp_path)
    make(tmp_path / "odd.png")
    make(tmp_path / "odd.webp")  # an ending whose files are looked into
    with time_limit():
        listed = make_dataset(tmp_path)
        assert listed == [good, str(tmp_path / "odd.png")]  # as in the reference, which has no webp
        with pytest.raises(UserError) as caught:
            default_loader(listed[1])
    assert listed[1] in str(caught.value)
    count("corpus: things that are no files")


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Return a folder that everybody may enter, as somebody who has no rights in it.

    Not below pytest's own, which are closed to all but the administrator, who may read everything.
    """
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        write(Path(name, "secret.png"), encoded(IMAGE, "PNG"))
        write(Path(name, "secret folder", "a.png"), b"")
        for entry in Path(name).iterdir():
            entry.chmod(0)
        if user == 0:
            os.seteuid(65534)  # nobody
        try:
            yield Path(name)
        finally:
            if user == 0:
                os.seteuid(user)
            Path(name, "secret folder").chmod(0o755)


def test_what_may_not_be_read_is_named(closed_folder: Path) -> None:
    with pytest.raises(UserError, match=r"secret\.png cannot be read: .*Permission denied"):
        default_loader(closed_folder / "secret.png")
    with pytest.raises(PermissionError) as caught:  # whose name the commands show
        make_dataset(closed_folder)
    assert caught.value.filename == str(closed_folder / "secret folder")


def test_a_bomb_is_refused_before_memory_is_taken_for_it(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.png", BAD["bomb.png"])
    assert os.path.getsize(path) < 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes
    with time_limit(), pytest.raises(UserError, match="more than 179 million pixels"):
        default_loader(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_large_image_that_pillow_only_warns_of_is_read_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Satellite images are that large; at twice the limit Pillow itself refuses."""
    path = write(tmp_path / "large.png", encoded(IMAGE, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
        pass  # so it is one of those
    loaded = default_loader(path)  # with warnings as errors
    assert np.array_equal(np.asarray(loaded), PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 - 1)
    with pytest.raises(UserError, match=r"large\.png.*--large_pictures"):
        default_loader(path)


def test_reading_images_does_not_make_python_repeat_the_warnings_of_others(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.png", encoded(IMAGE, "PNG"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # once for each place
        for _ in range(3):
            default_loader(path)
            warnings.warn("what a plugin does is out of date", DeprecationWarning, stacklevel=1)
    assert len(caught) == 1


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript with it, and what that has had of holes fills lists."""
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *given, **named: started.append(given)
    )
    with pytest.raises(UserError, match=r"script\.png is PostScript"):
        default_loader(write(tmp_path / "script.png", POSTSCRIPT))
    assert started == []
    with Image.open(tmp_path / "script.png") as image, pytest.raises(Exception):  # noqa: B017, PT011
        image.load()
    assert len(started) == 1  # so Pillow would have


# ---- listings -----------------------------------------------------------------------------------


def test_loops_of_links_end_and_folders_called_like_images_are_searched(tmp_path: Path) -> None:
    inner = write(tmp_path / "folder.png" / "a.png", b"")
    (tmp_path / "folder.png" / "up").symlink_to(tmp_path)
    (tmp_path / "up.png").symlink_to(tmp_path)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with time_limit():
        assert make_dataset(tmp_path) == [inner]


def test_folders_may_be_nested_deeper_than_python_can_call(tmp_path: Path) -> None:
    depth = 1200
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("deep.png").touch()
    os.chdir(tmp_path)
    try:
        assert make_dataset(".") == [os.path.join(".", *["d"] * depth, "deep.png")]
    finally:  # pytest and shutil would call themselves too deep
        os.chdir(os.path.join(*["d"] * depth))
        os.remove("deep.png")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")


def list_many(folder: Path, number: int) -> float:
    """Make so many empty files, list them, and return the seconds that the listing took."""
    for index in range(number):
        os.close(os.open(folder / f"{index * 7919 % number:07d}.png", os.O_CREAT | os.O_WRONLY))
    began = time.perf_counter()
    listed = make_dataset(folder)
    seconds = time.perf_counter() - began
    assert len(listed) == number
    assert listed[0] == str(folder / "0000000.png")
    assert listed[-1] == str(folder / f"{number - 1:07d}.png")
    assert all(one < next_one for one, next_one in zip(listed, listed[1:], strict=False))
    assert make_dataset(folder, 3) == listed[:3]
    return seconds


def test_many_files_are_listed_in_order(tmp_path: Path, count: Count) -> None:
    seconds = list_many(tmp_path, 20_000)
    count("listing: files in the largest folder", 20_000)
    print(f"20,000 files were listed in {seconds:.2f} s")


@pytest.mark.slow
def test_very_many_files_are_listed_in_order(
    tmp_path_factory: pytest.TempPathFactory, count: Count
) -> None:
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("many")
    folder = base / f"many-{os.getpid()}"
    folder.mkdir()
    try:
        seconds = list_many(folder, MANY)
    finally:
        shutil.rmtree(folder)
    count("listing: files in the largest folder", MANY)
    print(f"{MANY:,} files were listed in {seconds:.1f} s")


# ---- names, through test.py ---------------------------------------------------------------------


class Links(HTMLParser):
    """The files that a page leads to, and its headings."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.files: list[str] = []
        self.headings: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._heading: list[str] | None = None
        self.feed(page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a tag leads."""
        self.tags.append((tag, dict(attrs)))
        self._heading = [] if tag == "h3" else self._heading
        for name, value in attrs:
            if name in ("src", "href") and value is not None:
                self.files.append(unquote(value, errors="surrogateescape"))

    def handle_data(self, data: str) -> None:
        """Keep a heading's text."""
        if self._heading is not None:
            self._heading.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Finish a heading."""
        if tag == "h3" and self._heading is not None:
            self.headings.append("".join(self._heading))
            self._heading = None


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """Translate images of all strange names; the folder holds nothing but this run."""
    root = tmp_path_factory.mktemp("names")
    for number, name in enumerate(NAMES):
        write(root / "in" / f"{name}.png", encoded(Image.fromarray(noise(32, 32, number)), "PNG"))
    net = define_G(3, 3, 2, "resnet_6blocks", "instance")
    save_state(checkpoint.cpu_state_dict(net), make(root) / "latest_net_G.pth")
    before = tree(root)
    with chdir(root), writes() as written:
        results = run_test(root, root / "in", "test", "--num_test", str(len(NAMES)))
    return Namespace(root=root, results=results, before=before, written=written)


def make(root: Path) -> Path:
    folder = root / "checkpoints" / "run"
    folder.mkdir(parents=True)
    return folder


@needs_any_name
def test_every_strange_name_gets_its_results(translated: Namespace, count: Count) -> None:
    page = Links(translated.results / "index.html")
    made = {f"images/{path.name}" for path in (translated.results / "images").iterdir()}
    assert len(made) == 2 * len(NAMES)
    assert set(page.files) == made  # unquoted, every link leads to a file, and none is left out
    for name in NAMES:
        if len(os.fsencode(name)) <= LONGEST:
            assert {f"images/{name}_{label}.png" for label in ("real", "fake")} <= made
            shown = printable(name)
            assert any(heading.strip() == shown.strip() for heading in page.headings), name
    assert len(page.headings) == len(NAMES)
    count("corpus: strange names through test.py", len(NAMES))


@needs_any_name
def test_results_of_strange_names_are_images_of_the_right_input(translated: Namespace) -> None:
    for number, name in enumerate(NAMES):
        if len(os.fsencode(name)) <= LONGEST:
            real = translated.results / "images" / f"{name}_real.png"
            with Image.open(real) as image:
                assert abs(np.asarray(image).astype(int) - noise(32, 32, number)).max() <= 1, name


@needs_any_name
def test_strange_names_write_nowhere_else(translated: Namespace) -> None:
    root, run = translated.root, translated.root / "checkpoints" / "run"
    assert outside(translated.written, translated.results.parents[1], run) == []
    after = {
        path: content
        for path, content in tree(root).items()
        if path.partition("/")[0] != "results" and not path.startswith("checkpoints/run/test_opt")
    }
    assert after == translated.before
    assert not list(root.rglob("marker"))


@needs_any_name
def test_a_console_that_cannot_show_a_name_does_not_stop_test_py(
    translated: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(translated.root / "checkpoints", tmp_path / "checkpoints")
    write(tmp_path / "in" / "风 \udcff.png", encoded(IMAGE, "PNG"))
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    results = run_test(tmp_path, tmp_path / "in", "test")
    assert (results / "images" / "风 \udcff_fake.png").is_file()
    console.flush()
    assert b"processing (0000)-th image" in console.buffer.getvalue()


@needs_any_name
def test_long_names_are_cut_but_stay_distinct_and_leave_room_for_a_label() -> None:
    long = ["x" * 251, "x" * 250 + "y", "漢" * 83, "漢" * 82 + "字", "é" * 125]
    paths = [f"in/{name}.png" for name in long] + ["in/deep/" + "x" * 251 + ".png"]
    results = ResultNames(paths, "in")
    names = [results.name(path) for path in paths]
    assert len(set(names)) == len(paths)
    for name in names:
        assert len(os.fsencode(f"{name}_real_B_rgb.png".rpartition("/")[2])) <= 255
    assert names[0].startswith("x" * 200)
    assert ResultNames(reversed(paths), "in").name(paths[0]) == names[0]


def test_names_that_are_just_short_enough_are_kept() -> None:
    name = "x" * LONGEST
    assert ResultNames().name(f"in/{name}.png") == name
    assert ResultNames().name(f"in/{name}x.png") != f"{name}x"
