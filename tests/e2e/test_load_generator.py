"""Trained generators in Python: `from models import load_generator`."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models import load_generator
from models.inference.generator import Generator
from models.inference.trained import TrainedGenerator
from tests.support import commands
from tests.support.checkpoints import save_state
from tests.support.generators import generator, save_run
from util.base.errors import UserError
from util.images import transforms
from util.storage.checkpoint import load_state_dict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, a pix2pix run with dropout and batch norm, and a CycleGAN."""
    folder = tmp_path_factory.mktemp("trained")
    for number, side in enumerate((40, 40, 30)):
        commands.draw(folder / "images" / f"{number}.png", commands.scene(number, side))
    runs = folder / "checkpoints"
    save_run(runs / "pairs", "pix2pix", "G", netG="unet_128", norm="batch", no_dropout=False)
    save_run(runs / "cycles", "cycle_gan", "G_A", "G_B", output_nc=1)
    save_run(runs / "styles", "stargan_v2", "G")
    save_run(runs / "lightness", "colorization", "G")
    save_run(runs / "nowhere", "their_own", "G")
    (runs / "other").mkdir()
    save_state({"weight": torch.zeros(3)}, runs / "other" / "latest_net_D.pth")
    (runs / "other" / "broken.pth").write_bytes(b"PK\x03\x04")
    return folder


def load(folder: Path, name: str, **options: Any) -> Generator:
    """Load a generator of the module's runs."""
    return load_generator(name, checkpoints_dir=folder / "checkpoints", device="cpu", **options)


def result_of(folder: Path, name: str, number: int, *more: str) -> np.ndarray:
    """Return what test.py makes of an image."""
    results = folder / "results"
    common = ["--dataroot", str(folder / "images"), "--name", name, "--gpu_ids", "-1"]
    common += ["--checkpoints_dir", str(folder / "checkpoints"), "--results_dir", str(results)]
    commands.script("test", [*common, *more])
    return np.asarray(Image.open(results / name / f"test_latest/images/{number}_fake.png"))


# ---- the same images as test.py ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [("pairs", {}), ("pairs", {"eval": True}), ("cycles", {}), ("cycles", {"direction": "BtoA"})],
)
def test_pixels_are_those_of_test_py_when_it_resizes(
    folder: Path, name: str, options: dict[str, Any]
) -> None:
    switches = ["--eval"] if "eval" in options else []
    switches += ["--model_suffix", "_B"] if options.get("direction") == "BtoA" else []
    expected = result_of(folder, name, 1, "--load_size", "128", "--crop_size", "128", *switches)
    made = load(folder, name, **options).translate(folder / "images" / "1.png", load_size=128)
    assert np.array_equal(np.asarray(made.convert("RGB")), expected)
    assert expected.std() > 1


def test_pixels_are_those_of_test_py_for_images_as_they_are(folder: Path) -> None:
    path = folder / "images" / "2.png"  # 30x30: test.py rounds that to 32
    expected = result_of(folder, "cycles", 2, "--preprocess", "none")
    made = load(folder, "cycles").translate(path, keep_size=False)
    assert made.size == (32, 32)
    assert np.array_equal(np.asarray(made.convert("RGB")), expected)


def test_pixels_are_those_of_test_py_when_it_keeps_sizes(folder: Path) -> None:
    expected = result_of(folder, "pairs", 2, "--preprocess", "none", "--keep_size")
    made = load(folder, "pairs").translate(folder / "images" / "2.png")
    assert made.size == (30, 30)
    assert np.array_equal(np.asarray(made), expected)
    with Image.open(folder / "images" / "2.png") as image:
        assert np.array_equal(np.asarray(load(folder, "pairs").translate(image)), expected)


