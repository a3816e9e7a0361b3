"""TensorBoard: what its own reader finds in the files, and what stops nothing."""

import io
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.paths import ROOT
from util.base.errors import UserError
from util.display.sinks import LogStep, deliver
from util.display.sinks.base import WHOLE_EPOCH, EpochRecord
from util.display.sinks.tensorboard import TensorboardSink


def moment(total: int, *, per_epoch: int = 100) -> LogStep:
    """Return the moment after so many images."""
    epoch, images = divmod(total - 1, per_epoch)
    return LogStep(epoch + 1, images + 1, total_images=total)


def record(epoch: int, val: dict[str, float]) -> EpochRecord:
    """Return what an epoch brought."""
    return EpochRecord(
        epoch=epoch, total_iters=100 * epoch, lr={"G": 0.5}, seconds=1.0, images_per_second=8.0,
        memory_mib=64.0, train={"G": 1.0}, val=val,
    )  # fmt: skip


def new_sink(folder: Path, *, resume: int | None = None) -> TensorboardSink:
    """Return the sink of a run, which goes on after so many images."""
    sink = TensorboardSink(folder / "tensorboard")
    if resume is not None:
        sink.go_on_after(LogStep(0, total_images=resume))
    return sink


def write(folder: Path, totals: list[int], value: float, *, resume: int | None = None) -> None:
    """Write one loss at each of these moments, as a process of its own would."""
    sink = new_sink(folder, resume=resume)
    for total in totals:
        sink.scalars(moment(total), {"G": value})
    sink.close()


class Found:
    """What tensorboard's reader finds in a run's folder."""

    def __init__(self, folder: Path) -> None:
        module = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
        )
        self.events = module.EventAccumulator(str(folder / "tensorboard"))
        self.events.Reload()
        tags = self.events.Tags()
        self.scalars = {
            tag: [(event.step, event.value) for event in self.events.Scalars(tag)]
            for tag in tags["scalars"]
        }
        self.steps = {
            tag: [event.step for event in self.events.Images(tag)] for tag in tags["images"]
        }

    def image(self, tag: str) -> Image.Image:
        """Return the last image."""
        return Image.open(io.BytesIO(self.events.Images(tag)[-1].encoded_image_string))


# ---- the package --------------------------------------------------------------------------


