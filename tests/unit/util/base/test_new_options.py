"""Options that the original does not have, and plugins that use their names."""

from argparse import ArgumentParser, Namespace

import pytest

from util.base.new_options import (
    DEFAULTS,
    OURS,
    NewOption,
    keep_ours,
    new_option,
    set_new_option,
)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_namespace_without_the_option_gives_its_default(name: str) -> None:
    assert new_option(Namespace(), name) == DEFAULTS[name]


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_set_is_returned(name: str) -> None:
    opt = Namespace()
    set_new_option(opt, name, "set")
    assert (new_option(opt, name), vars(opt)) == ("set", {name: "set"})


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_plugins_option_is_neither_read_nor_set(name: str) -> None:
    opt = Namespace(**{name: "theirs"})
    keep_ours(opt, [name])
    assert new_option(opt, name) == DEFAULTS[name]
    copied = Namespace(**vars(opt))
    set_new_option(copied, name, "ours")
    assert (new_option(copied, name), getattr(copied, name)) == ("ours", "theirs")
    assert new_option(opt, name) == DEFAULTS[name], "the copy must not change the original"


def test_nothing_is_noted_where_nothing_is_taken() -> None:
    opt = Namespace()
    keep_ours(opt, [])
    assert not hasattr(opt, OURS)


def test_any_parser_takes_the_defaults_from_the_table() -> None:
    parser = ArgumentParser()
    parser.add_argument("--deterministic", action=NewOption)
    parser.add_argument("--accumulate", action=NewOption)
    assert vars(parser.parse_args([])) == {"deterministic": False, "accumulate": 1}
    given = parser.parse_args(["--deterministic", "--accumulate", "3"])
    assert vars(given) == {"deterministic": True, "accumulate": 3}
