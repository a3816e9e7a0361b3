"""What a new user sees on the console: at the start, in each epoch, and in the end."""

import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from models.template_model import TemplateModel
from tests.support import commands
from tests.support.commands import Page, draw_pairs
from tests.support.paths import ROOT
from tests.support.terminal import Terminal

VISUALS = ("real_A", "fake_B", "real_B")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two words")
    for phase, count in (("train", 5), ("test", 2)):
        draw_pairs(root, phase, count)
    return root


def linked(text: str, words: str) -> Path:
    """Return the file that a line leads to."""
    match = re.search(rf"{words}: +(file://\S+)", text)
    assert match, text
    return Path(unquote(urlsplit(match[1]).path))


def command(text: str) -> list[str]:
    """Return the last command that is proposed."""
    return shlex.split(text.strip().rpartition("\n")[2])


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_the_first_line_comes_before_torch_is_imported(script: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')")
    terminal = Terminal()
    started = subprocess.run(
        [sys.executable, ROOT / script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=terminal.stream,
        timeout=60,
        check=False,
    )
    terminal.close()
    lines = terminal.output.splitlines()
    assert lines == ["loading PyTorch ...", "torch is imported"]
    assert started.stdout == b""


def test_without_a_terminal_nothing_is_said_of_loading(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    started = subprocess.run(
        [sys.executable, ROOT / "train.py"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert started.stderr == "torch is imported\n"


def test_five_lines_tell_what_a_run_is_and_the_end_what_comes_next(
    pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = commands.train(tmp_path, pairs, "pix2pix")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    lines = lines[[line.startswith("data:") for line in lines].index(True) :]
    assert [line.split(":")[0] for line in lines[:5]] == [
        *("data", "networks", "device", "validation", "page")
    ]
    assert lines[0].endswith(f"5 images one by one in 1 epoch, from {pairs}")
    assert re.fullmatch(r"networks:   G [\d,]+, D [\d,]+ \(parameters\)", lines[1])
    assert re.fullmatch(r"device:     CPU, \d+ threads?, fp32", lines[2])
    assert lines[3].startswith(f"validation: none: {pairs} has neither val, nor ")
    assert linked(captured.err, "page") == run / "web" / "index.html"
    assert "data:  " not in captured.out  # programs read the original's lines there
    assert linked(captured.err, "Losses and images") == run / "web" / "index.html"

    python, script, *argv = command(captured.err)
    assert (python, script) == ("python", "test.py")
    folder = str(tmp_path / "results")
    commands.script("test", [*argv, "--gpu_ids", "-1", "--results_dir", folder])
    said, warned = capsys.readouterr()
    assert warned == ""  # of images of another size, say
    page = linked(said, "Images and page")
    assert Page(page).headings == ["p0", "p1"]
    assert command(said) == ["python", "scripts/evaluate.py", str(page.parent)]


def test_something_is_printed_in_every_epoch(pairs: Path, tmp_path: Path, capsys: Capture) -> None:
    commands.train(tmp_path, pairs, "pix2pix", "--n_epochs", "2", "--print_freq", "8")
    captured = capsys.readouterr()
    assert re.findall(r"mean losses of epoch (\d+): (\S+): \d+\.\d{3} ", captured.err) == [
        ("1", "G_GAN")
    ]
    assert [epoch for epoch, _, _ in commands.loss_lines(captured.out)] == [2]


def test_a_loss_that_is_listed_and_never_set_is_named_once(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    made = TemplateModel.__init__

    def misspelt(self: TemplateModel, opt: Namespace) -> None:
        made(self, opt)
        self.loss_names = ["g"]

    monkeypatch.setattr(TemplateModel, "__init__", misspelt)
    commands.train(tmp_path, pairs, "template", "--no_html", "--n_epochs", "2")
    said = capsys.readouterr().err
    assert said.count("TemplateModel lists 'g' in loss_names but has not set self.loss_g") == 1


@pytest.mark.parametrize("forgets", [True, False])
def test_a_model_that_computes_no_gradients_is_told_so_once(
    forgets: bool, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def forgetful(self: TemplateModel) -> None:
        self.loss_G = self.criterionLoss(self.output, self.data_B)

    if forgets:
        monkeypatch.setattr(TemplateModel, "backward", forgetful)
    # Without it the gradients of the only two batches wait for a third: that is no mistake.
    more = ["--n_epochs", "2"] if forgets else ["--accumulate", "3", "--n_epochs", "2"]
    commands.train(tmp_path, pairs, "template", "--no_html", *more)
    said = capsys.readouterr().err
    assert said.count("TemplateModel has trained nothing in this epoch") == (1 if forgets else 0)


def test_nothing_is_told_of_a_run_that_has_nothing_left_to_do(
    pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    for more in ([], ["--continue_train"]):
        capsys.readouterr()
        commands.train(tmp_path, pairs, "template", "--no_html", *more)
    said = capsys.readouterr()
    assert "Nothing left to do: epoch 1 of 1 is done." in said.out
    assert "networks: " not in said.err
    assert "Translate images with:" in said.err


def test_the_page_and_its_images_are_there_from_the_first_step_on(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop in the second step leaves a whole page, whatever `--display_freq` is."""
    steps: list[object] = []

    def stop(self: object) -> None:
        steps.append(self)
        if len(steps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("util.training.saver.Saver.check", stop)
    often = ("--display_freq", "1000000", "--print_freq", "1")
    with pytest.raises(KeyboardInterrupt):
        commands.train(tmp_path, pairs, "pix2pix", *often)
    page = tmp_path / "checkpoints" / "run" / "web" / "index.html"
    assert Page(page).images == [f"images/epoch001_{name}.png" for name in VISUALS]
    text = page.read_text()
    assert "Training was stopped by an error" in text
    assert re.findall('data-x="(.*?)"', text) == 2 * ["0 0.7"]  # around the first of 5 images: 0.2


def test_the_same_images_are_shown_after_every_epoch(pairs: Path, tmp_path: Path) -> None:
    run = commands.train(tmp_path, pairs, "pix2pix", "--n_epochs", "2")
    images = commands.names(run / "web" / "images", "*.jpg")
    same = [f"epoch001_sample{n}_{name}.jpg" for n in range(1, 5) for name in VISUALS[::2]]
    made = [f"epoch00{epoch}_sample{n}_fake_B.jpg" for epoch in (1, 2) for n in range(1, 5)]
    assert images == sorted(same + made)  # what stays the same is written once