@pytest.mark.parametrize("stand_in", [None, ModuleType("tensorboard")])
def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: ModuleType | None
) -> None:
    """Also when a mere folder `tensorboard` is found in its place."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", stand_in)
    with pytest.raises(UserError) as caught:
        new_sink(tmp_path / "run")
    assert str(caught.value) == (
        "--tensorboard needs the package tensorboard, which is not installed. Install it "
        "(pip install tensorboard, or uv sync --extra tensorboard), or leave --tensorboard out."
    )
    assert not (tmp_path / "run").exists()


def test_a_package_that_tensorboard_itself_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "tensorboard.py").write_text("import a_package_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as caught:
        new_sink(tmp_path / "run")
    assert caught.value.name == "a_package_nobody_has"


def test_importing_the_sink_does_not_import_tensorboard() -> None:
    code = "import sys, util.display.sinks.tensorboard; sys.exit('tensorboard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# ---- what is in the files -----------------------------------------------------------------


@pytest.fixture
def _package() -> None:
    """Skip a test where the package is missing."""
    pytest.importorskip("tensorboard", reason="needs tensorboard")


real = pytest.mark.usefixtures("_package")


@real
def test_losses_stand_over_the_images_seen(tmp_path: Path) -> None:
    sink = new_sink(tmp_path / "new" / "run")
    sink.scalars(LogStep(1, 50, total_images=50), {"G_L1": 0.5, "D": 2})
    values = {"G_L1": torch.tensor(0.25), "D": np.float32(4)}
    sink.scalars(LogStep(2, 20, total_images=120), values)  # type: ignore[arg-type]
    sink.scalars(LogStep(3, 130), {"D": 8})  # a script that does not count all images
    found = Found(tmp_path / "new" / "run")
    assert found.scalars == {
        "loss/G_L1": [(50, 0.5), (120, 0.25)],
        "loss/D": [(50, 2.0), (120, 4.0), (130, 8.0)],
    }


@real
def test_numbers_of_an_epoch_stand_over_epochs_by_their_own_tags(tmp_path: Path) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2):
        sink.scalars(moment(100 * epoch), {"G": 1.0})
        sink.epoch(record(epoch, {"PSNR": 16.0 * epoch}), [])
    assert Found(tmp_path).scalars == {
        "loss/G": [(100, 1.0), (200, 1.0)],
        "train/G": [(1, 1.0), (2, 1.0)],
        "val/PSNR": [(1, 16.0), (2, 32.0)],
        "lr/G": [(1, 0.5), (2, 0.5)],
        "images_per_second": [(1, 8.0), (2, 8.0)],
        "memory_mib": [(1, 64.0), (2, 64.0)],
    }


@real
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_numbers_that_are_not_finite_crash_nothing(tmp_path: Path, value: float) -> None:
    sink = new_sink(tmp_path)
    sink.scalars(moment(1), {"G": value})
    sink.scalars(moment(2), {"G": 1.0})
    sink.epoch(record(1, {"L1": value}), [])
    found = Found(tmp_path).scalars
    assert [step for step, _ in found["loss/G"]] == [1, 2]
    assert not math.isfinite(found["loss/G"][0][1])
    assert found["loss/G"][1][1] == 1.0
    assert not math.isfinite(found["val/L1"][0][1])


@real
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGB")])
def test_images_come_with_their_labels(tmp_path: Path, channels: int, mode: str) -> None:
    image = np.arange(5 * 7 * channels, dtype=np.uint8).reshape(5, 7, channels)
    sink = new_sink(tmp_path)
    sink.images(LogStep(3, 40, total_images=240), {"fake_B": image, "real_A": image})
    sink.images(LogStep(4), {"fake_B": 255 - image})  # all that the visualizer knows is the epoch
    found = Found(tmp_path)
    assert found.steps == {"images/fake_B": [240, 4], "images/real_A": [240]}
    assert found.image("images/real_A").mode == mode
    for tag, expected in (("real_A", image), ("fake_B", 255 - image)):
        shown = np.asarray(found.image(f"images/{tag}"))
        assert np.array_equal(np.atleast_3d(shown), expected[:, :, :3])
    (event,) = found.events.Images("images/real_A")
    assert (event.height, event.width) == (5, 7)


@real
def test_everything_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """A process that is killed loses nothing."""
    sink = new_sink(tmp_path)
    threads = threading.active_count()
    for total in (10, 20):
        sink.scalars(moment(total), {"G": 1.0})
        assert Found(tmp_path).scalars["loss/G"][-1] == (total, 1.0)
    assert threading.active_count() == threads


# ---- runs that are continued --------------------------------------------------------------


@real
def test_a_continued_run_replaces_what_came_after_its_save(tmp_path: Path) -> None:
    """Times and names of the files must not decide: all these begin in the same second."""
    write(tmp_path, [100, 200, 300, 400], 1.0)
    write(tmp_path, [300], 2.0, resume=250)
    write(tmp_path, [300, 400, 500], 3.0, resume=200)
    for _ in range(10):
        write(tmp_path, [600], 4.0, resume=500)
    expected = [(100, 1), (200, 1), (300, 3), (400, 3), (500, 3), (600, 4)]
    assert Found(tmp_path).scalars["loss/G"] == expected
    assert len(os.listdir(tmp_path / "tensorboard")) == 13


@real
@pytest.mark.parametrize(("images", "total", "kept"), [(50, 250, 2), (WHOLE_EPOCH, 300, 3)])
def test_an_epoch_that_is_trained_again_stands_there_once(
    tmp_path: Path, images: int, total: int, kept: int
) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2, 3, 4):
        sink.scalars(moment(100 * epoch), {"G": 1.0})
        sink.epoch(record(epoch, {"L1": 1.0}), [])
    again = new_sink(tmp_path)
    again.go_on_after(LogStep(3, images, total_images=total))
    for epoch in range(kept + 1, 6):
        again.scalars(moment(100 * epoch), {"G": 2.0})
        again.epoch(record(epoch, {"L1": 2.0}), [])
    found = Found(tmp_path).scalars
    values = [1.0] * kept + [2.0] * (5 - kept)
    assert found["val/L1"] == list(enumerate(values, 1))
    assert found["loss/G"] == [(100 * epoch, value) for epoch, value in found["val/L1"]]


@real
def test_images_after_the_save_are_replaced_too(tmp_path: Path) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for resume in (None, 100):
        sink = new_sink(tmp_path, resume=resume)
        for total in (100, 200) if resume is None else (200,):
            sink.images(moment(total), {"fake": image})
    assert Found(tmp_path).steps == {"images/fake": [100, 200]}


@real
def test_a_run_that_begins_anew_replaces_everything(tmp_path: Path) -> None:
    write(tmp_path, [100, 200, 300], 1.0)
    write(tmp_path, [100], 2.0)
    assert Found(tmp_path).scalars["loss/G"] == [(100, 2.0)]


@real
def test_going_back_in_the_middle_of_a_run_replaces_what_came_after(tmp_path: Path) -> None:
    sink = new_sink(tmp_path)
    for total in (100, 200, 300):
        sink.scalars(moment(total), {"G": 1.0})
    sink.go_on_after(LogStep(2, 100, total_images=200))
    sink.scalars(moment(250), {"G": 2.0})
    assert Found(tmp_path).scalars["loss/G"] == [(100, 1), (200, 1), (250, 2)]


@real
def test_the_save_to_go_on_from_may_be_told_later(tmp_path: Path) -> None:
    write(tmp_path, [100, 200, 300], 1.0)
    sink = new_sink(tmp_path)
    sink.go_on_after(LogStep(2, 100, total_images=200))
    sink.scalars(moment(300), {"G": 2.0})
    assert Found(tmp_path).scalars["loss/G"] == [(100, 1), (200, 1), (300, 2)]


@real
def test_a_process_that_reported_nothing_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, [100, 200], 1.0)
    write(tmp_path, [], 1.0)
    assert Found(tmp_path).scalars["loss/G"] == [(100, 1.0), (200, 1.0)]
    assert len(os.listdir(tmp_path / "tensorboard")) == 1


# ---- what stops nothing -------------------------------------------------------------------


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Collect exceptions that end threads."""
    found: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    yield found
    assert found == []


