"""Test without guessing: what a training run decided, read from beside its checkpoints.

Taken over are the options that decide the network and the meaning of its channels, and those that
plugins added; not the sizes of images. What the command line gives always wins.
"""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models.architectures.describe import describe_generator
from options.parsing.parser import OptionParser
from util.base.log import say
from util.storage.checkpoint import CheckpointError, load_state

NETWORK_OPTIONS = ("netG", "norm", "ngf", "input_nc", "output_nc", "no_dropout")


def recover(
    opt: Namespace, given: frozenset[str], parser: OptionParser, plugin_options: frozenset[str]
) -> None:
    """Set the options in `opt` that are not `given` to those of the trained run; print each one."""
    folder = Path(opt.checkpoints_dir, opt.name)
    source, trained = read_saved_options(folder, parser)
    if opt.model == "test":
        _choose_generator(opt, given, folder, trained.get("direction"))
        if opt.model_suffix == "_B":  # what went into G_A comes out of G_B
            nc = {"input_nc": "output_nc", "output_nc": "input_nc"}
            trained = {nc.get(name, name): value for name, value in trained.items()}
        wanted: tuple[str, ...] = NETWORK_OPTIONS
    else:
        wanted = (*NETWORK_OPTIONS, "direction")
    values = {name: trained[name] for name in (*wanted, *sorted(plugin_options)) if name in trained}
    report_options(apply_options(opt, given, values), source)
    if not set(NETWORK_OPTIONS) - {"no_dropout"} <= values.keys():
        file = _generator_file(opt, folder)
        inferred = _inferred_options(file)
        missing = {name: value for name, value in inferred.items() if name not in values}
        report_options(apply_options(opt, given, missing), file)
        if inferred and {"no_dropout"}.isdisjoint((*inferred, *values, *given)):
            say(f"{file} does not show whether the U-Net has dropout: --no_dropout decides.")


def read_saved_options(folder: Path, parser: OptionParser) -> tuple[Path, dict[str, Any]]:
    """Return where a run's options were saved, and their values; empty if nowhere.

    `train_opt.json` is ours, `train_opt.txt` the reference's too.
    """
    file = folder / "train_opt.json"
    if file.is_file():
        try:
            saved = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):  # damaged: the text file beside it says the same
            saved = None
        if isinstance(saved, dict):
            return file, dict(_as_given(saved.items(), parser))
    file = folder / "train_opt.txt"
    if file.is_file():
        text = file.read_text(encoding="utf-8", errors="replace")
        return file, dict(_as_given(_parse_option_file(text), parser))
    return file, {}


def _parse_option_file(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, rest = line.partition(": ")
        if colon:
            yield name.strip(), rest.partition("\t[default: ")[0].strip()


def _as_given(saved: Iterable[tuple[str, Any]], parser: OptionParser) -> Iterator[tuple[str, Any]]:
    """Convert saved values as the command line would; what it would not take is left out."""
    known = parser.names()
    for name, value in saved:
        if name not in known or value is None:  # null is infinity, an option's default
            continue
        try:
            converted = parser.value_from_file(name, value)
        except (ValueError, TypeError):
            continue  # written by other software, or by hand: as if it were not there
        yield name, converted


def _choose_generator(
    opt: Namespace, given: frozenset[str], folder: Path, trained_direction: str | None
) -> None:
    """Find the generator that `--model test` means when no `--model_suffix` is given."""
    if "model_suffix" in given or _network_file(opt, folder, "G").is_file():
        return
    backwards = "direction" in given and opt.direction != (trained_direction or "AtoB")
    suffix = "_B" if backwards else "_A"
    if not _network_file(opt, folder, f"G{suffix}").is_file():
        return
    opt.model_suffix = suffix
    opt.direction = "AtoB"  # the images are this generator's input, whatever it was called
    say(f"{folder} has no network G: using G{suffix} (--model_suffix {suffix}).")


def _generator_file(opt: Namespace, folder: Path) -> Path:
    names = [f"G{opt.model_suffix}"] if opt.model == "test" else ["G", "G_A"]
    files = [_network_file(opt, folder, name) for name in names]
    return next((file for file in files if file.is_file()), files[0])


def _network_file(opt: Namespace, folder: Path, name: str) -> Path:
    epoch = f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
    return folder / f"{epoch}_net_{name}.pth"


def _inferred_options(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        state = load_state(file)
    except CheckpointError:
        return {}  # said when the network is loaded, and so is what else may be wrong with it
    architecture = describe_generator(state) if isinstance(state, Mapping) else None
    return architecture.options() if architecture else {}


def apply_options(
    opt: Namespace, given: frozenset[str], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Set those of the values that are not `given`, and return them."""
    taken = {name: value for name, value in values.items() if name not in given}
    for name, value in taken.items():
        setattr(opt, name, value)
    return taken


def report_options(taken: Mapping[str, Any], source: Path) -> None:
    """Print which values were taken from where."""
    if taken:
        listed = ", ".join(f"{name} {value}" for name, value in taken.items())
        say(f"Taken from {source}: {listed}")
