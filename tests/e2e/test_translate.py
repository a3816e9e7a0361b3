"""Whole folders through a trained generator: scripts/translate.py."""

import io
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import load_generator
from tests.support import commands
from tests.support.generators import save_run
from tests.support.paths import ROOT
from util.images.strips import open_in_parts

Translate = Callable[..., int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in folders, a run with dropout, and a CycleGAN that makes gray of colours."""
    folder = tmp_path_factory.mktemp("translate")
    for number, name in enumerate(("a.png", "b.jpg", "below/a.png", ".hidden.png")):
        commands.draw(folder / "images" / name, commands.scene(number, 20 + number))
    (folder / "film.mp4").touch()
    save_run(
        folder / "runs/labels", "pix2pix", "G", netG="unet_128", norm="batch", no_dropout=False
    )
    save_run(folder / "runs/cycles", "cycle_gan", "G_A", "G_B", output_nc=1)
    save_run(folder / "runs/many", "cycle_gan", "G_A", "G_B", input_nc=5, value_range=["0,4095"])
    return folder


@pytest.fixture(scope="module")
def translate(folder: Path) -> Iterator[Translate]:
    """Return the command, which takes inputs and options, and gives its exit status."""
    with commands.imported(ROOT / "scripts" / "translate.py") as script:

        def run(*arguments: object, name: str = "cycles") -> int:
            common = ["--name", name, "--checkpoints_dir", folder / "runs", "--gpu_ids", "-1"]
            return commands.ended(script.main, [*common, *arguments])

        yield run


def pixels(path: Path) -> np.ndarray:
    """Return the pixels of an image file."""
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> list[str]:
    """Return the files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# ---- what is made --------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_pixels_are_those_of_the_api_and_of_test_py(
    folder: Path, translate: Translate, tmp_path: Path, threads: int
) -> None:
    options = ["--dataroot", str(folder / "images"), "--name", "labels", "--gpu_ids", "-1"]
    options += ["--checkpoints_dir", str(folder / "runs"), "--results_dir", str(tmp_path)]
    commands.script("test", [*options, "--load_size", "128", "--crop_size", "128"])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = tmp_path / "out"
        assert translate(folder / "images", "-o", out, "--load_size", 128, name="labels") == 0
    finally:
        torch.set_num_threads(before)
    generator = load_generator("labels", checkpoints_dir=folder / "runs", device="cpu")
    for name, path in (("b", "b.jpg"), ("below/a", "below/a.png")):
        made = pixels(out / f"{name}.png")
        assert made.std() > 1
        assert np.array_equal(made, pixels(tmp_path / f"labels/test_latest/images/{name}_fake.png"))
        if "/" not in path:  # random numbers depend on the path below the folder
            image = folder / "images" / path
            assert np.array_equal(made, np.asarray(generator.translate(image, load_size=128)))


