"""Every script with files and folders that are missing, empty, foreign or of the wrong kind.

RELIABILITY=long tries every place with every kind; otherwise each place gets one, and of those of
train.py and test.py, which take longer, only some do.
"""

import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reliability.conftest import Count
from tests.support import commands
from tests.support.commands import ROOT, draw_pairs, draw_unpaired
from tests.support.forked import Main, run_forked
from tests.support.tiers import LONG

WITHOUT_INPUT = ("demo", "test_before_push", "document_options")
SCRIPTS = {
    "train": ROOT / "train.py",
    "test": ROOT / "test.py",
    **{path.stem: path for path in ROOT.glob("scripts/*.py") if path.stem not in WITHOUT_INPUT},
    "eval_cityscapes": ROOT / "scripts" / "eval_cityscapes" / "evaluate.py",
    **{path.stem: path for path in ROOT.glob("datasets/*.py")},
}
# What stands in the place of {X}. A folder of images or a run would be right somewhere.
KINDS = ("missing", "empty_folder", "folder_of_texts", "folder_of_bad_images", "empty", "binary",
         "text.txt", "foreign.json", "lines.jsonl", "", "/dev/null", "/dev/full",
         "/proc/x")  # fmt: skip
NET = "--gpu_ids -1 --num_threads 0 --ngf 2 --netG resnet_6blocks --crop_size 32 "
RUN = "--dataroot {D} --checkpoints_dir {C} --model pix2pix " + NET
TRAIN = f"train {RUN} --load_size 36 --ndf 2 --n_epochs 1 --n_epochs_decay 0 --display_id -1 "
TEST = f"test {RUN} --results_dir {{R}} "
IMAGES = "{D}/testA {D}/testA --paired --gpu_ids -1 --no_cache "
PLACES = (
    # train.py and test.py
    TRAIN + "--name new --dataroot={X}",
    TRAIN + "--name new --model cycle_gan --dataroot={X}",
    TRAIN + "--name new --model colorization --dataroot={X}",
    TRAIN + "--name new --pretrained={X}",
    TRAIN + "--name new --checkpoints_dir={X}",
    TRAIN + "--name new --val_freq 1 --lpips_weights={X}",
    TRAIN + "--name new --val_freq 1 --inception_weights={X}",
    TEST + "--name run --dataroot={X}",
    TEST + "--name run --model test --dataroot={X}",
    TEST + "--name run --results_dir={X}",
    TEST + "--name run --checkpoints_dir={X}",
    # files of a run
    *(TEST + f"--name {{F:{file}}}" for file in ("latest_net_G.pth", "train_opt.json",
                                                "train_opt.txt", "test_opt.txt")),
    *(TRAIN + f"--continue_train --n_epochs 2 --name {{F:{file}}}" for file in (
        "latest_net_G.pth", "latest_net_D.pth", "latest_state.pth", "train_opt.json",
        "loss_log.txt", "losses.jsonl", "metrics.jsonl", "web", "web/index.html")),
    *(f"plot_losses {{F:{file}}} --checkpoints_dir {{C}} --output={{R}}.csv" for file in (
        "loss_log.txt", "losses.jsonl", "metrics.jsonl")),
    "compare_runs --checkpoints_dir {C} --second run run --first run {F:metrics.jsonl}",
    # the others
    "evaluate {X}", "evaluate {X} {D}/testA", "evaluate {D}/testA {X} --paired",
    "evaluate --name={X} --checkpoints_dir {C}",
    f"evaluate {IMAGES} --json={{X}}", f"evaluate {IMAGES} --inception_weights={{X}}",
    f"evaluate {IMAGES} --lpips_weights={{X}}",
    "evaluate {D}/testA {D}/testA --paired --gpu_ids -1 --cache={X}",
    "check_dataset {X}", "check_dataset --dataroot={X} --dataset_mode aligned",
    "check_dataset {D}/testA --crop_size 32 --load_size 32 --json={X}",
    "plot_losses {X} --output={R}.csv", "plot_losses run --checkpoints_dir {C} --output={X}",
    "plot_losses run --output=- --checkpoints_dir={X}",
    "compare_runs --first {X} {X} --second {X} {X}",
    "compare_runs --first run run --second run run --checkpoints_dir={X}",
    "eval_cityscapes photo2label {X}", "eval_cityscapes photo2label {D}/testA --labels={X}",
    "eval_cityscapes label2photo {D}/testA --labels {D}/testA --model={X}",
    "bench --counts --reference={X}", "bench --counts --ours={X}",
    "combine_A_and_B --fold_A={X} --fold_B {D} --fold_AB {R}.AB",
    "combine_A_and_B --fold_A {D} --fold_B={X} --fold_AB {R}.AB",
    "combine_A_and_B --no_multiprocessing --fold_A {D} --fold_B {D} --fold_AB={X}",
    "make_dataset_aligned --dataset-path={X}",
    "prepare_cityscapes_dataset --gtFine_dir={X} --leftImg8bit_dir {D} --output_dir {R}.c",
    "prepare_cityscapes_dataset --gtFine_dir {D} --leftImg8bit_dir={X} --output_dir {R}.c",
    "make_figure run --results_dir={X} --output {R}.png", "make_figure {X} --output {R}.png",
    "make_progress run --checkpoints_dir={X}",
    "measure_steps --dataroot {X} --steps 1",
    "make_progress run --checkpoints_dir {C} --output={X}",
    "download {X}", "download maps --technique pix2pix --base-url http://127.0.0.1:9 --dir={X}",
    "download_model {X}",
    "make_demo_dataset --train 1 --val 0 --test 0 --size 32 --output={X}",
)  # fmt: skip


