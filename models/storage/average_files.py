"""Averages of weights (`--ema`): whose, where they start, and their files.

`<label>_net_G_ema.pth` stands beside `<label>_net_G.pth` and has the same keys. If that is the file
of a network of the model, which then is called `G_ema`, it has nothing to do with averages.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from models.optimization.averages import Averages, weights_of
from models.storage.names import Model, networks_of
from models.storage.network_files import files_of
from util.base.errors import UserError
from util.base.log import say, warn
from util.base.new_options import new_option, with_ours
from util.base.plugins import own_method
from util.storage import checkpoint, journal
from util.storage.run_folder import RunFolder, label_of
from util.storage.saved_options import read_saved_options


def average_files(model: Model, label: int | str) -> dict[str, Path]:
    """Return where the averages of each network of a save are, or would be, by name."""
    networks = files_of(model, label)
    files = {name: RunFolder.average_file(file) for name, file in networks.items()}
    return {name: file for name, file in files.items() if file not in networks.values()}


# ---- training ------------------------------------------------------------------------------


def begin(model: Model) -> None:
    """Begin the averages that `--ema` asks for, once; where the saved run had them."""
    opt, optimization = model.opt, model._optimization
    decay = new_option(opt, "ema")
    if decay == 0 or optimization.averages is not None:
        return
    starts, nets = _starts(model), networks_of(model)
    averages = Averages(decay, {name: nets[name] for name in starts})
    optimization.averages = averages
    if opt.continue_train:
        load(model, label_of(opt.load_iter, opt.epoch))
    elif not new_option(opt, "pretrained"):
        for name, start in starts.items():
            averages.start(name, start)
    unused = ", which --no_ema leaves unused" if new_option(opt, "no_ema") else ""
    text = f"averages of {', '.join(starts)} (--ema {decay}{unused})"
    optimization.notes.append(lambda: text)


def _starts(model: Model) -> Mapping[str, nn.Module]:
    """Return the networks to average, with the modules in whose weights the averages start.

    Raises:
        UserError: there are none, or they cannot have averages.
    """
    nets, kind = networks_of(model), type(model).__name__
    method = own_method(model, "averaged_networks", arguments=0)
    starts = {name: net for name, net in nets.items() if name.startswith("G")}
    whose = "networks whose name begins with G"
    if method is not None:
        found = method()
        if _are_modules(found):
            starts, whose = dict(found), "what averaged_networks() returns"
        else:
            warn(
                f"{kind}.averaged_networks() returns something else than networks by name (see "
                f"BaseModel): --ema averages the {whose}."
            )
    if not starts.keys() & nets.keys() or starts.keys() - nets.keys():
        raise UserError(
            f"--ema averages {whose}: {', '.join(starts) or 'none'} here. The networks of {kind} "
            f"are {', '.join(nets)}. Leave --ema out, or let averaged_networks() return some of "
            "these (see BaseModel)."
        )
    for name, start in starts.items():
        _check(model, name, nets[name], start)
    return starts


def _are_modules(found: object) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(net, nn.Module) for name, net in found.items()
    )


def _check(model: Model, name: str, net: nn.Module, start: nn.Module) -> None:
    kind = type(model).__name__
    if list(map(_shape, weights_of(net))) != list(map(_shape, weights_of(start))):
        raise UserError(
            f"{kind}.averaged_networks() returns another kind of network as {name} than "
            f"self.net{name}. Return that network, or a copy of it with other weights."
        )
    if name not in average_files(model, "latest"):
        raise UserError(
            f"--ema cannot keep averages of {name} under the name {name}_ema, since {kind} has a "
            "network of that name. Leave --ema out, or let averaged_networks() return others (see "
            "BaseModel)."
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def load(model: Model, label: int | str) -> None:
    """Bring averages to where they were saved; if they were not, to the weights, and say so."""
    averages = model._optimization.averages
    if averages is None:
        return
    files = average_files(model, label)
    saved = [name for name in averages.nets if journal.exists(files[name])]
    if missing := [name for name in averages.nets if name not in saved]:
        for name in missing:
            averages.start(name, averages.nets[name])
        listed = ", ".join(missing)
        say(f"No averages of {listed} are saved for {label}: they start from the weights there.")
    if not saved:
        return
    with checkpoint.open_save([files[name] for name in saved]) as opened, averages.in_use():
        for name in saved:
            say(f"loading averages of {name} from {files[name]}")
            checkpoint.load_network(averages.nets[name], files[name], file=opened[files[name]])
            averages.start(name, averages.nets[name])


def states(model: Model, label: int | str) -> dict[Path, object]:
    """Return the networks with their averages, as state dicts on the CPU, by file."""
    averages = model._optimization.averages
    if averages is None:
        return {}
    files = average_files(model, label)
    with averages.in_use():
        return {files[name]: checkpoint.cpu_state_dict(net) for name, net in averages.nets.items()}


def outdated(model: Model, label: int | str) -> list[Path]:
    """Return files that do not belong to a save of now: averages that have ended in this run."""
    averages, files = model._optimization.averages, average_files(model, label)
    ended = model._optimization.ended_averages - (averages.nets.keys() if averages else set())
    return [file for name, file in files.items() if name in ended]


# ---- testing -------------------------------------------------------------------------------


def use(model: Model) -> None:
    """Fill the networks with the averages of the save that was loaded, and say so.

    Not with `--no_ema`, nor if the run was trained without `--ema`: a model of somebody may keep
    other things under such names.
    """
    nets, label = networks_of(model), label_of(model.opt.load_iter, model.opt.epoch)
    files = {
        name: file
        for name, file in average_files(model, label).items()
        if name in nets and journal.exists(file)
    }
    if not files:
        return
    if new_option(model.opt, "no_ema"):
        say(f"--no_ema: the last weights of {', '.join(files)}, not their averages")
        return
    record, saved = read_saved_options(RunFolder(model.save_dir))
    if saved and not _has_averages(saved):
        listed = ", ".join(file.name for file in files.values())
        say(f"{listed}: left alone, since {record} says that the run has no averages (--ema)")
        return
    with checkpoint.open_save(list(files.values())) as opened:
        for name, file in files.items():
            say(f"loading averages of {name} from {file} (--no_ema: its last weights)")
            checkpoint.load_network(nets[name], file, file=opened[file])


def file_in_use(network: Path, saved: Mapping[str, object]) -> Path:
    """Return the file that tests load for a network: its averages, where the run has them.

    `saved` are the options of the training, or nothing.
    """
    averages = RunFolder.average_file(network)
    is_known = not saved or _has_averages(saved)
    return averages if is_known and journal.exists(averages) else network


def _has_averages(saved: Mapping[str, object]) -> bool:
    """Tell whether a run was trained with `--ema`, by its options: text, or values of JSON."""
    try:
        return float(str(with_ours(saved).get("ema", 0))) > 0
    except ValueError:  # an option of a plugin
        return False
