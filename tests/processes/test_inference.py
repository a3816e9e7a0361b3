"""test.py, translate.py and evaluate.py in several processes: all that they leave is the same."""

import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import commands
from tests.support.commands import draw, draw_pairs, draw_unpaired, scene
from tests.support.corpus import tree
from tests.support.generators import save_run
from tests.support.launched import run, torchrun
from tests.support.paths import ROOT
from tests.support.tiers import EVERY_LAUNCH, LONG

pytestmark = [pytest.mark.slow, pytest.mark.dist]
DRIVER = ROOT / "tests" / "support" / "commands_in_turn.py"
COUNTS = (1, 3, *([2] if EVERY_LAUNCH else []))
REFUSED = "scripts/plot_losses.py"
SMALL = "--checkpoints_dir {runs} --gpu_ids -1 --num_threads 0 --results_dir {out} "
SIDE = "--crop_size 32 --load_size 32 "
TRANSLATE = "--checkpoints_dir {runs} --gpu_ids -1 --name cycles -o {out}"
EVALUATE = "--gpu_ids -1 --no_cache --json {out}/report.json"
WITHOUT_WEIGHTS = EVALUATE + " --metrics L1,PSNR,SSIM"
TESTED = "dropout, statistics of the batch, scores"

# What is done, by a name: script and arguments, and what is on standard input.
CASES: dict[str, tuple[str, str, str]] = {
    "unequal domains": (
        "test.py", SMALL + SIDE + "--dataroot {data}/unpaired --name cycles --model cycle_gan", "",
    ),
    "the other way": (
        "test.py",
        SMALL + SIDE + "--dataroot {data}/unpaired --name cycles --model cycle_gan "
        "--direction BtoA --num_test 4",
        "",
    ),
    TESTED: (
        "test.py", SMALL + SIDE + "--dataroot {data}/pairs --name labels --model pix2pix", "",
    ),
    "batches, and names that are there twice": (
        "test.py",
        SMALL + SIDE + "--dataroot {data}/photos --name cycles --model test --model_suffix _A "
        "--batch_size 2",
        "",
    ),
    "fewer images than processes": (
        "test.py",
        SMALL + SIDE + "--dataroot {data}/pairs --name labels --model pix2pix --num_test 1", "",
    ),
    "sheets of drawn styles": (
        "test.py",
        SMALL + "--dataroot {data}/domains --name domains --num_test 4 --sheet_size 3", "",
    ),
    "sheets of references": (
        "test.py",
        SMALL + "--dataroot {data}/domains --name domains --mode reference "
        "--num_outs_per_domain 2 --num_test 4 --sheet_size 5",
        "",
    ),
    "a model that remembers": (
        "test.py", SMALL + SIDE + "--dataroot {data}/pairs --name labels --model counting", "",
    ),
    "a broken image": (
        "test.py",
        SMALL + SIDE + "--dataroot {data}/broken --name cycles --model test --model_suffix _A", "",
    ),
    "a folder": ("scripts/translate.py", TRANSLATE + " {data}/photos", ""),
    "a list": ("scripts/translate.py", TRANSLATE + " - --batch_size 2", "{data}/list.txt"),
    "a broken file": ("scripts/translate.py", TRANSLATE + " {data}/broken", ""),
    "nowhere to write to": (
        "scripts/translate.py", "--checkpoints_dir {runs} --gpu_ids -1 --name cycles "
        "-o {data}/a_file/out {data}/photos", "",
    ),
    "scores of pairs": (
        "scripts/evaluate.py", EVALUATE + " {data}/real {data}/fake --paired", "",
    ),
    "scores of a test": ("scripts/evaluate.py", EVALUATE + " {results}/labels/test_latest", ""),
    "scores without weights": (
        "scripts/evaluate.py", WITHOUT_WEIGHTS + " {results}/labels/test_latest", "",
    ),
    "a pair that is none": (
        "scripts/evaluate.py", EVALUATE + " {data}/real {data}/odd --paired", "",
    ),
    "diversity": (
        "scripts/evaluate.py",
        EVALUATE + " {outputs}/domains/test_latest --diverse {data}/domains/test", "",
    ),
    "a wrong option": ("test.py", SMALL + "--dataroot {data}/pairs --nmae labels", ""),
    "no such run": ("test.py", SMALL + "--dataroot {data}/pairs --name nothing", ""),
    "a command for one process": (REFUSED, "{runs}", ""),
}  # fmt: skip
FAILING = {
    "a broken image": (1, "3broken.png is not an image"),
    "a broken file": (1, "1 could not be translated"),
    "nowhere to write to": (1, "a_file"),
    "a pair that is none": (1, "--resize brings"),
    "a wrong option": (2, "--nmae"),
    "no such run": (1, "nothing"),
}

