"""Whatever happens to one of several processes: all end in time, and nothing is lost."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from torch import Tensor

from tests.processes.comparing import largest_difference
from tests.support.commands import draw_unpaired
from tests.support.launched import Launched, launched, run, torchrun
from tests.support.paths import ROOT
from tests.support.runs import differences, outcome
from tests.support.tiers import EVERY_LAUNCH, LONG, some
from util.display.sinks.epochs import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.dist]

EACH_TAKES_LONG = pytest.mark.skipif(not EVERY_LAUNCH, reason="DIST=all")
TRAIN, TRAIN64 = str(ROOT / "train.py"), str(ROOT / "tests" / "processes" / "train64.py")

OTHER_IMAGES = """import os, runpy, sys
if os.environ["RANK"] == "1":
    sys.argv[sys.argv.index("--dataroot") + 1] = {other!r}
from util.base.errors import run_command
sys.exit(run_command(runpy.run_path({train!r})["main"], several=True))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    draw_unpaired(root, "train", 11, 5)
    draw_unpaired(root, "val", 3, 2)
    return root


def options(data: Path, folder: Path, *more: str) -> list[str]:
    argv = ["--dataroot", str(data), "--name", "run", "--checkpoints_dir", str(folder)]
    argv += ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--ngf", "2", "--ndf", "2"]
    argv += ["--crop_size", "32", "--load_size", "34", "--pool_size", "4", "--gpu_ids", "-1"]
    argv += ["--display_id", "-1", "--no_html", "--seed", "3", "--num_threads", "1"]
    argv += ["--batch_size", "6", "--n_epochs", "5", "--n_epochs_decay", "3", "--print_freq", "1"]
    return [*argv, "--save_latest_freq", "12", "--dist_timeout", "60", *more]


def says(running: Launched, text: str) -> None:
    running.wait_until(lambda: text in running.said)


def trains_on(running: Launched, steps: int) -> None:
    before = running.said.count("(epoch: ")
    running.wait_until(lambda: running.said.count("(epoch: ") >= before + steps)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of two processes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    status, said = run([*torchrun(2), TRAIN64, *options(data, folder)], folder)
    assert status == 0, said[-4000:]
    return folder / "run"


