"""The training page: the newest epoch first, only images that exist, a fixed cost per update."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from util.display.pages import elements, page_sink
from util.display.pages.curves import Curves
from util.display.pages.page_sink import PageSink
from util.display.sinks import LogStep
from util.display.sinks.base import EpochRecord

ReadPage = Callable[[Path], Any]
LABELS = ["real_A", "fake_B", "real_B"]


def images(labels: list[str] = LABELS, grey: int = 0) -> dict[str, NDArray[np.uint8]]:
    return {label: np.full((2, 3, 3), grey, np.uint8) for label in labels}


def new_sink(web_dir: Path) -> PageSink:
    return PageSink(web_dir, "Experiment name = test", 256)


def epochs(shown: Any) -> list[int]:
    """Return the epochs in the page's headings, from top to bottom."""
    return [int(re.fullmatch(r"epoch \[(\d+)\]", text)[1]) for text in shown.text("h3")]  # type: ignore[index]


def test_the_page_exists_after_the_first_images(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path / "web")
    sink.scalars(LogStep(1), {"G": 1.0})
    sink.images(LogStep(1), images())
    shown = read_page(tmp_path / "web" / "index.html")
    assert shown.text("title") == ["Experiment name = test"]
    assert shown.images == [f"images/epoch001_{label}.png" for label in LABELS]
    assert shown.labels == LABELS
    assert set(shown.values("img", "style")) == {"width:256px"}


def test_the_newest_epoch_comes_first(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2, 5, 1000):
        sink.images(LogStep(epoch), images())
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [1000, 5, 2, 1]
    assert shown.images[0] == "images/epoch1000_real_A.png"


