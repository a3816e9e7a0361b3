"""Conversion of tensors to images, and how images are saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from data.base_dataset import get_transform
from tests.golden.formulas import ids, load, noise, transform_options, u
from util.util import save_image, tensor2im

pytestmark = pytest.mark.golden

RECORDS = load("tensor2im")
SHAPES, SAVED = RECORDS["tensor2im_shapes"], RECORDS["save_image"]


def test_every_byte_value_comes_back_as_recorded() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    transform = get_transform(transform_options(preprocess="none", no_flip=True))
    back = tensor2im(transform(Image.fromarray(values))[None])
    assert back[:, :, 0].reshape(-1).tolist() == RECORDS["uint8_roundtrip"]["values"]


def test_values_are_truncated_as_recorded() -> None:
    record = RECORDS["tensor2im_values"]
    row = torch.tensor(record["in"]).view(1, 1, 1, -1)
    assert tensor2im(row)[0, :, 0].tolist() == record["out"]


@pytest.mark.parametrize("record", SHAPES, ids=ids(SHAPES, "in"))
def test_batches_and_channels_are_handled_as_recorded(record: dict[str, Any]) -> None:
    image = tensor2im(noise(record["in"], record["stream"]))
    assert list(image.shape) == record["out"]
    assert image.dtype.name == record["dtype"]
    assert int(image.astype(np.int64).sum()) == record["sum"]
    assert image.reshape(-1)[: len(record["first"])].tolist() == record["first"]


def test_array_is_only_converted() -> None:
    record = RECORDS["tensor2im_numpy"]
    image = tensor2im(np.array(record["in"]))
    assert (image.dtype, image.tolist()) == (np.uint8, record["out"])


def drawn(record: dict[str, Any]) -> NDArray[np.uint8]:
    """Return the array that was saved."""
    height, width = record["array_h_w"]
    values = u(3 * height * width, record["stream"]) * 255
    return values.astype(np.uint8).reshape(3, height, width).transpose(1, 2, 0)


@pytest.mark.parametrize("record", SAVED, ids=ids(SAVED, "array_h_w", "aspect_ratio"))
def test_saved_image_has_the_decided_size_and_content(
    record: dict[str, Any], tmp_path: Path
) -> None:
    array = drawn(record)
    save_image(array, tmp_path / "x.png", record["aspect_ratio"])
    with Image.open(tmp_path / "x.png") as image:
        found, size = np.asarray(image), image.size
        assert image.mode == record["mode"]
    height, width = record["array_h_w"]
    ratio = record["aspect_ratio"]
    assert sorted(size) == sorted(record["saved_width_height"])
    if ratio == 1:
        assert list(size) == record["saved_width_height"]
        assert found.reshape(-1)[: len(record["first"])].tolist() == record["first"]
        assert float(found.mean()) == pytest.approx(record["mean"], abs=1e-6)
        return
    # Decided: the reference swapped the sides.
    wanted = (int(width * ratio), height) if ratio > 1 else (width, int(height / ratio))
    assert size == wanted
    stretched = Image.fromarray(array).resize(wanted, Image.Resampling.BICUBIC)
    assert np.array_equal(found, np.asarray(stretched))
