"""Image files in parts and strips: the same values as whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.images import reading
from util.images.pixels import stored_values
from util.images.reading import allow_large_images, read_image
from util.images.strips import open_in_parts, write_strips

DEPTHS = {"uint8": 200, "uint16": 60000, "float32": 1}


def drawn(channels: int, dtype: str, height: int = 70, width: int = 45) -> Tensor:
    """Return noise as stored values, (C, H, W)."""
    values = np.random.default_rng(channels).random((channels, height, width)) * DEPTHS[dtype]
    return torch.from_numpy(values.astype(dtype))


def joined(path: Path, channels: int) -> tuple[Tensor, int]:
    """Return an image put together from its parts, and how many there were."""
    image = open_in_parts(path, channels)
    whole, seen = torch.zeros(image.shape, dtype=image.depth), 0
    for top, left, stored in image.parts:
        _, rows, columns = stored.shape
        whole[:, top : top + rows, left : left + columns] = stored
        seen += 1
    return whole, seen


def in_strips(stored: Tensor, rows: int = 32) -> Iterator[Tensor]:
    """Yield an image from top to bottom."""
    yield from stored.split(rows, dim=1)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize(
    "layout", [{"rowsperstrip": 16}, {"tile": (16, 32)}], ids=["strips", "tiles"]
)
def test_tiff_files_are_read_in_their_own_parts(
    layout: dict[str, Any], dtype: str, channels: int, tmp_path: Path
) -> None:
    stored = drawn(channels, dtype)
    pixels = stored.permute(1, 2, 0).contiguous().numpy()
    layout |= {"photometric": "rgb" if channels == 3 else "minisblack", "compression": "zlib"}
    layout |= {"planarconfig": "contig"} if channels > 1 else {}
    file = tmp_path / "some.tif"
    tifffile.imwrite(file, pixels.squeeze(), **layout)
    whole, seen = joined(file, channels)
    assert seen in (5, 10)
    assert torch.equal(whole, stored)
    assert torch.equal(whole, stored_values(read_image(file, channels)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "turned"])
@pytest.mark.parametrize("channels", [1, 3])
def test_unusual_tiff_and_other_files_hold_what_read_image_finds(
    mode: str, channels: int, tmp_path: Path
) -> None:
    image = Image.fromarray(drawn(3, "uint8").permute(1, 2, 0).numpy())
    turned: dict[str, Any] = {"tiffinfo": {274: 6}} if mode == "turned" else {}
    image.convert("RGB" if mode == "turned" else mode).save(tmp_path / "some.tif", **turned)
    image.save(tmp_path / "some.png")
    for file in tmp_path.iterdir():
        assert torch.equal(joined(file, channels)[0], stored_values(read_image(file, channels)))


@pytest.mark.parametrize(
    ("ending", "dtype", "channels"),
    [
        *(("png", dtype, channels) for dtype in ("uint8", "uint16") for channels in (1, 2, 3, 4)),
        *((ending, dtype, n) for ending in ("tif", "npy") for dtype in DEPTHS for n in (1, 3, 5)),
        ("webp", "uint8", 3),
    ],
)
def test_what_is_written_in_strips_is_read_back(
    ending: str, dtype: str, channels: int, tmp_path: Path
) -> None:
    stored, file = drawn(channels, dtype), tmp_path / f"some.{ending}"
    write_strips(file, in_strips(stored), (channels, 70, 45), stored.dtype)
    found = stored_values(read_image(file, channels))
    if ending == "webp":
        assert found.shape == stored.shape
    else:
        assert torch.equal(found, stored)


def test_what_a_file_cannot_hold_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    def never() -> Iterator[Tensor]:
        raise AssertionError
        yield

    with pytest.raises(UserError, match=r"\.png files cannot hold 5 channels of uint8; these can"):
        write_strips(tmp_path / "some.png", never(), (5, 8, 8), torch.uint8)
    assert not list(tmp_path.iterdir())


def test_damaged_tiff_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "some.tif"
    tifffile.imwrite(file, np.zeros((70, 45, 3), np.uint8), photometric="rgb", compression="zlib")
    file.write_bytes(file.read_bytes()[:-40] + b"x" * 40)
    with pytest.raises(UserError, match=r"some\.tif.* cannot be read"):
        joined(file, 3)


def test_huge_images_open_once_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((70, 45, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "some.png")
    tifffile.imwrite(tmp_path / "some.tif", pixels, photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for file in tmp_path.iterdir():
        for call in (read_image, open_in_parts):
            with pytest.raises(UserError, match="more than 179 million pixels.*--large_pictures"):
                call(file, 3)
    with pytest.raises(UserError, match="cut it into smaller images"):
        reading.default_loader(tmp_path / "some.png")
    allow_large_images()
    assert reading.default_loader(tmp_path / "some.png").size == (45, 70)
    for file in tmp_path.iterdir():
        assert open_in_parts(file, 3).shape == (3, 70, 45)
