"""The summary of a test run in several processes: whole, or the run fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DIES_AT_THE_END = """
import os
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
        os._exit(9)
"""
TESTS = """
import numpy as np
import pytest
from tests.summary import SUMMARY

@pytest.mark.parametrize("value", [0.1, 0.3, 0.2])
def test_difference(pytestconfig, value):
    summary = pytestconfig.stash[SUMMARY]
    summary.note_difference("sizes", np.float64(value), np.float64(1))
    summary.counts["tried"] += 1
"""


def run_in_two_processes(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text("from tests.conftest import *\n", encoding="utf-8")
    (folder / "test_numbers.py").write_text(TESTS, encoding="utf-8")
    alone = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2", *options]
    return subprocess.run(
        command, cwd=folder, env=alone | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_numbers_of_all_processes_arrive(tmp_path: Path) -> None:
    run = run_in_two_processes(tmp_path)
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
    assert "sizes" in run.stdout
    assert " 0.3 " in run.stdout
    assert "3  tried" in run.stdout


def test_a_process_that_sends_no_summary_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DIES_AT_THE_END, encoding="utf-8")
    run = run_in_two_processes(tmp_path, "-p", "dying")
    assert run.returncode == pytest.ExitCode.INTERNAL_ERROR, run.stdout + run.stderr
    assert "ended without their part of the summary" in run.stdout
