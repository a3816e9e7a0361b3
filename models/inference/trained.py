"""Which file holds the generator that is meant, and what network it was trained as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.architectures.describe import describe_generator
from models.base_model import BaseModel
from models.storage.average_files import file_in_use
from util.base.commands import command
from util.base.errors import UserError
from util.base.new_options import with_ours
from util.base.plugins import find_plugin
from util.images.ranges import ValueRange, ranges_in_and_out
from util.storage import checkpoint
from util.storage.old_names import in_names_of_today
from util.storage.run_folder import NUMBERED, SAVED, RunFolder
from util.storage.saved_options import read_saved_options

DIRECTIONS = ("AtoB", "BtoA")
SUFFIX = ".pth"


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator on disk.

    Attributes:
        name: of the run, or of the file.
        label: of the save: `latest`, `best`, an epoch, `iter_<images>`.
        direction: from which side of the data set to which; empty if nobody knows.
        file: where its weights are: its own, or the averages of `--ema`.
        saved: the options of the training; none if they are not there.
        backwards: it is the generator that undoes what the run was trained for.
    """

    name: str
    label: str
    direction: str
    file: Path
    saved: Mapping[str, Any]
    backwards: bool = False

    def options(self) -> dict[str, Any]:
        """Return the options that decide the network, as it was trained or as its weights tell.

        Raises:
            UserError: neither tells.
        """
        trained = _network_options(self.saved)
        if self.backwards and trained:  # what comes out of the first generator goes in here
            channels = {"input_nc": trained["output_nc"], "output_nc": trained["input_nc"]}
            trained |= channels
        if trained:
            return trained
        described = describe_generator(checkpoint.load_state_dict(self.file))
        if described is None:
            raise UserError(
                f"{self.file} is no generator of this framework, as far as its weights tell, and "
                "there are no options of a training beside it."
            )
        return {"no_dropout": False} | described.options()

    def value_ranges(self) -> tuple[ValueRange | None, ValueRange | None]:
        """Return which stored values are -1 and 1 of what goes in, and of what comes out.

        Raises:
            UserError: the saved options say something else.
        """
        saved = with_ours(self.saved).get("value_range")
        if not isinstance(saved, list):
            return None, None
        try:
            going_in, coming_out = ranges_in_and_out(saved)
        except (ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{self.name} was saved with --value_range {saved}: {error}") from None
        return (coming_out, going_in) if self.backwards else (going_in, coming_out)


def find_generator(
    source: str | Path, checkpoints_dir: str | Path, label: str, direction: str | None
) -> TrainedGenerator:
    """Find the generator of a run, of a folder of checkpoints, or in one `.pth` file.

    Raises:
        UserError: it is not there, or its model needs more than one image to translate.
    """
    if direction not in (None, *DIRECTIONS):
        raise UserError(f"direction {direction!r} is not known: give AtoB or BtoA.")
    path, run = Path(source), RunFolder(checkpoints_dir, str(source))
    if path.suffix == SUFFIX and not run.path.is_dir():
        return _in_file(path, direction)
    if not run.path.is_dir():
        is_folder = path.is_dir()
        run = RunFolder(path) if is_folder else checkpoint.require_run(checkpoints_dir, str(source))
    saved = _saved_options(run)
    generators = _generators_of(run, saved, label)
    forwards = _direction_of(saved, generators) or direction or ""
    backwards = direction not in (None, forwards)
    if backwards and len(generators) == 1:
        raise UserError(
            f"{run} was trained with --direction {forwards}, and has no generator for {direction}. "
            "Leave the direction out, or train a run the other way round."
        )
    file = file_in_use(run.network_file(label, generators[backwards]), saved)
    name = run.path.resolve().name if run.path == path else str(source)
    return TrainedGenerator(name, label, direction or forwards, file, saved, backwards)


def _in_file(file: Path, direction: str | None) -> TrainedGenerator:
    """Take a file as it is; if it lies among the others of a run, its options are known."""
    run = RunFolder(file.parent)
    label, _, network = file.stem.partition("_net_")
    is_of_run = bool(SAVED.fullmatch(file.name) or NUMBERED.fullmatch(file.name))
    saved = _saved_options(run) if is_of_run else {}
    generators = _generators_of(run, saved, label) if saved else ()
    known = network.removesuffix("_ema")
    backwards = known in generators[1:]
    its = _direction_of(saved, generators)
    if its and backwards:
        its = next(other for other in DIRECTIONS if other != its)
    if direction not in (None, its):
        raise UserError(
            f"{file} holds one generator, {f'for {its}' if its else 'whatever its direction'}: "
            f"direction {direction} cannot be chosen. Leave it out, or give the run's name."
        )
    return TrainedGenerator(str(file), label, its, file, saved, backwards)


def _direction_of(saved: Mapping[str, Any], generators: Sequence[str]) -> str:
    """Return what a run was trained for; empty if nothing tells."""
    default = DIRECTIONS[0] if saved or len(generators) > 1 else ""
    return str(saved.get("direction", default))


def _saved_options(run: RunFolder) -> dict[str, Any]:
    _, saved = read_saved_options(run)
    return in_names_of_today(saved)


def _generators_of(run: RunFolder, saved: Mapping[str, Any], label: str) -> Sequence[str]:
    """Return the networks of a run that translate by themselves: first as in training, then back.

    Without options the files tell, as those of downloaded models.
    """
    model = str(saved.get("model", ""))
    if model in ("", "test"):
        both = "G_A", "G_B"
        return both if any(run.network_file(label, net).is_file() for net in both) else ("G",)
    # A class that is derived from another one may do anything with its networks.
    declared = vars(find_plugin(model, package="models", kind="model", base=BaseModel))
    generators = declared.get("generators")
    if isinstance(generators, tuple) and generators:
        return generators
    names = {"name": run.path.name, "checkpoints_dir": run.path.parent}
    again = command("test.py", {"dataroot": "DIR", **names, "model": model})
    raise UserError(
        f"{run} was trained with --model {model}, which does not say that one of its networks "
        f"translates an image by itself (`generators`, see BaseModel). This uses it:\n  {again}"
    )


def _network_options(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide the network, from JSON or as text; none if one is missing."""
    try:
        return {
            **{name: str(saved[name]) for name in ("netG", "norm")},
            **{name: int(saved[name]) for name in ("ngf", "input_nc", "output_nc")},
            "no_dropout": str(saved["no_dropout"]) == "True",
        }
    except (LookupError, TypeError, ValueError):
        return {}
