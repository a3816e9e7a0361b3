"""Which images of a test are pairs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from util.inference.pairs import pairs_among, save_pairs
from util.scores.comparisons import PAIRS_FILE

IMAGES = {name: torch.full((1, 3, 4, 4), float(number)) for number, name in enumerate("abc")}


def unasked() -> Any:
    raise AssertionError


def test_labels_are_those_of_the_images_that_are_compared() -> None:
    other = torch.full((1, 3, 4, 4), 9.0)
    compared = {"": (IMAGES["c"].clone(), IMAGES["b"]), "other": (other, IMAGES["b"])}
    assert pairs_among(IMAGES, "aligned", lambda: compared) == {"c": "b"}


@pytest.mark.parametrize(
    ("dataset_mode", "expected"),
    [("aligned", {"fake_B": "real_B"}), ("colorization", {"fake_B": "real_B"}), ("unaligned", {})],
)
def test_the_data_sets_of_the_framework_leave_no_question(
    dataset_mode: str, expected: dict[str, str]
) -> None:
    visuals = {"real_A": 0, "fake_B": 1, "real_B": 2}
    assert pairs_among(visuals, dataset_mode, unasked) == expected


def test_with_others_images_of_there_and_back_are_no_pairs() -> None:
    names = ("real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B", "idt_A")
    visuals = {name: torch.full((1, 3, 4, 4), float(n)) for n, name in enumerate(names)}
    compared = {
        "cycle_A": (visuals["rec_A"], visuals["real_A"]),
        "idt_A": (visuals["idt_A"], visuals["real_B"]),
    }
    assert pairs_among(visuals, "npy", lambda: compared) == {}
    compared[""] = (visuals["fake_B"], visuals["real_B"])
    assert pairs_among(visuals, "npy", lambda: compared) == {"fake_B": "real_B"}


def test_images_that_are_converted_to_be_shown_go_by_their_usual_labels() -> None:
    visuals = {"real_A": IMAGES["a"], "fake_B_rgb": 1, "real_B_rgb": 2}
    compared = {"": (IMAGES["b"], IMAGES["c"])}
    assert pairs_among(visuals, "npy", lambda: compared) == {"fake_B_rgb": "real_B_rgb"}


def test_a_model_that_cannot_answer_in_a_test_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> Any:
        raise AttributeError("no lambda_identity")

    assert pairs_among(IMAGES, "npy", fail) == {}
    assert "validation_pairs() fails in a test (no lambda_identity)" in capsys.readouterr().err


def test_labels_are_written_down_and_those_of_an_earlier_test_go(tmp_path: Path) -> None:
    for pairs in ({"fake_B": "real_B"}, {"output": "data_B"}):
        save_pairs(str(tmp_path), pairs)
        assert json.loads((tmp_path / PAIRS_FILE).read_text()) == pairs
    save_pairs(str(tmp_path), {})
    assert list(tmp_path.iterdir()) == []


def test_images_that_look_the_same_keep_their_labels() -> None:
    visuals = {name: torch.zeros(1, 3, 4, 4) for name in ("data_A", "data_B", "output")}
    compared = {"": (visuals["output"], visuals["data_B"])}
    assert pairs_among(visuals, "single", lambda: compared) == {"output": "data_B"}
