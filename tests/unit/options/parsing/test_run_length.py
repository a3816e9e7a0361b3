"""What a run is counted in: what is given wins over what a model has as its default."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.options.test_base_options import Plugin, model
from util.base.new_options import new_option
from util.training.length import InEpochs, InSteps, Length

Capture = pytest.CaptureFixture[str]
TRAINED = "parser.set_defaults(total_steps=100000, decay_steps=0, val_steps=500)"


@pytest.fixture
def length(parse: Any, plugin: Plugin) -> Callable[..., Length]:
    """Return a function that gives the length of a run of a model that counts steps itself."""
    plugin("mine_model", model("Mine", TRAINED))
    return lambda *words: Length.of(parse.train("--model", "mine", *words))


def test_a_model_may_count_its_runs_in_steps(length: Callable[..., Length]) -> None:
    assert length() == InSteps(100000, 0, val_steps=500)
    assert length("--total_steps", "60") == InSteps(60, 0, val_steps=500)
    assert length("--decay_steps", "1000") == InSteps(99000, 1000, val_steps=500)
    assert length("--total_steps", "0") == InEpochs(100, 100)


def test_epochs_that_are_given_win_over_the_steps_of_a_model(
    length: Callable[..., Length], capsys: Capture
) -> None:
    assert length("--n_epochs", "3") == InEpochs(3, 100)
    told = "--n_epochs 3 counts the run in epochs, in the place of --total_steps 100000.\n"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--val_steps 5", "--val_steps 5 needs --total_steps"),
        ("--decay_steps 0", "--decay_steps 0 needs --total_steps"),
        ("--total_steps 9 --n_epochs_decay 0", "--n_epochs_decay 0 and --total_steps 9 contradict"),
        ("--total_steps 9 --epoch_count 2", "--epoch_count 2 and --total_steps 9 contradict"),
        ("--total_steps 9 --decay_steps 10", "--decay_steps 10 is more than --total_steps 9"),
        ("--total_steps -1", "--total_steps -1 cannot work: it must be 0 or more"),
        ("--total_steps 9 --val_steps -1", "--val_steps -1 cannot work: it must be 0 or more"),
        (
            "--total_steps 9 --val_steps 3 --val_freq 4 --save_best L1",
            "--val_freq 4 is not reached in epochs 1 to 3",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(parse: Any, words: str, wanted: str) -> None:
    assert wanted in parse.refused(*words.split())


def test_how_many_epochs_there_are_may_not_be_known_yet(parse: Any) -> None:
    opt = parse.train("--total_steps", "9", "--val_freq", "4", "--save_best", "L1")
    assert Length.of(opt).epochs is None


def test_options_of_these_names_may_be_a_plugins_own(parse: Any, plugin: Plugin) -> None:
    plugin("own_model", model("Own", "parser.add_argument('--val_steps', type=float)"))
    opt = parse.train("--model", "own", "--val_steps", "0.5")
    assert (opt.val_steps, new_option(opt, "val_steps")) == (0.5, 0)


def test_the_place_where_a_run_begins_is_said_in_what_it_counts(
    parse: Any, capsys: Capture
) -> None:
    parse.train("--total_steps", "1000", "--epoch", "3")
    said = capsys.readouterr().out
    assert "How long to train is given by --total_steps, 1,000 steps now." in said