# A plugin that does not say that images are independent; one that looks at earlier ones.
COUNTING = '''
from models.pix2pix_model import Pix2PixModel


class CountingModel(Pix2PixModel):
    """Darkens each image more."""

    seen = 0

    def forward(self):
        super().forward()
        self.seen += 1
        self.fake_B = self.fake_B / self.seen
'''


class Launch(NamedTuple):
    """What a launch of all commands has left."""

    folder: Path
    statuses: list[list[int]]  # of each process
    said: str


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images and runs."""
    folder = tmp_path_factory.mktemp("data")
    make_images_and_runs(folder)
    train_stargan(folder)
    (folder / "models").mkdir()
    (folder / "models" / "counting_model.py").write_text(COUNTING)
    return folder


def make_images_and_runs(folder: Path) -> None:
    """Draw images, and write runs of random weights: cycles and labels."""
    draw_unpaired(folder / "unpaired", "test", 5, 3)
    draw_pairs(folder / "pairs", "test", 7)
    for number, name in enumerate(("x/a.png", "x/b.png", "x/c.png", "y/a.png", "y/d.png")):
        draw(folder / "photos" / name, scene(number, 32 + 4 * number))
    for number in range(5):
        draw(folder / "broken" / f"{number}.png", scene(number))
    (folder / "broken" / "3broken.png").write_bytes(b"no image")
    (folder / "a_file").write_text("no folder")
    photos = sorted((folder / "photos").rglob("*.png"))
    (folder / "list.txt").write_text("\n".join(map(str, photos[:3])))
    for number in range(14):
        side = 24 if number in (4, 5) else 32
        draw(folder / "real" / f"{number:02}.png", scene(number, side))
        draw(folder / "fake" / f"{number:02}.png", scene(number + 1, side))
        draw(folder / "odd" / f"{number:02}.png", scene(number, 32))
    for phase, count in (("train", 2), ("test", 3)):
        for domain in ("cat", "dog"):
            for number in range(count):
                draw(folder / "domains" / phase / domain / f"{domain}{number}.png", scene(number))
    save_run(folder / "runs/cycles", "cycle_gan", "G_A", "G_B")
    save_run(folder / "runs/labels", "pix2pix", "G", norm="batch", no_dropout=False)


def train_stargan(folder: Path) -> None:
    """Train a step for runs/domains."""
    argv = ["--dataroot", str(folder / "domains"), "--name", "domains", "--model", "stargan_v2"]
    argv += ["--checkpoints_dir", str(folder / "runs"), "--gpu_ids", "-1", "--num_threads", "0"]
    argv += ["--crop_size", "16", "--ngf", "1", "--ndf", "1", "--batch_size", "1", "--seed", "3"]
    argv += ["--display_id", "-1", "--total_steps", "1", "--val_steps", "1", "--val_freq", "0"]
    commands.script("train", [*argv, "--no_html"])


@pytest.fixture(scope="module")
def launches(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Launch]:
    """Return what one process leaves, and several."""
    return {count: launch(count, data, tmp_path_factory.mktemp(f"of{count}")) for count in COUNTS}


def launch(count: int, data: Path, folder: Path) -> Launch:
    """Run all commands in so many processes."""
    places = {"data": data, "runs": data / "runs"}
    places |= {"results": folder / TESTED}
    places |= {"outputs": folder / "sheets of references"}
    todo = []
    for name, (script, argv, given) in CASES.items():
        words = [word.format(**places, out=folder / name) for word in argv.split()]
        todo.append((script, words, given.format(**places)))
        (folder / name).mkdir()
    shutil.copytree(data / "models", folder / "models")
    (folder / "commands.json").write_text(json.dumps(todo))
    beginning = torchrun(count) if count > 1 else [sys.executable]
    status, said = run([*beginning, str(DRIVER), str(folder / "commands.json")], folder)
    assert status == 0, said
    statuses = [json.loads((folder / f"commands_{n}.json").read_text()) for n in range(count)]
    return Launch(folder, statuses, said)


def contents(done: Launch, name: str) -> dict[str, str]:
    """Return what a command has left; reports have the names of folders."""
    files = tree(done.folder / name).items()
    return {file: content.replace(str(done.folder), "") for file, content in files}


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("name", [name for name in CASES if name not in FAILING])
def test_files_are_those_of_one_process(launches: dict[int, Launch], name: str, count: int) -> None:
    if CASES[name][0] == REFUSED:
        return
    alone, several = launches[1], launches[count]
    number = list(CASES).index(name)
    assert [statuses[number] for statuses in several.statuses] == [0] * count
    of_one = contents(alone, name)
    assert contents(several, name) == of_one
    assert of_one


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_in_one_process_fails_in_all_and_is_said_once(
    launches: dict[int, Launch], name: str
) -> None:
    status, text = FAILING[name]
    for count, done in launches.items():
        number = list(CASES).index(name)
        assert [statuses[number] for statuses in done.statuses] == [status] * count
        errors = [line for line in done.said.splitlines() if "error: " in line and text in line]
        assert len(errors) == 1, done.said
        assert not list((done.folder / name).rglob("index.html"))


def test_one_process_is_enough_for_all_other_commands(launches: dict[int, Launch]) -> None:
    for count in COUNTS[1:]:
        assert [statuses[-1] for statuses in launches[count].statuses] == [1] * count
        said = launches[count].said
        assert said.count(f"{count} processes were started, as by torchrun") == 1
        assert f"one is enough. Start it by itself: python {REFUSED}" in said


def test_a_model_that_may_remember_images_is_tested_by_the_first_process(
    launches: dict[int, Launch],
) -> None:
    for count in COUNTS[1:]:
        said = launches[count].said
        assert said.count(f"The first of {count} processes translates all images: ") == 1
        assert "translates all images: CountingModel does not say that none depends" in said


FORKS_PAGE = """
import runpy, sys
import util.html
from util.base.errors import run_command

