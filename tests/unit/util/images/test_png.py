"""Our PNG files hold the pixels they should, as Pillow reads them."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from util.images import png
from util.images.writing import write_image


@given(
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    seed=st.integers(0, 2**20),
    flat=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_pillow_reads_the_same_pixels(
    mode: str, width: int, height: int, seed: int, flat: bool
) -> None:
    draws = np.random.default_rng(seed)
    channels = len(mode)
    pixels = draws.integers(0, 2 if flat else 256, (height, width, channels), dtype=np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode)
    encoded = png.encode(image)
    assert encoded is not None
    with Image.open(io.BytesIO(encoded)) as read:
        read.verify()
    with Image.open(io.BytesIO(encoded)) as read:
        assert (read.mode, read.format, read.size) == (mode, "PNG", (width, height))
        assert np.array_equal(np.asarray(read), np.asarray(image))


@pytest.mark.parametrize("mode", ["P", "1", "I;16", "LA"])
def test_other_kinds_are_left_to_pillow(mode: str, tmp_path: Path) -> None:
    image = Image.new(mode, (5, 4))
    assert png.encode(image) is None
    write_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == mode


def test_what_an_image_carries_besides_pixels_is_left_to_pillow(tmp_path: Path) -> None:
    image = Image.new("RGB", (5, 4))
    image.info["transparency"] = (0, 0, 0)
    write_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        assert read.info["transparency"] == (0, 0, 0)