def test_several_updates_in_one_epoch_keep_one_row_with_the_latest_images(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch, grey in ((1, 10), (1, 20), (2, 30), (2, 40), (2, 50)):
        sink.images(LogStep(epoch), images(grey=grey))
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [2, 1]
    for epoch, grey in ((1, 20), (2, 50)):
        with Image.open(tmp_path / "images" / f"epoch{epoch:03d}_fake_B.png") as image:
            assert image.getpixel((0, 0)) == (grey,) * 3


def test_rows_of_an_earlier_run_are_found_on_the_disk(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    sink.images(LogStep(1), images())
    sink.images(LogStep(3), images(["fake_B", "old_label"]))
    folder = tmp_path / "images"
    for name in ("notes.txt", "epoch001_x.jpg", ".1.tmp-epoch002_fake_B.png", "fake_B.png"):
        (folder / name).touch()

    continued = new_sink(tmp_path)
    continued.images(LogStep(4), images())
    continued.images(LogStep(5), images())
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [5, 4, 3, 1]
    assert shown.labels[-5:] == ["fake_B", "old_label", *LABELS]  # in the order of today's
    assert len(shown.images) == 3 + 3 + 2 + 3


def test_images_of_epochs_yet_to_come_are_not_shown(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 5):
        sink.images(LogStep(epoch), images())
    again = new_sink(tmp_path)
    again.images(LogStep(2), images())
    assert epochs(read_page(tmp_path / "index.html")) == [2, 1]


def test_a_new_training_in_an_old_folder_shows_only_its_own_epochs(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 5):
        sink.images(LogStep(epoch), images())
    again = new_sink(tmp_path)
    for epoch in range(1, 3):
        again.images(LogStep(epoch), images())
    assert epochs(read_page(tmp_path / "index.html")) == [2, 1]


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    runs=st.lists(
        st.lists(
            st.tuples(st.integers(0, 2), st.sets(st.sampled_from(LABELS), min_size=1)),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_every_history_gives_each_epoch_once_in_order_with_existing_images(
    runs: list[list[tuple[int, set[str]]]],
    tmp_path_factory: pytest.TempPathFactory,
    read_page: ReadPage,
) -> None:
    web_dir = tmp_path_factory.mktemp("web")
    epoch, shown_epochs = 1, []
    for run in runs:  # each continues where the one before ended
        sink = new_sink(web_dir)
        for step, labels in run:
            epoch += step
            sink.images(LogStep(epoch), images(sorted(labels)))
            shown_epochs.append(epoch)
            shown = read_page(web_dir / "index.html")
            assert epochs(shown) == sorted(set(shown_epochs), reverse=True)
            assert len(set(shown.images)) == len(shown.images)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the first file of every row that is rendered."""
    rows: list[str] = []
    render = elements.image_row

    def counted(images: list[str], *rest: Any, **more: Any) -> str:
        rows.append(images[0])
        return render(images, *rest, **more)

    monkeypatch.setattr(elements, "image_row", counted)
    return rows


def test_an_update_renders_only_the_row_of_its_epoch(tmp_path: Path, rendered: list[str]) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 31):
        for _ in range(2):
            rendered.clear()
            sink.images(LogStep(epoch), images())
            assert rendered == [f"epoch{epoch:03d}_real_A.png"]


def test_rows_of_an_earlier_run_are_rendered_once(tmp_path: Path, rendered: list[str]) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 6):
        sink.images(LogStep(epoch), images())
    continued = new_sink(tmp_path)
    rendered.clear()
    continued.images(LogStep(6), images())
    assert len(rendered) == 6
    rendered.clear()
    continued.images(LogStep(6), images())
    continued.images(LogStep(7), images())
    assert rendered == ["epoch006_real_A.png", "epoch007_real_A.png"]


@pytest.mark.parametrize("label", ["a#b", "50%25", "two words", "<script>alert(1)</script>"])
def test_unusual_labels_are_quoted_and_escaped(
    tmp_path: Path, read_page: ReadPage, label: str
) -> None:
    label = label.replace("/", "")
    new_sink(tmp_path).images(LogStep(1), images([label]))
    for _ in range(2):  # as it is now, and as a later run finds it on the disk
        shown = read_page(tmp_path / "index.html")
        assert shown.images[-1] == f"images/epoch001_{label}.png"
        assert shown.labels[-1] == label
        new_sink(tmp_path).images(LogStep(2), images(["real"]))


@pytest.mark.parametrize("step", ["save_image", "image_row", "write_text"])
@pytest.mark.parametrize("next_epoch", [2, 3])
def test_an_update_that_fails_spoils_no_later_one(
    tmp_path: Path,
    read_page: ReadPage,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    next_epoch: int,
) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError("disk full")

    sink = new_sink(tmp_path)
    sink.images(LogStep(1), images())
    with monkeypatch.context() as patch:
        patch.setattr(elements if step == "image_row" else page_sink, step, fail)
        with pytest.raises(OSError, match="disk full"):
            sink.images(LogStep(2), images())
    assert epochs(read_page(tmp_path / "index.html")) == [1]  # the old page is still whole
    sink.images(LogStep(next_epoch), images())
    shown = epochs(read_page(tmp_path / "index.html"))
    assert shown[0] == next_epoch
    assert shown[-1] == 1
    assert len(set(shown)) == len(shown)


# ---- epochs ------------------------------------------------------------------------------------


def record(epoch: int, **more: Any) -> EpochRecord:
    values = {
        "epoch": epoch,
        "total_iters": 100 * epoch,
        "lr": {"G": 2e-4, "D": 2e-4},
        "seconds": 10.0,
        "images_per_second": 10.0,
        "memory_mib": 500.0,
        "train": {"G": 0.5},
    }
    return cast(EpochRecord, values | more)


def curves(shown: Any) -> list[str]:
    """Return what the page draws, the losses once: they are there for narrow windows too."""
    drawn = [attributes["aria-label"] for tag, attributes in shown.tags if tag == "svg"]
    return list(dict.fromkeys(drawn))


def samples(shown: Any) -> dict[int, Any]:
    """Return the samples of the epochs that have some."""
    sections = [at for tag, at in shown.tags if tag == "section" and "data-samples" in at]
    return {int(at["data-epoch"]): json.loads(at["data-samples"]) for at in sections}


def lines(shown: Any) -> dict[str, int]:
    """Return the lines that are drawn, with how many points they have."""
    found: dict[str, int] = {}
    name = ""
    wide = True
    for tag, attributes in shown.tags:
        if tag == "div":
            wide = "narrow" not in attributes.get("class", "")
        if not wide:
            continue
        if tag == "g":
            name = attributes["aria-label"].rpartition(":")[0]
        elif tag == "polyline":
            found[name] = found.get(name, 0) + len(set(attributes["points"].split()))
    return found


def test_an_epoch_brings_numbers_and_samples(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2):
        sink.scalars(LogStep(epoch, 50), {"G": 0.5 / epoch})
        sink.images(LogStep(epoch), images())
        found = {"PSNR": 20.0 + epoch} if epoch == 2 else {}
        sink.epoch(record(epoch, val=found), [images(), images()] if found else [])
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [2, 1]
    assert shown.labels == 2 * LABELS
    assert samples(shown) == {2: 2 * [{label: [2, 3, 2] for label in LABELS}]}
    assert shown.text("b") == ["22.00"]  # in the section of epoch 2
    assert curves(shown) == [
        "Losses over epochs",
        *("learning rate over epochs", "images/s over epochs", "memory (MiB) over epochs"),
        "PSNR over epochs",
    ]
    assert lines(shown) == {
        "G": 2,
        "G, mean of each epoch": 3,  # and the mean of the last ones at the very end
        "G, D": 2,  # equal learning rates are one line
        "images/s": 2,
        "memory (MiB)": 2,
        "PSNR": 1,
    }
    assert (tmp_path / "images" / "epoch002_sample2_fake_B.jpg").is_file()


def test_learning_rates_that_differ_are_two_lines(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    sink.epoch(record(1, lr={"G": 2e-4, "D": 1e-4}), [])
    assert {"G", "D"} <= set(lines(read_page(tmp_path / "index.html")))


def test_the_best_epoch_is_named_and_marked(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    best = {"metric": "PSNR", "value": 23.5, "epoch": 2}
    for epoch, value in ((1, 20.0), (2, 23.5), (3, 22.0)):
        sink.epoch(record(epoch, val={"PSNR": value, "L1": 0.1}, best=best), [])
    shown = read_page(tmp_path / "index.html")
    assert "Validation: best PSNR 23.5 in epoch 2" in shown.text("summary")
    assert len(shown.text("circle")) == 1


def test_numbers_missing_from_the_file_leave_gaps(tmp_path: Path, read_page: ReadPage) -> None:
    earlier = [
        record(1, val={"PSNR": 20.0, "SSIM": None}, memory_mib=None, train={"G": None}),
        record(2, val={"PSNR": None}, lr={}, best={"metric": "PSNR", "value": None, "epoch": 1}),
        {"epoch": 3},
    ]
    sink = PageSink(tmp_path, "t", 256, epochs=cast(list[EpochRecord], earlier))
    sink.images(LogStep(4), images())
    shown = read_page(tmp_path / "index.html")
    assert lines(shown)["PSNR"] == 1
    assert lines(shown)["G, mean of each epoch"] == 1
    assert "Validation" in shown.text("summary")


def test_a_continued_run_shows_the_numbers_and_samples_of_its_epochs(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink, brought = new_sink(tmp_path), [record(n, val={"PSNR": 20.0 + n}) for n in (1, 2)]
    for found in brought:
        sink.images(LogStep(found["epoch"]), images())
        sink.epoch(found, [images()])
    before = read_page(tmp_path / "index.html")

    continued = PageSink(tmp_path, "Experiment name = test", 256, epochs=brought)
    continued.images(LogStep(3), images())
    shown = read_page(tmp_path / "index.html")
    assert shown.links[3:] == before.links
    assert {epoch: [list(row) for row in rows] for epoch, rows in samples(shown).items()} == {
        1: [LABELS]  # in their order, though that of their files is another one
    }
    assert shown.text("b") == before.text("b") == ["22.00", "21.00"]
    assert [at for tag, at in shown.tags if tag == "img"][3:] == [
        at for tag, at in before.tags if tag == "img"
    ]
    assert curves(shown) == curves(before)
    assert lines(shown)["PSNR"] == 2


def test_an_epoch_that_is_trained_again_replaces_what_came_after(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2, 3, 4):
        sink.scalars(LogStep(epoch, 100), {"G": 0.5})
        sink.images(LogStep(epoch), images())
        sink.epoch(record(epoch, val={"PSNR": 20.0}), [])
    sink.go_on_after(LogStep(2, 100))
    assert epochs(read_page(tmp_path / "index.html")) == [2, 1]
    sink.images(LogStep(3), images())
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [3, 2, 1]
    assert lines(shown)["G"] == lines(shown)["PSNR"] == 2
    sink.epoch(record(3, val={"PSNR": 20.0}), [])
    assert lines(read_page(tmp_path / "index.html"))["PSNR"] == 3


def test_an_epoch_without_images_of_its_own_still_counts(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    sink.epoch(record(1), [])
    sink.epoch(record(2), [images()])
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [2, 1]
    assert shown.images == shown.links == []
    assert list(samples(shown)) == [2]


# ---- the end -----------------------------------------------------------------------------------


def words(shown: Any) -> str:
    """Return what stands below the page's title."""
    return str(shown.text("div")[0])


def refreshes(shown: Any) -> list[str]:
    return [at["content"] for tag, at in shown.tags if at.get("http-equiv") == "refresh"]


def test_the_page_reloads_itself_until_training_has_ended(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    sink.images(LogStep(1), images())
    shown = read_page(tmp_path / "index.html")
    assert (refreshes(shown), shown.values("body", "data-refresh")) == (["1"], ["1"])
    sink.finish()
    sink.close()
    shown = read_page(tmp_path / "index.html")
    assert (refreshes(shown), shown.values("body", "data-refresh")) == ([], ["0"])
    assert "Training has ended." in words(shown)
    assert epochs(shown) == [1]


def test_a_page_of_a_script_that_does_not_say_how_training_ended_follows_nothing(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    sink.close()
    assert not (tmp_path / "index.html").exists()
    sink.images(LogStep(1), images())
    sink.close()
    shown = read_page(tmp_path / "index.html")
    assert refreshes(shown) == []
    assert "Training does not run any more." in words(shown)


def test_a_page_says_why_training_stopped_and_how_to_continue_until_it_does(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    sink.images(LogStep(1), images())
    sink.images(LogStep(2), images())
    sink.finish("Training was stopped by <SIGTERM>.\nContinue with:\n  python train.py")
    sink.close()
    shown = read_page(tmp_path / "index.html")
    assert refreshes(shown) == []
    assert "Training was stopped by <SIGTERM>. Written " in words(shown)
    assert shown.text("pre") == ["Continue with:\n  python train.py"]

    again = new_sink(tmp_path)
    assert read_page(tmp_path / "index.html").text("pre") == shown.text("pre")
    again.go_on_after(LogStep(1, 100))
    shown = read_page(tmp_path / "index.html")
    assert refreshes(shown) == ["1"]
    assert "Training goes on" in words(shown)
    assert epochs(shown) == [1]


def test_a_run_that_had_nothing_left_to_do_ends_the_page_of_the_one_before(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2):
        sink.images(LogStep(epoch), images())
    again = new_sink(tmp_path)
    again.finish()
    again.close()
    shown = read_page(tmp_path / "index.html")
    assert refreshes(shown) == []
    assert epochs(shown) == [2, 1]


# ---- the overview ------------------------------------------------------------------------------


def test_the_overview_shows_its_sections(tmp_path: Path, read_page: ReadPage) -> None:
    hostile = {"--x<script>": "</dl><script>alert(1)</script>", 'a"b': "50% & more \udcff"}
    overview = {"Options": {"lr": "0.0004", "name": "run"}, "Data & <b>": hostile}
    sink = PageSink(tmp_path, "t", 256)
    sink.begin(overview)
    sink.images(LogStep(1), images())
    shown = read_page(tmp_path / "index.html")
    assert shown.text("h2") == ["Options", "Data & <b>"]
    assert shown.text("dt") == ["lr", "name", *hostile]
    assert shown.text("dd")[:3] == ["0.0004", "run", hostile["--x<script>"]]


def test_without_an_overview_there_is_no_empty_one(tmp_path: Path, read_page: ReadPage) -> None:
    new_sink(tmp_path).images(LogStep(1), images())
    assert "Overview" not in read_page(tmp_path / "index.html").text("summary")


# ---- from the first minute on -----------------------------------------------------------------


def test_the_page_is_there_when_training_begins_and_follows_the_losses(
    tmp_path: Path, read_page: ReadPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("util.display.pages.page_sink.time.monotonic", lambda: now[0])
    sink = new_sink(tmp_path)
    sink.begin({"Data": {"images": "5"}})
    assert refreshes(read_page(tmp_path / "index.html")) == ["1"]
    for images, points in ((1, 0), (2, 2), (3, 2)):  # at most every few seconds
        now[0] += 6
        sink.scalars(LogStep(1, images), {"G": float(images)})
        assert lines(read_page(tmp_path / "index.html")).get("G", 0) == points
    sink.finish("Training was stopped by SIGTERM.")
    assert lines(read_page(tmp_path / "index.html"))["G"] == 3


# ---- the cost of an update ----------------------------------------------------------------------


def test_the_curves_of_a_long_training_are_as_large_as_those_of_a_short_one(
    tmp_path: Path,
) -> None:
    def curves_after(number: int) -> str:
        curves = Curves()
        for epoch in range(1, number + 1):
            for images in range(10, 201, 10):
                curves.add_losses(epoch, images, {"G": (epoch * images * 7919) % 101 / 10})
            curves.add_epoch(record(epoch, val={"PSNR": epoch * 7919 % 13}))
        return curves.render()

    assert len(curves_after(1200)) < 1.3 * len(curves_after(400))


def test_a_row_is_small(tmp_path: Path) -> None:
    sizes = []
    sink = new_sink(tmp_path)
    for epoch in (1, 2, 3):
        sink.images(LogStep(epoch), images())
        sizes.append((tmp_path / "index.html").stat().st_size)
    assert sizes[2] - sizes[1] < 350 * len(LABELS)
