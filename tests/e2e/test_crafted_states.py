"""Training states with the right format and wrong contents: one message that says what is wrong."""

import copy
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import commands
from tests.support.checkpoints import save_state
from tests.support.commands import draw_unpaired
from util.storage import checkpoint
from util.storage.checkpoint import CheckpointError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    draw_unpaired(root, "train", 2, 2)
    draw_unpaired(root, "val", 1, 1)
    return commands.train(root, root, "cycle_gan", "--save_best", "cycle_L1")


@pytest.fixture
def continue_with(trained: Path, tmp_path: Path) -> Callable[[dict[str, Any]], None]:
    """Return a function that continues the run from a state of one's own."""
    commands.copy_run(trained, tmp_path)
    path = tmp_path / "checkpoints" / "run" / "latest_state.pth"

    def go_on(state: dict[str, Any]) -> None:
        save_state(state, path)
        argv = ["--name", "run", "--checkpoints_dir", str(path.parent.parent)]
        commands.script("train", [*argv, "--continue_train"])

    return go_on


def changed(trained: Path, place: str, *value: Any) -> dict[str, Any]:
    """Return the run's state with another value at `a.b.c`, or without that entry."""
    state = copy.deepcopy(checkpoint.load_state(trained / "latest_state.pth"))
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = reduce(lambda nest, key: nest[key], way, state)
    if value:
        inner[last] = value[0]
    else:
        del inner[last]
    return state


WRONG = [
    ("options", (), "it has no options"),
    ("options.epoch_count", ("1",), "it has a str as options.epoch_count"),
    ("model", (), "it has no model"),
    ("model", ([],), "it has a list as model"),
    ("progress", ({},), "it has no progress.epoch, no progress.epoch_images"),
    ("progress.epoch", ("2",), "it has a str as progress.epoch"),
    ("random", (), "it has no random"),
    ("random.torch", ([1],), "it has a list as random.torch"),
    ("data.order_seed", (), "it has no data.order_seed"),
    ("epoch_loss.sum", ("x",), "it has a str as epoch_loss.sum"),
    ("visualizer", (None,), "it has a NoneType as visualizer"),
    ("best.value", ("x",), "it has a str as best.value"),
    ("loss_means.sums", (), "it has no loss_means.sums"),
    # What only the parts themselves know.
    ("model.optimizers", (), "it lacks 'optimizers'"),
    ("model.optimizers", (3,), "no len()"),
    ("model.optimizers.0", ({},), "it lacks 'param_groups'"),
    ("model.schedulers.0", ({},), "it lacks 'last_epoch'"),
    ("model.image_pools.fake_A_pool", ({},), "it lacks 'images'"),
    ("model.metric", ("much",), "could not convert string to float"),
    ("random.python", ([],), "not enough values to unpack"),
    ("random.numpy", (["MT19937", [1], 0, 0, 0.0],), ""),
    ("random.torch", (torch.zeros(3),), ""),
    ("visualizer.last_moment", ([1],), "not enough values to unpack"),
]


@pytest.mark.parametrize(("place", "value", "said"), WRONG, ids=[place for place, _, _ in WRONG])
def test_a_state_that_cannot_be_used_is_named_with_what_is_wrong(
    trained: Path,
    continue_with: Callable[[dict[str, Any]], None],
    place: str,
    value: tuple[Any, ...],
    said: str,
) -> None:
    with pytest.raises(CheckpointError) as caught:
        continue_with(changed(trained, place, *value))
    message = str(caught.value)
    assert "latest_state.pth is no training state that can be continued: " in message
    assert said in message
    assert "Delete it to continue with the networks alone." in message


@pytest.mark.parametrize("place", ["best", "loss_means"])
def test_what_later_versions_added_may_be_missing(
    trained: Path,
    continue_with: Callable[[dict[str, Any]], None],
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    continue_with(changed(trained, place))
    assert "Nothing left to do: epoch 1 of 1 is done." in capsys.readouterr().out
