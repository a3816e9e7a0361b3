"""test.py --tile, as a user meets it."""

from collections.abc import Callable, Sequence
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
    return test(folder, folder / "photos", "test", "--preprocess", "none", "--keep_size", *more)


def main_in(folder: Path) -> Callable[[list[str]], None]:
    """Return what does that with a command line."""

    def main(more: list[str]) -> None:
        translate(folder, *more)

    return main


def test_images_are_translated_in_tiles_as_they_are_whole(tmp_path: Path, photos: Path) -> None:
    whole = images_of(translate(tmp_path))
    tiled = images_of(translate(tmp_path, "--tile", "24", "--overlap", "5"))
    assert [image.shape for image in whole] == [(40, 40, 3), (61, 61, 3)]
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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--overlap", "8"), "--overlap 8 needs --tile"),
        (("--tile", "8", "--compile"), "--tile 8 and --compile contradict each other"),
        (("--tile", "-1"), "--tile -1 cannot work: it must be 0 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: Sequence[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(main_in(tmp_path), words) == 2
    assert says in capsys.readouterr().err


def test_huge_images_are_opened_when_that_is_asked_for(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert ended(main_in(tmp_path), ()) == 1
    assert "0.png has more than 179 million pixels" in capsys.readouterr().err
    assert ended(main_in(tmp_path), ("--large_pictures",)) == 0
