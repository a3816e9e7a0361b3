"""Images of other depths and channels through all commands: no value is lost."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.test_model import TestModel
from tests.support import commands
from tests.support.commands import Page, ended, names, test, train
from tests.support.generators import save_run
from util.images.pixels import stored_values
from util.images.reading import read_image
from util.images.writing import write_stored
from util.inference.results import Results
from util.storage.run_folder import RunFolder
from util.storage.saved_options import read_saved_options

GRAY_16 = ("--input_nc", "1", "--output_nc", "1", "--value_range", "0,4095")
FIVE_TO_TWO = ("--input_nc", "5", "--output_nc", "2", "--value_range", "auto")


def noise(dtype: str, channels: int, low: float, high: float, seed: int = 0) -> NDArray[Any]:
    """Draw an image (40, 44, channels) in which both ends occur."""
    values = np.random.default_rng(seed).random((40, 44, channels)) * (high - low) + low
    values.flat[:2] = low, high
    whole = dtype != "float32"
    return (values.round() if whole else values).astype(dtype)


def store(path: Path, array: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = array[:, :, 0] if array.shape[2] == 1 else array
    if path.suffix == ".npy":
        np.save(path, flat)
    else:
        Image.fromarray(flat).save(path)
    return path


def read(path: Path) -> NDArray[Any]:
    return stored_values(read_image(path)).permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two domains of 16-bit gray PNG files, of which 12 bits are used."""
    root = tmp_path_factory.mktemp("gray")
    for number in range(3):
        for side in "AB":
            array = noise("uint16", 1, 0, 4095, seed=number)
            for phase in ("train", "val", "test")[: 3 if number == 0 else 1]:
                store(root / f"{phase}{side}" / f"{number}.png", array)
    return root


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pairs of .npy files, of five and of two channels, which need a range."""
    root = tmp_path_factory.mktemp("spectra")
    for number in range(2):
        for phase in ("train", "val", "test")[: 3 if number == 0 else 1]:
            store(root / "A" / phase / f"{number}.npy", noise("float32", 5, -1000, 3000, number))
            store(root / "B" / phase / f"{number}.npy", noise("int16", 2, 0, 600, number))
    return root


def test_gray_of_16_bits_is_trained_continued_validated_and_tested(
    gray: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path, gray, "cycle_gan", *GRAY_16)
    train(tmp_path, gray, "cycle_gan", "--continue_train", "--n_epochs", "2")
    said = capsys.readouterr()
    assert "value_range ['0,4095']" in said.out  # taken from the run
    assert "warning" not in said.err
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(epochs) == 2
    assert 0.05 < epochs[0]["val"]["cycle_L1"] < 0.5
    results = test(tmp_path, gray, "cycle_gan", "--preprocess", "none")
    assert "value_range ['0,4095']" in capsys.readouterr().out
    there = names(results / "images")
    assert {"0_real_A.png", "0_real_A.tif", "0_fake_B.tif", "0_rec_A.tif"} <= set(there)
    made = read(results / "images" / "0_fake_B.tif")
    assert made.dtype == np.uint16
    assert 255 < made.max() <= 4095
    assert np.array_equal(read(results / "images" / "0_real_A.tif"), read(gray / "testA/0.png"))
    with Image.open(results / "images" / "0_real_A.png") as shown:  # bright enough to be seen
        assert shown.mode == "RGB"
        assert np.asarray(shown).max() == 255
    page = (results / "index.html").read_text()
    assert 'href="images/0_fake_B.tif"' in page
    assert len(Page(results / "index.html").images) == 6


def test_arrays_of_five_channels_become_arrays_of_two(
    spectra: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path, spectra, "pix2pix", *FIVE_TO_TWO)
    saved = read_saved_options(RunFolder(str(run.parent), "run"))[1]
    assert saved["value_range"] == ["-1000,3000", "0,600"]  # of what goes in, of what comes out
    train(tmp_path, spectra, "pix2pix", "--continue_train", "--n_epochs", "2")
    capsys.readouterr()
    results = test(tmp_path, spectra, "pix2pix", "--preprocess", "none")
    images = results / "images"
    assert names(images, "*.npy") == ["0_fake_B.npy", "0_real_A.npy", "0_real_B.npy"]
    real_A = np.load(spectra / "A" / "test" / "0.npy")
    assert np.abs(np.load(images / "0_real_A.npy") - real_A).max() <= 1e-6 * 4000 + 2e-4
    real_B, fake_B = np.load(images / "0_real_B.npy"), np.load(images / "0_fake_B.npy")
    assert fake_B.shape == (40, 44, 2)
    assert (fake_B.min() >= 0, fake_B.max() <= 600) == (True, True)
    assert np.abs(real_B - np.load(spectra / "B" / "test" / "0.npy")).max() <= 1e-3
    # evaluate.py finds what the page says, of all channels and digits
    page = (results / "index.html").read_text()
    with commands.imported(commands.ROOT / "scripts" / "evaluate.py") as evaluate:
        argv = [results, "--metrics", "L1,PSNR,SSIM", "--json", tmp_path / "scores.json"]
        assert ended(evaluate.main, argv) == 0
        scores = json.loads((tmp_path / "scores.json").read_text())["comparisons"][0]["images"][0]
        for metric in ("L1", "PSNR", "SSIM"):
            [shown] = re.findall(rf'data-score="{metric}" data-value="([^"]+)"', page)
            assert float(shown) == pytest.approx(scores[metric], rel=1e-5)
    assert scores["L1"] == pytest.approx(np.abs(fake_B - real_B).mean() / 600, rel=1e-4)


IDENTITIES = [
    ("uint8", 1, ".png", "0,255", ".png"), ("uint8", 3, ".png", "0,255", ".png"),
    ("uint8", 3, ".png", "3,200", ".npy"), ("uint16", 1, ".png", "0,65535", ".png"),
    ("uint16", 1, ".png", "0,4095", ".tif"), ("uint16", 3, ".npy", "0,65535", ".png"),
    ("uint16", 2, ".npy", "0,4095", ".npy"), ("uint8", 5, ".npy", "0,255", ".npy"),
    ("int32", 1, ".tif", "-1000,3000", ".tif"), ("float32", 1, ".tif", "-1000,3000", ".tif"),
    ("float32", 4, ".npy", "-2.5,7", ".npy"),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "channels", "ending", "value_range", "written"), IDENTITIES)
def test_an_identity_gives_every_value_back(
    dtype: str, channels: int, ending: str, value_range: str, written: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Through test.py: exactly of whole numbers, to a millionth of the range of others."""
    monkeypatch.setattr(TestModel, "forward", lambda model: setattr(model, "fake", model.real))
    low, high = map(float, value_range.split(","))
    given = read(store(tmp_path / "in" / f"x{ending}", noise(dtype, channels, low, high)))
    run = tmp_path / "checkpoints" / "run"
    save_run(run, "pix2pix", "G", input_nc=channels, output_nc=channels)
    more = ("--preprocess", "none", "--value_range", value_range, "--no_dropout")
    results = test(tmp_path, tmp_path / "in", "test", *more)
    assert names(results / "images") == sorted({
        f"x_{label}{end}" for label in ("fake", "real") for end in (".png", written)
    })  # fmt: skip
    for label in ("fake", "real"):
        found = read(results / "images" / f"x_{label}{written}")
        assert found.dtype == given.dtype
        allowed = 1e-6 * (high - low) if dtype == "float32" else 0
        assert np.abs(found.astype(np.float64) - given[:, :, : found.shape[2]]).max() <= allowed


