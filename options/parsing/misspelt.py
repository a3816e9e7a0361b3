"""What was probably meant by a command line with which no parser can do anything."""

import re
from argparse import Action
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches

from options.parsing.pieces import DASHES, NEGATIVE_NUMBER, Piece, is_flag, pieces
from util.base.new_options import DEFAULTS
from util.storage.old_names import OLD_NAMES

# What options of today are called elsewhere, or thought to be.
ELSEWHERE = {
    "epochs": "n_epochs", "num_epochs": "n_epochs", "learning_rate": "lr",
    "num_workers": "num_threads", "workers": "num_threads", "device": "gpu_ids",
    "total_iters": "total_steps", "max_steps": "total_steps", "iterations": "total_steps",
    "resume": "continue_train", "img_size": "load_size", "image_size": "load_size",
}  # fmt: skip
# Of one command, or of one model; more such names are new or have an older one.
OF_ANOTHER = (
    *("lr", "beta1", "gan_mode", "pool_size", "lr_policy", "lr_decay_iters", "epoch_count"),
    *("display_freq", "print_freq", "update_html_freq", "no_html", "continue_train"),
    *("save_latest_freq", "save_epoch_freq", "save_by_iter"),
    *("results_dir", "aspect_ratio", "eval", "model_suffix"),
    *("lambda_A", "lambda_B", "lambda_regression", "new_dataset_option"),
)
NEAR = 0.75  # of difflib's ratio
VALUE = re.compile(r"-?[\d./~].*")  # that cannot be taken for the rest of an option's name
QUOTES = "\u2018\u2019\u201c\u201d\u201e"  # curly ones, which programs for texts make
CONTINUES_LINE = ("\\", "^", "`")  # in sh, in Windows' two shells; alone it is a word

Meanings = Callable[[str], Sequence[Action]]  # of a flag: none, one, or those it abbreviates


def advice(words: Sequence[str], flags: Collection[str], meanings: Meanings) -> Iterator[str]:
    """Yield a line for each option that does not exist, or has not the values that it takes.

    `flags` are those that exist; without any, nothing is said of those that do not.
    """
    taken_apart = pieces(words)
    following = [*(piece.words()[0] for piece in taken_apart[1:]), ""]
    for piece, next_word in zip(taken_apart, following, strict=False):
        found = meanings(piece.flag)
        broken = [value for value in piece.values if _continues_line(value)]
        if odd := list(typed_by_programs(piece.words())):
            yield from odd
        elif broken:
            yield f"{broken[0]!r}: what continues a line must be its very last character."
        elif not piece.flag:
            yield f"{piece.values[0]} belongs to no option."
        elif piece.flag == "--" and piece.values:
            yield f"-- {piece.values[0]}: no blank belongs behind the hyphens."
        elif len(found) == 1:
            yield from _about_values(piece, found[0], next_word)
        elif not found and flags:
            yield from _about_name(piece, flags)


def typed_by_programs(words: Iterable[str]) -> Iterator[str]:
    """Yield a line for each word that a program for texts, or Windows, has changed."""
    for word in words:
        value = word.partition("=")[2] if is_flag(word) else word
        if word.endswith("\r"):
            yield (
                f"{word!r}: what this stands in has line ends of Windows. Give it those of Unix, "
                "for example with dos2unix."
            )
        elif value and value[0] in QUOTES:
            yield f"{word}: a shell does not know such quotes. Type straight ones, or none."
        elif value and value[0] != "-" and NEGATIVE_NUMBER.fullmatch(value):
            yield f"{word}: this begins with a dash. Type a hyphen: -{value[1:]}."
        elif "\N{NO-BREAK SPACE}" in word and is_flag(word):
            yield f"{word}: there is a no-break space in it. Type an ordinary one."


def near(flag: str, flags: Iterable[str]) -> list[str]:
    """Return the flags that were probably meant, at most two; one with its value if it is glued.

    >>> near("--batch-size", ["--batch_size", "--lr"]), near("--lr.1", ["--batch_size", "--lr"])
    (['--batch_size'], ['--lr .1'])
    """
    there = {name for name in flags if name.startswith("--")}
    others = {name: f"--{new}" for name, new in [*OLD_NAMES.items(), *ELSEWHERE.items()]}
    known = {_plain(name): new for name, new in others.items() if new in there}
    known |= {_plain(name): name for name in there}
    if _plain(flag) in known:
        return [known[_plain(flag)]]
    for start in sorted(there, key=len, reverse=True):
        if flag.startswith(start) and VALUE.fullmatch(value := flag.removeprefix(start).strip()):
            return [f"{start} {value}"]
    close = get_close_matches(_plain(flag), known, cutoff=NEAR)
    return list(dict.fromkeys(known[name] for name in close))[:2]


def _plain(name: str) -> str:
    return name.lstrip(DASHES).replace("-", "").replace("_", "").lower()


def _continues_line(value: str) -> bool:
    return value in CONTINUES_LINE or (value[:1].isspace() and value.strip()[:2] in ("", "--"))


def _about_name(piece: Piece, flags: Collection[str]) -> Iterator[str]:
    name = piece.flag.removeprefix("--")
    if name in OLD_NAMES.values() or name in DEFAULTS or name in OF_ANOTHER:
        yield f"{piece.flag} belongs to another command, or to another --model."
    elif meant := near(piece.flag, flags):
        yield f"{piece.flag}: did you mean {' or '.join(meant)}?"
    elif name in OLD_NAMES:
        yield f"{piece.flag} is called --{OLD_NAMES[name]} now, which is no option here."


def _about_values(piece: Piece, action: Action, next_word: str) -> Iterator[str]:
    flag, values = piece.flag, [value for value in piece.values if value]
    if action.nargs == 0 and values:
        yield f"{flag} takes no value: leave out {' '.join(values)}."
    elif action.nargs is None and not piece.values:
        is_value = next_word and not next_word.startswith("--")
        how = f" If that is the value, write {flag}={next_word}." if is_value else ""
        yield f"{flag} takes a value, but {next_word or 'nothing'} follows.{how}"
    elif action.nargs is None and len(piece.values) > 1:
        yield f"{flag} takes one value: {_as_one(flag, values, action)}"


def _as_one(flag: str, values: Sequence[str], action: Action) -> str:
    """Say how to write what stands in several words."""
    if len(values) < 2:  # a blank behind "="
        return f"write {' '.join([flag, *values])}."
    if action.type in (int, float):
        return f"leave out {' '.join(values[1:])}."
    if all(re.fullmatch(r"-?\d*,?", value) for value in values):
        return f"write {flag} {','.join(value.strip(',') for value in values)}, without blanks."
    return f'if it has blanks in it, put it in quotes: {flag} "{" ".join(values)}".'