class Case(NamedTuple):
    """A command with something wrong in one place."""

    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.place.split()[0]}-{self.place.split()[-1]}-{self.kind}"


def every_case() -> Iterator[Case]:
    """Yield each place with all kinds, or with a few, the same ones every time."""
    for place in PLACES:
        kinds: Sequence[str] = KINDS
        if not LONG:  # the same ones every time
            number = zlib.crc32(place.encode())
            if place.startswith(("train", "test")) and number % 6:
                continue
            kinds = [KINDS[number % len(KINDS)]]
        for kind in kinds:
            is_device = kind.startswith("/dev")
            if is_device and "--json" in place:  # a mistake there could replace it
                continue
            if "{F:" not in place or kind == "missing" or kind[:1] not in ("", "/"):
                yield Case(place, kind)


@pytest.fixture(scope="module")
def mains() -> Iterator[dict[str, Main]]:
    """Return the `main` of every script."""
    pytest.importorskip("lpips")  # here, not in each child that scores
    pytest.importorskip("torch_fidelity")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")  # as python does for bench.py
        yield {
            name: stack.enter_context(commands.imported(path)).main
            for name, path in SCRIPTS.items()
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, mains: dict[str, Main]) -> Path:
    """Return a folder with all kinds of things, with data and with a run."""
    root = tmp_path_factory.mktemp("odd")
    for phase in ("train", "test", "val"):
        draw_pairs(root / "D", phase, 2)
        draw_unpaired(root / "D", phase, 2, 2)
    words = filled_in(TRAIN + "--name run", root, "")
    ended = run_forked(mains["train"], words[1:], script="train.py")
    assert ended.status == 0, ended.said
    shutil.copytree(root / "C", root / "kept")
    return root


def make_kinds(root: Path) -> None:
    """Write one thing of each kind, without what commands have put there."""
    for folder in ("empty_folder", "folder_of_texts", "folder_of_bad_images"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir()
    (root / "folder_of_texts" / "x.txt").write_text("hello")
    (root / "folder_of_bad_images" / "x.png").write_text("hello")
    (root / "folder_of_bad_images" / "y.png").touch()
    (root / "empty").write_bytes(b"")
    (root / "binary").write_bytes(bytes(range(256)) * 3)
    (root / "text.txt").write_text("hello\n")
    (root / "foreign.json").write_text('{"a": [1]}\n')
    (root / "lines.jsonl").write_text('[1]\n3\nnull\n{"epoch": "x"}\n{"val": 3}\n')


def filled_in(place: str, root: Path, kind: str) -> list[str]:
    """Return the words of a command."""
    thing = kind if kind == "" or kind.startswith("/") else str(root / kind)
    words = []
    for word in place.split():
        if word.startswith("{F:"):
            word = "spoilt"
        elif "{X}" in word:
            word = word.replace("{X}", thing)
        words.append(word.format(**{name: root / name for name in "DCR"}))
    return words


def spoil(place: str, root: Path, kind: str) -> None:
    """Put something wrong in the place of a file of a run."""
    make_kinds(root)
    shutil.rmtree(root / "C")
    shutil.copytree(root / "kept", root / "C")
    if "{F:" in place:
        shutil.copytree(root / "kept" / "run", root / "C" / "spoilt")
        file = root / "C" / "spoilt" / place.partition("{F:")[2].partition("}")[0]
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        if (root / kind).is_dir():
            shutil.copytree(root / kind, file)
        elif (root / kind).is_file():
            shutil.copy(root / kind, file)


@pytest.mark.parametrize("case", list(every_case()), ids=str)
def test_what_is_missing_empty_or_foreign_is_told_in_one_message(
    world: Path,
    mains: dict[str, Main],
    count: Count,
    case: Case,
) -> None:
    spoil(case.place, world, case.kind)
    script, *argv = filled_in(case.place, world, case.kind)
    os.chdir(world)
    ended = run_forked(mains[script], argv, script=f"{script}.py", seconds=40)
    count(f"odd input: {'went on' if ended.status == 0 else 'told'}")
    assert not ended.fault(), ended.said[-2000:]
