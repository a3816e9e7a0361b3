"""A command line as options and what follows each of them."""

import re
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Also those that programs for text put in the place of hyphens.
DASHES = "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
# A value, not a flag: a number, or several of which the first one is negative (--value_range).
NEGATIVE_NUMBER = re.compile(rf"[{DASHES}](\d+\.?|\d*\.\d+)(e[-+]?\d+)?(,[-+.\de]+)*")


def allow_negative_ranges(parser: ArgumentParser) -> None:
    """Let a parser take -1000,3000 for a value: by itself argparse knows single numbers alone."""
    parser._negative_number_matcher = re.compile(rf"{NEGATIVE_NUMBER.pattern}$")


class Piece(NamedTuple):
    """An option as it is written, and the words up to the next one."""

    flag: str  # nothing for words before all options
    values: list[str]
    equals: bool = False  # the first value is in the same word, behind "="

    def words(self) -> list[str]:
        """Return the words as they stand on the command line."""
        if self.equals:
            return [f"{self.flag}={self.values[0]}", *self.values[1:]]
        return [self.flag, *self.values] if self.flag else self.values


def pieces(words: Iterable[str]) -> Sequence[Piece]:
    """Take a command line apart."""
    found = [Piece("", [])]
    for word in words:
        if is_flag(word):
            flag, equals, value = word.partition("=")
            found.append(Piece(flag, [value] if equals else [], bool(equals)))
        else:
            found[-1].values.append(word)
    return found if found[0].values else found[1:]


def is_flag(word: str) -> bool:
    """Tell whether a word is meant as an option, not as the value of one."""
    return len(word) > 1 and word[0] in DASHES and not NEGATIVE_NUMBER.fullmatch(word)
