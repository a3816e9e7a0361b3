"""Whole trainings: console, loss log, files, page."""

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.golden.formulas import (
    DATA,
    files_below,
    ids,
    listing,
    load,
    one_thread,
    script_main,
    value_of,
)
from tests.golden.pages import Facts, read_page
from util.storage import checkpoint

pytestmark = pytest.mark.golden

RECORDS = load("runs")
RUNS = [run for run in RECORDS["runs"] if run["script"] == "train.py"]
BY_TAG = {run["tag"]: run for run in RUNS}
WITH_LOG = [run for run in RUNS if run["tag"] != "train_template_print"]
WITH_PAGE = [run for run in RUNS if "train_html" in run]

# Files of ours that the reference does not have.
OUR_FILES = {"train_opt.json", "losses.jsonl", "metrics.jsonl"}
# Decided: saved at the end whatever the frequencies.
SAVED_AT_THE_END = {
    "train_cg_no_html_defaults_nothing_saved": (2, ("G_A", "G_B", "D_A", "D_B")),
    "train_suffix": (1, ("G", "D")),
    "train_template_print": (1, ("G",)),
}
# Decided: the page exists from the first epoch on, with what becomes of the same few images.
PAGE_FILE = re.compile(r"web/index\.html|web/images/epoch\d{3}_(\w+\.png|sample\d+_\w+\.jpg)")
HEADER = re.compile(r"=+ Training Loss \(.*\) =+")
LOSS_LINE = re.compile(
    r"\(epoch: \d+, iters: \d+, time: \d+\.\d{3}, data: \d+\.\d{3}\) (\S+: -?\d+\.\d{3} )+"
)


@dataclass
class Outcome:
    """What a run printed, and what its folder held when it ended."""

    lines: list[str]
    folder: Path
    files: set[str]
    loss_log: list[str]
    page: Facts
    sizes: dict[str, list[int]]


def given(words: list[str], work: Path) -> list[str]:
    """Return recorded text with real folders."""
    places = {"<DATA>": str(DATA / "datasets"), "<WORK>": str(work)}
    for name, folder in places.items():
        words = [word.replace(name, folder) for word in words]
    return words


