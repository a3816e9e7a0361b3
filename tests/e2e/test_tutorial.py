"""The tutorial, step by step, in a copy of this checkout."""

import re
from pathlib import Path

import pytest

from tests.support.commands import names
from tests.support.documents import blocks, commands
from tests.support.reader import Reader


@pytest.mark.slow
def test_a_reader_who_follows_the_tutorial_succeeds(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    said = []
    for block in blocks("docs/tutorial.md"):
        if block.file:
            reader.write(block.file, block.text)
        elif block.kind == "diff":
            done = reader.patch(block.text)
            assert done.returncode == 0, done.stderr
        else:
            for command in commands(block.text):
                run = reader.run(command)
                assert run.returncode == 0, run.stderr
                said.append(run.stdout)
    assert len(said) == 6
    run_folder = reader.checkout / "checkpoints" / "sharpen_small"
    diary = (run_folder / "diary.txt").read_text().splitlines()
    assert [line.rpartition(" ")[0] for line in diary] == ["epoch 1 MSE", "epoch 2 MSE"]
    assert 0 < float(diary[-1].rpartition(" ")[2]) < 0.1
    assert "best_net_G.pth" in names(run_folder, "*.pth")
    assert re.search(r"MSE +0\.\d{5}", said[-1])
    assert "L1: " in (reader.checkout / "checkpoints/sharpen/loss_log.txt").read_text()
