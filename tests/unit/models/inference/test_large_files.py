"""Files that are translated in parts: the pixels are those of the whole image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from models import load_generator
from models.inference import scratch
from models.inference.large_files import translate_large_file
from tests.support.generators import save_run
from util.base.errors import UserError

WHITE = {"uint8": 255, "uint16": 65535}


def draw(path: Path, dtype: str, channels: int) -> None:
    """Write noise as a TIFF file."""
    noise = np.random.default_rng(1).random((61, 46, channels)) * WHITE[dtype]
    kind: Any = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(path, noise.astype(dtype).squeeze(), photometric=kind, tile=(16, 16))


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 1)])
@pytest.mark.parametrize("tile", [16, 24, 100])
def test_a_file_becomes_what_the_whole_image_becomes(
    tile: int, dtype: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    save_run(tmp_path / "run", "pix2pix", "G", input_nc=channels, output_nc=3)
    generator = load_generator(tmp_path / "run", device="cpu")
    source, target = tmp_path / "some.tif", tmp_path / "made.tif"
    draw(source, dtype, channels)
    cut_off = translate_large_file(generator, source, target, tile=tile)
    whole = np.asarray(generator.translate(source)).astype(int)
    made = tifffile.imread(target).astype(int)
    assert cut_off == 0
    assert made.shape == whole.shape == (61, 46, 3)
    assert abs(made - whole).max() <= (1 if dtype == "uint8" else 3)
    assert (made == whole).mean() > (0.99 if dtype == "uint8" else 0.5)
    assert np.ptp(whole) > 50


def test_values_outside_of_the_range_are_counted(tmp_path: Path) -> None:
    save_run(tmp_path / "run", "pix2pix", "G", input_nc=1, value_range=["0,40000"])
    generator = load_generator(tmp_path / "run", device="cpu")
    draw(tmp_path / "some.tif", "uint16", 1)
    cut_off = translate_large_file(generator, tmp_path / "some.tif", tmp_path / "made.tif", tile=16)
    assert cut_off == pytest.approx(1 - 40000 / 65535, abs=0.05)


def test_u_nets_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    save_run(tmp_path / "run", "pix2pix", "G", netG="unet_128")
    generator = load_generator(tmp_path / "run", device="cpu")
    with pytest.raises(UserError, match="cannot be computed in tiles"):
        translate_large_file(generator, Path("missing.tif"), tmp_path / "made.tif", tile=16)
    assert torch.is_grad_enabled()
