"""The training page: the newest epoch first, only pictures that exist, a fixed cost per update."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from util.sinks import Moment, page
from util.sinks.page import PageSink

ReadPage = Callable[[Path], Any]
LABELS = ["real_A", "fake_B", "real_B"]


def pictures(labels: list[str] = LABELS, grey: int = 0) -> dict[str, NDArray[np.uint8]]:
    return {label: np.full((2, 3, 3), grey, np.uint8) for label in labels}


def new_sink(web_dir: Path) -> PageSink:
    return PageSink(web_dir, "Experiment name = test", 256)


def epochs(shown: Any) -> list[int]:
    """Return the epochs in the page's headings, from top to bottom."""
    return [int(re.fullmatch(r"epoch \[(\d+)\]", text)[1]) for text in shown.text("h3")]  # type: ignore[index]


def test_the_page_exists_after_the_first_pictures(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path / "web")
    sink.scalars(Moment(1), {"G": 1.0})
    sink.images(Moment(1), pictures())
    shown = read_page(tmp_path / "web" / "index.html")
    assert shown.text("title") == ["Experiment name = test"]
    assert shown.pictures == [f"images/epoch001_{label}.png" for label in LABELS]
    assert shown.labels == LABELS
    assert set(shown.values("img", "style")) == {"width:256px"}


def test_the_newest_epoch_comes_first(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    for epoch in (1, 2, 5, 1000):
        sink.images(Moment(epoch), pictures())
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [1000, 5, 2, 1]
    assert shown.pictures[0] == "images/epoch1000_real_A.png"


def test_several_updates_in_one_epoch_keep_one_row_with_the_latest_pictures(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch, grey in ((1, 10), (1, 20), (2, 30), (2, 40), (2, 50)):
        sink.images(Moment(epoch), pictures(grey=grey))
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [2, 1]
    for epoch, grey in ((1, 20), (2, 50)):
        with Image.open(tmp_path / "images" / f"epoch{epoch:03d}_fake_B.png") as image:
            assert image.getpixel((0, 0)) == (grey,) * 3


def test_rows_of_an_earlier_run_are_found_on_the_disk(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    sink.images(Moment(1), pictures())
    sink.images(Moment(3), pictures(["fake_B", "old_label"]))
    folder = tmp_path / "images"
    for name in ("notes.txt", "epoch001_x.jpg", ".1.tmp-epoch002_fake_B.png", "fake_B.png"):
        (folder / name).touch()

    continued = new_sink(tmp_path)
    continued.images(Moment(4), pictures())
    continued.images(Moment(5), pictures())
    shown = read_page(tmp_path / "index.html")
    assert epochs(shown) == [5, 4, 3, 1]
    assert shown.labels[-5:] == ["fake_B", "old_label", *LABELS]  # in the order of today's
    assert len(shown.pictures) == 3 + 3 + 2 + 3


def test_pictures_of_epochs_yet_to_come_are_not_shown(tmp_path: Path, read_page: ReadPage) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 5):
        sink.images(Moment(epoch), pictures())
    again = new_sink(tmp_path)
    again.images(Moment(2), pictures())
    assert epochs(read_page(tmp_path / "index.html")) == [2, 1]


def test_a_new_training_in_an_old_folder_shows_only_its_own_epochs(
    tmp_path: Path, read_page: ReadPage
) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 5):
        sink.images(Moment(epoch), pictures())
    again = new_sink(tmp_path)
    for epoch in range(1, 3):
        again.images(Moment(epoch), pictures())
    assert epochs(read_page(tmp_path / "index.html")) == [2, 1]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
def test_every_history_gives_each_epoch_once_in_order_with_existing_pictures(
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
            sink.images(Moment(epoch), pictures(sorted(labels)))
            shown_epochs.append(epoch)
            shown = read_page(web_dir / "index.html")
            assert epochs(shown) == sorted(set(shown_epochs), reverse=True)
            assert len(set(shown.pictures)) == len(shown.pictures)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the first file of every row that is rendered."""
    rows: list[str] = []
    render = page.picture_row

    def counted(images: list[str], *rest: Any) -> str:
        rows.append(images[0])
        return render(images, *rest)

    monkeypatch.setattr(page, "picture_row", counted)
    return rows


def test_an_update_renders_only_the_row_of_its_epoch(tmp_path: Path, rendered: list[str]) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 31):
        for _ in range(2):
            rendered.clear()
            sink.images(Moment(epoch), pictures())
            assert rendered == [f"epoch{epoch:03d}_real_A.png"]


def test_rows_of_an_earlier_run_are_rendered_once(tmp_path: Path, rendered: list[str]) -> None:
    sink = new_sink(tmp_path)
    for epoch in range(1, 6):
        sink.images(Moment(epoch), pictures())
    continued = new_sink(tmp_path)
    rendered.clear()
    continued.images(Moment(6), pictures())
    assert len(rendered) == 6
    rendered.clear()
    continued.images(Moment(6), pictures())
    continued.images(Moment(7), pictures())
    assert rendered == ["epoch006_real_A.png", "epoch007_real_A.png"]


@pytest.mark.parametrize("label", ["a#b", "50%25", "two words", "<script>alert(1)</script>"])
def test_unusual_labels_are_quoted_and_escaped(
    tmp_path: Path, read_page: ReadPage, label: str
) -> None:
    label = label.replace("/", "")
    new_sink(tmp_path).images(Moment(1), pictures([label]))
    for _ in range(2):  # as it is now, and as a later run finds it on the disk
        shown = read_page(tmp_path / "index.html")
        assert shown.pictures[-1] == f"images/epoch001_{label}.png"
        assert shown.labels[-1] == label
        new_sink(tmp_path).images(Moment(2), pictures(["real"]))


@pytest.mark.parametrize("step", ["save_image", "picture_row", "write_text"])
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
    sink.images(Moment(1), pictures())
    with monkeypatch.context() as patch:
        patch.setattr(page, step, fail)
        with pytest.raises(OSError, match="disk full"):
            sink.images(Moment(2), pictures())
    assert epochs(read_page(tmp_path / "index.html")) == [1]  # the old page is still whole
    sink.images(Moment(next_epoch), pictures())
    shown = epochs(read_page(tmp_path / "index.html"))
    assert shown[0] == next_epoch
    assert shown[-1] == 1
    assert len(set(shown)) == len(shown)
