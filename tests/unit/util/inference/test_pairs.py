"""Which images of a test are pairs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from util.inference.pairs import pairs_among, save_pairs

IMAGES = {name: torch.full((1, 3, 4, 4), float(number)) for number, name in enumerate("abc")}


def test_labels_are_those_of_the_images_that_are_compared() -> None:
    other = torch.full((1, 3, 4, 4), 9.0)
    compared = {"": (IMAGES["c"].clone(), IMAGES["b"]), "other": (other, IMAGES["b"])}
    assert pairs_among(IMAGES, lambda: compared) == {"c": "b"}


def test_usual_labels_need_no_question() -> None:
    def fail() -> Any:
        raise AssertionError

    visuals = {"real_A": 0, "fake_B": 1, "real_B": 2}
    assert pairs_among(visuals, fail) == {"fake_B": "real_B"}


def test_a_model_that_cannot_answer_in_a_test_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> Any:
        raise AttributeError("no lambda_identity")

    assert pairs_among(IMAGES, fail) == {}
    assert "validation_pairs() fails in a test (no lambda_identity)" in capsys.readouterr().err


def test_only_unusual_labels_are_written_down(tmp_path: Path) -> None:
    save_pairs(str(tmp_path), {"fake_B": "real_B"})
    save_pairs(str(tmp_path), {})
    assert list(tmp_path.iterdir()) == []
    save_pairs(str(tmp_path), {"output": "data_B"})
    assert json.loads((tmp_path / "pairs.json").read_text()) == {"output": "data_B"}
