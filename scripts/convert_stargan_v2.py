"""Convert checkpoints of StarGAN v2's published code to a run of this program, and back.

    python scripts/convert_stargan_v2.py DOWNLOADED/100000_nets_ema.ckpt --name afhq \
        --domains cat,dog,wild
    python scripts/convert_stargan_v2.py expr/checkpoints --name afhq --domains cat,dog,wild \
        --dataroot ./datasets/afhq --lambda_ds 2
    python scripts/convert_stargan_v2.py --name afhq --to expr/checkpoints

The published code keeps `<step>_nets.ckpt`, `<step>_nets_ema.ckpt` and `<step>_optims.ckpt`. With
all three, `train.py --name afhq --continue_train` goes on; from `nets_ema` alone, which is what was
published, test.py translates. Options that are not listed here are those of train.py, for the run.
Files are read without running code from them. Exit status: 0 done; 1 not, and why; 2 the command
was wrong.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from models import create_model
from models.architectures import stargan_v2
from models.base_model import BaseModel
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from util.base import rng
from util.base.commands import command, parser_of
from util.base.errors import UserError, run_command
from util.base.log import say
from util.base.new_options import new_option
from util.display.reporter import Reporter
from util.storage.checkpoint import FileSet, load_state, load_state_dict, mismatches, require_save
from util.storage.run_folder import RunFolder, label_of
from util.training.asked import Stateful
from util.training.best import BestEpoch
from util.training.meters import LossMeter
from util.training.progress import Progress
from util.training.saver import Saver, read_state

# The published code's names of networks, by ours, in the order of the optimisers.
THEIRS = {
    "G": "generator", "F": "mapping_network", "E": "style_encoder", "D": "discriminator",
}  # fmt: skip
AVERAGED = ("G", "F", "E")
LANDMARKS = "fan"  # a network that finds faces, for --w_hpf above 0
FILE = re.compile(r"(\d+)_(nets|nets_ema|optims)\.ckpt")
States = dict[str, Any]  # state dicts, of networks or optimisers, by our names
RESTARTS = (
    "What these files do not hold begins anew when the run goes on: random numbers, and the "
    "order of the images."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert as the command line says."""
    args, others = parse(argv)
    if args.to:
        to_published(args)
    else:
        from_published(args, others)


def parse(argv: Sequence[str] | None) -> tuple[Namespace, list[str]]:
    """Return the options, and what is left for train.py's."""
    parser = parser_of(__doc__)
    parser.allow_abbrev = False
    add = parser.add_argument
    add("source", nargs="?", type=Path, help="a folder of the published code, or one file there")
    add("--name", required=True, help="the run")
    add("--checkpoints_dir", default="./checkpoints", help="where runs are saved")
    add("--to", type=Path, metavar="FOLDER", help="convert the run to files of the published code")
    add("--step", type=int, help="which of several checkpoints (the last one); with --to, the step "
        "of a run that does not know its own")  # fmt: skip
    add("--epoch", default="latest", help="with --to: which save of the run")
    add("--domains", default="", help="names of the domains, separated by commas, in the order of "
        "the published code's folders; else they are read from the folders, sorted")  # fmt: skip
    args, others = parser.parse_known_args(argv)
    if (args.source is None) == (args.to is None):
        parser.error("give a folder or a file of the published code, or --to FOLDER.")
    if args.to and others:
        parser.error(f"--to takes no option {others[0]}. --help lists them all.")
    return args, others


# ---- from the published code ----------------------------------------------------------------


