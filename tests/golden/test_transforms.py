"""Decoding of files, and the transforms that the options describe."""

import random
from argparse import Namespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.base_dataset import get_params, get_transform
from data.image_folder import default_loader, is_image_file
from tests.golden.conftest import Largest
from tests.golden.formulas import (
    DATA,
    flat,
    ids,
    load,
    strided,
    summary_difference,
    transform_options,
)

pytestmark = pytest.mark.golden

RECORDS = load("transforms")
DECODE, TRANSFORM = RECORDS["decode_to_RGB"], RECORDS["transform"]
PARAMS, RANDOM = RECORDS["get_params"], RECORDS["random_transform"]
EXTENSIONS = load("image_extensions")

# Records hold six digits; resizing may differ by one grey level, decoding JPEG by two.
EXACT_BOUND, LEVEL_BOUND, JPEG_LEVELS = 2e-6, 0.008, 2
# Decided: endings in any case, and webp.
NOW_ACCEPTED = {"a.Jpg", "a.Png", "a.webp"}


def of_record(record: dict[str, Any]) -> Namespace:
    """Return the options of a record."""
    names = ("preprocess", "load_size", "crop_size", "no_flip")
    return transform_options(**{name: record[name] for name in names if name in record})


def resizes(record: dict[str, Any]) -> bool:
    """Tell whether interpolation is involved."""
    return bool(record["preprocess"] != "crop")


def compare(found: Any, record: dict[str, Any], group: str, largest: Largest) -> None:
    """Compare a transformed image with its record."""
    assert found.dtype == torch.float32
    kind, bound = ("resized", LEVEL_BOUND) if resizes(record) else ("exact", EXACT_BOUND)
    largest(f"{group}, {kind}", summary_difference(found, record["out"]), bound)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_image_files_are_told_by_their_ending(name: str) -> None:
    assert is_image_file(name) == (EXTENSIONS[name] or name in NOW_ACCEPTED)


@pytest.mark.parametrize("record", DECODE, ids=ids(DECODE, "file"))
def test_file_is_decoded_as_recorded(record: dict[str, Any], largest: Largest) -> None:
    path = DATA / "images" / record["file"]
    with Image.open(path) as stored:
        assert (stored.mode, list(stored.size)) == (record["mode"], record["size_w_h"])
    image = default_loader(path)
    if "exif" in record["file"]:
        # Decided: the image is turned upright; the record is of the image as it is stored.
        image = image.transpose(Image.Transpose.ROTATE_90)
    assert (image.mode, list(image.size)) == ("RGB", record["size_w_h"])
    pixels = np.asarray(image)
    found = strided(flat(pixels), len(record["strided"]))
    jpeg = path.suffix == ".jpg"
    levels = float(np.abs(found - record["strided"]).max())
    largest(f"decoded {'jpeg' if jpeg else 'lossless'}, levels", levels, JPEG_LEVELS if jpeg else 0)
    means = np.abs(pixels.mean(axis=(0, 1)) - record["mean"]).max()
    largest("decoded, mean level", float(means), 1.0 if jpeg else 1e-3)


@pytest.mark.parametrize(
    "record",
    TRANSFORM,
    ids=ids(
        TRANSFORM, "file", "preprocess", "load_size", "crop_size", "crop_pos", "flip", "grayscale"
    ),
)
def test_transform_with_fixed_parameters(record: dict[str, Any], largest: Largest) -> None:
    transform = get_transform(
        of_record(record),
        {"crop_pos": tuple(record["crop_pos"]), "flip": record["flip"]},
        record["grayscale"],
    )
    image = default_loader(DATA / "images" / record["file"])
    compare(transform(image), record, "transform", largest)


@pytest.mark.parametrize(
    "record",
    PARAMS,
    ids=ids(PARAMS, "preprocess", "load_size", "crop_size", "image_size_w_h", "random_seed"),
)
def test_parameters_are_drawn_as_recorded(record: dict[str, Any]) -> None:
    random.seed(record["random_seed"])
    drawn = []
    for _ in record["sequence"]:
        params = get_params(of_record(record), tuple(record["image_size_w_h"]))
        drawn.append([*params["crop_pos"], params["flip"]])
    assert drawn == record["sequence"]
    assert random.random() == pytest.approx(record["python_random_after"], abs=1e-6)


@pytest.mark.parametrize(
    "record",
    RANDOM,
    ids=ids(RANDOM, "file", "preprocess", "load_size", "crop_size", "no_flip", "torch_seed"),
)
def test_random_transform_draws_as_recorded(record: dict[str, Any], largest: Largest) -> None:
    transform = get_transform(of_record(record))
    image = default_loader(DATA / "images" / record["file"])
    torch.manual_seed(record["torch_seed"])
    if "error" in record["out"]:
        assert record["out"]["error"] == "ValueError"
        with pytest.raises(ValueError, match=f"--crop_size {record['crop_size']}"):
            transform(image)
    else:
        compare(transform(image), record, "random transform", largest)
    assert float(torch.rand(1)) == pytest.approx(record["torch_rand_after"], abs=1e-6)


def test_without_conversion_an_image_comes_back() -> None:
    record = RECORDS["convert_false"]
    opt = transform_options(preprocess="resize_and_crop", load_size=64, crop_size=48)
    image = get_transform(opt, convert=False)(default_loader(DATA / "images" / "rgb_64x64.png"))
    assert type(image).__name__ == record["type"]
    assert (image.mode, list(image.size)) == (record["mode"], record["size"])
