"""What machines do to a run: too little memory, processes that cannot start, disks that stall.

Real processes, and what they say, save and leave behind.
"""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.test_crashes import Start, Training, saved_images, small
from tests.reliability.test_crashes import start as start
from tests.support.commands import ROOT, draw, draw_pairs, scene
from tests.support.runs import differences, draw_data, outcome, resume, run
from tests.support.tiers import LONG, some
from util.storage.run_folder import RunFolder
from util.training.saver import read_state

SEVERAL_THREADS = ("--num_threads", "2", "--n_epochs", "1000")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_data(tmp_path_factory.mktemp("data"))
    draw_pairs(folder, "test", 2)
    return folder


def python(text: str) -> list[str]:
    """Return a program that does something before train.py, or within it."""
    return [sys.executable, "-c", f"{text}\nimport sys\nfrom train import main\n"
            "from util.base.errors import run_command\nsys.exit(run_command(main))"]  # fmt: skip


def assert_one_message(training: Training, *parts: str, status: int = 1) -> None:
    """Look at how a process ended, and that nothing of it goes on."""
    assert training.end() == status, training.said
    said = training.err.read_text()
    for part in parts:
        assert part in said, said
    assert said.count("error:") == 1
    assert "Traceback" not in training.said
    assert "Exception ignored" not in training.said
    with pytest.raises(ProcessLookupError):
        training.group(0)


# ---- memory -------------------------------------------------------------------------------------

LIMITED = """
import re, resource
from util.training.progress import Progress

advance = Progress.advance

def advance_and_limit(self, *images):
    advance(self, *images)
    if self.step == 2:
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 40 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

Progress.advance = advance_and_limit
"""


@pytest.mark.slow
def test_without_memory_for_a_large_image_what_was_trained_is_saved(
    tmp_path: Path, start: Start
) -> None:
    for number in range(2):
        draw(tmp_path / "data" / "train" / f"{number}.png", scene(number).resize((80, 40)))
    draw(tmp_path / "data" / "train" / "2.png", scene(2).resize((2400, 1200)))
    more = ("--preprocess", "none", "--serial_batches", "--no_flip")
    training = start(small(tmp_path / "data", tmp_path / "c", *more), python(LIMITED))
    assert_one_message(training, "Out of memory.", "--crop_size", "--grad_checkpoint",
                       "Continue with:\n  python train.py --name run --continue_train")  # fmt: skip
    assert saved_images(tmp_path / "c") == 3


def test_networks_that_are_too_large_are_told_in_one_message(root: Path, tmp_path: Path) -> None:
    text = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))"
    training = Training([*python(text), *small(root, tmp_path, "--ngf", "4000")], tmp_path, 0)
    assert_one_message(training, "Out of memory.", "--batch_size")


# ---- processes that load images -----------------------------------------------------------------

SECOND_FORK_FAILS = """
import errno, os

fork, forks = os.fork, []

def fork_once():
    forks.append(1)
    if len(forks) > 1:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()

os.fork = fork_once
"""


def test_a_worker_that_cannot_be_started_ends_the_run_with_one_message(
    root: Path, tmp_path: Path, start: Start
) -> None:
    training = start(small(root, tmp_path, *SEVERAL_THREADS), python(SECOND_FORK_FAILS))
    assert_one_message(training, "cannot be started", "Resource temporarily unavailable",
                       "--num_threads 0", "Nothing had been saved yet.")  # fmt: skip


def in_small_memory(size: str, arguments: Sequence[str]) -> list[str]:
    """Return a command that has a small /dev/shm of its own, as in a container."""
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    tried = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True)
    if tried.returncode:
        pytest.skip("mounting is not permitted here")
    return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *arguments]


@pytest.mark.slow
@pytest.mark.parametrize("size", some(["64k", "4k"]))  # full for images; at the start
def test_too_little_shared_memory_ends_the_run_with_one_message(
    size: str, root: Path, tmp_path: Path, start: Start
) -> None:
    program = in_small_memory(size, [sys.executable, "train.py"])
    more = ("--batch_size", "2", "--load_size", "128", "--crop_size", "128")
    training = start(small(root, tmp_path, *SEVERAL_THREADS, *more), program)
    assert_one_message(training, "--shm-size", "--num_threads 0")