class Page(util.html.HTML):
    def __getattribute__(self, name):
        if name in ("add_sections", "sections", "files"):
            raise AttributeError(name)
        return super().__getattribute__(name)

util.html.HTML = Page
sys.exit(run_command(runpy.run_path(sys.argv.pop(1))["main"], several=True))
"""


@pytest.mark.skipif(not LONG, reason="RELIABILITY=long")
def test_a_page_of_a_fork_gets_all_images_from_the_first_process(
    data: Path, tmp_path: Path
) -> None:
    script = tmp_path / "test_fork.py"
    script.write_text(FORKS_PAGE)
    argv = SMALL.format(runs=data / "runs", out=tmp_path) + "--name cycles --model test"
    argv += f" --model_suffix _A --dataroot {data}/photos"
    command = [*torchrun(2), str(script), str(ROOT / "test.py"), *argv.split()]
    status, said = run(command, tmp_path)
    assert status == 0, said
    assert "the page is one of __main__, which takes no others' images" in said
    images = [*(tmp_path / "cycles" / "test_latest" / "images").glob("*_fake.png")]
    page = (tmp_path / "cycles" / "test_latest" / "index.html").read_text()
    assert len(images) > 2
    assert all(image.name in page for image in images)


@pytest.mark.skipif(not EVERY_LAUNCH, reason="DIST=all")
def test_a_run_is_translated_and_scored_by_several_processes(
    data: Path, launches: dict[int, Launch], tmp_path: Path
) -> None:
    """By two, as by one that was given a command for each."""
    out = tmp_path / "out"
    argv = WITHOUT_WEIGHTS.format(out=tmp_path) + " --name labels --processes 2 " + SIDE
    argv += f"--checkpoints_dir {data / 'runs'} --dataroot {data / 'pairs'} --num_threads 0 "
    argv += f"--results_dir {out}"
    status, said = run([sys.executable, str(ROOT / "scripts/evaluate.py"), *argv.split()], tmp_path)
    assert status == 0, said
    assert said.count("$ python test.py --name labels") == 1
    tested, scored = (contents(launches[1], name) for name in (TESTED, "scores without weights"))
    assert tree(out) == tested
    report = repr((tmp_path / "report.json").read_bytes()).replace(str(out), "")
    assert report == scored["report.json"].replace(f"/{TESTED}", "")
