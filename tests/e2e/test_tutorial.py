"""The tutorial, step by step, in a copy of this checkout."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import names, start
from tests.support.paths import ROOT
from tests.unit.test_project import tracked_files

BLOCK = re.compile(
    r"```(python title=\"(?P<file>[^\"]+)\"|(?P<kind>diff|bash))\n(?P<text>.*?)```", re.DOTALL
)


@pytest.mark.slow
def test_a_reader_who_follows_the_tutorial_succeeds(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for name in tracked_files():
        if not name.startswith(("tests/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    said = []
    for block in BLOCK.finditer(text):
        if block["file"]:
            (copy / block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "diff":
            apply = ["git", "apply", "--verbose", "-"]
            done = subprocess.run(apply, cwd=copy, input=block["text"], text=True,
                                  capture_output=True, check=False)  # fmt: skip
            assert done.returncode == 0, done.stderr
        else:
            for line in block["text"].splitlines():
                command = shlex.split(line)
                assert command[0] == "python"
                run = start(command[1:], copy)
                assert run.returncode == 0, run.stderr
                said.append(run.stdout)
    assert len(said) == 6
    run_folder = copy / "checkpoints" / "sharpen_small"
    diary = (run_folder / "diary.txt").read_text().splitlines()
    assert [line.rpartition(" ")[0] for line in diary] == ["epoch 1 MSE", "epoch 2 MSE"]
    assert 0 < float(diary[-1].rpartition(" ")[2]) < 0.1
    assert "best_net_G.pth" in names(run_folder, "*.pth")
    assert re.search(r"MSE +0\.\d{5}", said[-1])
    assert "L1: " in (copy / "checkpoints/sharpen/loss_log.txt").read_text()