@pytest.mark.slow
def test_a_signal_is_heard_while_workers_are_blocked(
    root: Path, tmp_path: Path, start: Start
) -> None:
    """They are stopped here, as a disk that does not answer stops them."""
    training = start(small(root, tmp_path, "--num_threads", "1", "--n_epochs", "1000"))
    training.until_step(3)
    (worker,) = children(training.process.pid)
    os.kill(worker, signal.SIGSTOP)
    seen = steps = -1
    while steps != seen:  # until there is no batch left that it has made before
        seen, steps = steps, len(training.out.read_text().splitlines())
        time.sleep(0.3)
    training.process.send_signal(signal.SIGTERM)
    assert training.end() == 143
    assert "Stopped by SIGTERM. Continue with:" in training.said
    assert "Traceback" not in training.said
    assert saved_images(tmp_path) > 0
    assert not Path(f"/proc/{worker}").exists()


WORKERS_STOP = """
import multiprocessing, os, signal
from util.training.run import Run

measure = Run.measure

def measure_and_stop_workers(self):
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGSTOP)
    return measure(self)

Run.measure = measure_and_stop_workers
"""


@pytest.mark.slow
def test_a_signal_is_heard_while_workers_do_not_begin_the_next_epoch(
    root: Path, tmp_path: Path, start: Start
) -> None:
    training = start(small(root, tmp_path, *SEVERAL_THREADS), python(WORKERS_STOP))
    training.until(lambda: "End of epoch 1" in training.said)
    time.sleep(0.5)
    training.process.send_signal(signal.SIGTERM)
    assert training.end() == 143
    assert "Stopped by SIGTERM. Continue with:" in training.said
    assert "Traceback" not in training.said
    assert saved_images(tmp_path) == 5
    with pytest.raises(ProcessLookupError):
        training.group(0)


# ---- signals at any time ------------------------------------------------------------------------

