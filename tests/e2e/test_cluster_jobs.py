"""What schedulers start: jobs of Slurm, with stand-ins for its commands, and of Kubernetes."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.launcher.api import LaunchConfig
from torch.distributed.run import get_args_parser

from options.train_options import TrainOptions
from tests.support.commands import draw_pairs, small
from tests.support.paths import ROOT
from tests.support.tiers import LONG

SLURM = ROOT / "scripts" / "slurm"
STAND_INS = {  # what each does instead
    "srun": 'echo $$ > srun.pid\nexec "$@"',
    "scontrol": 'case "$1" in hostnames | show) echo localhost ;; *) echo "$*" >> requeued ;; esac',
}
LONGEST = 60.0  # seconds that anything here may take

# A disk on which the first file that is saved after a signal takes longer than torchrun waits.
SLOW_DISK = """
import os, sys, time

fsync = os.fsync

def slow_fsync(file):
    signals = sys.modules.get("util.base.stop_signals")
    if signals and signals.noted() and os.fsync is not fsync:
        os.fsync = fsync
        time.sleep(33)
    return fsync(file)

os.fsync = slow_fsync
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that is a checkout for the commands, with images and stand-ins."""
    for name in ("train.py", "test.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    draw_pairs(tmp_path / "images", "train", 2)
    for name, text in STAND_INS.items():
        command(tmp_path / name, text)
    return tmp_path


def command(path: Path, text: str) -> None:
    """Write a command that is found before others."""
    path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def options(folder: Path) -> list[str]:
    """Return options of a small run that ends only when it is asked to."""
    argv = small(folder, folder / "images", "pix2pix", "--load_size", "32", "--ndf", "2")
    del argv[argv.index("--name") : argv.index("--name") + 2]
    return [*argv, "--n_epochs", "9999", "--display_id", "0", "--batch_size", "2", "--no_html"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a job."""
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    job = {"SLURM_JOB_ID": "417", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "node[1]"}
    quiet = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **quiet, **job, "PATH": path, **more}