def test_without_a_range_16_bits_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TestModel, "forward", lambda model: setattr(model, "fake", model.real))
    given = noise("uint16", 1, 0, 65535)
    store(tmp_path / "in" / "x.png", given)
    save_run(tmp_path / "checkpoints" / "run", "pix2pix", "G", input_nc=1, output_nc=1)
    results = test(tmp_path, tmp_path / "in", "test", "--preprocess", "none", "--no_dropout")
    assert np.array_equal(read(results / "images" / "x_fake.png"), given)


def test_8_bits_that_became_16_in_training_do_so_in_a_test_of_one_side(tmp_path: Path) -> None:
    store(tmp_path / "pairs" / "A" / "train" / "x.png", noise("uint8", 3, 0, 255))
    store(tmp_path / "pairs" / "B" / "train" / "x.png", noise("uint16", 1, 0, 65535))
    run = train(tmp_path, tmp_path / "pairs", "pix2pix", "--output_nc", "1", "--no_html")
    assert read_saved_options(RunFolder(run))[1]["value_range"] == ["0,255", "0,65535"]
    results = test(tmp_path, tmp_path / "pairs" / "A" / "train", "test")
    made, given = (read(results / "images" / f"x_{label}.png") for label in ("fake", "real"))
    assert made.dtype == np.uint16
    assert given.dtype == np.uint8
    assert made.max() > 255


