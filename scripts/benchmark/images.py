"""Images to measure with: noise whose fine structure is as weak as that of photographs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FALL = 1.3  # amplitude falls with frequency to this power: PNGs and JPEGs get a photo's size


def photo(side: int, seed: int, *, wide: int = 1) -> NDArray[np.uint8]:
    """Return an image (side, wide * side, 3)."""
    random = np.random.default_rng(seed)
    shape = (side, wide * side)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = 1.0
    channels = []
    for _ in range(3):
        waves = np.fft.rfft2(random.standard_normal(shape)) / frequency**FALL
        field = np.fft.irfft2(waves, shape)
        channels.append(128 + 45 * (field - field.mean()) / field.std())
    grey, *colours = channels
    mixed = np.stack([grey, 0.8 * grey + 0.2 * colours[0], 0.8 * grey + 0.2 * colours[1]], axis=2)
    return np.asarray(mixed.clip(0, 255), dtype=np.uint8)


def write_photos(folder: Path, count: int, side: int, *, wide: int = 1) -> None:
    """Write JPEG images of quality 90."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.fromarray(photo(side, number, wide=wide))
        image.save(folder / f"{number:04}.jpg", quality=90)


def write_dataset(root: Path, count: int, side: int) -> Path:
    """Write what cycle_gan (trainA, trainB) and pix2pix (train) train on, and return `root`."""
    for name in ("trainA", "trainB"):
        write_photos(root / name, count, side)
    write_photos(root / "train", count, side, wide=2)
    return root