def from_published(args: Namespace, others: Sequence[str]) -> None:
    """Make a run of files of the published code."""
    step, files = find_files(args.source, args.step)
    read = {kind: in_our_names(file, kind) for kind, file in files.items()}
    networks = read.get("nets") or read["nets_ema"]
    facts = facts_of(networks, next(iter(files.values())))
    for kind, states in read.items():
        check(files[kind], kind, states, modules(facts))
    options = TrainOptions()
    opt = options.parse([*arguments(args, facts), *others], quiet=True)
    folder = RunFolder(opt.checkpoints_dir, opt.name)
    if folder.contents():
        raise UserError(f"{folder} has a run already. Give another --name, or move it away.")
    folder.path.mkdir(parents=True, exist_ok=True)
    where = {name: getattr(opt, name) for name in ("name", "dataroot", "checkpoints_dir")}
    if read.keys() == {"nets", "nets_ema", "optims"}:
        save_whole(opt, step, read)
        say(f"{folder}: networks, averages and optimisers of step {step}. {RESTARTS}")
        say(f"Go on with:\n  {command('train.py', where, '--continue_train')}")
    else:
        save_networks(folder, read)
        what, missing = in_words(read)
        say(f"{folder}: {what}, of step {step}. {missing}")
    options.result.save()
    say(f"Translate images with:\n  {command('test.py', where)}")


def find_files(source: Path, wanted: int | None) -> tuple[int, dict[str, Path]]:
    """Return a step, and its files by kind.

    Raises:
        UserError: there are no such files, or none of networks.
    """
    named = FILE.fullmatch(source.name)
    if source.is_file() and named is None:
        raise UserError(
            f"{source} is not called as the published code does, such as 100000_nets_ema.ckpt. "
            "Rename it: the number is its step."
        )
    folder = source.parent if source.is_file() else source
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(folder.glob("*.ckpt")):
        if match := FILE.fullmatch(file.name):
            found.setdefault(int(match[1]), {})[match[2]] = file
    if not found:
        raise UserError(f"{source} has no files such as 100000_nets_ema.ckpt. Check the path.")
    step = int(named[1]) if named and source.is_file() else max(found)
    step = step if wanted is None else wanted
    if not found.get(step, {}).keys() & {"nets", "nets_ema"}:
        raise UserError(
            f"{folder} has no networks of step {step}: it has {', '.join(map(str, found))}."
        )
    return step, found[step]


def in_our_names(file: Path, kind: str) -> States:
    """Read a file; return state dicts by our names.

    Raises:
        UserError: it is no such file.
    """
    found = load_state(file)
    wanted = AVERAGED if kind == "nets_ema" else tuple(THEIRS)
    names = [THEIRS[name] for name in wanted]
    there = set(found) if isinstance(found, dict) else set()
    if missing := [name for name in names if name not in there]:
        raise UserError(
            f"{file} is no {kind} of StarGAN v2: it has no {', '.join(missing)}. Check which file "
            "you gave."
        )
    if strange := sorted(map(str, there - {*names, LANDMARKS})):
        raise UserError(
            f"{file} holds what StarGAN v2 does not have: {', '.join(strange)}. Check which file "
            "you gave."
        )
    if LANDMARKS in there:
        say(f"{file}: {LANDMARKS} is left out. It finds faces; here --masks MODULE:FUNCTION does.")
    return {name: found[THEIRS[name]] for name in wanted}


def facts_of(networks: States, file: Path) -> dict[str, Any]:
    """Return the options that the shapes of networks tell.

    Raises:
        UserError: they are none of StarGAN v2's.
    """
    try:
        of_g, of_f, of_e = (networks[name] for name in AVERAGED)
        edges = of_g["hpf.filter"][1, 1].item() if "hpf.filter" in of_g else 0
        size = 2 ** (_count(of_g, "encode") + (1 if edges else 2))
        return {
            "crop_size": size,
            "ngf": max(1, len(of_g["from_rgb.weight"]) * size // 256),
            "ndf": max(1, len(of_e["shared.0.weight"]) * size // 256),
            "latent_dim": of_f["shared.0.weight"].shape[1],
            "style_dim": of_f["unshared.0.6.weight"].shape[0],
            "num_domains": _count(of_f, "unshared"),
            "w_hpf": 8 / edges if edges else 0.0,
        }
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{file} holds other networks than StarGAN v2's ({error}). Check which file you gave."
        ) from error


def _count(state: Mapping[str, Tensor], layers: str) -> int:
    return 1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"{layers}."))


