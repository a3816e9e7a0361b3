"""Command lines from 2017 to 2019 in the names that options have today."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from options.parsing.pieces import Piece, pieces
from util.base.plugins import available
from util.storage.old_names import OLD_NAMES, OLD_SWITCHES, OLD_VALUES

# What test.py took too, and did nothing with.
TRAINING_ONLY = ("display_id", "display_server", "display_env", "display_port")


class Translation(NamedTuple):
    """A command line in the names of today."""

    words: list[str]
    values: dict[str, Any]  # of options that no word sets; one that does comes before them
    notes: list[str]  # a line for each old name


def translate(
    words: Sequence[str], has: Callable[[str], bool], understands: Callable[[str], bool]
) -> Translation:
    """Say a command line in the names of today.

    What a parser `understands`, be it as an abbreviation, is no old name: plugins may use each of
    them. Nor is one whose new name the parser does not have: that stays, and is an error there.
    """
    told = Translation([], {}, [])
    for piece in pieces(words):
        flag, name = piece.flag, piece.flag.removeprefix("--")
        is_old = flag != name and not understands(flag)
        if is_old and name in OLD_SWITCHES and has(f"--{OLD_SWITCHES[name][0]}"):
            option, value, _ = OLD_SWITCHES[name]
            told.values[option] = value
            told.words[:0] = piece.values  # which it does not take: they belong to no option
            meaning = f"the opposite of --{option}" if value is False else f"--{option} {value}"
            told.notes.append(f"{flag} is {meaning} now.")
        elif is_old and name in TRAINING_ONLY:
            told.words[:0] = piece.values[1:]
            told.notes.append(f"{flag} is for train.py: it is not used here.")
        else:
            today = piece
            if is_old or name not in OLD_NAMES:  # else it is a plugin's
                today = piece._replace(values=_values_today(name, piece.values))
            if is_old and has(new := f"--{OLD_NAMES.get(name, '')}"):
                today = today._replace(flag=new)
            told.words.extend(today.words())
            told.notes.extend(_note(piece, today))
    return told._replace(notes=list(dict.fromkeys(told.notes)))


def _values_today(name: str, values: list[str]) -> list[str]:
    """Replace a value that is called otherwise now, unless a model of somebody is called so."""
    new = OLD_VALUES.get(name, {}).get(values[0]) if values else None
    if new is None or (name == "model" and values[0] in available("models", "model")):
        return values
    return [new, *values[1:]]


def _note(piece: Piece, today: Piece) -> Iterator[str]:
    if today.values != piece.values:
        old, new = (f"{one.flag} {one.values[0] or repr('')}" for one in (piece, today))
        yield f"{old} is called {new} now."
    elif today.flag != piece.flag:
        yield f"{piece.flag} is called {today.flag} now."
