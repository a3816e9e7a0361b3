"""Test without guessing: what the training run decided, unless the command line gives it.

These are the network, the meaning of its channels and of their values, and plugins' options; not
sizes of images.
"""

import os
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.base_dataset import LAYOUTS, layout_of
from data.checks.folders import PHASES, phase_folders
from models.architectures.describe import describe_generator
from options.parsing.parser import given, known, names, value_from_file
from util.base.log import say, warn
from util.base.plugins import available
from util.storage.checkpoint import CheckpointError, load_state_dict
from util.storage.old_names import in_names_of_today
from util.storage.run_folder import RunFolder, label_of
from util.storage.saved_options import read_saved_options

NETWORK_OPTIONS = ("netG", "norm", "ngf", "input_nc", "output_nc", "no_dropout")


def repeated_arguments(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Return which model test.py runs where the command line leaves that open; print the choice.

    The folder of a whole data set is tested with the model and the data set of the run, a folder
    of images with `--model test`. The arguments are to stand before `argv`.
    """
    opt = known(parser, argv)
    is_open = parser.get_default("model") == "test" and not _names_model(parser, argv)
    if is_open and os.path.isfile(opt.dataroot or ""):
        say(f"--model test, since {opt.dataroot} is a file. For a list of pairs, give --model.")
    if not is_open or not os.path.isdir(opt.dataroot or ""):
        return []
    saved: dict[str, Any] = {}
    if not opt.suffix:  # else the name is not known before all options are
        _, saved = read_saved_options(RunFolder(opt.checkpoints_dir, opt.name))
        saved = in_names_of_today(saved)
    model, dataset = (str(saved.get(name, "")) for name in ("model", "dataset_mode"))
    if "dataset_mode" in given(parser, argv, so_far=True) and opt.dataset_mode != dataset:
        return []
    if not _is_whole_data_set(opt, dataset, saved.get("dataroot")):
        say(f"--model test, since {opt.dataroot} is taken as a folder of images.")
        return []
    if model in ("", "test") or not dataset:
        warn(
            f"{opt.dataroot} has the folders of a data set, and all images in them will be "
            f"translated, since nothing tells what {opt.name} was trained as. Give --model, or "
            "one of the folders."
        )
        return []
    say(
        f"--model {model} --dataset_mode {dataset}, as in training, since {opt.dataroot} is the "
        "folder of a data set; --model test would translate every image in it."
    )
    return [f"--model={model}", f"--dataset_mode={dataset}"]


def _names_model(parser: ArgumentParser, argv: Sequence[str]) -> bool:
    """Tell whether the command line gives `--model`, or an option that only `test` has."""
    flags = [argument.partition("=")[0] for argument in argv]
    is_of_test = any(f.startswith("--model_") and "--model_suffix".startswith(f) for f in flags)
    if is_of_test or "--model" in flags:
        return True
    # What abbreviates it may be an option of the run's model: its value tells.
    is_given = "model" in given(parser, argv, so_far=True)
    return is_given and known(parser, argv).model in available("models", "model")


def _is_whole_data_set(opt: Namespace, dataset_mode: str, trained_on: Any) -> bool:
    """Tell whether `--dataroot` has folders of phases, or is what the run was trained on."""
    if dataset_mode == "single":
        return False
    if trained_on and os.path.realpath(opt.dataroot) == os.path.realpath(str(trained_on)):
        return True
    layouts = LAYOUTS.get(dataset_mode, ())  # of which there may be lists instead of folders
    return bool(
        phase_folders(opt.dataroot, dataset_mode, (opt.phase, *PHASES))
        or layout_of(opt.dataroot, opt.phase, layouts)
    )


def recover(
    opt: Namespace, given: frozenset[str], parser: ArgumentParser, more: frozenset[str]
) -> None:
    """Set the options in `opt` that are not `given` to those of the trained run; print each one.

    These are what decides built-in networks, and `more`: plugins' options, and what models declare.
    """
    run = RunFolder(opt.checkpoints_dir, opt.name)
    source, saved = read_saved_options(run)
    trained = as_given(saved, parser)
    wanted: tuple[str, ...] = (*NETWORK_OPTIONS, "value_range", "direction")
    if opt.model == "test":
        wanted = (*NETWORK_OPTIONS, "value_range")
        _choose_generator(opt, given, run, trained.get("direction"))
        if opt.direction == "BtoA" and _generator_file(opt, run).is_file():
            opt.direction = "AtoB"  # images are what the generator takes, whatever it is called
        if opt.model_suffix == "_B":  # what went into G_A comes out of G_B
            nc = {"input_nc": "output_nc", "output_nc": "input_nc"}
            trained = {nc.get(name, name): value for name, value in trained.items()}
            if trained.get("value_range"):
                trained["value_range"] = trained["value_range"][::-1]
    values = {name: trained[name] for name in (*wanted, *sorted(more)) if name in trained}
    set_options(opt, given, values, source)
    if not set(NETWORK_OPTIONS) - {"no_dropout"} <= values.keys():
        file, decided = _generator_file(opt, run), given | values.keys()
        inferred = _inferred_options(file)
        set_options(opt, decided, inferred, file)
        if inferred and "no_dropout" not in decided | inferred.keys():
            say(f"{file} does not show whether the U-Net has dropout: --no_dropout decides.")


def as_given(saved: Mapping[str, Any], parser: ArgumentParser) -> dict[str, Any]:
    """Convert saved values as the command line would; what it would not take is left out."""
    known, values = names(parser), {}
    for name, value in in_names_of_today(saved).items():
        if name in known and value is not None:  # null is infinity, an option's default
            with suppress(ValueError, ArgumentError):  # written by other software, or by hand
                values[name] = value_from_file(parser, name, value)
    return values


def _choose_generator(
    opt: Namespace, given: frozenset[str], run: RunFolder, trained_direction: str | None
) -> None:
    """Find the generator that `--model test` means when no `--model_suffix` is given."""
    if "model_suffix" in given or _network_file(opt, run, "G").is_file():
        return
    backwards = "direction" in given and opt.direction != (trained_direction or "AtoB")
    suffix = "_B" if backwards else "_A"
    if _network_file(opt, run, f"G{suffix}").is_file():
        opt.model_suffix = suffix
        say(f"{run} has no network G: using G{suffix} (--model_suffix {suffix}).")


def _generator_file(opt: Namespace, run: RunFolder) -> Path:
    nets = [f"G{opt.model_suffix}"] if opt.model == "test" else ["G", "G_A"]
    files = [_network_file(opt, run, net) for net in nets]
    return next((file for file in files if file.is_file()), files[0])


def _network_file(opt: Namespace, run: RunFolder, net: str) -> Path:
    return run.network_file(label_of(opt.load_iter, opt.epoch), net)


def _inferred_options(file: Path) -> Mapping[str, Any]:
    with suppress(CheckpointError):  # said when the network is loaded, as what else may be wrong
        if file.is_file() and (architecture := describe_generator(load_state_dict(file))):
            return architecture.options()
    return {}


def set_options(
    opt: Namespace, given: frozenset[str], values: Mapping[str, Any], source: Path
) -> None:
    """Set those of the values that are not `given`, and print them and where they come from."""
    taken = {name: value for name, value in values.items() if name not in given}
    vars(opt).update(taken)
    if taken:
        say(f"Taken from {source}: " + ", ".join(f"{name} {taken[name]}" for name in taken))