@pytest.mark.parametrize("name", ["pairs", "cycles"])
def test_test_py_writes_the_same_bytes_in_one_process_and_in_two(folder: Path, name: str) -> None:
    size = ["--load_size", "128", "--crop_size", "128"]
    written, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            result_of(folder, name, 1, *size)
        finally:
            torch.set_num_threads(before)
        files = (folder / "results" / name / "test_latest").rglob("*.*")
        written.append({path.name: path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len(written[0]) > 6


# ---- kinds of images ---------------------------------------------------------------------------


def test_what_comes_back_is_of_the_kind_that_was_given(folder: Path) -> None:
    forwards, back = load(folder, "cycles"), load(folder, "cycles", direction="BtoA")
    array = np.array(commands.scene(0, 30))
    expected = np.asarray(forwards.translate(commands.scene(0, 30)))  # one channel
    assert expected.shape == (30, 30)
    assert np.array_equal(forwards.translate(array)[:, :, 0], expected)
    stored = forwards.translate(torch.from_numpy(array).permute(2, 0, 1))
    assert stored.dtype == torch.uint8
    assert np.array_equal(stored[0], expected)
    network = forwards.translate(torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1)
    assert network.shape == (1, 1, 30, 30)
    assert np.allclose((network[0, 0] + 1) * 127.5, expected + 0.5, atol=0.51)
    assert back.translate(expected).shape == (30, 30, 3)
    assert back.translate(Image.fromarray(expected)).mode == "RGB"


@pytest.mark.parametrize(
    ("dtype", "value_range", "values"),
    [
        ("uint8", ["0,255"], (0, 255)),
        ("uint16", None, (0, 65535)),
        ("uint16", ["0,4095"], (0, 4095)),
        ("int32", ["-1000,1000"], (-1000, 1000)),
        ("float32", None, (0, 1)),
        ("float32", ["-5,7.5"], (-5, 7.5)),
        ("float64", None, (0, 1)),
    ],
)
def test_values_of_every_depth_go_through_a_network_and_come_back(
    tmp_path: Path, dtype: str, value_range: list[str] | None, values: tuple[float, float]
) -> None:
    saved = {"netG": "", "norm": "", "ngf": 0, "input_nc": 2, "output_nc": 2, "no_dropout": True}
    trained = TrainedGenerator("", "", "", tmp_path, {**saved, "value_range": value_range})
    same = Generator(torch.nn.Identity(), trained, torch.device("cpu"))
    array = np.linspace(*values, 2 * 40 * 41).reshape(40, 41, 2).astype(dtype)
    np.save(tmp_path / "image.npy", array)
    for given in (array, tmp_path / "image.npy"):
        made = same.translate(given)
        assert made.dtype == ("float32" if dtype == "float64" and given is not array else dtype)
        assert np.abs(made.astype(float) - array).max() <= (1e-6 if "float" in dtype else 0)


def test_a_list_gives_a_list_and_a_generator_gives_one_that_waits(folder: Path) -> None:
    translator = load(folder, "cycles")
    paths = [folder / "images" / f"{number}.png" for number in range(3)]
    one_by_one = [np.asarray(translator.translate(path)) for path in paths]
    asked = []

    def images() -> Iterator[Path]:
        for path in paths:
            asked.append(path)
            yield path

    together = translator.translate(paths, batch_size=2)
    assert isinstance(together, list)
    made = translator.translate(images())
    first = next(made)
    assert asked == paths[:1]
    for several in (together, [first, *made]):
        assert all(map(np.array_equal, map(np.asarray, several), one_by_one))


@pytest.mark.parametrize("name", ["pairs", "cycles"])
def test_batches_give_what_single_images_give(folder: Path, name: str) -> None:
    translator = load(folder, name)
    images = torch.rand(3, 3, 20, 24) * 2 - 1
    alone = torch.cat([translator.translate(image)[None] for image in images])
    assert torch.allclose(translator.translate(images, batch_size=2), alone, atol=1e-5)


def test_tiles_give_what_whole_images_give(folder: Path) -> None:
    translator, image = load(folder, "cycles"), commands.scene(5, 61)
    whole, tiled = (np.asarray(translator.translate(image, tile=t), int) for t in (0, 24))
    assert whole.shape == (61, 61)
    assert np.abs(whole - tiled).max() <= 1
    with pytest.raises(UserError, match="--tile: this network cannot be computed in tiles"):
        load(folder, "pairs").translate(image, tile=24)


def test_a_camera_that_was_held_sideways_does_not_matter(folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    commands.scene(3, 24).resize((24, 16)).save(tmp_path / "turned.png", exif=exif)
    translator = load(folder, "cycles")
    with Image.open(tmp_path / "turned.png") as image:
        assert translator.translate(image).size == (16, 24)
    assert translator.translate(str(tmp_path / "turned.png")).size == (16, 24)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "int is no image"),
        (np.full((4, 4), 2.0), "Say with --value_range"),
        (np.zeros((3, 4, 5), np.uint8), "It has 5 channels, but 3 are wanted"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\) is no image"),
        (torch.zeros(4, 4), r"shape \(4, 4\) is no image"),
        (torch.zeros(1, 8, 8), "takes images of 3 channels, but these have 1"),
        ("missing.png", "missing.png"),
    ],
)
def test_what_is_no_image_is_refused(folder: Path, given: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        load(folder, "cycles").translate(given)


# ---- which generator ----------------------------------------------------------------------------


def test_averages_are_taken_where_the_run_has_them(folder: Path, tmp_path: Path) -> None:
    run = save_run(tmp_path / "checkpoints" / "averaged", "pix2pix", "G", ema=0.9)
    averages = run / "latest_net_G_ema.pth"
    save_state(generator(5).state_dict(), averages)
    assert load(tmp_path, "averaged").describe()["file"] == str(averages)
    last = load_generator(run / "latest_net_G.pth", device="cpu")
    assert last.describe()["file"] == str(run / "latest_net_G.pth")
    save_run(run, "pix2pix", "G", ema=0.0)
    assert load(tmp_path, "averaged").describe()["file"] != str(averages)


def test_folders_files_and_saves_of_old_torch_can_be_loaded(folder: Path, tmp_path: Path) -> None:
    cycles = folder / "checkpoints" / "cycles"
    x = torch.rand(1, 3, 16, 16)
    expected = load(folder, "cycles").translate(x)
    assert torch.equal(load_generator(cycles, device="cpu").translate(x), expected)
    state = {
        f"module.{key}": value
        for key, value in load_state_dict(cycles / "latest_net_G_A.pth").items()
    }
    state["module.model.2.running_mean"] = torch.zeros(2)  # of instance norm, before 0.4
    save_state(state, tmp_path / "found.pth")
    found = load_generator(tmp_path / "found.pth", device="cpu")
    assert torch.equal(found.translate(x), expected)
    assert found.describe()["direction"] == ""
    assert load_generator(cycles / "latest_net_G_B.pth").describe()["direction"] == "BtoA"


def test_options_of_2018_as_text_are_understood(tmp_path: Path) -> None:
    run = save_run(
        tmp_path / "old", "pix2pix", "G", records=False, netG="unet_128", no_dropout=False
    )
    lines = [
        "model: pix2pix",
        "which_model_netG: unet_128",
        "norm: instance",
        "ngf: 2",
        "input_nc: 3",
    ]
    lines += ["output_nc: 3", "no_dropout: False", "which_direction: BtoA", "isTrain: True"]
    (run / "opt.txt").write_text("\n".join(lines))
    description = load_generator(run, device="cpu").describe()
    assert (description["netG"], description["direction"]) == ("unet_128", "BtoA")
    assert description["no_dropout"] is False


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("pears", {}, "Did you mean 'pairs'"),
        ("pairs", {"direction": "BtoA"}, "trained with --direction AtoB"),
        ("pairs", {"direction": "atob"}, "give AtoB or BtoA"),
        ("pairs", {"epoch": 7}, "7_net_G.pth does not exist"),
        ("pairs", {"precision": "fp8"}, "'fp8' is not known"),
        ("cycles/latest_net_G_B.pth", {"direction": "AtoB"}, "holds one generator, for BtoA"),
        ("other/latest_net_D.pth", {}, "is no generator of this framework"),
        ("other/broken.pth", {}, "cannot be read as a checkpoint"),
        ("missing.pth", {}, "missing.pth does not exist"),
        ("styles", {}, "python test.py .*--model stargan_v2"),
        ("lightness", {}, "python test.py .*--model colorization"),
        ("nowhere", {}, "No model called 'their_own'"),
    ],
)
def test_what_cannot_be_loaded_is_explained(
    folder: Path, source: str, options: dict[str, Any], message: str
) -> None:
    runs = folder / "checkpoints"
    place: Any = runs / source if source.endswith(".pth") else source
    with pytest.raises(UserError, match=message):
        load_generator(place, checkpoints_dir=runs, device="cpu", **options)


