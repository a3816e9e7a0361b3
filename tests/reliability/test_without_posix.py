"""Training, continuing and testing where a system lacks what only POSIX systems have.

The process loses those names of `os` and `signal`, the modules and the files of the system; other
packages have been imported before, since they look for them in their own ways.
"""

from pathlib import Path

import pytest

from tests.support.commands import draw_pairs, loss_lines, names, start
from tests.support.paths import ROOT
from util.display.sinks.epochs import read_metrics
from util.display.sinks.jsonl import read_losses

POSIX_ONLY = {
    "os": """
        chown chroot ctermid eventfd fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs
        getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid
        getxattr killpg lchown lockf memfd_create mkfifo mknod nice openpty pathconf pidfd_open
        pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev
        readv register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile set_blocking
        setpgid setpriority setsid setuid splice statvfs sync sysconf tcgetpgrp ttyname uname wait3
        wait4 waitid writev O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_DSYNC
    """,
    "signal": """
        SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGSYS
        SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ
        alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending
        sigtimedwait sigwait sigwaitinfo
    """,
}
PROGRAM = f"""
import asyncio, builtins, errno, io, multiprocessing, os, runpy, signal, sys
import dominate.tags, numpy, PIL.Image, torch, tqdm

if sys.argv[1] == "spawn":
    from multiprocessing import resource_tracker
    multiprocessing.set_start_method("spawn")
    resource_tracker.ensure_running()  # Python itself would need what is removed now,
    torch.utils.data._utils.signal_handling.IS_WINDOWS = True  # and torch

POSIX_ONLY = {POSIX_ONLY!r}
for module in (os, signal):
    for name in POSIX_ONLY[module.__name__].split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "termios", "pwd", "grp", "syslog"):
    sys.modules[name] = None  # importing it fails

def refusing(call, refuses, number):
    def checked(path, *more, **keywords):
        if isinstance(path, (str, os.PathLike)) and refuses(os.fspath(path)):
            raise OSError(number, os.strerror(number), path)
        return call(path, *more, **keywords)
    return checked

def is_the_systems(path):
    return path.startswith(("/proc/", "/sys/", "/dev/shm"))

os.open = refusing(os.open, os.path.isdir, errno.EACCES)  # Windows opens no folders
builtins.open = io.open = refusing(open, is_the_systems, errno.ENOENT)

script, sys.argv = sys.argv[2], sys.argv[2:]
sys.path.insert(0, os.getcwd())
runpy.run_path(script, run_name="__main__")
"""


def run(script: str, *argv: str, method: str = "usual") -> str:
    """Run a command without POSIX and return its output."""
    ended = start(["-c", PROGRAM, method, script, *argv, "--gpu_ids", "-1"], ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "failed" not in ended.stderr  # a sink
    return ended.stdout


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    for phase in ("train", "val", "test"):
        draw_pairs(tmp_path / "data", phase, 2)
    return ["--dataroot", str(tmp_path / "data"), "--name", "run", "--model", "pix2pix",
            "--checkpoints_dir", str(tmp_path / "checkpoints"), "--netG", "resnet_6blocks",
            "--ngf", "2", "--crop_size", "32", "--load_size", "36"]  # fmt: skip


TRAINING = ("--ndf", "2", "--display_id", "-1", "--n_epochs", "1", "--n_epochs_decay", "0",
            "--print_freq", "1", "--save_latest_freq", "1")  # fmt: skip


def test_training_continuing_and_testing_work_where_there_is_no_posix(
    tmp_path: Path, options: list[str]
) -> None:
    new = run("train.py", *options, *TRAINING, "--num_threads", "0", "--tensorboard")
    assert [line[:2] for line in loss_lines(new)] == [(1, 1), (1, 2)]
    folder = tmp_path / "checkpoints" / "run"
    (folder / ".1-0.tmp-latest_net_G.pth").touch()  # of a run that was killed
    more = ("--continue_train", "--n_epochs", "2")
    continued = run("train.py", *options, *TRAINING, *more, "--num_threads", "0", "--tensorboard")
    assert "Continuing from" in continued
    assert [(one["epoch"], one["iters"]) for one in read_losses(folder / "losses.jsonl")] == [
        (1, 1), (1, 2), (2, 1), (2, 2),
    ]  # fmt: skip
    assert [record["epoch"] for record in read_metrics(folder / "metrics.jsonl")] == [1, 2]
    assert (folder / "web" / "index.html").is_file()
    assert not (folder / ".lock").exists()
    run("test.py", *options, "--results_dir", str(tmp_path / "results"))
    assert len(names(tmp_path / "results" / "run" / "test_latest" / "images")) == 6


@pytest.mark.slow
def test_images_are_loaded_and_kept_by_spawned_workers_where_there_is_no_posix(
    tmp_path: Path, options: list[str]
) -> None:
    more = ("--num_threads", "1", "--cache", "resized", "--n_epochs", "2")
    said = run("train.py", *options, *TRAINING, *more, method="spawn")
    assert [line[:2] for line in loss_lines(said)] == [(1, 1), (1, 2), (2, 1), (2, 2)]
