"""test.py --tile, as a user meets it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import draw, ended, scene, test
from tests.support.generators import save_run


def images_of(folder: Path) -> list[np.ndarray]:
    """Return the translated images, as numbers that can be subtracted."""
    files = sorted((folder / "images").glob("*_fake.png"))
    return [np.asarray(Image.open(file)).astype(int) for file in files]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Draw images of two sizes, and write a run that translates them."""
    save_run(tmp_path / "checkpoints" / "run", "cycle_gan", "G_A")
    for seed, side in enumerate((40, 61)):
        draw(tmp_path / "photos" / f"{seed}.png", scene(seed, side))
    return tmp_path / "photos"


def translate(folder: Path, *more: str) -> Path:
    """Run test.py on the drawn images, as large as they are."""
    return test(folder, folder / "photos", "test", "--no_dropout", "--preprocess", "none", *more)


def main_in(folder: Path) -> Callable[[list[str]], None]:
    """Return what does that with a command line."""

    def main(more: list[str]) -> None:
        translate(folder, *more)

    return main


def test_images_are_translated_in_tiles_as_they_are_whole(tmp_path: Path, photos: Path) -> None:
    whole = images_of(translate(tmp_path))
    tiled = images_of(translate(tmp_path, "--tile", "24", "--overlap", "5"))
    assert [image.shape for image in whole] == [(40, 40, 3), (60, 60, 3)]
    assert np.ptp(whole[1]) > 50
    for one, other in zip(whole, tiled, strict=True):
        assert abs(one - other).max() <= 1
        assert (one == other).mean() > 0.99


def test_what_cannot_be_computed_in_tiles_is_refused(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "checkpoints" / "run", "cycle_gan", "G_A", netG="unet_128", norm="batch")
    unet = ("--netG", "unet_128", "--norm", "batch", "--tile", "64")
    assert ended(main_in(tmp_path), unet) == 1
    text = capsys.readouterr().err
    assert "--tile: this network cannot be computed in tiles: each pixel that this U-Net" in text


def test_an_overlap_without_tiles_is_refused(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(main_in(tmp_path), ("--overlap", "8")) == 2
    assert "--overlap 8 needs --tile" in capsys.readouterr().err
