"""Images written in the background: equal, bounded, whole, and never silently missing."""

import errno
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from util.images import writing
from util.images.writing import WAITING_PER_THREAD, ImageWriter, save_image, write_image


def drawn_image(seed: int, side: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


class Gate:
    """Stands in for `save_image`: notes who comes, and lets nobody pass until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.came = threading.Event(), threading.Semaphore(0)
        self.written: list[str] = []
        monkeypatch.setattr(writing, "save_image", self._save)

    def _save(self, image: Any, path: Path, aspect_ratio: float) -> None:
        self.came.release()
        assert self.open.wait(30)
        self.written.append(path.name)


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    with ImageWriter(threads=3) as writer:
        for number in range(30):
            writer.write(drawn_image(number), tmp_path / "in" / f"{number}.png")
        writer.write(drawn_image(99), tmp_path / "wide.png", 2.0)
    for number in range(30):
        with Image.open(tmp_path / "in" / f"{number}.png") as image:
            assert np.array_equal(np.asarray(image), drawn_image(number))
    with Image.open(tmp_path / "wide.png") as image:
        assert image.size == (80, 40)


def test_a_bounded_number_of_images_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    handed_over: list[int] = []

    def hand_over() -> None:
        with ImageWriter(threads=2) as writer:
            for number in range(50):
                writer.write(drawn_image(0), tmp_path / f"{number}.png")
                handed_over.append(number)

    maker = threading.Thread(target=hand_over)
    maker.start()
    for _ in range(2):
        assert gate.came.acquire(timeout=30)
    maker.join(0.2)  # it cannot go further
    assert len(handed_over) <= 2 * (1 + WAITING_PER_THREAD)
    gate.open.set()
    maker.join(30)
    assert len(handed_over) == len(gate.written) == 50


def test_after_an_error_what_waits_is_left_out_and_what_is_being_written_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    def interrupt() -> None:
        with ImageWriter(threads=1) as writer:
            pool: Any = writer._pool
            shut_down = pool.shutdown

            def shut_down_and_open(**how: bool) -> None:
                pool.shutdown = shut_down
                shut_down(wait=False, **how)  # what waits is left out now
                gate.open.set()
                shut_down()

            pool.shutdown = shut_down_and_open
            for number in range(4):
                writer.write(drawn_image(0), tmp_path / f"{number}.png")
            assert gate.came.acquire(timeout=30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert gate.written == ["0.png"]


@pytest.mark.parametrize("more", [0, 20])
def test_an_image_that_cannot_be_written_is_an_error_that_names_it(
    more: int, tmp_path: Path
) -> None:
    (tmp_path / "images").touch()  # in the way of a folder
    made = []

    def write() -> None:
        with ImageWriter(threads=2) as writer:
            writer.write(drawn_image(0), tmp_path / "images" / "a.png")
            for number in range(more):
                writer.write(drawn_image(number), tmp_path / f"{number}.png")
                made.append(number)

    with pytest.raises(OSError, match="a.png") as raised:
        write()
    assert raised.value.errno in (errno.EEXIST, errno.ENOTDIR)
    assert not list(tmp_path.glob(".*"))


def test_an_array_that_is_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError), ImageWriter() as writer:
        writer.write(np.zeros((2, 2, 7)), tmp_path / "a.png")


# ---- one image -------------------------------------------------------------------------------


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("ratio", "width", "height"), [(1.0, 40, 24), (1.5, 60, 24), (0.5, 40, 48), (2.0, 80, 24)]
)
def test_an_aspect_ratio_above_1_widens_and_one_below_1_heightens(
    tmp_path: Path, ratio: float, width: int, height: int
) -> None:
    save_image(noise(24, 40), tmp_path / "a.png", ratio)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (width, height)


def test_without_a_ratio_the_pixels_are_saved_as_they_are(tmp_path: Path) -> None:
    save_image(noise(5, 7), str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), noise(5, 7))


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    ratio=st.floats(0.3, 3).filter(lambda ratio: ratio != 1),
)
def test_the_sides_change_their_ratio_by_the_factor(
    height: int, width: int, ratio: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "ratio.png"
    save_image(np.zeros((height, width, 3), np.uint8), path, ratio)
    with Image.open(path) as image:
        new_width, new_height = image.size
    assert new_width >= width
    assert new_height >= height
    assert (new_width == width) or (new_height == height)
    stretched = max(new_width / width, new_height / height)
    rounding = 1 / (width if ratio > 1 else height)
    assert max(ratio, 1 / ratio) - rounding <= stretched <= max(ratio, 1 / ratio) + 1e-9


@pytest.mark.parametrize(
    ("name", "file_format"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.b.webp", "WEBP")]
)
def test_the_suffix_decides_an_images_format(tmp_path: Path, name: str, file_format: str) -> None:
    write_image(tmp_path / name, Image.new("RGB", (3, 2), (200, 100, 0)))
    with Image.open(tmp_path / name) as image:
        assert image.format == file_format
        assert image.size == (3, 2)


def test_an_image_that_cannot_be_encoded_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, Image.new("RGB", (1, 1)))
    before = path.read_bytes()
    with pytest.raises(OSError, match="cannot write mode"):
        write_image(path, Image.new("CMYK", (1, 1)))
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