def execute(run: Mapping[str, Any], work: Path) -> Outcome:
    """Run train.py as recorded and look at what it left.

    A run that continues finds what the reference would have left: networks alone.
    """
    for state in (work / "checkpoints").glob("*/*_state.pth"):
        state.unlink()
    console = io.StringIO()
    with redirect_stdout(console):
        assert script_main("train")(given(run["argv"], work)) in (None, 0)
    _, _, after_options = console.getvalue().partition("- End -------------------\n")
    name = {"train_suffix": "px_pix2pix_b1"}.get(run["tag"]) or value_of(run["argv"], "--name")
    folder = work / "checkpoints" / name
    files = files_below(folder)
    sizes = {}
    for file in sorted(files):
        if file.endswith(".png"):
            with Image.open(folder / file) as image:
                sizes[file] = list(image.size)
    page = folder / "web" / "index.html"
    return Outcome(
        lines=after_options.splitlines(),
        folder=folder,
        files=files,
        loss_log=(folder / "loss_log.txt").read_text().splitlines(),
        page=read_page(page.read_text()) if page.exists() else Facts(),
        sizes=sizes,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run all recorded trainings in their order: one continues an earlier one."""
    work = tmp_path_factory.mktemp("runs")
    with one_thread():
        return {run["tag"]: execute(run, work) for run in RUNS}


def shape_of(line: str) -> str:
    """Return a line without losses and times, which differ from run to run."""
    line = line.replace("<SEC>", "0.000")
    if line.startswith("(epoch:"):
        return re.sub(r"-?\d+\.\d{3}", "#", line)
    return re.sub(r"Time Taken: \d+ sec", "Time Taken: # sec", line)


def with_decided_lines(run: Mapping[str, Any], lines: list[str]) -> list[str]:
    """Return lines with those that our frequencies add.

    Decided: a frequency of 2 fires at every batch of 3 images, not only at every other one.
    """
    if run["tag"] != "train_cg_batch3_freqs":
        return lines
    twice = (
        [line.replace("iters: 6", "iters: 3"), line] if line.startswith("(epoch") else [line]
        for line in lines
    )
    return [line for pair in twice for line in pair]


def expected_lines(run: Mapping[str, Any], work: Path) -> list[str]:
    """Return the recorded console lines with the decided differences, without learning rates."""
    lines = [shape_of(line) for line in given(run["stdout_after_options"], work)]
    lines = [line for line in lines if not line.startswith("learning rate")]
    lines = with_decided_lines(run, lines)
    if run["tag"] == "train_template_print":
        losses = [f"(epoch: 1, iters: {k}, time: #, data: #) G: # " for k in (1, 2, 3, 4)]
        lines += [*losses, "End of epoch 1 / 1 \t Time Taken: # sec"]
    if run["tag"] in SAVED_AT_THE_END:
        epoch = SAVED_AT_THE_END[run["tag"]][0]
        images = {"train_template_print": 4, "train_suffix": 1}.get(run["tag"], 12)
        lines.insert(-1, f"saving the model at the end of epoch {epoch}, iters {images}")
    return lines


@pytest.mark.parametrize("run", RUNS, ids=ids(RUNS, "tag"))
def test_console_has_the_recorded_lines(run: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[run["tag"]]
    work = outcome.folder.parents[1]
    found = [shape_of(line) for line in outcome.lines if not line.startswith("learning rate")]
    if "--continue_train" in run["argv"]:  # decided: one line says what is not there
        said = [line for line in found if "has no training state for latest" in line]
        assert len(said) == 1
        found.remove(said[0])
    # Decided: one line says what makes it fast.
    said = [line for line in found if line.startswith("speed faithful: fp32")]
    assert len(said) == 1
    found.remove(said[0])
    assert found == expected_lines(run, work)


@pytest.mark.parametrize("run", WITH_LOG, ids=ids(WITH_LOG, "tag"))
def test_loss_log_has_the_recorded_lines(run: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    found = outcomes[run["tag"]].loss_log
    assert all(HEADER.fullmatch(line) or LOSS_LINE.fullmatch(line) for line in found)
    recorded = with_decided_lines(run, [line for line in run["loss_log"] if line])
    added = len(recorded) - len([line for line in run["loss_log"] if line])
    # The record counts the end of the last line as one; of a long log it holds the beginning.
    assert len(found) == run["loss_log_n_lines"] - 1 + added
    beginning = [shape_of(HEADER.sub("header", line)) for line in found[: len(recorded)]]
    assert beginning == [shape_of(HEADER.sub("header", line)) for line in recorded]


@pytest.mark.parametrize("run", RUNS, ids=ids(RUNS, "tag"))
def test_folder_holds_the_recorded_files(run: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    found, recorded = outcomes[run["tag"]].files, set(run["checkpoint_files"])
    assert recorded <= found
    decided = set(OUR_FILES)
    decided |= {
        f"{file.split('_net_')[0]}_state.pth" for file in recorded if file.endswith(".pth")
    } & found  # those of the run continued were taken away
    if not any(line.startswith("(epoch") for line in outcomes[run["tag"]].loss_log):
        decided.remove("losses.jsonl")  # nothing was printed
    if run["tag"] in SAVED_AT_THE_END:
        epoch, names = SAVED_AT_THE_END[run["tag"]]
        decided |= {f"{when}_net_{name}.pth" for when in (epoch, "latest") for name in names}
        decided |= {f"{when}_state.pth" for when in (epoch, "latest")}
    assert decided <= found
    others = {file for file in found - recorded - decided if not PAGE_FILE.fullmatch(file)}
    assert others == set()
    has_page = "--no_html" not in run["argv"]
    assert ("web/index.html" in found) == has_page


@pytest.mark.parametrize("name", ["cg", "px", "co"])
def test_checkpoints_have_the_keys_of_the_reference(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    folder = outcomes["train_cg"].folder.parent
    records = {k: v for k, v in RECORDS["checkpoints"].items() if k.startswith(f"{name}/")}
    assert records
    for file, record in records.items():
        state = checkpoint.load_state(folder / file)
        assert listing(state) == record["keys"]
        assert type(state).__name__ == record["type"]


@pytest.mark.parametrize("run", WITH_PAGE, ids=ids(WITH_PAGE, "tag"))
def test_page_shows_what_is_recorded(run: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    page, record = outcomes[run["tag"]].page, run["train_html"]
    newest = []
    if run["tag"] == "train_cg_resume":
        # Decided: every epoch is on the page; the reference's resumed run showed none of its own.
        newest = ["epoch [4]", "epoch [3]"]
    width = record["n_td"] // record["n_tables"]
    skip = width * len(newest)
    assert [page.title] == record["title"]
    assert page.headings == newest + record["h3"]
    assert page.doctype == record["doctype"]
    # Decided: the page reloads itself every second while training, and not when that has ended.
    assert record["meta"] == ['<meta content="1" http-equiv="refresh">']
    assert page.refresh == []
    assert len(page.tables) == len(newest) + record["n_tables"]
    assert len(page.cells) == skip + record["n_td"]
    assert len(page.images) == skip + record["n_img"]
    sources = [image["src"] for image in page.images][skip:]
    assert sources[: len(record["img_src"])] == record["img_src"]
    assert page.links[skip:][: len(record["a_href"])] == record["a_href"]
    assert sorted(page.labels) == record["labels"]
    assert page.first_cell_tags == record["order_of_tags_in_first_td"]


def attributes(text: str) -> dict[str, str]:
    """Read the attributes of a recorded tag."""
    return dict(re.findall(r'([\w-]+)="([^"]*)"', text))


@pytest.mark.parametrize("run", WITH_PAGE, ids=ids(WITH_PAGE, "tag"))
def test_page_looks_as_recorded(run: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    page, record = outcomes[run["tag"]].page, run["train_html"]
    assert {image["style"] for image in page.images} == set(record["img_style"])
    for found, recorded in ((page.tables, "table_attrs"), (page.cells, "td_attrs")):
        (text,) = record[recorded]
        assert all(tag == attributes(text) for tag in found)


@pytest.mark.parametrize("run", WITH_PAGE, ids=ids(WITH_PAGE, "tag"))
def test_images_of_the_page_have_the_recorded_sizes(
    run: dict[str, Any], outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[run["tag"]]
    assert run["png_sizes"].items() <= outcome.sizes.items()
    shown = {f"web/{image['src']}" for image in outcome.page.images}
    assert shown == set(outcome.sizes), "every image is shown, and only images that exist"
