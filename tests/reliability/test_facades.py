"""The real thing: two epochs on the CMP facades, killed five times. Needs FACADES=<folder>."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.reliability.conftest import Count
from tests.support.commands import ROOT
from tests.support.runs import differences, outcome

FACADES = os.environ.get("FACADES")
KILLS = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FACADES, reason="the facades are not here: FACADES=<folder> names them"),
]


def train(argv: Sequence[str]) -> "subprocess.Popen[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate()
    assert process.returncode == 0, output


def lines_in(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def test_five_kills_change_nothing(tmp_path: Path, count: Count) -> None:
    options = [
        *["--model", "pix2pix", "--direction", "BtoA", "--dataroot", str(FACADES), "--seed", "1"],
        *["--ngf", "8", "--ndf", "8", "--gpu_ids", "-1", "--display_id", "-1"],
        *["--num_threads", "1"],
        *["--n_epochs", "1", "--n_epochs_decay", "1", "--print_freq", "10"],
        *["--save_latest_freq", "50", "--name", "run"],
    ]
    finish(train([*options, "--checkpoints_dir", str(tmp_path / "whole")]))

    log = tmp_path / "killed" / "run" / "losses.jsonl"
    here = ["--checkpoints_dir", str(tmp_path / "killed")]
    argv = [*options, *here]
    for _ in range(KILLS):
        process = train(argv)
        until = lines_in(log) + random.randint(6, 12)  # past the next save, then anywhere
        while lines_in(log) < until:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        count("kills survived (facades)")
        argv = ["--name", "run", "--continue_train", *here]
    finish(train(argv))
    found = outcome(tmp_path / "killed" / "run")
    assert differences(outcome(tmp_path / "whole" / "run"), found) == []
    assert found["state"]["progress"]["total_images"] == 800
