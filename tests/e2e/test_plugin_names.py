"""train.py and test.py with plugins that use our names for things of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.commands import names
from tests.unit.models.test_names import new_names
from util.display.sinks.jsonl import read_losses

MEANINGS = {
    "int": "    {name} = 3",
    "no arguments": "    def {name}(self):\n        return 'mine'",
    "two": "    def {name}(self, one, two):\n        return 'mine'",
}


def losses_of(run: Path) -> list[dict[str, float]]:
    """Return all losses of a run."""
    return [record["losses"] for record in read_losses(run / "losses.jsonl")]


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix", "foo"])
def test_plugins_with_our_names_train_and_test(
    kind: str,
    meaning: str,
    pairs: Path,
    unpaired: Path,
    tmp_path: Path,
    add_plugins: Callable[[Path], None],
) -> None:
    known = {"cycle_gan": "CycleGANModel", "pix2pix": "Pix2PixModel", "foo": "FooModel"}[kind]
    body = "\n".join(MEANINGS[meaning].format(name=name) for name in new_names())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own_model.py").write_text(
        f"from models.{kind}_model import {known}\n\n\nclass OwnModel({known}):\n{body}\n"
    )
    add_plugins(commands.THIRD_PARTY)
    add_plugins(tmp_path)
    root = unpaired if kind == "cycle_gan" else pairs
    more = ("--print_freq", "1", "--seed", "3", "--lr_policy", "plateau")
    wanted = commands.train(tmp_path / "wanted", root, kind, *more)
    run = commands.train(tmp_path / "found", root, "own", *more)
    first, *_ = losses_of(wanted)
    assert losses_of(run)[0] == pytest.approx(first, rel=1e-4)
    assert names(run, "*.pth") == names(wanted, "*.pth")
    mode = ("--dataset_mode", "unaligned") if kind == "cycle_gan" else ()
    results = commands.test(tmp_path / "found", root, "own", *mode)
    assert names(results / "images")
