"""Images that the tests draw, and the options to read them with."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def drawn_image(width: int = 8, height: int = 8, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Return noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def draw(folder: Path, names: Iterable[str], width: int = 8, height: int = 8) -> list[str]:
    """Write an image of noise under each name, and return the paths."""
    paths = []
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn_image(width, height, seed).save(path, format=None if path.suffix else "PNG")
        paths.append(str(path))
    return paths


def options(dataroot: str | Path, **changes: object) -> Namespace:
    """Return all that the built-in data sets and the loader read."""
    values: dict[str, object] = {
        "dataroot": str(dataroot),
        "phase": "train",
        "dataset_mode": "single",
        "direction": "AtoB",
        "input_nc": 3,
        "output_nc": 3,
        "preprocess": "resize_and_crop",
        "load_size": 10,
        "crop_size": 8,
        "no_flip": False,
        "serial_batches": False,
        "batch_size": 1,
        "num_threads": 0,
        "max_dataset_size": float("inf"),
        "isTrain": True,
    }
    return Namespace(**(values | changes))
