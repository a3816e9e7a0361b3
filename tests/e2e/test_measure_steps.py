"""scripts/measure_steps.py: seconds and memory of a step, each way in a process of its own."""

import re
from pathlib import Path

import pytest

from tests.support.commands import ROOT, draw_pairs, ended, imported, start

SMALL = ["--ngf", "2", "--ndf", "2", "--gpu_ids", "-1", "--num_threads", "0", "--netG", "unet_128"]
ROW = re.compile(r"\| 128 \| (\S.*?) +\| ([\d.]+) \| ([\d.]+) \| (\S+) \|")


@pytest.mark.slow
def test_each_way_gets_a_row_with_its_difference(tmp_path: Path) -> None:
    draw_pairs(tmp_path, "train", 2)
    script = ROOT / "scripts" / "measure_steps.py"
    argv: list[str | Path] = [script, "--dataroot", tmp_path, "--model", "pix2pix"]
    argv += ["--crop_sizes", "128"]
    argv += ["--steps", "2", "--ways", "plain, precision bf16", "--", *SMALL]
    done = start(argv, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = ROW.findall(done.stdout)
    assert [row[0] for row in rows] == ["plain", "precision bf16"]
    for _, seconds, memory, _ in rows:
        assert 0 < float(seconds) < 60
        assert 0.1 < float(memory) < 10
    assert float(rows[0][3]) == 0
    assert 0 < float(rows[1][3]) < 0.2
    assert not (tmp_path / "checkpoints").exists()


def test_mistakes_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with imported(ROOT / "scripts" / "measure_steps.py") as script:
        for argv, status, said in (
            ([], 2, "--dataroot is missing"),
            (["--dataroot", "x", "--crop_sizes", "big"], 2, "is no list of numbers"),
            (["--dataroot", "x", "--steps", "0"], 2, "takes no step"),
            (
                ["--dataroot", str(tmp_path / "nowhere")],
                1,
                "nowhere/trainA is not a valid directory",
            ),
        ):
            assert ended(script.main, argv) == status
            assert said in capfd.readouterr().err
