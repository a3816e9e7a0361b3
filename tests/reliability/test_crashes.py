"""Real processes that are killed, stopped, crowded out and short of space, and what they leave.

`RELIABILITY=long` kills 200 times instead of 5.
"""

import itertools
import multiprocessing
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from models.base_model import BaseModel
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.reliability.conftest import Count
from tests.support.commands import ROOT, draw_pairs, loss_lines, names, script
from tests.support.runs import (
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from tests.support.small_disk import small_disk
from tests.support.small_models import build, train_options
from tests.support.tiers import LONG, some
from tests.support.warm import popen
from tests.unit.util.storage.test_journal import KILLED, each_line, in_child, restart
from util.base.errors import UserError, run_command
from util.display.create import create_sinks
from util.display.reporter import Reporter
from util.display.sinks.jsonl import read_losses
from util.images.reading import read_image
from util.storage import checkpoint, files, journal
from util.storage.run_folder import RunFolder
from util.training.meters import LossMeter
from util.training.progress import Progress
from util.training.run_lock import RunLock
from util.training.saver import SaveError, Saver, read_state

pytestmark = pytest.mark.slow  # all of it together: a minute

PROGRAM = (sys.executable, "train.py")
STEPS = 5  # of an epoch
# By the model, the number of workers, and options.
KILLS: dict[tuple[str, ...], int] = {
    ("pix2pix", "2", "--keep_states", "2", "--save_best", "L1", "--val_freq", "1"): 100
    if LONG
    else 2,
    ("pix2pix", "0", "--keep_last", "2"): 100 if LONG else 2,
    ("pix2pix", "2", "--keep_last", "2"): 100,
    ("stargan_v2", "2", "--keep_last", "2"): 40,
}
SMALL = ("--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36", "--val_freq", "0")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data"))


def small(root: Path, checkpoints: Path, *more: str, model: str = "pix2pix") -> list[str]:
    smaller = SMALL if model == "pix2pix" else ()
    return command(root, checkpoints, model, *smaller, "--num_threads", "0", *more)


# ---- processes ----------------------------------------------------------------------------------


class Training:
    """A training process of its own session, and what it says."""

    def __init__(self, command: Sequence[str], folder: Path, number: int, **keywords: Any) -> None:
        self.out, self.err = (folder / f"{stream}{number}.txt" for stream in ("out", "err"))
        environment = {key: value for key, value in os.environ.items() if key[:3] != "COV"}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = popen(
                command,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                **{"stdout": out, "stderr": err, **keywords},
            )

    @property
    def said(self) -> str:
        """Return what was said on both streams so far."""
        return self.out.read_text() + self.err.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; the process must be running still."""
        while not condition():
            assert self.process.poll() is None, self.said
            time.sleep(0.01)

    def until_step(self, step: int) -> None:
        """Wait until so many steps of this process have been logged."""
        self.until(lambda: len(loss_lines(self.out.read_text().rpartition("\n")[0])) >= step)

    def group(self, number: int) -> None:
        """Send a signal to the process and its workers, as Ctrl-C and Slurm do."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Return the exit status."""
        return self.process.wait(120)


Start = Callable[..., Training]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that begins to train in another process, which ends with the test."""
    running: list[Training] = []

    def begin(argv: Sequence[str], program: Sequence[str] = PROGRAM, **keywords: Any) -> Training:
        running.append(Training([*program, *argv], tmp_path, len(running), **keywords))
        return running[-1]

    yield begin
    for training in running:
        with suppress(ProcessLookupError):
            training.group(signal.SIGKILL)
        training.process.wait()


def losses(checkpoints: Path) -> int:
    """Return the images after which losses were logged last."""
    path = checkpoints / "run" / "losses.jsonl"
    records = read_losses(path) if path.exists() else []
    return (records[-1]["total_iters"] or 0) if records else 0


def saved_images(checkpoints: Path) -> int:
    """Return the images seen by the last save, 0 without one."""
    state = read_state(RunFolder(checkpoints / "run"), "latest")
    return 0 if state is None else int(state["progress"]["total_images"])


def left_by(process: int, checkpoints: Path) -> list[Path]:
    """Return the unfinished files of a process."""
    return list((checkpoints / "run").rglob(f".{process}[-.]*"))


# ---- kill -9 ------------------------------------------------------------------------------------


class Victim:
    """A run that is killed again and again."""

    def __init__(self, argv: Sequence[str], checkpoints: Path, start: Start, seed: int) -> None:
        self.argv = argv
        self.checkpoints = checkpoints
        self.start = start
        self.chance = random.Random(seed)
        self.dead: int | None = None

    def next_command(self) -> Sequence[str]:
        """Return how to go on, or how to begin if nothing has been saved."""
        if (self.checkpoints / "run" / "latest_state.pth").exists():
            return resume(self.checkpoints)
        has_save = saved_images(self.checkpoints) > 0  # whose renames were interrupted
        return [*self.argv, "--continue_train"] if has_save else self.argv

    def begin(self) -> Training:
        """Start, and see that nothing is left of the process before."""
        training = self.start(self.next_command())
        lock = self.checkpoints / "run" / ".lock"
        mine = f'"pid": {training.process.pid},'
        training.until(lambda: lock.exists() and mine in lock.read_text())
        if self.dead is not None:
            training.until(lambda: not left_by(self.dead or 0, self.checkpoints))
        return training

    def kill(self) -> int:
        """Kill it at a random moment; return how many images are lost."""
        before = saved_images(self.checkpoints)
        training = self.begin()
        steps = self.chance.randint(0, 4)
        if steps:
            training.until_step(steps)
        time.sleep(self.chance.random() * 0.04)  # anywhere in the steps and saves that follow
        training.process.kill()
        training.process.wait()
        self.dead = training.process.pid
        after = saved_images(self.checkpoints)
        assert after >= before
        return max(losses(self.checkpoints), after) - after


@pytest.mark.slow
@pytest.mark.parametrize("options", some(KILLS), ids=lambda options: "".join(options[:3]))
def test_killed_at_any_moment_and_continued_a_run_ends_as_if_nothing_had_happened(
    options: tuple[str, ...], root: Path, tmp_path: Path, start: Start, count: Count
) -> None:
    kills, (model, *others) = KILLS[options], options
    more = ("--num_threads", *others, "--save_latest_freq", "1", "--save_epoch_freq", "1",
            "--n_epochs", str(2 + kills // 2))  # fmt: skip
    draw_pairs(root, "val", 2)
    run(small(root, tmp_path / "whole", *more, model=model))
    killed = small(root, tmp_path / "killed", *more, model=model)
    victim = Victim(killed, tmp_path / "killed", start, kills)
    for _ in range(kills):
        # One interval, and the step during which the save before is still being written.
        assert victim.kill() <= 2
        count("kills survived")
        count("lost saves", 0)
    training = victim.begin()
    assert training.end() == 0, training.said
    for label in ("latest", "best") if "--save_best" in options else ("latest",):
        whole, found = (outcome(tmp_path / name / "run", label) for name in ("whole", "killed"))
        assert differences(whole, found) == []
    assert names(tmp_path / "killed" / "run") == names(tmp_path / "whole" / "run")
    assert not [path for path in (tmp_path / "killed").rglob(".*") if path.is_file()]
    assert "Traceback" not in training.said


# ---- SIGTERM and SIGINT -------------------------------------------------------------------------


def command_of(said: str) -> str:
    """Return the command with which to continue."""
    (found,) = re.findall(r"Continue with:\n  (python train\.py .+)\n", said)
    return str(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "workers", "whole_group"),
    some(
        [
            (signal.SIGTERM, "2", True),
            (signal.SIGXCPU, "0", False),
            (signal.SIGTERM, "0", False),
            (signal.SIGINT, "2", True),
            (signal.SIGHUP, "2", True),
            (signal.SIGUSR1, "2", True),
        ],
    ),
)
def test_a_signal_lets_the_run_save_and_say_how_to_go_on(
    number: signal.Signals, workers: str, whole_group: bool, root: Path, tmp_path: Path,
    start: Start, count: Count,
) -> None:  # fmt: skip
    name = "it's a run; $(touch marker)"
    argv = small(root, tmp_path / "check points", "--n_epochs", "1000", "--num_threads", workers)
    training = start([*argv, "--name", name])
    training.until_step(4)
    send = training.group if whole_group else training.process.send_signal
    send(number)
    assert training.end() == 128 + number
    said = training.said
    assert "Traceback" not in said
    assert said.count("Stopped by") == said.count(f"Stopped by {number.name}. Continue with:") == 1
    last_words = tmp_path / "check points" / name / "stopped.txt"
    assert last_words.read_text().startswith(f"Training was stopped by {number.name}.\n")
    assert last_words.read_text().endswith(f"{command_of(said)}\n")
    state = read_state(RunFolder(tmp_path / "check points" / name), "latest")
    assert state is not None
    steps = len(loss_lines(training.out.read_text()))
    assert state["progress"]["step"] == steps

    continued = start(["-c", f"exec {command_of(said)}"], ["sh"])
    continued.until_step(2)
    assert f"({steps} in all)" in continued.said
    assert not last_words.exists()
    continued.group(number)
    assert continued.end() == 128 + number
    assert "Traceback" not in continued.said
    assert not list(ROOT.glob("marker"))
    count("stops tried (processes)", 2)


HANGING = """
import sys, time
from models.pix2pix_model import Pix2PixModel
from train import main
from util.base.errors import run_command

calls, optimize_parameters = [], Pix2PixModel.optimize_parameters

def hang(self):
    calls.append(1)
    optimize_parameters(self)
    while len(calls) > 3:
        time.sleep(0.01)

Pix2PixModel.optimize_parameters = hang
sys.exit(run_command(main))
"""


@pytest.mark.slow
def test_a_second_signal_ends_a_run_that_hangs_and_leaves_no_obstacle(
    root: Path, tmp_path: Path, start: Start
) -> None:
    argv = small(root, tmp_path, "--save_latest_freq", "2", "--num_threads", "2")
    training = start(argv, [sys.executable, "-c", HANGING])
    training.until(lambda: saved_images(tmp_path) == 2 and losses(tmp_path) == 3)
    training.group(signal.SIGINT)
    training.until(lambda: "once more stops at once" in training.said)
    training.group(signal.SIGTERM)
    assert training.end() == 128 + signal.SIGTERM
    assert "Traceback" not in training.said
    assert saved_images(tmp_path) == 2
    run(resume(tmp_path))
    assert saved_images(tmp_path) == 3 * STEPS


LATE = """
import os, signal, sys
from train import main
from util.storage import checkpoint
from util.base.errors import run_command

fill = checkpoint.fill_and_flush

def fill_and_interrupt(path, write):  # in the thread that saves; the main one waits for it
    if "latest_state" in path.name:
        os.kill(os.getpid(), signal.SIGTERM)
    fill(path, write)

checkpoint.fill_and_flush = fill_and_interrupt
sys.exit(run_command(main))
"""


@pytest.mark.slow
def test_a_signal_during_the_last_save_lets_it_be_finished(
    root: Path, tmp_path: Path, start: Start
) -> None:
    argv = small(root, tmp_path, "--save_epoch_freq", "100")
    training = start(argv, [sys.executable, "-c", LATE])
    assert training.end() == 0
    assert "SIGTERM" in training.said
    assert saved_images(tmp_path) == 3 * STEPS


@pytest.mark.slow
def test_ctrl_c_saves_though_it_ends_the_reader_of_the_output_too(
    root: Path, tmp_path: Path, start: Start
) -> None:
    """As in: train.py 2>&1 | tee log."""
    argv = small(root, tmp_path, "--n_epochs", "1000")
    training = start(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert training.process.stdout is not None
    training.until(lambda: losses(tmp_path) >= 4)
    training.process.send_signal(signal.SIGINT)  # as good as at once
    training.process.stdout.close()
    assert training.end() == 130
    assert saved_images(tmp_path) - losses(tmp_path) in (0, 1)  # the last line may have been lost


# ---- a save that is killed anywhere -------------------------------------------------------------


def filled_model(folder: Path, number: float) -> BaseModel:
    model = build(train_options(folder, "pix2pix", "--ngf", "1", "--ndf", "1", "--no_html"))
    fill(model, number)
    return model


def fill(model: BaseModel, number: float) -> None:
    """Let all networks be full of one number."""
    with torch.no_grad():
        for name in model.model_names:
            for parameter in networks_of(model)[name].parameters():
                parameter.fill_(number)
    model.metric = number


def loaded(model: BaseModel) -> float:
    """Return the number that all networks of a save are full of."""
    model.load_networks("latest")
    numbers = {
        float(number)
        for name in model.model_names
        for parameter in networks_of(model)[name].parameters()
        for number in parameter.detach().aminmax()
    }
    assert len(numbers) == 1, "two saves are mixed"
    return numbers.pop()


def save(model: BaseModel, number: float) -> None:
    """Save as a run does, networks and state, in a thread of its own."""
    fill(model, number)
    reporter = Reporter(create_sinks(model.opt))
    parts: dict[str, Any] = {"progress": Progress(), "visualizer": reporter}
    with Saver(model.opt, TrainedModel(model), LossMeter(), parts) as saver:
        saver.save("latest")
    reporter.close()


def killed_save(model: BaseModel, line: int) -> int:
    """Save in another process that is killed before a line; return its exit status."""

    def die(reached: int) -> None:
        if reached == line:
            os._exit(KILLED)

    return in_child(lambda: each_line(lambda: save(model, 2), die))


@pytest.mark.slow
def test_killed_before_any_line_networks_and_state_belong_together(
    tmp_path: Path, count: Count
) -> None:
    model = filled_model(tmp_path, 1)
    folder, old = tmp_path / "run", tmp_path / "old"
    save(model, 1)
    shutil.copytree(folder, old)
    lines: list[int] = []
    each_line(lambda: save(model, 2), lines.append)
    found = []
    for line in range(0, len(lines), 1 if LONG else 6):
        shutil.rmtree(folder)
        shutil.copytree(old, folder)
        assert killed_save(model, line) == KILLED
        found.append(loaded(model))
        state = read_state(RunFolder(folder), "latest")
        assert state is not None, "networks and state are of two saves"
        assert state["model"]["metric"] == found[-1]
        restart(folder)
        assert loaded(model) == found[-1]
        assert not list(folder.glob(".*"))
        count("crash points tried")
    assert found == sorted(found)
    assert set(found) == {1, 2}


def test_a_model_that_loads_while_a_run_saves_gets_one_save(tmp_path: Path, count: Count) -> None:
    model, writer = filled_model(tmp_path, 0), filled_model(tmp_path, 0)
    writer.save_networks("latest")
    child = os.fork()
    if child == 0:
        try:
            for number in itertools.count(1):
                fill(writer, number)
                writer.save_networks("latest")
        finally:
            os._exit(1)
    try:
        seen = [loaded(model) for _ in range(400 if LONG else 40)]
        while len(set(seen)) < 4:
            seen.append(loaded(model))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert seen == sorted(seen)
    assert loaded(model) >= seen[-1]
    count("loads while saving", len(seen))


def interrupt_renames(folder: Path) -> None:
    """Put a finished save back to where it counts, but has its temporary names still."""
    temporaries = {}
    for path in sorted(folder.glob("latest_*.pth")):
        temporaries[path] = path.rename(files.temporary_name(path))
    journal.write_journal(temporaries)


def test_a_save_whose_renames_were_interrupted_is_continued(root: Path, tmp_path: Path) -> None:
    run(small(root, tmp_path / "whole"))
    argv = small(root, tmp_path / "parts")
    assert run_until(argv, STEPS + 2)
    interrupt_renames(tmp_path / "parts" / "run")
    run([*argv, "--continue_train"])
    found = outcome(tmp_path / "parts" / "run")
    assert differences(outcome(tmp_path / "whole" / "run"), found) == []
    assert not list((tmp_path / "parts" / "run").glob(".*"))


def test_a_first_save_whose_renames_were_interrupted_needs_no_options_to_be_continued(
    root: Path, tmp_path: Path
) -> None:
    assert run_until(small(root, tmp_path), STEPS + 2)
    interrupt_renames(tmp_path / "run")
    run(resume(tmp_path))


# ---- disks --------------------------------------------------------------------------------------


def status_of(argv: Sequence[str]) -> int:
    """Train in this process and return the exit status."""
    return run_command(lambda: script("train", argv))


def assert_stopped_and_continue(
    said: str, checkpoints: Path, whole: dict[str, Any], free: Callable[[], object]
) -> None:
    """Look at the message and the save before, make room, go on and compare the end."""
    assert said.count("error:") == 1
    assert "The checkpoint could not be written to" in said
    assert "The save before it is whole" in said
    assert "Traceback" not in said
    images = saved_images(checkpoints)
    assert 0 < images < 3 * STEPS
    assert not list((checkpoints / "run").glob(".*.tmp-*"))
    free()
    words = shlex.split(command_of(f"{said}\n"))[2:]
    run(words)
    assert differences(whole, outcome(checkpoints / "run")) == []


@pytest.fixture
def whole(root: Path, tmp_path: Path) -> dict[str, Any]:
    """Return what an undisturbed run that saves often leaves."""
    run(small(root, tmp_path / "whole", *OFTEN))
    return outcome(tmp_path / "whole" / "run")


OFTEN = ("--save_latest_freq", "2", "--save_epoch_freq", "1", "--no_html")
FULL = "No space left on device"


def test_a_full_disk_stops_the_run_which_continues_once_there_is_room(
    root: Path,
    tmp_path: Path,
    whole: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    count: Count,
) -> None:
    with small_disk(tmp_path / "disk", "700k") as disk:
        assert status_of(small(root, disk, *OFTEN)) == 1
        said = capsys.readouterr().err
        assert FULL in said

        def free() -> None:
            subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)

        assert_stopped_and_continue(said, disk, whole, free)
    count("full disks")


def test_a_first_save_that_finds_no_room_promises_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "100k") as disk:
        assert status_of(small(root, disk, *OFTEN)) == 1
        said = capsys.readouterr().err
        assert FULL in said
        assert "Nothing had been saved yet." in said
        assert "Continue with" not in said
        assert not list((disk / "run").glob("*.pth"))


@pytest.mark.slow
def test_a_file_that_the_system_does_not_let_grow_stops_the_run(
    root: Path, tmp_path: Path, whole: dict[str, Any], start: Start, count: Count
) -> None:
    """Works without mounting; the state's moments make it grow past the limit after one save."""
    argv = small(root, tmp_path / "parts", *OFTEN)
    assert run_until(argv, 2)
    folder = tmp_path / "parts" / "run"
    limit = (folder / "latest_net_G.pth").stat().st_size + 1000
    assert limit < (folder / "latest_state.pth").stat().st_size

    def allow_no_more() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    training = start(resume(tmp_path / "parts"), preexec_fn=allow_no_more)
    assert training.end() == 1
    said = training.err.read_text()
    assert "File too large" in said
    assert_stopped_and_continue(said, tmp_path / "parts", whole, lambda: None)
    count("full disks")


def at_step(step: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Let something happen while a step is under way."""
    advance = Progress.advance

    def advance_and_act(self: Progress, *images: int) -> None:
        advance(self, *images)
        if self.step == step:
            action()

    monkeypatch.setattr(Progress, "advance", advance_and_act)


def test_a_folder_that_is_deleted_stops_the_run_at_the_next_save(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_step(3, monkeypatch, lambda: shutil.rmtree(tmp_path / "run"))
    assert status_of(small(root, tmp_path, "--save_latest_freq", "7")) == 1
    captured = capsys.readouterr()
    assert "No such file or directory" in captured.err
    assert (2, 2) <= loss_lines(captured.out)[-1][:2] <= (2, 4)  # as soon as it is known
    assert "Traceback" not in captured.err


def test_a_folder_that_nobody_may_write_stops_the_run(
    root: Path, tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "parts" / "run"
    folder.mkdir(parents=True)
    if not lock_folder(folder, "+i"):
        pytest.skip("this file system cannot protect a folder against root")
    lock_folder(folder, "-i")

    def protect() -> None:
        wait_for_save(tmp_path / "parts", 4)  # else it would be cut off in the middle
        lock_folder(folder, "+i")

    at_step(5, monkeypatch, protect)
    try:
        assert status_of(small(root, tmp_path / "parts", *OFTEN)) == 1
    finally:
        lock_folder(folder, "-i")
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert "Operation not permitted" in said
    assert_stopped_and_continue(said, tmp_path / "parts", whole, lambda: None)


def wait_for_save(checkpoints: Path, images: int) -> None:
    """Return when the save after so many images is on the disk."""
    while saved_images(checkpoints) < images or list((checkpoints / "run").glob(".*.tmp-*")):
        time.sleep(0.01)


def lock_folder(folder: Path, flag: str) -> bool:
    """Let nobody make or delete files there, or let them again; False if that is not possible."""
    try:
        return subprocess.run(["chattr", flag, folder], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_images_and_logs_that_cannot_be_written_warn_once_and_training_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "parts" / "run"

    def be_in_the_way() -> None:
        shutil.rmtree(folder / "web")
        (folder / "web").touch()
        for name in ("loss_log.txt", "losses.jsonl", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).mkdir()

    run(small(root, tmp_path / "whole"))
    at_step(3, monkeypatch, be_in_the_way)
    capsys.readouterr()
    assert status_of(small(root, tmp_path / "parts", "--display_freq", "1")) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert sorted(line.split()[1] for line in warned) == [
        "JsonlSink", "LossFileSink", "MetricsSink", "PageSink"
    ]  # fmt: skip
    whole, parts = (
        {path.name: checkpoint.load_state(path) for path in checkpoints.glob("run/latest_net_*")}
        for checkpoints in (tmp_path / "whole", tmp_path / "parts")
    )
    assert differences(whole, parts) == []


def test_checkpoints_may_be_a_link_to_another_disk(root: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "20m") as disk:
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        run(small(root, whole))
        for folder in (parts, disk / "far"):
            folder.mkdir()
        (parts / "run").symlink_to(disk / "far")
        assert run_until(small(root, parts), STEPS + 2)
        assert (disk / "far" / "latest_state.pth").is_file()
        interrupt_renames(parts / "run")
        run([*small(root, parts), "--continue_train"])
        assert differences(outcome(whole / "run"), outcome(disk / "far")) == []
        assert not list((disk / "far").glob(".*"))
        assert (parts / "run").is_symlink()


# ---- two runs with one name ---------------------------------------------------------------------


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"  # whose holder would lose it by closing it
    }


def contents_at_rest(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return the contents when nothing has been written for a second: pages are, on a thread."""
    before: dict[Path, tuple[bytes, int]] = {}
    now = contents(folder)
    while before != now:
        time.sleep(1)
        before, now = now, contents(folder)
    return now


@pytest.mark.slow
def test_a_second_run_of_that_name_is_refused_and_changes_no_file(
    root: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Training] = []

    def start_others() -> None:  # while this process is in the middle of a step
        wait_for_save(tmp_path, 4)
        before = contents_at_rest(tmp_path / "run")
        refused.extend([start(resume(tmp_path)), start(small(root, tmp_path, "--ngf", "3"))])
        for training in refused:
            assert training.end() == 1
        assert contents(tmp_path / "run") == before

    at_step(STEPS + 1, monkeypatch, start_others)
    run(small(root, tmp_path, "--save_latest_freq", "2"))
    for training in refused:
        said = training.err.read_text()
        assert said.startswith("error: A run with --name run is training already (process ")
        assert f"process {os.getpid()} on {os.uname().nodename}" in said
        assert said.count("\n") == 1
    assert len(refused) == 2
    assert saved_images(tmp_path) == 3 * STEPS


def test_a_second_run_in_this_process_is_refused(root: Path, tmp_path: Path) -> None:
    argv = small(root, tmp_path)
    with RunLock() as lock:
        lock.take(Namespace(checkpoints_dir=tmp_path, name="run"))
        before = contents(tmp_path)
        with pytest.raises(UserError, match="is training already"):
            run(argv)
        assert contents(tmp_path) == before
    run(argv)


def test_test_py_needs_no_lock(root: Path, tmp_path: Path) -> None:
    run(small(root, tmp_path))
    shutil.copytree(root / "train", root / "test", dirs_exist_ok=True)
    options = [
        "--model",
        "pix2pix",
        "--dataroot",
        str(root),
        "--crop_size",
        "32",
        "--load_size",
        "32",
    ]
    with RunLock() as lock:
        lock.take(Namespace(checkpoints_dir=tmp_path, name="run"))
        script("test", [*options, "--name", "run", "--checkpoints_dir", str(tmp_path), "--gpu_ids",
                        "-1", "--results_dir", str(tmp_path / "results")])  # fmt: skip
        assert (tmp_path / "run" / ".lock").exists()
    assert len(list((tmp_path / "results").rglob("*_fake_B.png"))) == STEPS


# ---- images of plugins ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_image_that_a_plugin_cannot_open_stops_the_run_with_a_save(
    workers: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data sets of forks call Pillow themselves."""
    import data.pipeline.image_reader

    image = root / "train" / "p2.png"

    def load(path: str, channels: int) -> Any:
        if path == str(image) and gone.exists():
            raise FileNotFoundError(2, "No such file or directory", path)
        return read_image(path, channels)

    gone = tmp_path / "gone"  # a file, which workers see that run already
    monkeypatch.setattr(data.pipeline.image_reader, "read_image", load)
    at_step(2, monkeypatch, gone.touch)
    with pytest.raises(UserError, match="Continue with"):
        run(small(root, tmp_path, "--num_threads", workers))
    assert saved_images(tmp_path) >= 2


@pytest.mark.parametrize("step", some([STEPS + 2, 2 * STEPS]))
def test_a_worker_that_is_killed_stops_the_run_with_a_save(
    step: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does it when memory runs out."""

    def kill_worker() -> None:
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    run(small(root, tmp_path / "whole", "--num_threads", "2"))
    with monkeypatch.context() as patch:
        at_step(step, patch, kill_worker)
        with pytest.raises(UserError, match=r"(?s)has died.* smaller --num_threads.*Continue with"):
            run(small(root, tmp_path / "killed", "--num_threads", "2"))
    assert step <= saved_images(tmp_path / "killed") <= 2 * STEPS
    run(resume(tmp_path / "killed"))
    found = outcome(tmp_path / "killed" / "run")
    assert differences(outcome(tmp_path / "whole" / "run"), found) == []


def test_a_save_error_is_a_users_error() -> None:
    assert issubclass(SaveError, UserError)