def test_results_lie_as_the_images_do_and_are_as_large(
    folder: Path, translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(folder / "images", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a.png", "b.png", "below/a.png"]
    assert pixels(tmp_path / "out/b.png").shape == (21, 21)  # one channel is gray
    assert f"Translated 3 of 3 to {tmp_path / 'out'}." in capsys.readouterr().out


def test_files_patterns_and_lists_are_taken_and_no_result_is_an_input(
    folder: Path, translate: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    for number in range(3):
        commands.draw(images / f"{number}.png", commands.scene(number, 8))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{images / '2.png'}\n\n"))
    assert translate(images / "0.png", f"{images}/[01].png", "-", "-o", images / "out") == 0
    assert files(images / "out") == ["0.png", "1.png", "2.png"]
    assert translate(images, "-o", images / "out", "--force") == 0
    assert files(images / "out") == ["0.png", "1.png", "2.png"]


def test_images_may_lie_below_the_folder_of_results(
    folder: Path, translate: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.bmp", "below/y.png", "beside/z.png"):
        commands.draw(tmp_path / name, commands.scene(0, 8))
    assert translate(f"{tmp_path}/*.bmp", "-o", tmp_path) == 0
    assert translate(tmp_path / "below", "-o", tmp_path) == 0
    inside = tmp_path / "below/y.png"
    assert translate(tmp_path / "beside/z.png", inside, "-o", tmp_path / "below") == 1
    assert files(tmp_path) == ["below/y.png", "beside/z.png", "x.bmp", "x.png", "y.png"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"\ufeff{inside}\r\n"))  # as on Windows
    assert translate("-", "-o", tmp_path, "--force") == 0


def test_one_file_gets_the_name_and_the_format_that_are_given(
    folder: Path, translate: Translate, tmp_path: Path
) -> None:
    made = {}
    for ending in ("png", "jpg", "webp", "tif", "npy"):
        target = tmp_path / f"made.{ending}"
        assert translate(folder / "images/b.jpg", "-o", target, "--direction", "BtoA") == 0
        made[ending] = np.load(target) if ending == "npy" else pixels(target)
    assert np.array_equal(made["png"], made["tif"])
    assert np.array_equal(made["png"], made["npy"])
    assert all(array.shape == (21, 21, 3) for array in made.values())


def test_images_of_five_channels_and_twelve_bits_stay_what_they_are(
    folder: Path, translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(0).integers(0, 4096, (9, 7, 5)).astype(np.uint16)
    array[0, 0, 0] = 60000  # 1 of 315: too large for the range
    np.save(tmp_path / "image.npy", array)
    assert translate(tmp_path, "-o", tmp_path / "out", "--format", "png", name="many") == 0
    made = pixels(tmp_path / "out/image.png")
    assert made.shape == (9, 7, 3)
    assert "0.3% of its values lie outside of --value_range" in capsys.readouterr().err
    np.save(tmp_path / "back.npy", made.astype(np.uint16))
    settings = ["-o", tmp_path / "out/back.npy", "--direction", "BtoA"]
    assert translate(tmp_path / "back.npy", *settings, name="many") == 0
    back = np.load(tmp_path / "out/back.npy")
    assert (back.shape, back.dtype) == ((9, 7, 5), np.uint16)
    assert 4095 >= back.max() > 255


# ---- results that are there, files that cannot be translated ------------------------------------


def test_results_are_left_replaced_or_gone_on_with(
    folder: Path, translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"of somebody")
    assert translate(folder / "images", "-o", tmp_path) == 1
    assert "1 of 3 results are there already" in capsys.readouterr().err
    assert translate(folder / "images", "-o", tmp_path, "--skip_existing") == 0
    assert "Translated 2 of 2" in capsys.readouterr().out
    assert (tmp_path / "a.png").read_bytes() == b"of somebody"
    assert translate(folder / "images", "-o", tmp_path, "--force") == 0
    assert pixels(tmp_path / "a.png").shape == (20, 20)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_broken_file_is_named_and_the_others_go_on(
    translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    for number in range(4):
        commands.draw(tmp_path / f"in/{number}.png", commands.scene(number, 8))
    (tmp_path / "in/1.png").write_bytes((tmp_path / "in/1.png").read_bytes()[:60])
    Image.new("CMYK", (8, 8)).save(tmp_path / "in/3.jpg")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert translate(tmp_path / "in", "-o", tmp_path / "out") == 1
    finally:
        torch.set_num_threads(before)
    said = capsys.readouterr().err
    assert f"warning: {tmp_path / 'in/1.png'} cannot be read" in said
    assert f"error: 1 could not be translated: {tmp_path / 'in/1.png'}" in said
    assert files(tmp_path / "out") == ["0.png", "2.png", "3.jpg.png", "3.png.png"]


def test_a_full_disk_ends_it(
    folder: Path, translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("no folder")
    assert translate(folder / "images", "-o", tmp_path / "out") == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere.png", "-o", "out"], 1, "nowhere.png does not exist"),
        (["nowhere/*.png", "-o", "out"], 1, "Nothing matches nowhere/*.png"),
        (["{}/runs", "-o", "out"], 1, "runs has no images or videos in it"),
        (["{}/images", "-o", "one.png"], 1, "one.png is the name of one file"),
        (["{}/images/b.jpg", "-o", "{}/images/b.jpg", "--force"], 1, "would be replaced"),
        (["{}/images/a.png", "{}/images/below/a.png", "-o", "out"], 1, "would both become"),
        (["{}/images", "-o", "{}/images"], 1, "is to be translated, and to take the results"),
        (["{}/film.mp4", "-o", "one.png"], 1, "film.mp4 becomes a video, which one.png cannot be"),
        (["{}/images/a.png", "-o", "one.mp4"], 1, "a.png becomes an image, which one.mp4 cannot"),
        (["{}/images/a.png", "-o", "one.gif"], 1, "one.gif ends like none of .png, .jpg"),
        (["{}/images", "-o", "out", "--epoch", "7"], 1, "7_net_G_A.pth does not exist"),
        (["{}/images", "-o", "out", "--format", "gif"], 2, "--format gif is not known"),
        (["{}/images", "-o", "out", "--tile", "-1"], 2, "--tile -1 must be 0 or more"),
        (["{}/images", "-o", "out", "--overlap", "4"], 2, "--overlap 4 needs --tile"),
        (["{}/images", "-o", "out", "--force", "--skip_existing"], 2, "not allowed with"),
        (["{}/images", "-o", "out", "--gpu_ids", "7"], 2, "there is no GPU 7"),
        (["{}/images/a.png", "-o", "out", "--precision", "half"], 1, "'half' is not known"),
    ],
)
def test_mistakes_are_explained(
    folder: Path,
    translate: Translate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert translate(*(each.format(folder) for each in arguments)) == status
    assert said in capsys.readouterr().err
    assert not os.listdir(tmp_path)


# ---- videos -------------------------------------------------------------------------------------


def film(path: Path, *, sound: bool) -> None:
    """Write a video of six frames, with or without a tone."""
    import av

    with av.open(str(path), "w") as video:
        frames = video.add_stream("libx264", rate=Fraction(25, 2))
        frames.width, frames.height, frames.pix_fmt = 32, 24, "yuv420p"
        tone = video.add_stream("aac", rate=44100) if sound else None
        for number in range(6):
            image = commands.scene(number, 32).crop((0, 0, 32, 24))
            video.mux(frames.encode(av.VideoFrame.from_image(image)))
        video.mux(frames.encode())
        if tone is not None:
            for number in range(20):
                wave = np.sin(np.arange(1024) / 9).astype(np.float32)[None]
                part = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                part.sample_rate, part.pts = 44100, 1024 * number
                video.mux(tone.encode(part))
            video.mux(tone.encode())


def test_videos_are_translated_frame_by_frame_with_their_sound(
    translate: Translate, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    film(tmp_path / "film.mp4", sound=True)
    film(tmp_path / "silent.mkv", sound=False)
    assert translate(tmp_path / "film.mp4", tmp_path / "silent.mkv", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["film.mp4", "silent.mp4"]
    for name, sounds in (("film", 1), ("silent", 0)):
        with av.open(str(tmp_path / f"out/{name}.mp4")) as video:
            assert len(video.streams.audio) == sounds
            frames = list(video.decode(video=0))
            assert [(f.width, f.height) for f in frames] == [(32, 24)] * 6
            assert [round(f.time * 12.5) for f in frames] == list(range(6))
    with av.open(str(tmp_path / "out/film.mp4")) as video:
        assert sum(part.samples for part in video.decode(audio=0)) >= 19 * 1024


def test_batches_with_a_bad_image_give_the_others(
    translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(0).integers(0, 4096, (9, 8, 5)).astype(np.uint16)
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", array if number != 2 else array[..., :4])
    settings = ["-o", tmp_path / "out", "--batch_size", 3]
    assert translate(*sorted(tmp_path.glob("*.npy")), *settings, name="many") == 1
    assert files(tmp_path / "out") == ["0.png", "1.png", "3.png"]
    assert f"{tmp_path / '2.npy'}: It has the shape (9, 8, 4)" in capsys.readouterr().err


def test_a_broken_video_is_named(
    translate: Translate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    (tmp_path / "film.mp4").write_bytes(b"nothing")
    assert translate(tmp_path / "film.mp4", "-o", tmp_path / "out.mp4") == 1
    assert (
        f"{tmp_path / 'film.mp4'} cannot be read or written as a video" in capsys.readouterr().err
    )
    assert files(tmp_path) == ["film.mp4"]


def test_huge_files_are_translated_in_parts(
    folder: Path, translate: Translate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("util.inference.translating.images.MOST_IN_MEMORY", 441)  # 21 x 21
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 230)
    whole, tiled = tmp_path / "whole", tmp_path / "tiled"
    images = folder / "images"
    assert translate(images, "-o", whole, "--large_pictures") == 0
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 230)
    assert translate(images, "-o", tiled, "--tile", 16) == 1
    assert "below/a.png has more than 179 million pixels" in capsys.readouterr().err
    parts: list[object] = []
    where = "models.inference.large_files.open_in_parts"
    monkeypatch.setattr(where, lambda *a: parts.append(a) or open_in_parts(*a))
    more = ["--large_pictures", "--force"]
    assert translate(images, "-o", tiled, "--tile", 16, *more) == 0
    assert len(parts) == 1
    for name in files(whole):
        assert abs(pixels(whole / name).astype(int) - pixels(tiled / name)).max() <= 1
    assert translate(images, "-o", tiled, "--tile", 16, "--compile") == 2
    assert "--tile 16 and --compile" in capsys.readouterr().err