def weights_of(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a run's end; biases before instance norms are rounding noise."""
    networks = outcome(folder)["networks"].items()
    named = ((f"{name} {key}", value) for name, net in networks for key, value in net.items())
    return {name: value for name, value in named if not name.endswith("bias")}


def validations(folder: Path) -> list[dict[str, float]]:
    """Return what was measured on the validation images after each epoch."""
    return [record["val"] for record in read_metrics(folder / "metrics.jsonl")]


def same_ends(one: Path, other: Path) -> list[str]:
    return differences(outcome(one), outcome(other))


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=pytest.mark.skipif(not LONG, reason="RELIABILITY=long"))]
)
def test_killed_processes_start_again_and_the_run_ends_as_if_nothing_had_been(
    kills: int, data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    command = [*torchrun(2, f"--max-restarts={kills}"), TRAIN64, *options(data, tmp_path)]
    with launched(command, tmp_path) as running:
        for kill in range(1, kills + 1):
            trains_on(running, steps=3)  # after two of which it saves
            os.kill(running.pid_of(kill % 2), signal.SIGKILL)
            says(running, f"Restart {kill}: the run goes on from")
        assert running.wait() == 0, running.said[-4000:]
    assert same_ends(undisturbed, tmp_path / "run") == []


@EACH_TAKES_LONG
def test_a_run_goes_on_with_any_number_of_processes(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """One is stopped in epoch 2, then two, then three; one takes it to its end."""
    argv = options(data, tmp_path)
    for count, epoch in ((1, 2), (2, 3), (3, 5)):
        start = [sys.executable] if count == 1 else torchrun(count)
        with launched([*start, TRAIN64, *argv], tmp_path, f"with {count}") as running:
            says(running, f"(epoch: {epoch}, iters: 6")
            os.kill(running.process.pid, signal.SIGTERM)
            assert running.wait() != 0
            assert running.said.count("Stopped by SIGTERM") == 1
        argv = ["--name", "run", "--checkpoints_dir", str(tmp_path), "--continue_train"]
    status, said = run([sys.executable, TRAIN64, *argv], tmp_path)
    assert status == 0, said[-4000:]
    one, other = (weights_of(folder) for folder in (undisturbed, tmp_path / "run"))
    assert len(one) > 40
    assert largest_difference(one, other, [])[0] < 1e-10
    # Each epoch was validated by another number of processes.
    found, theirs = (validations(folder) for folder in (undisturbed, tmp_path / "run"))
    assert len(found) == 8
    assert largest_difference(found, theirs, [])[0] < 1e-8


def test_a_process_that_waits_for_others_to_come_ends_at_once_when_it_is_asked_to(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    argv = options(data, tmp_path, "--dist_timeout", "1000")
    with launched([sys.executable, TRAIN, *argv], tmp_path) as running:
        running.wait_until(lambda: is_open(port))  # which it opens when it begins to wait
        os.kill(running.process.pid, signal.SIGTERM)
        assert running.process.wait(10) == -signal.SIGTERM


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@EACH_TAKES_LONG
def test_a_process_that_hangs_is_named_after_the_time_out(data: Path, tmp_path: Path) -> None:
    command = [*torchrun(3), TRAIN, *options(data, tmp_path, "--dist_timeout", "6")]
    with launched(command, tmp_path) as running:
        says(running, "(epoch: 2, iters: 6")
        pid = running.pid_of(1)
        os.kill(pid, signal.SIGSTOP)
        says(running, "error: Of 3 processes these have ended, or do not answer: ")
        says(running, "Continue with:")
        os.kill(pid, signal.SIGKILL)  # as torchrun would half a minute later
        assert running.wait() != 0
        said = running.said
    assert f"error: Of 3 processes these have ended, or do not answer: 1 (process {pid} on" in said
    assert said.count("do not answer: 1 (") == 1
    again = "torchrun --nproc_per_node=3 train.py --name run --continue_train"
    assert f"Continue with:\n  {again}" in said


@EACH_TAKES_LONG
def test_a_process_that_waits_for_one_that_hangs_leaves_when_it_is_asked_to_stop(
    data: Path, tmp_path: Path
) -> None:
    """Long before its time-out: a signal that Python would not see until then."""
    command = [*torchrun(2), TRAIN, *options(data, tmp_path, "--dist_timeout", "1000")]
    with launched(command, tmp_path) as running:
        says(running, "(epoch: 2, iters: 6")
        hanging, first = running.pid_of(1), running.pid_of(0)
        os.kill(hanging, signal.SIGSTOP)
        os.kill(first, signal.SIGTERM)
        says(running, "process 0 was asked to stop, and the others do not answer")
        os.kill(hanging, signal.SIGKILL)  # as torchrun would half a minute later
        assert running.wait() != 0


@EACH_TAKES_LONG
@pytest.mark.parametrize("asked", some([(1,), (0, 1)]))
def test_a_process_that_was_asked_to_stop_waits_for_one_that_does_something_yet(
    asked: tuple[int, ...], tmp_path: Path
) -> None:
    """As while the first one waits for a slow disk: they save together then."""
    busy = str(ROOT / "tests" / "processes" / "busy.py")
    with launched([*torchrun(2), busy], tmp_path) as running:
        says(running, "process 0 begins")
        for rank in asked:
            os.kill(running.pid_of(rank), signal.SIGTERM)
        assert running.wait() == 0, running.said
        assert running.said.count("goes on") == 2


@pytest.mark.skipif(not LONG, reason="RELIABILITY=long")
def test_a_machine_without_the_images_to_validate_on_is_named(data: Path, tmp_path: Path) -> None:
    """Before anything is trained, instead of a wait for ever after the first epoch."""
    other = tmp_path / "other"
    draw_unpaired(other, "train", 11, 5)
    script = tmp_path / "train_other.py"
    script.write_text(OTHER_IMAGES.format(train=TRAIN, other=str(other)))
    status, said = run([*torchrun(2), str(script), *options(data, tmp_path)], tmp_path)
    assert status != 0
    assert "The images to validate on of process 1 are not those of process 0 (none and" in said
    assert "(epoch: 1" not in said


@EACH_TAKES_LONG
def test_losses_that_are_not_finite_end_all(data: Path, tmp_path: Path) -> None:
    argv = options(data, tmp_path, "--processes", "2", "--lr", "1e30", "--print_freq", "6")
    status, said = run([sys.executable, TRAIN, *argv], tmp_path)
    assert status == 1
    assert "error: The losses are no longer finite since step" in said
    assert "do not answer" not in said  # all have noticed


def test_a_bad_image_in_one_process_ends_all_with_its_name(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw_unpaired(root, "train", 6, 6)
    (root / "trainA" / "a3.png").write_bytes(b"no image")
    command = [sys.executable, TRAIN, *options(root, tmp_path, "--processes", "2")]
    status, said = run(command, tmp_path)
    assert status == 1
    assert said.count("error: ") == 1
    assert "error: process " in said
    assert "a3.png" in said.partition("error: process ")[2]
    assert "Traceback" not in said
