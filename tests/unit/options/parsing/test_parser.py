"""Abbreviations, and options gathered in stages."""

import argparse
import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from options.parsing import parser as questions
from options.parsing.parser import OptionParser
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.base.new_options import NewOption

TRAIN_MODELS = ["cycle_gan", "pix2pix", "colorization", "template"]
PHASES = [(TrainOptions, model) for model in TRAIN_MODELS] + [
    (TestOptions, model) for model in [*TRAIN_MODELS, "test"]
]


class AmbiguousError(Exception):
    """Instead of an exit."""


def raise_instead(message: str) -> NoReturn:
    raise AmbiguousError(message)


def all_options(kind: type[TrainOptions | TestOptions], model: str) -> OptionParser:
    options = kind()
    options.gather_options(["--dataroot", "X", "--model", model])
    assert isinstance(options.parser, OptionParser)
    return options.parser


def only_reference(parser: OptionParser) -> argparse.ArgumentParser:
    """Return a plain parser with the options that the reference has too."""
    plain = argparse.ArgumentParser(add_help=False)
    for action in parser._actions:
        if not isinstance(action, NewOption):
            plain._add_action(copy.copy(action))
    return plain


def meaning(parser: argparse.ArgumentParser, option: str, takes_value: bool) -> object:
    """Return what an abbreviation sets, or that it is ambiguous."""
    try:
        found, rest = parser.parse_known_args([option, "77"] if takes_value else [option])
    except AmbiguousError:
        return "ambiguous"
    changed = vars(parser.parse_known_args([])[0]).items() ^ vars(found).items()
    return sorted({name for name, _ in changed}), rest


@pytest.mark.parametrize(("kind", "model"), PHASES)
def test_every_abbreviation_means_what_it_means_without_the_new_options(
    kind: type[TrainOptions | TestOptions], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = all_options(kind, model)
    plain = only_reference(ours)
    for parser in (ours, plain):
        monkeypatch.setattr(parser, "error", raise_instead)
        for action in parser._actions:
            action.required = False
    tried = 0
    for action in plain._actions:
        if action.dest == "help":
            continue
        for option in action.option_strings:
            for length in range(3, len(option) + 1):
                takes_value = action.nargs != 0
                expected = meaning(plain, option[:length], takes_value)
                assert meaning(ours, option[:length], takes_value) == expected, option[:length]
                tried += 1
    assert tried > 300


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--pre", "none"], "preprocess", "none"),
        (["--model", "pix2pix", "--lam", "5"], "lambda_L1", 5.0),
        (["--model", "pix2pix", "--lambda=5"], "lambda_L1", 5.0),
        (["--model", "pix2pix", "--lambda_", "5"], "lambda_L1", 5.0),
        (["--mod", "pix2pix", "--lambda_L", "5"], "lambda_L1", 5.0),
        (["--model", "cycle_gan", "--lambda_i", "0"], "lambda_identity", 0.0),
        (["--dataset", "aligned"], "dataset_mode", "aligned"),
        (["--batch", "3"], "batch_size", 3),
    ],
)
def test_options_may_be_abbreviated(parse: Any, argv: list[str], name: str, value: object) -> None:
    assert getattr(parse.train(*argv), name) == value


@pytest.mark.parametrize("abbreviation", ["--lambda_gp", "--lambda_g"])
def test_new_options_may_be_abbreviated_where_nothing_else_fits(
    parse: Any, abbreviation: str
) -> None:
    opt = parse.train("--model", "pix2pix", abbreviation, "3")
    assert (opt.lambda_gp, opt.lambda_L1) == (3.0, 100.0)


@pytest.mark.parametrize(
    "argv", [["--lambda", "5"], ["--n_ep", "5"], ["--display", "5"], ["--load", "5"]]
)
def test_an_abbreviation_of_several_reference_options_is_an_error(
    parse: Any, argv: list[str]
) -> None:
    assert "ambiguous" in parse.refused(*argv)


def small_parser() -> OptionParser:
    parser = OptionParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--size", type=int, default=1)
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--name", default="n")
    parser.set_defaults(name="changed")
    return parser


def test_what_is_known_leaves_out_what_is_not_defined_yet_and_what_is_missing() -> None:
    parser = small_parser()
    seen = questions.known(parser, ["--size", "3", "--later", "x", "--help"])
    assert (seen.size, seen.name, seen.root) == (3, "changed", None)


@pytest.mark.parametrize("argv", [["--size", "3"], ["--size", "wrong"]])
@pytest.mark.parametrize("question", [questions.known, questions.given])
def test_no_question_changes_the_parser(question: Callable[..., object], argv: list[str]) -> None:
    def as_it_is() -> str:
        return str([parser._defaults, *(vars(action) for action in parser._actions)])

    parser = small_parser()
    before = as_it_is()
    with suppress(SystemExit):
        question(parser, argv)
    assert as_it_is() == before
    with pytest.raises(SystemExit):
        parser.parse_args(["--size", "1"])  # what is required still is


class AddToDefault(argparse.Action):
    """As some plugins have it: the list that is the default gets longer."""

    def __call__(self, _: Any, namespace: argparse.Namespace, value: Any, flag: Any = None) -> None:
        getattr(namespace, self.dest).append(value)


def test_a_question_leaves_the_defaults_of_others_as_they_are() -> None:
    parser = small_parser()
    parser.add_argument("--each", action=AddToDefault, default=[])
    argv = ["--root", "r", "--each", "a"]
    assert questions.known(parser, argv).each == ["a"]
    assert parser.parse_args(argv).each == ["a"]


def test_a_question_needs_none_of_a_group_of_which_one_is_required() -> None:
    parser = small_parser()
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--first")
    group.add_argument("--second")
    assert questions.known(parser, ["--size", "3"]).first is None
    assert questions.given(parser, ["--size", "3"]) == {"size"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--root", "r"])


FORMS = {
    "size": [["--size", "1"], ["--size=1"], ["--si", "1"]],
    "flag": [["--flag"], ["--fl"]],
    "name": [["--name", "changed"], ["--na=n"]],
    "root": [["--root", ""]],
}


@given(data=st.data(), names=st.sets(st.sampled_from(sorted(FORMS))))
def test_given_tells_what_stands_on_the_command_line_even_if_it_is_the_default(
    data: st.DataObject, names: set[str]
) -> None:
    argv = ["--unknown", "x"]
    for name in sorted(names):
        argv += data.draw(st.sampled_from(FORMS[name]))
    parser = small_parser()
    assert questions.given(parser, argv) == names
    assert parser.parse_args(["--root", "r"]).name == "changed"  # itself it is as before


def test_the_last_definition_of_an_option_counts() -> None:
    parser = small_parser()
    parser.add_argument("--size", type=str, default="large")
    assert parser.parse_args(["--root", "r"]).size == "large"
    assert parser.parse_args(["--root", "r", "--size", "x"]).size == "x"


def test_errors_show_the_message_and_not_a_page_of_usage(
    parse: Any,
) -> None:
    message = parse.refused("--direction", "atob")
    assert len(message.splitlines()) <= 3
    assert "--help" in message
    assert message.splitlines()[-1].startswith("train.py: error: --direction atob")
