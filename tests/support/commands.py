"""Small data, small runs, and ways to look at what they left."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw

from tests.support.paths import ROOT as ROOT
from tests.support.warm import run
from util.base.errors import run_command

THIRD_PARTY = ROOT / "tests" / "e2e" / "third_party"
LOSS_LINE = re.compile(
    r"\(epoch: (\d+), iters: (\d+), time: \d+\.\d{3}, data: \d+\.\d{3}\) ((?:\S+: -?\d+\.\d{3} )+)"
)


# ---- images -----------------------------------------------------------------------------


def scene(seed: int, side: int = 40, *, outlined: bool = False) -> Image.Image:
    """Draw some coloured boxes, or their outlines."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), (240, 240, 240))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, width, height = (int(number) for number in random.integers(2, side // 2, 4))
        colour = tuple(int(number) for number in random.integers(0, 256, 3))
        box = (x, y, x + width, y + height)
        pen.rectangle(box, outline=colour) if outlined else pen.rectangle(box, fill=colour)
    return image


def draw(path: Path, image: Image.Image) -> None:
    """Write an image, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def draw_pairs(root: Path, phase: str, count: int) -> None:
    """Write pairs side by side: outlines are A, boxes are B."""
    for number in range(count):
        both = Image.new("RGB", (80, 40))
        both.paste(scene(number, outlined=True), (0, 0))
        both.paste(scene(number), (40, 0))
        draw(root / phase / f"p{number}.png", both)


def draw_unpaired(root: Path, phase: str, a: int, b: int) -> None:
    """Write two folders."""
    for side, count, outlined in (("A", a, True), ("B", b, False)):
        for number in range(count):
            name = f"{side.lower()}{number}.png"
            draw(root / f"{phase}{side}" / name, scene(10 * number, outlined=outlined))


def copy_unaligned(folder: Path) -> None:
    """Copy the data set of two domains to `data/copied_dataset.py`, as people begin with theirs."""
    ours = (ROOT / "data" / "unaligned_dataset.py").read_text()
    (folder / "data").mkdir(parents=True)
    copy = ours.replace("UnalignedDataset", "CopiedDataset")
    (folder / "data" / "copied_dataset.py").write_text(copy)


# ---- commands -----------------------------------------------------------------------------


def small(folder: Path, dataroot: Path, model: str, *more: str) -> list[str]:
    """Return the command line of a small run on the CPU."""
    argv = ["--dataroot", str(dataroot), "--name", "run", "--model", model]
    argv += ["--checkpoints_dir", str(folder / "checkpoints"), "--gpu_ids", "-1"]
    argv += ["--netG", "resnet_6blocks", "--ngf", "2", "--num_threads", "0", "--crop_size", "32"]
    return [*argv, *more]


def train(folder: Path, dataroot: Path, model: str, *more: str) -> Path:
    """Run train.py's main, and return the run's folder."""
    argv = small(folder, dataroot, model, "--load_size", "36", "--ndf", "2", "--display_id", "-1")
    argv += ["--n_epochs", "1", "--n_epochs_decay", "0", *more]
    script("train", argv)
    return folder / "checkpoints" / "run"


def test(folder: Path, dataroot: Path, model: str, *more: str) -> Path:
    """Run test.py's main, and return the folder of results."""
    argv = small(folder, dataroot, model, "--results_dir", str(folder / "results"), *more)
    script("test", argv)
    return folder / "results" / "run" / "test_latest"


setattr(test, "__test__", False)  # noqa: B010 - for pytest: not a test


def script(name: str, argv: Sequence[str]) -> None:
    """Call the `main` of train.py or test.py."""
    # By its path: `import test` may find the standard library's package of that name.
    runpy.run_path(str(ROOT / f"{name}.py"))["main"](argv)


@contextmanager
def imported(path: Path) -> Iterator[ModuleType]:
    """Import a script as a module; forget it afterwards, with what lies beside it."""
    before, loaded = list(sys.path), set(sys.modules)
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses ask for it
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    for name in set(sys.modules) - loaded:
        if Path(getattr(sys.modules[name], "__file__", None) or "-").parent == path.parent:
            del sys.modules[name]


def ended(main: Callable[[list[str]], None], arguments: Sequence[object]) -> int:
    """Run a script's `main` as its command does; return the exit status."""
    status: object
    try:
        status = run_command(lambda: main(list(map(str, arguments))))
    except SystemExit as error:
        status = error.code
    assert isinstance(status, int)
    return status


def start(
    arguments: Sequence[str | Path], folder: Path, *, seconds: float = 150
) -> "subprocess.CompletedProcess[str]":
    """Run python in another folder, on the CPU, with its output going to pipes."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("COV")},
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    return run([sys.executable, *arguments], cwd=folder, env=environment, timeout=seconds)


# ---- what is left -------------------------------------------------------------------------


def names(folder: Path, pattern: str = "*") -> list[str]:
    """Return the names of the files in a folder, sorted."""
    return sorted(path.name for path in folder.glob(pattern) if path.is_file())


def size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file."""
    with Image.open(path) as image:
        return image.size


def copy_run(source: Path, folder: Path) -> None:
    """Put a finished run's checkpoints where another test can change them."""
    shutil.copytree(source, folder / "checkpoints" / "run")


class Page(HTMLParser):
    """The headings of a page, and its images as paths below the page's folder."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.images: list[str] = []
        self._in_heading = False
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        for image in self.images:
            assert (path.parent / image).is_file(), f"{path} shows {image}, which is missing"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take headings and images."""
        self._in_heading = tag == "h3"
        if tag == "img":
            self.images.append(str(dict(attrs)["src"]))

    def handle_data(self, data: str) -> None:
        """Take a heading's text."""
        if self._in_heading and data.strip():
            self.headings.append(data.strip())
            self._in_heading = False


def loss_lines(text: str) -> list[tuple[int, int, list[str]]]:
    """Return (epoch, images, names of the losses) of every line of losses."""
    found = []
    for line in text.splitlines():
        if line.startswith("(epoch:"):
            match = LOSS_LINE.fullmatch(line)
            assert match, line
            losses = [part.rstrip(":") for part in match[3].split()[::2]]
            found.append((int(match[1]), int(match[2]), losses))
    return found
