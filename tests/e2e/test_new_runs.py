"""A run that begins in a folder where something is: nothing is mixed, lost or left behind."""

import itertools
import os
import re
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.checkpoints import save_state
from tests.support.commands import draw, draw_pairs, names, scene, script
from tests.support.runs import signal_at
from tests.unit.util.storage.test_journal import KILLED, in_child, needs_fork
from util.base.errors import UserError
from util.storage import checkpoint
from util.training.new_run import NewRun
from util.training.run_lock import RunLock

Capture = pytest.CaptureFixture[str]


def train(folder: Path, pairs: Path, *more: str) -> Path:
    return commands.train(folder, pairs, "pix2pix", "--print_freq", "1", *more)


def contents(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> Path:
    """Return the folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    return train(folder, pairs, "--n_epochs", "2", "--save_epoch_freq", "1")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    commands.copy_run(trained, tmp_path)
    return tmp_path / "checkpoints" / "run"


def before(run: Path) -> Path:
    """Return where the earlier run went."""
    (folder,) = run.glob("before-*")
    assert re.fullmatch(r"before-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    return folder


# ---- an earlier run ------------------------------------------------------------------------------


def test_an_earlier_run_is_set_aside_whole_and_can_go_on_there(
    run: Path, tmp_path: Path, pairs: Path, capsys: Capture
) -> None:
    earlier = contents(run)
    (run / "notes.md").write_text("mine")
    train(tmp_path, pairs, "--netD", "pixel", "--n_epochs", "1")
    assert contents(before(run)) == earlier
    said = capsys.readouterr().err
    assert said.count("held a run already") == 1
    assert f"with --name run/{before(run).name}." in said
    assert (run / "notes.md").read_text() == "mine"
    assert names(run, "2_*") == []
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert "epoch [2]" not in (run / "web" / "index.html").read_text()
    again = ["--name", f"run/{before(run).name}", "--checkpoints_dir", str(run.parent)]
    script("train", [*again, "--continue_train", "--n_epochs", "3"])
    assert "Continuing from" in capsys.readouterr().out
    assert (before(run) / "3_net_G.pth").is_file()


def test_a_second_one_goes_beside_the_first(run: Path, tmp_path: Path, pairs: Path) -> None:
    for _ in range(2):
        train(tmp_path, pairs)
    assert len(list(run.glob("before-*"))) == 2


def test_a_run_of_the_original_is_set_aside_too(tmp_path: Path, pairs: Path) -> None:
    run = tmp_path / "checkpoints" / "run"
    (run / "web" / "images").mkdir(parents=True)
    (run / "loss_log.txt").write_text(
        "================ Training Loss (now) ================\n"
        "(epoch: 1, iters: 100, time: 0.391, data: 0.016) G_GAN: 0.510 \n"
    )
    (run / "web" / "images" / "epoch007_fake_B.png").write_bytes(b"")
    train(tmp_path, pairs)
    assert (before(run) / "web" / "images" / "epoch007_fake_B.png").is_file()
    assert len((run / "loss_log.txt").read_text().splitlines()) == 1 + 3


def test_networks_that_somebody_has_put_there_stay(
    run: Path, tmp_path: Path, pairs: Path, capsys: Capture
) -> None:
    for path in run.iterdir():
        if not path.name.startswith("1_net_"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept = contents(run)
    capsys.readouterr()
    train(tmp_path, pairs, "--n_epochs", "1", "--save_epoch_freq", "9", "--pretrained", str(run))
    assert list(run.glob("before-*")) == []
    assert "holds networks, but no run (1): this run's saves replace" in capsys.readouterr().err
    assert kept.keys() <= contents(run).keys()


def test_a_run_that_goes_on_is_left_alone(run: Path, tmp_path: Path, pairs: Path) -> None:
    train(tmp_path, pairs, "--continue_train", "--n_epochs", "3")
    assert list(run.glob("before-*")) == []
    assert {"1_net_G.pth", "2_net_G.pth", "3_net_G.pth"} <= set(names(run))


# ---- starts that fail ----------------------------------------------------------------------------

FAILING = [
    ("--dataroot", "nowhere"),
    ("--crop_size", "30", "--load_size", "30"),  # met in the first step
    ("--crop_size", "64"),  # larger than --load_size
    ("--save_best", "L1"),  # without images to measure on
    ("--pretrained", "nowhere"),
    ("--continue_train", "--epoch", "9"),
]


@pytest.mark.parametrize("more", FAILING, ids=lambda more: more[0])
def test_a_start_that_fails_leaves_no_folder(
    tmp_path: Path, pairs: Path, more: tuple[str, ...]
) -> None:
    with pytest.raises(UserError):
        train(tmp_path, pairs, *more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", FAILING[:3], ids=lambda more: more[0])
def test_a_start_that_fails_leaves_an_earlier_run_as_it_was(
    run: Path, tmp_path: Path, pairs: Path, more: tuple[str, ...]
) -> None:
    (run / "notes.md").write_text("mine")
    earlier = contents(run)
    with pytest.raises(UserError):
        train(tmp_path, pairs, *more)
    assert contents(run) == earlier
    assert list(run.glob("before-*")) == []


def test_options_with_which_a_run_could_not_go_on_are_forgotten(
    run: Path, tmp_path: Path, pairs: Path, capsys: Capture
) -> None:
    records = {path: path.read_bytes() for path in run.glob("*_opt.*")}
    again = ["--name", "run", "--checkpoints_dir", str(run.parent), "--continue_train"]
    again += ["--n_epochs", "3"]
    with pytest.raises(UserError, match="sizes must agree"):
        script("train", [*again, "--crop_size", "30", "--load_size", "30"])  # met in the first step
    assert {path: path.read_bytes() for path in run.glob("*_opt.*")} == records
    script("train", again)
    assert "crop_size 32" in capsys.readouterr().out
    assert (run / "3_net_G.pth").is_file()


@pytest.mark.parametrize("part", ["create_fixed_images", "Saver", "tell_of_disk_space", "summary"])
def test_whatever_fails_before_the_first_step_an_earlier_run_is_as_it_was(
    part: str, run: Path, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise SystemExit(143)  # as after SIGTERM

    earlier = contents(run)
    monkeypatch.setattr(f"util.training.run.{part}", fail)
    with pytest.raises(SystemExit):
        train(tmp_path, pairs)
    assert contents(run) == earlier


def test_what_cannot_be_set_aside_stays(
    run: Path, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = contents(run)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith("latest_net_D") and target.parent.name == ".moving":
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        train(tmp_path, pairs)
    assert contents(run) == earlier


def options_of(run: Path) -> Namespace:
    return Namespace(checkpoints_dir=run.parent, name=run.name, continue_train=False)


def failing_start(run: Path, renames: int) -> int:
    """Begin a run that fails, in another process that is killed after so many renames."""
    rename, numbers = Path.rename, itertools.count()

    def rename_or_die(self: Path, target: Path) -> Path:
        if next(numbers) == renames:
            os._exit(KILLED)
        return rename(self, target)

    def begin() -> None:
        setattr(Path, "rename", rename_or_die)  # noqa: B010 - in this process alone
        with RunLock() as lock:
            lock.take(options_of(run))
            start = NewRun(options_of(run))
            with start.undone_on_failure():
                start.set_earlier_run_aside()
                raise UserError("on purpose")

    return in_child(begin)


@needs_fork
@pytest.mark.slow
def test_killed_while_it_moves_an_earlier_run_a_start_leaves_it_in_one_place(
    run: Path, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    earlier, moved = contents(run), len(list(run.iterdir()))
    found = []
    for renames in range(2 * moved + 3):  # there, a last one that counts, and all the way back
        shutil.rmtree(run)
        shutil.copytree(trained, run)
        has_ended = failing_start(run, renames) != KILLED
        with RunLock() as lock:
            lock.take(options_of(run))
        assert contents(next(run.glob("before-*"), run)) == earlier
        assert len(list(run.iterdir())) in (1, moved)
        found.append("before" if list(run.glob("before-*")) else "run")
    assert found == ["run"] * (moved + 1) + ["before"] + ["run"] * (moved + 1)
    assert has_ended


@needs_fork
def test_a_run_that_was_being_moved_goes_on(run: Path, tmp_path: Path, capsys: Capture) -> None:
    moved = len(list(run.iterdir()))
    assert failing_start(run, moved) == KILLED
    assert names(run) == [".lock"]
    capsys.readouterr()
    again = ["--name", "run", "--checkpoints_dir", str(run.parent), "--continue_train"]
    script("train", [*again, "--n_epochs", "3"])
    captured = capsys.readouterr()
    assert captured.err.count("is whole again: a new run was killed while") == 1
    assert "Continuing from" in captured.out
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_that_is_stopped_after_its_first_step_stays(tmp_path: Path, pairs: Path) -> None:
    with signal_at(1, 15), pytest.raises(SystemExit):
        train(tmp_path, pairs)
    assert (tmp_path / "checkpoints" / "run" / "latest_net_G.pth").is_file()


# ---- one line for each thing to know ---------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "more", "wanted"),
    [
        ((), (), "none: {root} has neither val, nor valA and valB."),
        (("valA",), (), "none: {root} has valA alone, not both valA and valB."),
        (("valid",), (), "none: --dataset_mode aligned does not read valid in {root}."),
        ((), ("--val_freq", "0"), "none: --val_freq 0"),
        (("val",), (), "1 images after each epoch"),
    ],
    ids=["none", "one side", "other mode", "not wanted", "there"],
)
def test_why_there_is_no_validation_is_said_once(
    tmp_path: Path, folders: tuple[str, ...], more: tuple[str, ...], wanted: str, capsys: Capture
) -> None:
    root = tmp_path / "data"
    draw_pairs(root, "train", 1)
    for folder in folders:
        draw_pairs(root, "val", 1) if folder == "val" else draw(root / folder / "0.png", scene(0))
    train(tmp_path, root, *more)
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "alidation" in line]
    assert lines == [f"validation: {wanted.format(root=root)}"]


def test_what_saves_will_take_is_said_and_warned_of(
    tmp_path: Path, pairs: Path, capsys: Capture
) -> None:
    more = ("--max_dataset_size", "1", "--n_epochs", "2", "--no_html", "--display_freq", "9")
    run = train(tmp_path, pairs, *more, "--save_epoch_freq", "1")
    said = capsys.readouterr().err
    line = re.search(r"^Saves and pages will take about (\d+) MB \(3 saves, 3 of them", said, re.M)
    assert line is not None
    there = sum({file.stat().st_ino: file.stat().st_size for file in run.glob("*.pth")}.values())
    assert int(line[1]) == pytest.approx(there / 1e6, rel=0.5, abs=1)


def test_a_disk_that_is_too_small_is_warned_of(
    tmp_path: Path, pairs: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: few)
    train(tmp_path, pairs)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "Saves and pages" in line)
    assert line.startswith("warning: Saves and pages will take about")
    assert "1 MB are free. Give a larger --save_epoch_freq, --keep_last or --no_html" in line


@pytest.mark.parametrize(
    ("keep", "states"), [((), [3, 4]), (("1",), [4]), (("3",), [2, 3, 4]), (("all",), [1, 2, 3, 4])]
)
def test_older_epochs_keep_their_networks_alone(
    tmp_path: Path, pairs: Path, keep: tuple[str, ...], states: list[int], capsys: Capture
) -> None:
    more = ("--max_dataset_size", "1", "--no_html", "--n_epochs", "4", "--save_epoch_freq", "1")
    run = train(tmp_path, pairs, *more, *(("--keep_states", *keep) if keep else ()))
    assert names(run, "*_net_G.pth") == [f"{n}_net_G.pth" for n in (1, 2, 3, 4, "latest")]
    assert names(run, "*_state.pth") == [f"{n}_state.pth" for n in (*states, "latest")]
    capsys.readouterr()
    again = ["--name", "run", "--checkpoints_dir", str(run.parent), "--continue_train"]
    script("train", [*again, "--epoch", "1", "--epoch_count", "4"])
    said = capsys.readouterr().out
    alone = "has no training state for 1, only networks" in said
    assert alone == (1 not in states)


def test_states_that_an_earlier_version_left_stay(tmp_path: Path, pairs: Path) -> None:
    more = ["--max_dataset_size", "1", "--no_html", "--save_epoch_freq", "1", "--n_epochs"]
    run = train(tmp_path, pairs, *more, "3", "--keep_states", "all")
    path = run / "latest_state.pth"
    state = checkpoint.load_state(path)
    assert state.pop("numbered") == ["1", "2", "3"]  # those did not know it
    save_state(state, path)
    for last in ("5", "6"):
        train(tmp_path, pairs, "--continue_train", *more, last, "--keep_states", "1")
    assert names(run, "*_state.pth") == [f"{n}_state.pth" for n in (1, 2, 3, 6, "latest")]


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1.5"])
def test_a_number_of_states_that_cannot_be_is_refused(
    tmp_path: Path, pairs: Path, value: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, pairs, "--keep_states", value)
    assert "give all, or how many" in capsys.readouterr().err
