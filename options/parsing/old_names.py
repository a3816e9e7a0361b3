"""Names that options had from 2017 to 2019, for command lines and option files from then."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from options.parsing.pieces import Piece, pieces
from util.base.plugins import available

OLD_NAMES: Mapping[str, str] = {
    "which_model_netG": "netG", "which_model_netD": "netD",
    "which_direction": "direction", "which_epoch": "epoch",
    "loadSize": "load_size", "fineSize": "crop_size", "resize_or_crop": "preprocess",
    "batchSize": "batch_size", "nThreads": "num_threads", "device_ids": "gpu_ids",
    "niter": "n_epochs", "niter_decay": "n_epochs_decay",
    "how_many": "num_test", "ntest": "num_test",
    "identity": "lambda_identity",
    "lambda_A": "lambda_L1",  # of pix2pix; CycleGAN has its own
    "display_single_pane_ncols": "display_ncols",
}  # fmt: skip

# Values that an option had under the name that it had then.
OLD_VALUES: Mapping[str, Mapping[str, str]] = {
    "model": {"one_direction_test": "test"},
    "resize_or_crop": {"": "none"},
    "lr_policy": {"lambda": "linear"},
}

# Switches that are a value of another option now: that option, its value with and without them.
OLD_SWITCHES: Mapping[str, tuple[str, Any, Any]] = {
    "no_lsgan": ("gan_mode", "vanilla", "lsgan"),
    "align_data": ("dataset_mode", "aligned", "unaligned"),
    "use_dropout": ("no_dropout", False, True),
}

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


def with_old_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, and those that had another name under that one too."""
    return {old: values[new] for old, new in OLD_NAMES.items() if new in values} | dict(values)


def in_names_of_today(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an option file says, old names also as those of today, unless it has both."""
    values = {name: OLD_VALUES.get(name, {}).get(str(it), it) for name, it in saved.items()}
    switches = {
        new: with_it if str(saved[old]) == "True" else without_it
        for old, (new, with_it, without_it) in OLD_SWITCHES.items()
        if old in saved
    }
    older = {OLD_NAMES[name]: value for name, value in values.items() if name in OLD_NAMES}
    return {**switches, **older, **values}
