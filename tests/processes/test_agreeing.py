"""What processes notice of each other: sizes, weights, whose images a model computes with."""

import json
from typing import Any

import pytest

from tests.support.launched import run, torchrun
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.dist]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of two processes has found."""
    folder = tmp_path_factory.mktemp("agreeing")
    script = ROOT / "tests" / "processes" / "agreeing.py"
    status, said = run([*torchrun(2), str(script), str(folder)], folder)
    assert status == 0, said[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_images_of_several_sizes_are_refused_though_each_process_has_one(
    found: list[dict[str, Any]],
) -> None:
    one, other = (each["sizes"] for each in found)
    assert one == other
    assert "process 0 has A 3x8x12, process 1 has A 3x12x8" in one


def test_a_part_of_a_batch_is_refused_where_processes_would_not_know_whose_it_is(
    found: list[dict[str, Any]],
) -> None:
    for each in found:
        for refused in each["parts_of_batches"]:
            assert "got 1 images of a batch of which this process has 2" in refused


def test_weights_may_differ_by_rounding_alone(found: list[dict[str, Any]]) -> None:
    for each in found:
        rounded, trained, broken = each["drift"]
        assert rounded == "nothing refused: []"
        assert "are not the same in all processes" in trained
        assert broken == "nothing refused: ['D', 'G']"  # in both, so that both do the same


def test_images_that_are_shown_change_no_statistics(found: list[dict[str, Any]]) -> None:
    assert [each["statistics"] for each in found] == ["nothing refused: []"] * 2


def test_a_loss_that_one_process_has_is_its_mean_and_keeps_nobody_waiting(
    found: list[dict[str, Any]],
) -> None:
    assert [each["rare_losses"] for each in found] == [{"a": 1.5, "b": 7}, {"a": 1.5}]


def test_channels_are_dropped_as_in_one_process(found: list[dict[str, Any]]) -> None:
    assert [each["channels"] for each in found] == [True, True]


def test_each_image_counts_once_whether_or_not_a_loss_names_its_optimiser(
    found: list[dict[str, Any]],
) -> None:
    for each in found:
        assert each["weights_of_losses"] == pytest.approx([3, 3])


def test_the_last_images_are_those_of_all_processes(found: list[dict[str, Any]]) -> None:
    (text, said), (other, is_said) = (each["last_images"] for each in found)
    assert text == other
    assert "of process 0.png" in text
    assert "of process 1.png" in text
    assert (said, is_said) == ("False", "True")  # once
