"""What was made of each image for which domain."""

import json
from pathlib import Path
from typing import Any

import pytest

from util.inference.outputs import OutputsByDomain
from util.scores.comparisons import OUTPUTS_FILE


class Model:
    """Has translated a cat."""

    said: Any = ("cat", {"cat": ["same"], "dog": ["one", "two"], "fox": ["gone"]})

    def outputs_by_domain(self) -> Any:
        """Return the domain of the image, and what was made of it."""
        return self.said


def test_files_are_written_down_by_domains(tmp_path: Path) -> None:
    outputs = OutputsByDomain(Model())
    for name in ("a", "b"):
        outputs.add(name, {"same": 0, "one": 1, "two": 2})
    outputs.save(str(tmp_path))
    assert json.loads((tmp_path / OUTPUTS_FILE).read_text()) == {"cat": {
        "cat": [["a_same.png"], ["b_same.png"]],
        "dog": [["a_one.png", "a_two.png"], ["b_one.png", "b_two.png"]],
    }}  # fmt: skip


def test_nothing_is_left_of_an_earlier_test(tmp_path: Path) -> None:
    (tmp_path / OUTPUTS_FILE).write_text("{}")
    outputs = OutputsByDomain(object())
    outputs.add("a", {"fake": 0})
    assert not outputs
    outputs.save(str(tmp_path))
    assert not (tmp_path / OUTPUTS_FILE).exists()


@pytest.mark.parametrize("said", [None, "cat", ("cat", 3), ("cat", {"dog": 7})])
def test_what_a_plugin_means_by_the_name_for_itself_is_left_alone(said: Any) -> None:
    model = Model()
    model.said = said
    outputs = OutputsByDomain(model)
    outputs.add("a", {"fake": 0})
    assert not outputs