def modules(facts: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return networks without memory: their keys and shapes are those that files must have."""
    size, style, count = (facts[name] for name in ("crop_size", "style_dim", "num_domains"))
    with torch.device("meta"):
        return {
            "G": stargan_v2.Generator(size, style, w_hpf=facts["w_hpf"], ngf=facts["ngf"]),
            "F": stargan_v2.MappingNetwork(facts["latent_dim"], style, count),
            "E": stargan_v2.StyleEncoder(size, style, count, ndf=facts["ndf"]),
            "D": stargan_v2.Discriminator(size, count, ndf=facts["ndf"]),
        }


def check(file: Path, kind: str, states: States, nets: Mapping[str, nn.Module]) -> None:
    """Raise a UserError if a file's state dicts do not fit the networks, or their optimisers."""
    problems = optimizer_problems if kind == "optims" else network_problems
    for name, state in states.items():
        if problem := next(problems(state, nets[name]), None):
            raise UserError(
                f"{file}: {THEIRS[name]} does not fit StarGAN v2's networks: {problem}. Check "
                "which file you gave."
            )


def network_problems(state: object, net: nn.Module) -> Iterator[str]:
    """Yield what is wrong with a network's state dict."""
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        yield "it is no state dict (tensors by name)"
        return
    yield from mismatches(state, net.state_dict())


def optimizer_problems(state: Any, net: nn.Module) -> Iterator[str]:
    """Yield what is wrong with the state of an Adam optimiser."""
    shapes = [parameter.shape for parameter in net.parameters()]
    try:
        (group,) = state["param_groups"]
        if list(group["params"]) != list(range(len(shapes))):
            yield f"it is of {len(group['params'])} parameters instead of {len(shapes)}"
        for number, moments in state["state"].items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != shapes[number]:
                    yield f"{name} of parameter {number} has not the shape {tuple(shapes[number])}"
    except (LookupError, TypeError, ValueError, AttributeError):
        yield "it is no state of an Adam optimiser"


def arguments(args: Namespace, facts: Mapping[str, Any]) -> list[str]:
    """Return the command line of a run with these networks."""
    known = {
        "model": "stargan_v2", "name": args.name, "checkpoints_dir": args.checkpoints_dir,
        "dataroot": f"./datasets/{args.name}", "domains": args.domains, **facts,
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in known.items()]


def save_networks(folder: RunFolder, read: Mapping[str, States]) -> None:
    """Write networks alone; averages stand in for weights that are not there."""
    with FileSet() as save:
        for kind, states in read.items():
            for name, state in states.items() if kind != "optims" else ():
                file = folder.network_file("latest", name)
                is_average = kind == "nets_ema" and "nets" in read
                save.add(RunFolder.average_file(file) if is_average else file, state)


def in_words(read: Mapping[str, States]) -> tuple[str, str]:
    """Return what is converted without a training state, and what is missing."""
    if "nets" not in read:
        return (
            "G, F and E by their averages",
            "To go on training, D and the optimisers are missing.",
        )
    what = "networks and averages" if "nets_ema" in read else "networks"
    return what, "Without all three files --continue_train begins at step 0, with new optimisers."


class Converted(TrainedModel):
    """A model whose optimisers have a state from elsewhere, which is kept as it is."""

    def __init__(self, model: BaseModel, optimizers: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(model)
        self.optimizers = optimizers

    def training_state(self) -> dict[str, Any]:
        """Return the model's state with that of the optimisers."""
        return super().training_state() | {"optimizers": list(self.optimizers)}


class Nowhere:
    """The place in a data set that nobody knows: none of its images are those of the run."""

    def state_dict(self) -> dict[str, Any]:
        """Return a place that fits no data set."""
        return {"epoch": 1, "seed": None, "order_seed": None, "items": 0, "pictures": {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Never called: a place is written only."""


def save_whole(opt: Namespace, step: int, read: Mapping[str, States]) -> None:
    """Write all that a run needs to go on after so many steps."""
    rng.seed_all(new_option(opt, "seed"))
    opt.gpu_ids, count = [], opt.num_domains  # nothing is computed
    opt.domains = opt.domains or ",".join(f"domain {number}" for number in range(count))
    model: Any = create_model(opt)
    for name, state in read["nets"].items():
        getattr(model, f"net{name}").load_state_dict(state)
    for name, start in model.averaged_networks().items():
        start.load_state_dict(read["nets_ema"][name])
    model.setup(opt)
    model.loss_lambda_ds = weight_after(step, opt.lambda_ds, opt.ds_iter)
    trained = Converted(model, list(read["optims"].values()))
    begun = TrainedModel(model).training_state()
    trained.load_training_state(begun, steps=step, keep_rates=True)  # schedules go there
    parts: dict[str, Stateful] = {
        "progress": place(opt, step), "data": Nowhere(), "visualizer": Reporter([]),
        "best": BestEpoch(),
    }  # fmt: skip
    with Saver(opt, trained, LossMeter(), parts) as saver:
        saver.save("latest")


def weight_after(step: int, initial: float, steps: int) -> float:
    """Return what is left of `--lambda_ds` after so many steps, by the same subtractions."""
    weight = initial
    for _ in range(step):
        if weight <= 0:
            break
        weight -= initial / steps
    return weight


def place(opt: Namespace, step: int) -> Progress:
    """Return where a run stands after so many steps."""
    epochs, steps = divmod(step, new_option(opt, "val_steps") or max(step, 1))
    return Progress(
        epoch=epochs + 1, epoch_images=steps * opt.batch_size, epoch_steps=steps,
        total_images=step * opt.batch_size, step=step,
    )  # fmt: skip


# ---- to the published code ------------------------------------------------------------------


def to_published(args: Namespace) -> None:
    """Write the files of the published code from a run."""
    folder, label = RunFolder(args.checkpoints_dir, args.name), label_of(0, args.epoch)
    require_save(args.checkpoints_dir, args.name, label)
    state = read_state(folder, label)
    step = args.step if state is None else state["progress"]["step"]
    if step is None:
        raise UserError(
            f"{folder} has no training state for {label}, which tells its step: give --step."
        )
    files = files_for(folder, label, state)
    written = {args.to / f"{step:06d}_{kind}.ckpt": states for kind, states in files.items()}
    for file in written:
        if file.exists():
            raise UserError(f"{file} exists already. Move it away, or give another folder.")
    args.to.mkdir(parents=True, exist_ok=True)
    with FileSet() as save:
        for file, states in written.items():
            save.add(file, {THEIRS[name]: each for name, each in states.items()})
    say(f"{args.to}: {', '.join(files)} of step {step}")
    if "hpf.filter" in next(iter(files.values()))["G"]:
        say(f"The published code needs {LANDMARKS} in these files too, which no run here has.")


def files_for(folder: RunFolder, label: str, state: Mapping[str, Any] | None) -> dict[str, States]:
    """Return what the published code's files hold, by kind."""
    nets = _read(folder, label, tuple(THEIRS), averages=False)
    averages = _read(folder, label, AVERAGED, averages=True)
    if not {*AVERAGED} <= nets.keys():
        raise UserError(f"{folder} is no run of StarGAN v2: it has no networks G, F and E.")
    facts_of(nets, folder.path)
    if "D" not in nets:  # a run that was made of averages
        return {"nets_ema": nets}
    files = {"nets": nets}
    files |= {"nets_ema": averages} if averages else {}
    if state is not None:
        optimizers = map(plain_optimizer, state["model"]["optimizers"])
        files["optims"] = dict(zip(THEIRS, optimizers, strict=True))
    return files


def _read(folder: RunFolder, label: str, names: Sequence[str], *, averages: bool) -> States:
    found = {name: folder.network_file(label, name) for name in names}
    if averages:
        found = {name: RunFolder.average_file(file) for name, file in found.items()}
    return {name: load_state_dict(file) for name, file in found.items() if file.is_file()}


def plain_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state without what only this program does."""
    groups = [dict(group) for group in state["param_groups"]]
    for group in groups:
        group.pop("initial_lr", None)  # of schedules
        if "fused" in group:
            group["fused"] = None
    return {"state": state["state"], "param_groups": groups}


if __name__ == "__main__":
    sys.exit(run_command(main))