def wait_for(what: Callable[[], object], job: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until something is the case while a job runs."""
    deadline = time.monotonic() + LONGEST
    while not what():
        assert job.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def stopped_in_training(argv: list[str], number: signal.Signals, folder: Path) -> tuple[int, str]:
    """Start a job, send a signal when it trains, and return its status and what it printed.

    Slurm sends signals to what srun has started, not to the script.
    """
    log = folder / "job.log"
    (folder / "srun.pid").unlink(missing_ok=True)
    with open(log, "wb") as sink:
        job = subprocess.Popen(
            argv, cwd=folder, env=environment(folder, PROCESSES="2"), stdout=sink, stderr=sink
        )
    wait_for(lambda: "End of epoch" in log.read_text(), job, log)
    pid = folder / "srun.pid"
    os.kill(int(pid.read_text()) if pid.exists() else job.pid, number)
    status = job.wait(LONGEST)
    return status, log.read_text()


@pytest.mark.slow
def test_a_slurm_job_goes_on_by_itself_until_it_is_cancelled(folder: Path) -> None:
    job = ["bash", str(SLURM / "train.sh"), "maps", *options(folder)]
    status, said = stopped_in_training(job, signal.SIGUSR1, folder)
    assert (status, (folder / "requeued").read_text()) == (0, "requeue 417\n")
    assert "2 processes" in said
    assert "saving after this iteration" in said
    assert "End of epoch 1 /" in said

    status, said = stopped_in_training(job, signal.SIGTERM, folder)  # as Slurm starts it again
    assert status != 0
    assert (folder / "requeued").read_text() == "requeue 417\n"  # not once more
    assert "End of epoch 1 /" not in said
    assert "Stopped by SIGTERM. Continue with:" in said


@pytest.mark.slow
def test_a_notice_to_the_process_that_started_others_stops_them_all(folder: Path) -> None:
    """Its job would end with it, and the others before they have saved."""
    argv = [sys.executable, "train.py", "--name", "run", *options(folder), "--processes", "2"]
    status, said = stopped_in_training(argv, signal.SIGUSR1, folder)
    assert status == 128 + signal.SIGUSR1
    assert "Stopped by SIG" in said
    assert (folder / "checkpoints" / "run" / "stopped.txt").exists()


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes long: RELIABILITY=long")
@pytest.mark.parametrize("starts", ["train.sh", "--processes"])
def test_a_save_of_more_than_half_a_minute_comes_to_its_end(
    folder: Path, starts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SLOW_DISK)
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"))
    job = ["bash", str(SLURM / "train.sh"), "maps", *options(folder)]
    if starts == "--processes":
        job = [sys.executable, "train.py", "--name", "maps", *options(folder), "--processes", "2"]
    number = signal.SIGUSR1 if starts == "train.sh" else signal.SIGTERM
    began = time.monotonic()
    status, said = stopped_in_training(job, number, folder)
    assert time.monotonic() - began > 33, said
    assert status == (0 if starts == "train.sh" else 128 + number), said
    assert (folder / "requeued").exists() == (starts == "train.sh")
    assert f"Stopped by {number.name}. Continue with:" in said
    assert (folder / "checkpoints" / "maps" / "stopped.txt").exists()


# ---- what a job starts, without starting it -------------------------------------------------


def started_by_slurm(folder: Path, *argv: str) -> tuple[list[str], dict[str, str]]:
    """Return what a job of train.sh gives torchrun, and the environment of that."""
    command(folder / "torchrun", 'printf "%q " "$@" > given\nenv -0 > its_environment')
    subprocess.run(
        ["bash", SLURM / "train.sh", "maps", *argv],
        cwd=folder, env=environment(folder, SLURM_CPUS_PER_TASK="12"), check=True,
    )  # fmt: skip
    variables = (folder / "its_environment").read_text().split("\0")
    its_environment = dict(each.split("=", 1) for each in variables if each)
    return shlex.split((folder / "given").read_text()), its_environment


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ([], "checkpoints"),
        (["--checkpoints_dir", "my runs"], "my runs"),
        (["--checkpoints_dir=my runs", "--no_html"], "my runs"),
        (["--checkpoints", "my runs"], "my runs"),
        (["--checkpoints_dir", "elsewhere", "--checkpoints_dir=my=runs"], "my=runs"),
    ],
)
def test_a_slurm_job_goes_on_wherever_its_run_is(
    folder: Path, options: list[str], place: str
) -> None:
    run = folder / place / "maps"
    run.mkdir(parents=True)
    given, _ = started_by_slurm(folder, *options)
    assert "--continue_train" not in given
    (run / "latest_state.pth").touch()
    command(folder / "srun", f'"$@"\necho stopped by SIGUSR1 > "{run}/stopped.txt"')
    given, _ = started_by_slurm(folder, *options)
    assert given[given.index("train.py") :] == [
        *("train.py", "--name", "maps"), *options, "--continue_train",
    ]  # fmt: skip
    assert (folder / "requeued").read_text() == "requeue 417\n"


def test_a_slurm_job_has_the_time_to_save_and_all_its_cores(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, its_environment = started_by_slurm(folder)
    assert its_environment["SRUN_CPUS_PER_TASK"] == "12"
    seconds = its_environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", seconds)
    assert LaunchConfig(1, 1, 1).shutdown_timeout == int(seconds)  # torch knows that variable
    (notice,) = re.findall(r"--signal=USR1@(\d+)", (SLURM / "train.sh").read_text())
    assert 120 <= int(seconds) < int(notice)


def test_each_job_of_an_array_tests_an_epoch(folder: Path) -> None:
    command(folder / "python", 'printf "%s\\n" "$SRUN_CPUS_PER_TASK $*"')
    done = subprocess.run(
        ["bash", SLURM / "test_epochs.sh", "maps", "--dataroot", "two words"],
        cwd=folder, capture_output=True, text=True, check=True,
        env=environment(folder, SLURM_ARRAY_TASK_ID="150", SLURM_CPUS_PER_TASK="4"),
    )  # fmt: skip
    assert done.stdout == "4 test.py --name maps --epoch 150 --dataroot two words\n"


def test_scripts_for_slurm_ask_for_the_name_of_a_run() -> None:
    for script in sorted(SLURM.glob("*.sh")):
        done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "the name of a run, then options of t" in done.stderr


# ---- Kubernetes ---------------------------------------------------------------------------


def pytorchjob() -> dict[str, Any]:
    """Return what scripts/kubernetes/pytorchjob.yaml says."""
    text = (ROOT / "scripts" / "kubernetes" / "pytorchjob.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def started_by(job: dict[str, Any], folder: Path) -> list[str]:
    """Return what the job's command gives torchrun."""
    (container,) = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    command(folder / "torchrun", 'printf "%q " "$@"')
    done = subprocess.run(
        [*container["command"], *container["args"]],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return shlex.split(done.stdout)


def test_the_pytorchjob_starts_a_run_and_goes_on_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pytorchjob()
    monkeypatch.chdir(folder)
    script, *argv = started_by(job, folder)
    assert script == "train.py"
    opt = TrainOptions().parse([*argv, "--gpu_ids", "-1"], quiet=True)
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert opt.batch_size == worker["replicas"] * int(job["spec"]["nprocPerNode"])

    state = folder / "checkpoints" / opt.name / "latest_state.pth"
    state.parent.mkdir(parents=True)
    state.touch()
    assert started_by(job, folder) == [script, *argv, "--continue_train"]


def test_the_pytorchjob_is_one_that_operator_and_torchrun_understand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = pytorchjob()
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert spec.keys() == {"nprocPerNode", "elasticPolicy", "pytorchReplicaSpecs"}
    policy, worker = spec["elasticPolicy"], spec["pytorchReplicaSpecs"]["Worker"]
    assert policy["minReplicas"] == policy["maxReplicas"] == worker["replicas"]
    assert worker["restartPolicy"] in ("Always", "OnFailure", "Never", "ExitCode")

    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "pytorch"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(spec["nprocPerNode"])
    (its_variable,) = container["env"]
    assert its_variable["name"] == "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
    assert 60 <= int(its_variable["value"]) < pod["terminationGracePeriodSeconds"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}

    of_operator = {
        "NNODES": f"{policy['minReplicas']}:{policy['maxReplicas']}",
        "NPROC_PER_NODE": spec["nprocPerNode"],
        "RDZV_BACKEND": policy["rdzvBackend"],
        "MAX_RESTARTS": str(policy["maxRestarts"]),
    }
    for name, value in of_operator.items():
        monkeypatch.setenv(f"PET_{name}", value)
    parsed = get_args_parser().parse_args(["train.py"])
    assert {name: str(getattr(parsed, name.lower())) for name in of_operator} == of_operator
