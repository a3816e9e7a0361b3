"""Images that wait to be written when something ends a command, and disks that take no more."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.reliability.test_crashes import at_step, small, small_disk
from tests.support.commands import ROOT, Page, draw_pairs, script
from tests.support.commands import names as names_in
from tests.support.runs import draw_data, run
from util.base.errors import run_command
from util.display.pages.page_sink import PageSink

COUNT = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and the checkpoints of a run."""
    folder = tmp_path_factory.mktemp("trained")
    draw_data(folder / "data")
    draw_pairs(folder / "data", "test", COUNT)
    run(small(folder / "data", folder / "checkpoints", "--n_epochs", "1", "--n_epochs_decay", "0"))
    return folder


def options_of_test(trained: Path, results: Path) -> list[str]:
    return ["--dataroot", str(trained / "data"), "--checkpoints_dir", str(trained / "checkpoints"),
            "--name", "run", "--model", "pix2pix", "--crop_size", "32", "--gpu_ids", "-1",
            "--results_dir", str(results)]  # fmt: skip


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.tmp-*"))


# ---- test.py ------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_test_with_a_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "24k") as disk:
        assert run_command(lambda: script("test", options_of_test(trained, disk))) == 1
        said = capsys.readouterr().err
        assert said.count("error:") == 1
        assert "No space left on device" in said
        assert "run/test_latest" in said
        assert "Traceback" not in said
        assert not temporary_files(disk)
        assert not list(disk.rglob("index.html"))


def test_checkpoints_that_cannot_be_written_to_are_tested_all_the_same(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "20m") as disk:
        shutil.copytree(trained / "checkpoints", disk, dirs_exist_ok=True)
        (disk / "run" / "test_opt.txt").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        argv = [*options_of_test(trained, tmp_path / "results"), "--checkpoints_dir", str(disk)]
        assert run_command(lambda: script("test", argv)) == 0
        said = capsys.readouterr().err
        assert said.count("are not kept beside the checkpoints.") == 1
        assert "Read-only file system" in said
        assert len(list((tmp_path / "results").rglob("*_fake_B.png"))) == COUNT


def test_a_file_in_the_way_of_the_images_ends_the_test_with_a_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run" / "test_latest" / "images"
    folder.mkdir(parents=True)
    (folder / "p3_fake_B.png").mkdir()
    assert run_command(lambda: script("test", options_of_test(trained, tmp_path))) == 1
    said = capsys.readouterr().err
    assert "p3_fake_B.png: Is a directory. Check the path" in said
    assert "Traceback" not in said
    assert not temporary_files(tmp_path)


SLOW_WRITING = """
import sys, time
sys.argv[0] = "test.py"
from util.images import writing
from util.base.errors import run_command
import runpy

save_image = writing.save_image

def save_slowly(*arguments):
    save_image(*arguments)
    time.sleep(0.3)

writing.save_image = save_slowly
sys.exit(run_command(runpy.run_path("test.py")["main"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_test_at_once_and_leaves_whole_images(
    number: signal.Signals, trained: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITING, *options_of_test(trained, tmp_path)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = tmp_path / "run" / "test_latest"
    while len(names_in(folder / "images")) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert not temporary_files(tmp_path)
    found = names_in(folder / "images")
    assert 2 <= len(found) < 3 * COUNT  # what waited is left out
    for name in found:
        with Image.open(folder / "images" / name) as image:
            image.load()
    assert not (folder / "index.html").exists()


# ---- train.py -----------------------------------------------------------------------------------


@pytest.fixture
def slow_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page be so slow that images always wait."""
    images = PageSink.images

    def slowly(sink: PageSink, *arguments: object) -> None:
        time.sleep(0.2)
        images(sink, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PageSink, "images", slowly)


@pytest.mark.usefixtures("slow_page")
@pytest.mark.parametrize("end", ["error", "signal", "end"])
def test_however_training_ends_the_last_images_are_on_the_page(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_data(tmp_path / "data")
    argv = small(root, tmp_path, "--display_freq", "1", "--update_html_freq", "1")
    expected: tuple[type[BaseException], ...] = ()
    if end == "error":

        def fail() -> None:
            raise RuntimeError("on purpose")

        at_step(8, monkeypatch, fail)
        expected = (RuntimeError,)
    elif end == "signal":
        at_step(7, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
        expected = (SystemExit,)
    if expected:
        with pytest.raises(expected):
            run(argv)
    else:
        run(argv)
    page = Page(tmp_path / "run" / "web" / "index.html")  # whose images are there
    epochs = {"error": [2, 1], "signal": [2, 1], "end": [3, 2, 1]}[end]
    assert page.headings == [f"epoch [{epoch}]" for epoch in epochs]
    assert not temporary_files(tmp_path / "run")