# What sends the process a signal, and how many images have been seen when it has saved.
MOMENTS = {
    "validation": ("SIGUSR1", 5, """
import os, signal
from util.training.validation import Validator

measure = Validator._measure

def measure_and_signal(self, old):
    os.kill(os.getpid(), signal.SIGUSR1)
    return measure(self, old)

Validator._measure = measure_and_signal
"""),
    "first batch": ("SIGXCPU", 0, """
import os, signal, time
from data.aligned_dataset import AlignedDataset

def wait(self, index):
    os.kill(os.getppid(), signal.SIGXCPU)
    time.sleep(600)

AlignedDataset.__getitem__ = wait
"""),
    "save": ("SIGHUP", 2, """
import os, signal, time
from util.storage import checkpoint

fill = checkpoint.fill_and_flush

def signal_and_fill(path, write):
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(0.2)
    fill(path, write)

checkpoint.fill_and_flush = signal_and_fill
"""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("moment", some(MOMENTS))
def test_a_notice_ends_a_run_at_any_time_and_costs_nothing(
    moment: str, root: Path, tmp_path: Path, start: Start
) -> None:
    draw_pairs(root, "val", 2)
    notice, images, text = MOMENTS[moment]
    more = ("--num_threads", "2", "--val_freq", "1", "--save_latest_freq", "2")
    argv = small(root, tmp_path / "parts", *more)
    training = start(argv, python(text))
    assert training.end() == 128 + getattr(signal, notice), training.said
    assert "Traceback" not in training.said
    assert training.said.count(f"Stopped by {notice}. ") == 1
    assert saved_images(tmp_path / "parts") >= images
    with pytest.raises(ProcessLookupError):
        training.group(0)
    if images:
        run(resume(tmp_path / "parts"))
        run(small(root, tmp_path / "whole", *more))
        whole, parts = (outcome(tmp_path / name / "run") for name in ("whole", "parts"))
        assert differences(whole, parts) == []
    else:
        assert "Nothing had been saved yet." in training.said
        assert not (tmp_path / "parts").exists()


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_ends_nothing(
    root: Path, tmp_path: Path, start: Start
) -> None:
    training = start(small(root, tmp_path, *SEVERAL_THREADS), ["nohup", sys.executable, "train.py"])
    training.until_step(2)
    training.group(signal.SIGHUP)
    training.until_step(5)
    training.process.send_signal(signal.SIGUSR1)
    assert training.end() == 128 + signal.SIGUSR1
    assert "SIGHUP" not in training.said


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_a_run_which_goes_on(
    root: Path, tmp_path: Path, start: Start
) -> None:
    """As when a window is closed: the system sends SIGHUP, and nothing can be written there."""
    master, slave = pty.openpty()

    def sit_at_it() -> None:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    training = start(
        small(root, tmp_path, *SEVERAL_THREADS),
        stdin=slave, stdout=slave, stderr=slave, preexec_fn=sit_at_it,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while seen.count(b"(epoch: 1") < 3:
        seen += os.read(master, 4096)
    os.close(master)
    assert training.end() == 128 + signal.SIGHUP
    words = (tmp_path / "run" / "stopped.txt").read_text()
    assert words.startswith("Training was stopped by SIGHUP.\nContinue with:\n  python train.py")
    assert saved_images(tmp_path) >= 3
    with pytest.raises(ProcessLookupError):
        training.group(0)


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def has_started(process: int, script: str) -> bool:
    """Tell whether a process runs a script; libraries start others while they are imported."""
    for child in children(process):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if script in Path(f"/proc/{child}/cmdline").read_text():
                return True
    return False


# Stands in for Slurm's: gives notice once something is trained, unless the run goes on already.
SRUN = """#!/bin/bash
"$@" &
job=$!
if [[ "$*" != *--continue_train* ]]; then
  until grep -q "epoch: 1, iters: 2" checkpoints/maps/loss_log.txt 2>/dev/null; do sleep 0.1; done
  kill -USR1 $job
fi
wait $job
"""


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes a while; RELIABILITY=long tries it")
def test_the_documented_job_queues_itself_again_until_the_run_is_over(
    root: Path, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "clusters.md").read_text()
    job = text.partition("```bash\n")[2].partition("```")[0]
    begins = "--dataroot ./datasets/maps --name maps --model cycle_gan"
    assert begins in job
    job = job.replace(begins, " ".join(small(root, tmp_path / "checkpoints", "--name", "maps")))
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    for name, program in {"srun": SRUN, "scontrol": 'echo "again: $*"', "job": job}.items():
        (tmp_path / name).write_text(program)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{tmp_path}:{Path(sys.executable).parent}:{environment['PATH']}"
    environment["SLURM_JOB_ID"] = "17"
    said = []
    for _ in range(2):
        done = subprocess.run(
            ["bash", "job"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        said.append(done.stdout)
        assert "Traceback" not in done.stderr
    assert "again: requeue 17" in said[0]
    assert "again:" not in said[1]
    state = read_state(RunFolder(tmp_path / "checkpoints" / "maps"), "latest")
    assert state is not None
    assert state["progress"]["total_images"] == 15


# ---- other commands -----------------------------------------------------------------------------


@pytest.mark.slow
def test_evaluate_ends_with_what_it_has_started(root: Path, tmp_path: Path, start: Start) -> None:
    run(small(root, tmp_path))
    os.mkfifo(tmp_path / "blocks")
    argv = ["--name", "run", "--checkpoints_dir", str(tmp_path), "--gpu_ids", "-1"]
    argv += ["--results_dir", str(tmp_path / "results"), "--crop_size", "32"]
    evaluate = start(argv, [sys.executable, "scripts/evaluate.py"])
    evaluate.until(lambda: has_started(evaluate.process.pid, "test.py"))
    evaluate.process.send_signal(signal.SIGTERM)
    assert evaluate.end() == 143, evaluate.said
    assert "Traceback" not in evaluate.said
    wait_for_end_of_group(evaluate)


def wait_for_end_of_group(training: Training) -> None:
    """Wait a few seconds: what libraries start while they are imported ends by itself."""
    deadline = time.monotonic() + 10
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            training.group(0)
            time.sleep(0.1)
        raise AssertionError("it has left something running")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.15, 0.5, 1.0])
def test_ctrl_c_while_a_command_starts_ends_it_without_a_traceback(
    seconds: float, root: Path, tmp_path: Path, start: Start
) -> None:
    training = start(small(root, tmp_path, "--n_epochs", "1000"))
    time.sleep(seconds)
    training.process.send_signal(signal.SIGINT)
    assert training.end() in (-signal.SIGINT, 130), training.said
    assert "Traceback" not in training.said


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirection", some([">&- 2>&-", "2>&1 | true", ">&-", "2>&-", "| true"], 2)
)
def test_a_run_goes_on_when_nobody_reads_what_it_says(
    redirection: str, root: Path, tmp_path: Path
) -> None:
    shell = f'set -o pipefail; "$@" {redirection}'
    command = ["bash", "-c", shell, "bash", sys.executable, "train.py"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *small(root, tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert saved_images(tmp_path) == 15
    assert "Traceback" not in done.stderr
    assert done.stderr.count("nobody reads the output any more") == (redirection == "| true")


def test_several_processes_are_refused(tmp_path: Path, root: Path) -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    text = f"import os\nos.environ.update({environment})"
    training = Training([*python(text), *small(root, tmp_path / "c")], tmp_path, 0)
    assert_one_message(training, "2 processes were started", "as by torchrun", "python -c")
    assert not (tmp_path / "c").exists()