@real
@pytest.mark.usefixtures("uncaught")
def test_a_folder_that_was_away_for_a_while_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    sink = new_sink(folder)
    for total in range(1, 7):
        if total == 3:
            shutil.move(folder, tmp_path / "away")
        if total == 5:
            shutil.move(tmp_path / "away", folder)
        deliver([sink], lambda sink, at=total: sink.scalars(moment(at), {"G": 1.0}))  # type: ignore[misc]
    assert [step for step, _ in Found(folder).scalars["loss/G"]] == [1, 2, 5, 6]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("warning: TensorboardSink failed, and training goes on without it: ")
    assert "No such file or directory" in said


@real
def test_a_folder_of_events_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    sink = new_sink(tmp_path)
    sink.scalars(moment(100), {"G": 1.0})
    shutil.rmtree(tmp_path / "tensorboard")
    for total in (200, 300):
        sink.scalars(moment(total), {"G": 1.0})
    write(tmp_path, [300], 2.0, resume=200)  # only understood if the file has its header
    assert Found(tmp_path).scalars["loss/G"] == [(200, 1.0), (300, 2.0)]


@real
@pytest.mark.usefixtures("uncaught")
def test_a_full_disk_leaves_no_half_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No reader gets past one; and there is room again later."""
    sink = new_sink(tmp_path)
    sink.scalars(moment(100), {"G": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", nearly_full)
        deliver([sink], lambda sink: sink.scalars(moment(200), {"G": 1.0}))
    deliver([sink], lambda sink: sink.scalars(moment(300), {"G": 1.0}))
    assert Found(tmp_path).scalars["loss/G"] == [(100, 1.0), (300, 1.0)]
    assert "No space left on device" in capsys.readouterr().err


def nearly_full(path: Path, mode: str, buffering: int) -> io.FileIO:
    """Open a file on a disk with room for five bytes."""
    assert buffering == 0

    class File(io.FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[:5])

    return File(path, mode)


@real
def test_what_was_to_be_forgotten_is_forgotten_after_a_failure(tmp_path: Path) -> None:
    write(tmp_path, [100, 200, 300], 1.0)
    sink = new_sink(tmp_path, resume=100)
    shutil.move(tmp_path / "tensorboard", tmp_path / "away")
    (tmp_path / "tensorboard").touch()  # no folder can be made there
    with pytest.raises(OSError, match="tensorboard"):
        sink.scalars(moment(200), {"G": 2.0})
    (tmp_path / "tensorboard").unlink()
    shutil.move(tmp_path / "away", tmp_path / "tensorboard")
    sink.scalars(moment(200), {"G": 2.0})
    assert Found(tmp_path).scalars["loss/G"] == [(100, 1.0), (200, 2.0)]


@real
def test_a_folder_that_cannot_be_made_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").touch()
    with pytest.raises(FileExistsError) as caught:
        new_sink(tmp_path)
    assert caught.value.filename == str(tmp_path / "tensorboard")