# ---- what it leaves alone -----------------------------------------------------------------------


def test_nothing_is_printed_and_no_random_number_is_used_up(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "_rounding_noted", False)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load(folder, "cycles").translate(commands.scene(0, 30), keep_size=False)  # to 32
    translator = load(folder, "pairs")
    once, again = (np.asarray(translator.translate(commands.scene(0))) for _ in range(2))
    assert torch.equal(torch.rand(2), expected)
    assert np.array_equal(once, again)  # although there is dropout
    assert capfd.readouterr() == ("", "")


def test_weights_require_gradients_as_in_test_py(folder: Path) -> None:
    # Without, torch takes other ways through wide U-Nets, and pixels differ by a level.
    assert all(weight.requires_grad for weight in load(folder, "pairs").module.parameters())
    assert not load(folder, "pairs").translate(torch.rand(3, 8, 8)).requires_grad


def test_the_statistics_of_training_stay_what_they_are(folder: Path) -> None:
    translator = load(folder, "pairs")
    before = {k: v.clone() for k, v in translator.module.named_buffers() if "running" in k}
    translator.translate(folder / "images" / "0.png")
    after = dict(translator.module.named_buffers())
    assert before
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_threads_can_share_a_generator_with_dropout(folder: Path) -> None:
    translator, image = load(folder, "pairs"), commands.scene(1, 20)
    expected, made = np.asarray(translator.translate(image)), []
    threads = [
        threading.Thread(target=lambda: made.append(np.asarray(translator.translate(image))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(np.array_equal(one, expected) for one in made)


def test_half_precision_gives_nearly_the_same(folder: Path) -> None:
    half, image = load(folder, "cycles", precision="bf16"), commands.scene(1)
    assert half.describe()["precision"] == "bf16"
    made, full = (np.asarray(g.translate(image), int) for g in (half, load(folder, "cycles")))
    assert 0 < np.abs(made - full).mean() < 4
