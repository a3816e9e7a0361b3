"""scripts/check_dataset.py: what it finds, what it prints, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT, draw, draw_pairs, draw_unpaired, imported, scene, start
from tests.support.warm import popen
from util.base.errors import UserError

SCRIPT = ROOT / "scripts" / "check_dataset.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Return the script as a module."""
    with imported(SCRIPT) as module:
        yield module


class Check:
    """Run the script in this process."""

    def __init__(self, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        self.script = script
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Return the exit status, and what was printed on standard output and error."""
        status = 0
        try:
            self.script.main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = int(str(stopped.code))
        return status, *self.capsys.readouterr()

    def report(self, root: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
        """Return the exit status, standard output, and what --json writes."""
        file = root.parent / f"{root.name}.json"
        status, said, _ = self(root, "--json", file, *arguments)
        return status, said, json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture
def check(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return a function that runs the script."""
    return Check(script, capsys)


def cut(path: Path) -> None:
    """Take away the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# ---- the whole command --------------------------------------------------------------------


def test_a_sound_data_set_ends_with_status_0_with_two_processes(tmp_path: Path) -> None:
    draw_unpaired(tmp_path / "set", "train", 60, 20)
    file = tmp_path / "report.json"
    arguments = ["set", "--workers", "2", "--json", str(file)]
    done = start([SCRIPT, *arguments], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Reading 80 images below set",
        "Read as two domains without pairs (--dataset_mode unaligned).",
        "Sizes are judged for --preprocess resize_and_crop --load_size 286 --crop_size 256.",
        "",
        "folder  images  smallest  median  largest  unreadable  too small  duplicates  modes",
        "trainA      60     40x40   40x40    40x40           0          0           0  60 RGB",
        "trainB      20     40x40   40x40    40x40           0          0           0  20 RGB",
        "",
        "Nothing wrong (images: 80).",
    ]
    assert json.loads(file.read_text(encoding="utf-8"))["ok"] is True


def test_problems_end_with_status_1_in_any_terminal(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "set", "train", 2)
    Path(os.fsdecode(bytes(tmp_path) + "/set/train/grün.png".encode())).touch()
    command = [sys.executable, "-X", "utf8=0", str(SCRIPT), "--dataroot", "set"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "\n  train/gr\\xfcn.png: empty (0 bytes)\n" in done.stdout
    assert done.stdout.endswith("\nProblems: 1 unreadable (images: 3).\n")


def test_an_interrupt_ends_quietly_with_status_130(tmp_path: Path) -> None:
    draw(tmp_path / "set/0.png", Image.new("RGB", (3000, 3000)))
    for number in range(1, 400):
        (tmp_path / f"set/{number}.png").symlink_to("0.png")
    with popen(
        [sys.executable, SCRIPT, "set", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "Reading 400 images below set\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        said = process.communicate(timeout=60)
    assert (process.returncode, *said) == (130, "", "interrupted\n")


def test_processes_that_read_go_with_the_one_that_is_killed(tmp_path: Path) -> None:
    draw(tmp_path / "set/0.png", Image.new("RGB", (3000, 3000)))
    for number in range(1, 400):
        (tmp_path / f"set/{number}.png").symlink_to("0.png")
    with popen(
        [sys.executable, SCRIPT, "set", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)  # its processes are at work
        process.kill()
        process.communicate(timeout=30)  # ends once nobody holds the pipes any more


# ---- how folders are understood -----------------------------------------------------------


def test_pairs_side_by_side_are_recognized_and_an_odd_width_is_a_problem(
    check: Check, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    draw_pairs(root, "train", 3)
    draw_pairs(root, "val", 1)
    draw(root / "train/odd.png", scene(9).resize((81, 40)))
    status, said, report = check.report(root)
    assert status == 1
    assert "Read as A and B side by side in every image (--dataset_mode aligned)." in said
    what = "81 pixels wide, an odd number, so A and B differ"
    assert report["problems"] == {"odd width": [{"file": "train/odd.png", "what": what}]}
    status, said, report = check.report(root, "--dataset_mode", "colorization")
    assert (status, report["problems"]) == (0, {})
    assert "Read as single images in phases" in said


def test_square_images_are_taken_for_pairs_only_on_demand(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw(root / "train/a.png", scene(0, side=41))
    assert check.report(root)[0] == 0
    status, _, report = check.report(root, "--dataset_mode", "aligned")
    assert (status, list(report["problems"])) == (1, ["odd width"])


def test_pairs_in_two_folders_have_partners_of_their_size(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("A/train/1.png", "A/train/2.png", "B/train/1.jpg", "B/train/2.jpg"):
        draw(root / name, scene(1))
    status, said, _ = check(root)
    assert status == 0
    assert "A and B in folders of their own (--dataset_mode aligned)" in said
    draw(root / "A/train/3.png", scene(1))
    draw(root / "B/train/2.jpg", scene(1, 44))
    draw(root / "A/test/1.png", scene(1))
    status, _, report = check.report(root)
    assert status == 1
    assert report["problems"] == {
        "no partner": [{"file": "A/train/3.png", "what": "has no partner"}],
        "unequal pairs": [
            {"file": "A/train/2.png", "what": "not as large as its partner B/train/2.jpg"}
        ],
    }
    assert report["notes"]["no partner"][0]["file"] == "A/test"


def test_two_folders_without_phases_are_refused_with_advice(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("A/1.png", "B/1.jpg"):
        draw(root / name, scene(1))
    status, _, said = check(root)
    assert status == 2
    assert "has the folders A and B, but nothing says which images are for training" in said
    assert check(root, "--dataset_mode", "single")[0] == 0  # as train.py would read them


def test_a_single_folder_may_hold_others(check: Check, tmp_path: Path) -> None:
    draw(tmp_path / "set/deep/er/a.png", scene(0))
    status, said, _ = check(tmp_path / "set")
    assert status == 0
    assert "Read as single images (--dataset_mode single)." in said


def test_a_crop_that_is_too_large_is_refused_where_there_are_tests_alone(
    check: Check, tmp_path: Path
) -> None:
    draw(tmp_path / "test" / "a.png", scene(0))
    status, _, said = check(tmp_path, "--crop_size", "300", "--load_size", "200")
    assert status == 2
    assert "--crop_size 300 is larger than --load_size 200" in said


def test_a_folder_for_validation_needs_images(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_pairs(root, "train", 1)
    (root / "val").mkdir()
    status, said, _ = check(root)
    assert status == 1
    assert "\n  val: has no images\n" in said
    assert said.splitlines()[6].split() == ["val", "0", "-", "-", "-", "0", "0", "0", "-"]


def test_images_for_tests_alone_are_fine_but_said_to_be_no_more(
    check: Check, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    draw(root / "testA/a.png", scene(0))
    for arguments in ((), ("--dataset_mode", "unaligned")):
        status, _, report = check.report(root, *arguments)
        assert status == 0
        assert list(report["notes"]) == ["not for training"]


# ---- the same as train.py -----------------------------------------------------------------

FOLDERS = {
    "nothing": [],
    "itself": ["."],
    "pairs": ["train", "val"],
    "domains": ["trainA", "trainB", "testA"],
    "one domain": ["trainA"],
    "the other": ["trainB", "testA", "testB"],
    "halves": ["A/train", "B/train"],
    "bare halves": ["A", "B"],
    "elsewhere": ["images/train"],
}
MODES = {"aligned": "pix2pix", "unaligned": "cycle_gan", "colorization": "colorization"}


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("there", FOLDERS)
def test_what_train_py_refuses_is_refused_in_its_words(
    there: str, empty: bool, check: Check, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for folder in FOLDERS[there]:
        (root / folder).mkdir(parents=True, exist_ok=True)
        if not empty:
            draw(root / folder / "a.png", scene(0))
    accepted = []
    for mode, model in MODES.items():
        error = error_of_training(root, mode, model, tmp_path)
        status, _, said = check(root, "--dataset_mode", mode)
        assert status == (2 if error else 0)
        assert str(error or "") in said
        accepted += [] if error else [mode]
    status = check(root)[0]  # finds the mode out, or reads the folder itself
    assert (status == 0) == (bool(accepted) or (there in ("itself", "elsewhere") and not empty))


class Started(Exception):  # noqa: N818 - it is no error
    """Training would begin now."""


def error_of_training(root: Path, mode: str, model: str, folder: Path) -> UserError | None:
    """Return what train.py refuses a data set with."""

    def stop(opt: object) -> None:
        raise Started

    with imported(ROOT / "train.py") as train, pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "create_model", stop)
        arguments = ["--dataroot", root, "--dataset_mode", mode, "--model", model]
        arguments += ["--gpu_ids", "-1", "--num_threads", "0", "--checkpoints_dir", folder / "runs"]
        try:
            train.main([str(argument) for argument in arguments])
        except UserError as error:
            return error
        except Started:
            return None
    pytest.fail("training ended")


# ---- what is found ------------------------------------------------------------------------


def test_broken_files_are_named_with_the_reason(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 3, 2)
    cut(root / "trainA/a1.png")
    (root / "trainB/b0.png").write_bytes(b"")
    (root / "trainB/text.jpg").write_text("hello", encoding="utf-8")
    status, said, report = check.report(root)
    assert status == 1
    assert report["problems"] == {
        "unreadable": [
            {"file": "trainA/a1.png", "what": "truncated or broken: image file is truncated"},
            {"file": "trainB/b0.png", "what": "empty (0 bytes)"},
            {"file": "trainB/text.jpg", "what": "no image, or of a format that is not known"},
        ]
    }
    assert [row["unreadable"] for row in report["table"]] == [1, 2]
    assert said.endswith("\nProblems: 3 unreadable (images: 6).\n")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ((), 0),
        (("--preprocess", "crop"), 1),
        (("--preprocess", "scale_shortside_and_crop"), 0),
    ],
)
def test_what_is_too_small_depends_on_the_options(
    options: tuple[str, ...], status: int, check: Check, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    draw_pairs(root, "train", 1)  # halves of 40x40
    draw(root / "train/large.png", scene(1, side=100).resize((200, 100)))
    got, _, report = check.report(root, "--crop_size", "50", *options)
    what = "40x40 in each half, which is too small for --crop_size 50"
    wanted = {"too small": [{"file": "train/p0.png", "what": what}]} if status else {}
    assert (got, report["problems"]) == (status, wanted)
    row = report["table"][0]
    assert (row["too small"], row["smallest"], row["largest"]) == (status, "80x40", "200x100")


def test_duplicates_are_noted_and_those_between_phases_apart(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 2, 6)
    draw_unpaired(root, "test", 1, 1)
    draw(root / "testA/a0.png", scene(99))
    for number in range(1, 6):
        shutil.copy(root / "trainB/b0.png", root / f"trainB/b{number}.png")
    draw(root / "testB/b0.png", scene(0, outlined=True))  # as trainA/a0.png
    status, said, report = check.report(root)
    assert status == 0
    names = "trainB/b1.png, trainB/b2.png, trainB/b3.png, trainB/b4.png and 1 more"
    assert report["notes"] == {
        "the same in train and test": [{"file": "trainA/a0.png", "what": "same as testB/b0.png"}],
        "duplicates": [{"file": "trainB/b0.png", "what": f"same as {names}"}],
    }
    assert [row["duplicates"] for row in report["table"]] == [1, 6, 0, 1]
    assert f"\nnote, duplicates: 1\n  trainB/b0.png: same as {names}\n" in said
    assert said.endswith("\nNothing wrong (images: 10).\n")


def test_odd_files_and_those_passed_over_are_noted(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 1, 1)
    scene(5).save(root / "trainA/b.jpg", "PNG")
    for name in ("x.gif", "x.heic", "x.jpg.txt"):
        (root / "trainB" / name).touch()
    status, said, _ = check(root)
    assert status == 0
    assert "\n  trainA/b.jpg: holds PNG, whatever its ending says\n" in said
    assert "\n  trainB: 3 not named like images: x.gif, x.heic, x.jpg.txt\n" in said


# ---- how it looks -------------------------------------------------------------------------


def test_the_table_has_sizes_and_modes_within_100_columns(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, side in enumerate((20, 70, 1000)):
        draw(root / f"trainA/{number}.png", scene(number, side=side))
    for number, mode in enumerate(("L", "P", "1", "RGBA", "LA", "I;16", "L")):
        draw(root / f"trainB/{number}.png", scene(number).convert(mode))
    status, said, report = check.report(root)
    assert status == 0
    table = said.split("\n\n")[1].splitlines()
    assert table[1].split() == ["trainA", "3", "20x20", "70x70", "1000x1000", *"000", "3", "RGB"]
    assert max(map(len, table)) <= 100
    lines = [line[table[0].index("modes") :] for line in table[2:]]
    assert all(re.fullmatch(r"\d+ \S+( \d+ \S+)*", line) for line in lines)  # none cut in two
    assert " ".join(lines) == "2 L, 1 P, 1 1, 1 RGBA, 1 LA, 1 I;16"
    modes = {"L": 2, "P": 1, "1": 1, "RGBA": 1, "LA": 1, "I;16": 1}
    assert report["table"][1]["modes"] == modes


def test_long_lists_are_cut_on_the_screen_but_not_in_the_file(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for number in range(25):
        (root / f"{number:02}.png").touch()
    status, said, report = check.report(root)
    assert status == 1
    assert "\nunreadable: 25\n  00.png: empty (0 bytes)\n" in said
    assert "\n  19.png: empty (0 bytes)\n  ... and 5 more\n" in said
    assert len(report["problems"]["unreadable"]) == 25


# ---- wrong commands -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("{W}/nowhere", ("nowhere does not exist.", "Give the folder of a data set")),
        ("{W}/file", ("file is a file.", "Give the folder of a data set")),
        ("", ("Give the data set's folder once: as --dataroot DIR, or just DIR.",)),
        ("{W} --dataroot {W}", ("Give the data set's folder once",)),
        ("{W} --dataset_mode aligned", ("train is not a valid directory", "(with sub/, file)")),
        ("{W} --dataset_mode nosuch", ("invalid choice: 'nosuch'",)),
        ("{W} --preprocess corp", ("--preprocess corp is not known", "Did you mean 'crop'?")),
        ("{W} --crop_size 300", ("--crop_size 300 is larger than --load_size 286",)),
        ("{W} --crop_size 0", ("--crop_size 0 cannot work: it must be 1 or more.",)),
        ("{W} --workers 0", ("--workers 0 cannot work: it must be 1 or more.",)),
        ("{W} --json {W}/no/r.json", ("r.json cannot be written: its folder does not exist",)),
        ("{W} --json {W}/sub", ("sub cannot be written", "Choose another file")),
    ],
)
def test_a_wrong_command_ends_with_status_2_and_says_what_to_do(
    arguments: str, parts: tuple[str, ...], check: Check, tmp_path: Path
) -> None:
    draw(tmp_path / "sub/a.png", scene(0))
    (tmp_path / "file").touch()
    status, _, said = check(*(word.format(W=tmp_path) for word in arguments.split()))
    assert status == 2
    for part in parts:
        assert part in said
    assert "Traceback" not in said


def test_a_killed_process_is_explained(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def killed(parcels: object, workers: int) -> Iterator[None]:
        raise BrokenProcessPool
        yield

    draw(tmp_path / "a.png", scene(0))
    monkeypatch.setattr(check.script, "inspecting", killed)
    status, _, said = check(tmp_path)
    assert status == 2
    assert "A process that read images was killed" in said
    assert "Try --workers 1." in said


# ---- what is usable, but not as it should be ----------------------------------------------


def test_images_of_16_bits_are_read_at_their_depth(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 2, 2)
    draw(root / "trainA/deep.png", scene(1).convert("I;16"))
    status, _, report = check.report(root)
    assert status == 0
    what = "read at that depth; --value_range says which values are black and white"
    assert report["notes"] == {"more than 8 bits": [{"file": "trainA/deep.png", "what": what}]}


def test_for_colorization_they_are_a_problem(check: Check, tmp_path: Path) -> None:
    draw(tmp_path / "train/deep.png", scene(1).convert("I;16"))
    status, said, report = check.report(tmp_path, "--dataset_mode", "colorization")
    assert status == 1
    what = "all above 255 becomes white"
    assert report["problems"] == {"more than 8 bits": [{"file": "train/deep.png", "what": what}]}
    assert said.endswith("\nProblems: 1 more than 8 bits (images: 1).\n")


def test_arrays_are_read_and_broken_ones_named(check: Check, tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.random.default_rng(len(name)).random((40, 50, 5)))
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-900])
    status, _, report = check.report(tmp_path)
    assert status == 1
    [broken] = report["problems"]["unreadable"]
    assert broken["file"] == "b.npy"
    assert "a.npy" not in str(report["problems"])


def test_transparency_and_dwarfs_are_to_be_looked_at(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 4, 4)
    draw(root / "trainA/clear.png", scene(1).convert("RGBA"))
    draw(root / "trainB/dwarf.png", scene(2).resize((8, 8)))
    draw(root / "trainB/small.png", scene(3).resize((12, 12)))
    status, said, report = check.report(root)
    assert status == 0
    assert report["notes"] == {
        "transparency": [{"file": "trainA/clear.png", "what": "it is dropped"}],
        "much smaller than the others": [{"file": "trainB/dwarf.png", "what": "8x8"}],
    }
    doubts = "1 transparency, 1 much smaller than the others"
    assert said.endswith(f"\nNothing stops training, but look at {doubts} (images: 11).\n")


def test_what_is_smaller_but_large_enough_is_no_dwarf(check: Check, tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw_unpaired(root, "train", 4, 4)
    draw(root / "trainB/dwarf.png", scene(2).resize((8, 8)))
    sizes = ("--load_size", "8", "--crop_size", "8")
    assert check(root, *sizes)[1].endswith("\nNothing wrong (images: 9).\n")
