"""Losses as JSON lines: strictly valid, whole even after a crash, and read back as they were."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.base.errors import UserError
from util.display.sinks import LogStep, deliver
from util.display.sinks.jsonl import JsonlSink, parse_loss_log, read_losses
from util.display.sinks.text import LossFileSink

WHEN = LogStep(
    epoch=3, images=400, fraction=0.5, compute_seconds=0.125, load_seconds=1.5, total_images=2400
)
LINE = (
    '{"epoch": 3, "iters": 400, "total_iters": 2400, "times": {"time": 0.125, "data": 1.5}, '
    '"losses": {"G": 0.5, "D_real": -1.0}}\n'
)
HEADER = "================ Training Loss (Mon Jul  8 16:52:31 2019) ================\n"
LOG_LINE = "(epoch: 1, iters: 100, time: 1.396, data: 0.247) D_A: 0.341 cycle_A: 1.803 \n"


def strict(text: str) -> Any:
    """Parse JSON without what Python adds to it."""

    def refuse(token: str) -> None:
        raise AssertionError(token)

    return json.loads(text, parse_constant=refuse)


def write(path: Path, *losses: float) -> None:
    sink = JsonlSink(path)
    for value in losses:
        sink.scalars(WHEN, {"G": value})
    sink.close()


def values(path: Path) -> list[float]:
    return [record["losses"]["G"] for record in read_losses(path)]


def test_a_call_is_one_line_with_keys_in_a_fixed_order(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    sink = JsonlSink(str(path))
    assert not path.exists()
    sink.images(WHEN, {"fake": np.zeros((2, 2, 3), np.uint8)})
    sink.scalars(WHEN, {"G": 0.5, "D_real": -1.0})
    sink.scalars(WHEN, {"G": 0.5, "D_real": -1.0})
    sink.close()
    assert path.read_text() == 2 * LINE


def test_images_seen_in_total_may_be_unknown(tmp_path: Path) -> None:
    JsonlSink(tmp_path / "x").scalars(LogStep(1, 5), {})
    (line,) = (tmp_path / "x").read_text().splitlines()
    assert strict(line) == {
        "epoch": 1, "iters": 5, "total_iters": None, "times": {"time": 0.0, "data": 0.0},
        "losses": {},
    }  # fmt: skip
    assert read_losses(tmp_path / "x")[0]["total_iters"] is None


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5)])
def test_any_kind_of_number_is_taken(tmp_path: Path, value: float) -> None:
    write(tmp_path / "x", value)
    assert values(tmp_path / "x") == [0.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_null_and_read_as_nan(tmp_path: Path, value: float) -> None:
    when = LogStep(1, 2, compute_seconds=value)
    JsonlSink(tmp_path / "x").scalars(when, {"G": value, "D": 1.0})
    found = strict((tmp_path / "x").read_text())
    assert found["losses"] == {"G": None, "D": 1.0}
    assert found["times"]["time"] is None
    (record,) = read_losses(tmp_path / "x")
    assert math.isnan(record["losses"]["G"])
    assert math.isnan(record["time"])
    assert record["losses"]["D"] == 1.0


@given(
    losses=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    total=st.none() | st.integers(0, 2**60),
)
def test_everything_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, losses: dict[str, float], total: int | None
) -> None:
    path = tmp_path_factory.mktemp("losses") / "losses.jsonl"
    JsonlSink(path).scalars(LogStep(2, 7, 0.0, 0.25, 0.5, total), losses)
    assert path.read_bytes().count(b"\n") == 1
    strict(path.read_text(encoding="utf-8"))
    assert read_losses(path) == [
        {"epoch": 2, "iters": 7, "total_iters": total, "time": 0.25, "data": 0.5, "losses": losses}
    ]


def test_a_resumed_run_appends(tmp_path: Path) -> None:
    write(tmp_path / "x", 1, 2)
    write(tmp_path / "x", 3)
    assert values(tmp_path / "x") == [1, 2, 3]


def test_going_back_drops_later_lines_once_there_are_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    sink = JsonlSink(path)
    for moment in ((1, 100), (2, 100), (2, 200), (3, 100)):
        sink.scalars(LogStep(*moment), {"G": 1.0})
    path.write_bytes(b"by hand\n" + path.read_bytes() + b'{"epoch": 3, "it')
    before = path.read_bytes()
    again = JsonlSink(path)
    again.go_on_after(LogStep(2, 100))
    again.go_on_after(LogStep(2, 200))  # what is forgotten stays so
    assert path.read_bytes() == before
    for moment in ((2, 200), (3, 100)):
        again.scalars(LogStep(*moment), {"G": 2.0})
    first, *lines = path.read_bytes().splitlines()
    assert first == b"by hand"
    found = [json.loads(line) for line in lines]
    assert [(each["epoch"], each["iters"], each["losses"]["G"]) for each in found] == [
        (1, 100, 1.0), (2, 100, 1.0), (2, 200, 2.0), (3, 100, 2.0)
    ]  # fmt: skip


def test_wherever_a_line_was_torn_the_next_one_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    JsonlSink(path).scalars(WHEN, {"G": 2.0, "schärfe": 1.0})
    line = path.read_bytes()
    for length in range(1, len(line)):
        path.write_bytes(line + line[:length])
        whole = length == len(line) - 1  # only the line's end is missing: nothing is lost
        assert len(read_losses(path)) == 1 + whole, length
        write(path, 3)
        assert values(path) == [2.0] * (1 + whole) + [3.0], length
        for text in path.read_text(encoding="utf-8").splitlines():
            strict(text)


def test_a_file_with_nothing_but_a_torn_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(LINE[:20])
    assert read_losses(tmp_path / "x") == []
    write(tmp_path / "x", 1)
    assert values(tmp_path / "x") == [1]


def test_a_line_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    sink = JsonlSink(tmp_path / "x")
    for count in range(3):
        sink.scalars(WHEN, {"G": count})
        sizes.append((tmp_path / "x").stat().st_size)
        assert len(read_losses(tmp_path / "x")) == count + 1
    assert sizes == sorted(set(sizes))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_that_sink_only(capsys: pytest.CaptureFixture[str]) -> None:
    sink = JsonlSink("/dev/full")
    deliver([sink], lambda sink: sink.scalars(WHEN, {"G": 1.0}))
    assert "JsonlSink failed" in capsys.readouterr().err


def test_a_folder_that_was_away_for_a_while_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    sink = JsonlSink(folder / "losses.jsonl")
    deliver([sink], lambda sink: sink.scalars(WHEN, {"G": 1.0}))
    assert "JsonlSink failed" in capsys.readouterr().err
    folder.mkdir()
    deliver([sink], lambda sink: sink.scalars(WHEN, {"G": 2.0}))
    assert values(folder / "losses.jsonl") == [2.0]


def test_no_file_stays_open(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "x")
    sink.scalars(WHEN, {"G": 1.0})
    shutil.move(tmp_path / "x", tmp_path / "y")
    sink.scalars(WHEN, {"G": 2.0})
    assert (values(tmp_path / "x"), values(tmp_path / "y")) == ([2.0], [1.0])
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


BROKEN = [
    '{"epoch": 3, "iters"',
    "3",
    "[]",
    '{"epoch": 3}',
    '{"epoch": null, "iters": 1, "losses": {}}',
    '{"epoch": Infinity, "iters": 1, "losses": {}}',
    '{"epoch": 1, "iters": 1, "losses": {"G": "much"}}',
    '{"epoch": 1, "iters": 1, "losses": [1]}',
    "\0\0\0\0",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text(f"{LINE}{broken}\n{LINE}")
    with pytest.raises(UserError) as caught:
        read_losses(path)
    message = str(caught.value)
    assert f"{path}, line 2 is not a JSON object" in message
    assert repr(broken) in message
    assert "Remove or mend that line." in message


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_last_line_is_passed_over(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "losses.jsonl"
    for end in ("", "\n", "\n\n"):
        path.write_text(f"{LINE}\n{broken}{end}")
        assert len(read_losses(path)) == 1


def test_a_long_broken_line_is_not_shown_in_full(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"{'x' * 10_000}\n{LINE}")
    with pytest.raises(UserError) as caught:
        read_losses(tmp_path / "x")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for read in (read_losses, parse_loss_log):
        with pytest.raises(FileNotFoundError) as caught:
            read(tmp_path / "none")
        assert caught.value.filename == str(tmp_path / "none")


def test_the_log_of_the_reference_gives_the_same_records(tmp_path: Path) -> None:
    path = tmp_path / "loss_log.txt"
    path.write_text(f"{HEADER}{LOG_LINE}{LOG_LINE}{HEADER}\n{LOG_LINE}")
    assert parse_loss_log(path) == 3 * [
        {
            "epoch": 1, "iters": 100, "total_iters": None, "time": 1.396, "data": 0.247,
            "losses": {"D_A": 0.341, "cycle_A": 1.803},
        }
    ]  # fmt: skip


def test_our_own_log_can_be_read(tmp_path: Path) -> None:
    sink = LossFileSink(tmp_path / "log")
    sink.scalars(WHEN, {"G": math.nan, "D": -math.inf, "odd-name": 1e9})
    (record,) = parse_loss_log(tmp_path / "log")
    assert (record["epoch"], record["iters"], record["time"]) == (3, 400, 0.125)
    assert math.isnan(record["losses"].pop("G"))
    assert record["losses"] == {"D": -math.inf, "odd-name": 1e9}


def test_logs_without_the_time_waited_for_data_are_understood(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("(epoch: 1, iters: 100, time: 1.396) D_A: 0.341 \n")
    (record,) = parse_loss_log(tmp_path / "log")
    assert record["time"] == 1.396
    assert math.isnan(record["data"])
    assert record["losses"] == {"D_A": 0.341}


def test_logs_of_the_original_of_2025_are_understood(tmp_path: Path) -> None:
    line = "(epoch: {}, iters: 100, time: 0.100, data: 0.010) , G_GAN: {}, G_L1: nan"
    lines = [f"[Rank {rank}] {line}" for rank in (0, 1, 10)]
    said = [each.format(epoch, rank) for epoch in (1, 2) for rank, each in enumerate(lines)]
    text = "\n\n".join(said)
    (tmp_path / "log").write_text(f"{HEADER}{text}\n\n[Rank 0] (epoch: 3, it")
    first, second = parse_loss_log(tmp_path / "log")  # of the first process
    assert (first["epoch"], second["epoch"], second["iters"]) == (1, 2, 100)
    assert (first["time"], first["data"]) == (0.1, 0.01)
    assert list(first["losses"]) == ["G_GAN", "G_L1"]
    assert first["losses"]["G_GAN"] == 0.0
    assert math.isnan(first["losses"]["G_L1"])


def test_a_torn_line_of_the_log_is_passed_over_at_the_end_and_before_a_header(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    for length in range(1, len(LOG_LINE)):
        torn = LOG_LINE[:length]
        path.write_text(f"{HEADER}{LOG_LINE}{torn}")
        assert len(parse_loss_log(path)) == 1, torn
        path.write_text(f"{HEADER}{LOG_LINE}{torn}{HEADER}{LOG_LINE}")
        assert len(parse_loss_log(path)) == 2, torn


@pytest.mark.parametrize("broken", ["hello", "(epoch: 1, iters: 100, time", LOG_LINE.strip()[:-6]])
def test_a_broken_line_in_the_middle_of_the_log_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "loss_log.txt"
    path.write_text(f"{HEADER}{broken}\n{LOG_LINE}")
    with pytest.raises(UserError) as caught:
        parse_loss_log(path)
    assert f"{path}, line 2 is not losses as in '(epoch: 1, iters: 100," in str(caught.value)
