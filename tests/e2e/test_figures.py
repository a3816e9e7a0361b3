"""Figures and animations of results: pixels are exact, captions are text."""

import base64
import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT, Page, draw, ended, imported, scene

Tool = Callable[..., tuple[int, str]]
SIDE = 40


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Tool:
    """Run a script with arguments; return its exit status and all that it says."""

    def run(name: str, *arguments: object) -> tuple[int, str]:
        with imported(ROOT / "scripts" / f"{name}.py") as module:
            status = ended(module.main, arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Draw what two runs of pix2pix have left, one of them at two epochs."""
    folder = tmp_path / "results"
    for test, seed in (("a/test_latest", 1), ("a/test_5", 2), ("b/test_latest", 3)):
        for number in (1, 2):
            images = folder / test / "images"
            draw(images / f"{number}_x_real_A.png", scene(number, SIDE, outlined=True))
            draw(images / f"{number}_x_fake_B.png", scene(10 * seed + number, SIDE))
            draw(images / f"{number}_x_real_B.png", scene(number, SIDE))
        (folder / test / "index.html").touch()
        (folder / test / "pairs.json").write_text('{"fake_B": "real_B"}')
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def cell(figure: np.ndarray, row: int, column: int, *, left: int = 0, top: int = 24) -> np.ndarray:
    y, x = top + row * (SIDE + 4), left + column * (SIDE + 4)
    return figure[y : y + SIDE, x : x + SIDE]


def test_runs_stand_beside_each_other_pixel_by_pixel(
    tool: Tool, results: Path, tmp_path: Path
) -> None:
    output = tmp_path / "figure.png"
    status, said = tool("make_figure", "a", "b", "--results_dir", results, "--output", output)
    assert status == 0, said
    figure = pixels(output)
    assert figure.shape == (24 + 2 * SIDE + 4, 4 * SIDE + 3 * 4, 3)
    for row in (0, 1):
        shown = ["a/{}real_A", "a/{}fake_B", "b/{}fake_B", "a/{}real_B"]
        for column, name in enumerate(shown):
            file = f"{name.format(f'test_latest/images/{row + 1}_x_')}.png"
            assert np.array_equal(cell(figure, row, column), pixels(results / file))
    assert (figure[:24] < 128).any()  # captions


def test_epochs_of_a_run_and_chosen_images(tool: Tool, results: Path, tmp_path: Path) -> None:
    output = tmp_path / "figure.png"
    arguments = ["--results_dir", results, "--output", output, "--names", "2_x", "--row_names"]
    status, said = tool("make_figure", "--runs", "a", "--epochs", "5,latest", *arguments)
    assert (status, "1 rows, 4 columns" in said) == (0, True)
    file = results / "a/test_5/images/2_x_fake_B.png"
    assert np.array_equal(cell(pixels(output), 0, 1, left=24), pixels(file))


def test_captions_of_vector_files_are_text_and_images_are_whole(
    tool: Tool, results: Path, tmp_path: Path
) -> None:
    arguments = ["a", "--results_dir", results, "--labels", "In $x$,Ours,Truth", "--rows", "1"]
    for ending in ("svg", "pdf"):
        output = tmp_path / f"figure.{ending}"
        assert tool("make_figure", *arguments, "--output", output)[0] == 0
    wanted = [pixels(results / f"a/test_latest/images/1_x_{visual}.png")
              for visual in ("real_A", "fake_B", "real_B")]  # fmt: skip
    svg = (tmp_path / "figure.svg").read_text()
    for caption in ("In $x$", "Ours", "Truth"):
        assert re.search(rf"<text[^>]*>{re.escape(caption)}</text>", svg)
    found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
             for data in re.findall(r"data:image/png;base64,\s*([^\"]+)\"", svg)]  # fmt: skip
    assert len(found) == 3
    for image in wanted:  # which are upside down in the file, and turned again by it
        assert any(np.array_equal(image, f) or np.array_equal(image, f[::-1]) for f in found)

    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert b"/Font" in pdf
    objects = [part for part in pdf.split(b" obj") if b"/Subtype /Image" in part]
    assert len(objects) == 3
    for part in objects:
        assert re.search(rb"/Width 40\b", part)
        assert re.search(rb"/Height 40\b", part)


def test_a_part_is_shown_enlarged_in_a_frame(tool: Tool, results: Path, tmp_path: Path) -> None:
    output = tmp_path / "figure.png"
    arguments = ["a", "--results_dir", results, "--rows", "1", "--crop", "4,6,10,10"]
    assert tool("make_figure", *arguments, "--output", output)[0] == 0
    image = cell(pixels(output), 0, 0)
    part = pixels(results / "a/test_latest/images/1_x_real_A.png")[6:16, 4:14]
    inset = image[SIDE - 20 :, SIDE - 20 :]
    inside = slice(2, 18)  # the frame covers the rest
    assert np.array_equal(inset[inside, inside], part.repeat(2, 0).repeat(2, 1)[inside, inside])
    status, said = tool("make_figure", *arguments[:-1], "30,30,20,20", "--output", output)
    assert (status, "does not lie inside images of 40x40" in said) == (1, True)
    status, said = tool("make_figure", *arguments[:-1], "0,0,39,39", "--output", output)
    assert (status, "too large to be shown enlarged" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "which RUN?"),
        (["c"], 1, "c/test_latest does not exist. test.py makes it."),
        (["/nowhere/run"], 1, "/nowhere/run/test_latest does not exist. test.py makes it."),
        (["a", "--epochs", "7"], 1, "There are test_5, test_latest."),
        (["a", "b", "--epochs", "5"], 1, "give one RUN"),
        (["a", "--names", "9"], 1, "has no 9_real_A. Available: 1_x"),
        (["a", "--visuals", "fake_b"], 1, "Did you mean 'fake_B'?"),
        (["a", "--labels", "x,y"], 1, "2 captions for 3 columns"),
        (["a", "--output", "figure.jpeg"], 2, "has no known ending"),
        (["a", "--output", "no/figure.png"], 2, "its folder does not exist"),
        (["a", "--crop", "1,2,3"], 2, "is not X,Y,W,H"),
    ],
)
def test_what_cannot_be_shown_is_said(
    tool: Tool, results: Path, arguments: list[str], status: int, said: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = tool("make_figure", *arguments, "--results_dir", results)
    assert found[0] == status
    assert said in found[1]
    assert list(tmp_path.glob("figure*")) == []


def test_without_matplotlib_it_says_how_to_get_it(
    tool: Tool, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what makes an import fail
    output = tmp_path / "figure.png"
    status, said = tool("make_figure", "a", "--results_dir", results, "--output", output)
    assert (status, said.endswith("(pip install matplotlib, or uv sync --extra plot).\n")) == (
        1,
        True,
    )
    assert not output.exists()


def test_unequal_images_are_not_resampled_but_refused(
    tool: Tool, results: Path, tmp_path: Path
) -> None:
    draw(results / "b/test_latest/images/2_x_fake_B.png", scene(1, 44))
    arguments = ["--results_dir", results, "--output", tmp_path / "figure.png"]
    status, said = tool("make_figure", "a", "b", *arguments)
    assert (status, "2_x_fake_B.png is 44x44, others 40x40" in said) == (1, True)
    assert tool("make_figure", "a", "b", *arguments, "--names", "1_x")[0] == 0


# ---- compare_pages.py ---------------------------------------------------------------------


def test_several_runs_stand_on_one_page(tool: Tool, results: Path) -> None:
    status, said = tool("compare_pages", "a", "b", "--results_dir", results)
    folder = results / "comparison"
    assert (status, "2 images of 2 runs: file://" in said) == (0, True)
    page = Page(folder / "index.html")  # looks for every image
    assert page.headings == ["1_x", "2_x"]
    shown = [(folder / image).resolve().relative_to(results).as_posix() for image in page.images]
    assert shown == [
        f"{run}/test_latest/images/{number}_x_{visual}.png"
        for number in (1, 2)
        for run, visual in (("a", "real_A"), ("a", "fake_B"), ("b", "fake_B"), ("a", "real_B"))
    ]
    text = (folder / "index.html").read_text()
    assert all(f">{caption}<" in text for caption in ("input", "a", "b", "truth"))
    assert tool("compare_pages", "a", "none", "--results_dir", results)[0] == 1


# ---- make_progress.py ---------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Draw what training leaves of a sample: its input once, its output after each epoch."""
    images = tmp_path / "checkpoints" / "run" / "web" / "images"
    draw(images / "epoch001_sample1_real_A.jpg", scene(0, 41))
    for epoch in range(1, 8):
        draw(images / f"epoch{epoch:03d}_sample1_fake_B.jpg", scene(epoch, 41))
    draw(images / "epoch001_fake_B.png", scene(9, 41))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_an_animation_has_a_frame_for_each_epoch(
    tool: Tool, run: Path, tmp_path: Path, ending: str
) -> None:
    output = tmp_path / f"run.{ending}"
    status, said = tool("make_progress", "run", "--checkpoints_dir", run, "--output", output)
    assert (status, "7 epochs, from 1 to 7" in said) == (0, True), said
    with Image.open(output) as animation:
        assert (getattr(animation, "n_frames", 0), animation.size) == (7, (42, 62))
        animation.seek(3)
        shown = np.asarray(animation.convert("RGB"), dtype=int)[:41, :41]
    wanted = pixels(run / "run/web/images/epoch004_sample1_fake_B.jpg")
    assert abs(shown - wanted).mean() < 12  # few colours in GIF, loss in WebP


def test_a_video_has_a_frame_for_each_epoch(tool: Tool, run: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    output = tmp_path / "run.mp4"
    arguments = ["--visuals", "real_A,fake_B", "--seconds", "0.5"]
    status, said = tool(
        "make_progress", "run", "--checkpoints_dir", run, "--output", output, *arguments
    )
    assert status == 0, said
    with av.open(str(output)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 2
    assert len(frames) == 7
    wanted = pixels(run / "run/web/images/epoch007_sample1_fake_B.jpg")
    assert abs(frames[-1][:41, 41:82].astype(int) - wanted).mean() < 15


def test_a_strip_has_some_epochs_at_equal_distances(tool: Tool, run: Path, tmp_path: Path) -> None:
    output = tmp_path / "strip.png"
    arguments = ["--checkpoints_dir", run, "--output", output, "--frames", "3"]
    assert tool("make_progress", "run", *arguments)[0] == 0
    strip = pixels(output)
    assert strip.shape == (24 + 41, 3 * 41 + 2 * 4, 3)
    for column, epoch in enumerate((1, 4, 7)):
        wanted = pixels(run / f"run/web/images/epoch{epoch:03d}_sample1_fake_B.jpg")
        assert np.array_equal(strip[24:, column * 45 : column * 45 + 41], wanted)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["other"], 1, "other does not exist"),
        (["run", "--sample", "2"], 1, "Available: 1."),
        (["run", "--visuals", "fake_A"], 1, "There is no fake_A"),
        (["run", "--output", "x.avi"], 2, "has no known ending"),
        (["run", "--seconds", "0"], 2, "--seconds must lie"),
        (["run", "--seconds", "nan"], 2, "--seconds must lie"),
    ],
)
def test_what_cannot_be_animated_is_said(
    tool: Tool, run: Path, arguments: list[str], status: int, said: str
) -> None:
    found = tool("make_progress", *arguments, "--checkpoints_dir", run)
    assert found[0] == status
    assert said in found[1]


def test_a_run_without_images_of_every_epoch_is_said(tool: Tool, run: Path) -> None:
    shutil.rmtree(run / "run" / "web")
    status, said = tool("make_progress", "run", "--checkpoints_dir", run)
    assert (status, "unless --no_html" in said) == (1, True)
