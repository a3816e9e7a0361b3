"""Losses as lines of text; people's scripts parse them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.display.sinks import LogStep, deliver
from util.display.sinks.text import ConsoleSink, LastWordsSink, LossFileSink, loss_line

HEADER = re.compile(r"^=+ Training Loss \(.*\) =+$")
LINE = re.compile(
    r"^\(epoch: \d+, iters: \d+, time: \d+\.\d{3}, data: \d+\.\d{3}\) (\S+: -?\d+\.\d{3} )+$"
)
WHEN = LogStep(epoch=3, images=400, fraction=0.5, compute_seconds=0.12345, load_seconds=1.5)


def test_the_line_has_the_reference_format_with_its_trailing_space() -> None:
    assert (
        loss_line(WHEN, {"G_GAN": 0.69315, "D_real": -1.0})
        == "(epoch: 3, iters: 400, time: 0.123, data: 1.500) G_GAN: 0.693 D_real: -1.000 "
    )


@given(
    epoch=st.integers(1, 10**6),
    images=st.integers(0, 10**9),
    seconds=st.floats(0, 1e6),
    losses=st.dictionaries(
        st.sampled_from(["G", "G_GAN", "D_real", "cycle_A", "idt_B"]),
        st.floats(-1e9, 1e9),
        min_size=1,
    ),
)
def test_every_line_can_be_parsed_and_gives_the_losses_back(
    epoch: int, images: int, seconds: float, losses: dict[str, float]
) -> None:
    when = LogStep(epoch, images, compute_seconds=seconds, load_seconds=seconds)
    line = loss_line(when, losses)
    assert LINE.match(line)
    parsed = dict(re.findall(r"(\S+): (-?\d+\.\d{3}) ", line.split(") ", 1)[1]))
    assert list(parsed) == list(losses)
    for name, value in losses.items():
        assert float(parsed[name]) == pytest.approx(value, abs=0.00051, rel=1e-12)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5)])
def test_any_kind_of_number_is_printed(value: float) -> None:
    assert loss_line(WHEN, {"G": value}).endswith(" G: 0.500 ")


def test_a_loss_that_is_no_number_any_more_is_shown_as_such() -> None:
    assert loss_line(WHEN, {"G": float("nan")}).endswith(" G: nan ")


def test_the_console_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    sink = ConsoleSink()
    sink.images(WHEN, {"fake": np.zeros((2, 2, 3), np.uint8)})
    sink.scalars(WHEN, {"G": 1.0})
    sink.close()
    assert capsys.readouterr().out == f"{loss_line(WHEN, {'G': 1.0})}\n"


def test_a_start_writes_a_header_even_if_no_loss_follows(tmp_path: Path) -> None:
    LossFileSink(tmp_path / "loss_log.txt")
    lines = (tmp_path / "loss_log.txt").read_text().splitlines()
    assert len(lines) == 1
    assert HEADER.match(lines[0])


def test_losses_are_appended_below_one_header_for_each_start(tmp_path: Path) -> None:
    path = tmp_path / "loss_log.txt"
    for _ in range(2):
        sink = LossFileSink(str(path))
        sink.scalars(WHEN, {"G": 1.0})
        sink.images(WHEN, {})
        sink.scalars(WHEN, {"G": 2.0})
        sink.close()
    lines = path.read_text().splitlines()
    kinds = ["H" if HEADER.match(line) else "L" if LINE.match(line) else line for line in lines]
    assert kinds == ["H", "L", "L", "H", "L", "L"]
    assert lines[1] == loss_line(WHEN, {"G": 1.0})


def test_a_line_is_in_the_file_as_soon_as_it_was_delivered(tmp_path: Path) -> None:
    path = tmp_path / "loss_log.txt"
    sink = LossFileSink(path)
    for count in range(1, 4):
        sink.scalars(WHEN, {"G": 1.0})
        assert len(path.read_text().splitlines()) == 1 + count


def test_a_folder_that_was_away_for_a_while_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    sink = LossFileSink(folder / "loss_log.txt")
    shutil.rmtree(folder)
    deliver([sink], lambda sink: sink.scalars(WHEN, {"G": 1.0}))
    assert "LossFileSink failed" in capsys.readouterr().err
    folder.mkdir()
    deliver([sink], lambda sink: sink.scalars(WHEN, {"G": 2.0}))
    assert (folder / "loss_log.txt").read_text() == f"{loss_line(WHEN, {'G': 2.0})}\n"


def test_the_last_words_stay_until_the_run_goes_on(tmp_path: Path) -> None:
    sink = LastWordsSink(tmp_path / "stopped.txt")
    sink.begin({})
    assert not sink.path.exists()
    sink.finish("Training has ended.")
    assert not sink.path.exists()
    sink.finish("Training was stopped by SIGHUP.\nContinue with:\n  python train.py")
    assert sink.path.read_text() == (
        "Training was stopped by SIGHUP.\nContinue with:\n  python train.py\n"
    )
    sink.begin({})
    assert not sink.path.exists()