def test_two_channels_that_are_no_colours_may_be_translated(tmp_path: Path) -> None:
    store(tmp_path / "in" / "x.npy", noise("float32", 2, 0, 1))
    save_run(tmp_path / "checkpoints" / "run", "pix2pix", "G", input_nc=2, output_nc=2)
    results = test(tmp_path, tmp_path / "in", "test", "--preprocess", "none")
    assert np.load(results / "images" / "x_fake.npy").shape == (40, 44, 2)


def test_values_that_need_a_range_stop_the_run_and_name_file_and_option(
    spectra: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"A/train/\d\.npy: .* from -1000 to 3000\. Say with --value_range"
    ):
        train(tmp_path, spectra, "pix2pix", "--input_nc", "5", "--output_nc", "2")


@pytest.mark.parametrize(
    ("dtype", "ending", "step", "value_range", "expected"),
    [
        ("uint16", ".png", 100, None, 100 / 65535),  # with 8 bits there would be no difference
        ("float32", ".tif", 1, "-1000,3000", 1 / 4000),
    ],
)
def test_folders_of_any_depth_are_compared_by_all_their_digits(
    dtype: str, ending: str, step: int, value_range: str | None, expected: float, tmp_path: Path
) -> None:
    real = np.minimum(noise(dtype, 1, 0, 2900), 2900)
    for folder, array in (("real", real), ("fake", real + np.asarray(step, dtype))):
        store(tmp_path / folder / f"x{ending}", array)
    argv: list[object] = [tmp_path / "real", tmp_path / "fake", "--paired", "--metrics", "L1"]
    argv += ["--value_range", value_range] if value_range else []
    with commands.imported(commands.ROOT / "scripts" / "evaluate.py") as evaluate:
        assert ended(evaluate.main, [*argv, "--json", tmp_path / "scores.json"]) == 0
    [found] = json.loads((tmp_path / "scores.json").read_text())["comparisons"][0]["images"]
    assert found["L1"] == pytest.approx(expected, rel=1e-3)


def test_figures_show_what_the_page_shows(tmp_path: Path) -> None:
    """Not the values beside it, which would be white above 255."""
    folder = tmp_path / "results" / "run" / "test_latest"
    for label in ("real_A", "fake_B"):
        store(folder / "images" / f"1_{label}.png", noise("uint8", 3, 0, 255))
        (folder / "index.html").touch()
        stored = stored_values(read_image(folder / "images" / f"1_{label}.png", 1)).float()
        write_stored(folder / "images" / f"1_{label}.tif", stored)
    assert Results.of("run", folder).path("fake_B", "1").suffix == ".png"
