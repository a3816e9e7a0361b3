"""Options of every command, and how all options come together."""

import os
import secrets
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence

import torch

import data
import models
from models.architectures.initialization import INIT_TYPES
from models.architectures.layers import NORM_LAYERS
from models.architectures.registry import DISCRIMINATORS, GENERATORS
from models.optimization.precision import PRECISIONS
from options.parsing import resumed_run, rules, run_length, several, trained_run
from options.parsing.misspelt import typed_by_programs
from options.parsing.parser import (
    OptionParser,
    ParsedOptions,
    either,
    given,
    known,
    names,
    old_names_in,
    taken_names,
)
from options.parsing.result import Result, describe
from util.base.errors import UserError
from util.base.log import forget_held_lines, holding_lines, say
from util.base.new_options import NewOption, keep_ours, new_option, set_new_option
from util.base.plugins import available
from util.processes import launching
from util.storage.old_names import with_old_names


class BaseOptions:
    """Gather, parse, print and save options.

    Options come from four places: this class, its subclass for training or testing, the model
    (`--model`), and the data set (`--dataset_mode`, whose default the model may change).
    """

    isTrain = False
    opt: Namespace  # what was parsed last
    result: Result  # the same with what was given and how it is described; nothing changes it

    def __init__(self, cmd_line: str | None = None) -> None:
        """Prepare; `cmd_line` stands in for the command line, for use in notebooks."""
        self.cmd_line = cmd_line
        self.initialized = False
        self.parser: ArgumentParser = OptionParser()

    def initialize(self, parser: ArgumentParser) -> ArgumentParser:
        """Add the options that training and testing share."""
        # Plugins may call options of theirs as we do ours, in a parser that a fork has made too.
        parser.conflict_handler = parser._optionals.conflict_handler = "resolve"
        _add_run_and_network_options(parser, training=self.isTrain)
        _add_data_options(parser)
        several.add_options(parser, training=self.isTrain)
        _add_speed_and_saving_options(parser)
        self.initialized = True
        return parser

    def gather_options(self, argv: Sequence[str] | None = None) -> Namespace:
        """Collect the options of the chosen model and data set, then parse the command line."""
        argv = self._arguments(argv)
        self.parser = parser = OptionParser()
        self.initialize(parser)
        earlier_run = resumed_run if self.isTrain else trained_run
        argv = [*earlier_run.repeated_arguments(parser, argv), *argv]
        model = known(parser, argv).model
        with parser.titled(f"model {model}"):
            models.get_option_setter(model)(parser, self.isTrain)
        dataset = known(parser, argv).dataset_mode
        with parser.titled(f"data set {dataset}"):
            data.get_option_setter(dataset)(parser, self.isTrain)
        parser.complete()
        opt = parser.parse_args(argv)
        if opt.model != model:  # by an abbreviation
            parser.error(f"--model is given twice, as {model} and {opt.model}. Give it once.")
        return opt

    def parse(self, argv: Sequence[str] | None = None, *, quiet: bool = False) -> Namespace:
        """Parse, check, print and save the options; with `quiet` the last two are the caller's.

        Exits with status 2 and a message on standard error if an option is wrong. What the options
        refer to (images, checkpoints) is not looked at yet.
        """
        with holding_lines():
            opt = self._parse(argv, quiet=quiet)
            if quiet and launching.must_be_started(opt):
                forget_held_lines()  # the processes that the caller starts now say it all again
        return opt

    def _parse(self, argv: Sequence[str] | None, *, quiet: bool) -> Namespace:
        try:  # a fork's own method may take no command line
            opt = self.gather_options() if argv is None else self.gather_options(argv)
        except UserError as error:  # an unknown model, data set or save
            self.parser.error(str(error))
        opt.isTrain = self.isTrain
        words = self._arguments(argv)
        is_given = given(self.parser, words)
        of_plugins = self._plugin_options()
        problems = [*self._complete(opt, is_given, of_plugins), *rules.problems(opt)]
        problems += _plugin_problems(opt)
        try:
            gpu_ids = several.own_gpus(usable_gpus(opt.gpu_ids))
        except UserError as error:
            problems.append(str(error))
        else:
            problems += several.settle(opt, gpu_ids, is_given, training=self.isTrain)
        if problems:
            self.parser.error("\n  ".join(problems))
        notes = [*old_names_in(self.parser), *typed_by_programs(words)]
        notes += _notes(opt, gpu_ids, taken_names(self.parser))
        if self.isTrain:
            notes += resumed_run.notes(opt, is_given)
            notes += several.notes(opt, gpu_ids, is_given)
        self.result = describe(
            opt, self.parser, is_given, notes,
            training=self.isTrain, of_plugins=of_plugins,
        )  # fmt: skip
        if not quiet:
            self.print_options(opt)
            for note in notes:
                say(note)
        self.opt = parsed = ParsedOptions()
        vars(parsed).update(vars(opt), gpu_ids=gpu_ids)
        return parsed

    def print_options(self, opt: Namespace) -> None:
        """Print the options, and save them beside the checkpoints as text and as JSON."""
        described = describe(opt, self.parser, training=self.isTrain)
        described.tell()
        described.save()

    def _complete(
        self, opt: Namespace, given: frozenset[str], of_plugins: frozenset[str]
    ) -> Iterator[str]:
        """Fill in what follows from other options or an earlier run; yield what is wrong there."""
        keep_ours(opt, sorted(taken_names(self.parser)))
        if not self.isTrain and "crop_size" in given and "load_size" not in given:
            opt.load_size = opt.crop_size  # nothing is cropped at random
        _shorten_name(opt)
        yield from _fill_in_suffix(opt)
        if self.isTrain:
            resumed_run.take_over(opt, given, self.parser)
            yield from run_length.settle(opt, given)
        else:
            decisive = of_plugins | _declared_network_options(opt.model)
            trained_run.recover(opt, given, self.parser, decisive)
        if new_option(opt, "seed") is None:  # two tests give the same images
            set_new_option(opt, "seed", secrets.randbits(32) if self.isTrain else 0)

    def _plugin_options(self) -> frozenset[str]:
        """Return the names of the options that the model and the data set have added."""
        of_framework = OptionParser()
        self.initialize(of_framework)
        return names(self.parser) - names(of_framework) | taken_names(self.parser)

    def _arguments(self, argv: Sequence[str] | None) -> Sequence[str]:
        if argv is None:
            argv = sys.argv[1:] if self.cmd_line is None else self.cmd_line.split()
        return argv


def _declared_network_options(model: str) -> frozenset[str]:
    """Return the options of the framework that decide a model's networks, as far as it says so."""
    declared = getattr(models.find_model_using_name(model), "network_options", ())
    return frozenset(declared if isinstance(declared, tuple) else ())


def _shorten_name(opt: Namespace) -> None:
    """Let a run that is named by its whole path be called as below `--checkpoints_dir`."""
    if os.path.isabs(opt.name):
        folder, path = os.path.abspath(opt.checkpoints_dir), os.path.abspath(opt.name)
        if path.startswith(os.path.join(folder, "")):
            opt.name = os.path.relpath(path, folder)


def _fill_in_suffix(opt: Namespace) -> Iterator[str]:
    try:
        opt.name += f"_{opt.suffix.format(**with_old_names(vars(opt)))}" if opt.suffix else ""
    except (
        *(LookupError, ValueError, TypeError, AttributeError),
        *(ArithmeticError, MemoryError),  # a width of many digits
    ) as error:
        yield (
            f"--suffix {opt.suffix} cannot be filled in ({error}). Use names of options in braces, "
            "for example {model}_{netG}_size{load_size}."
        )


def _plugin_problems(opt: Namespace) -> Iterator[str]:
    """Ask the model and the data set; one derived from a built-in one may bring other networks."""
    model, dataset = opt.model, opt.dataset_mode
    for plugin in (models.find_model_using_name(model), data.find_dataset_using_name(dataset)):
        if check := vars(plugin).get("option_problems"):
            yield from getattr(check, "__func__", check)(opt)  # with or without @staticmethod


def usable_gpus(text: str) -> list[int]:
    """Turn `--gpu_ids` into the list of GPUs to use."""
    try:
        ids = [int(part) for part in str(text).split(",") if part.strip()]
    except ValueError:
        raise UserError(
            f"--gpu_ids {text} is no list of numbers. Give 0, or 0,1, or -1 for the CPU."
        ) from None
    ids = [number for number in ids if number >= 0]
    there = torch.cuda.device_count() if ids and torch.cuda.is_available() else 0
    missing = [number for number in ids if number >= there]
    if missing and ids != [0]:  # the default: the CPU will do
        raise UserError(
            f"--gpu_ids {text}: this machine has {there} CUDA devices, so there is no GPU "
            f"{', '.join(map(str, missing))}. Count from 0; -1 means the CPU."
        )
    return [] if missing else ids


def settle_processes(args: Namespace) -> list[str]:
    """Let `gpu_ids` of a script, a text, be the GPUs of this process; return what is wrong.

    With that, or with the options for several processes.
    """
    try:
        gpu_ids = several.own_gpus(usable_gpus(args.gpu_ids))
    except UserError as error:
        return [str(error)]
    problems = several.settle(args, gpu_ids, ("processes",), training=False)
    args.gpu_ids = gpu_ids
    return problems


def _notes(opt: Namespace, gpu_ids: Sequence[int], taken: Iterable[str]) -> Iterator[str]:
    if listed := ", ".join(f"--{name}" for name in sorted(taken)):
        yield (
            f"{listed}: the model or data set has its own; what the framework calls so keeps its "
            "default."
        )
    for name, value in vars(opt).items():
        if name.startswith("lambda_") and isinstance(value, int | float) and value < 0:
            yield f"--{name} {value} is negative: losses are not made for that."
    if not gpu_ids and opt.gpu_ids.strip(" ,") == "0":
        yield "No CUDA device was found: running on the CPU (--gpu_ids -1 asks for that)."


def _add_run_and_network_options(parser: ArgumentParser, *, training: bool) -> None:
    data_set = "trainA and trainB, or train" if training else "testA and testB, or test"
    images = "the images" if training else "images, or of a data set"
    named = [name for name in available("models", "model") if name != "test" or not training]
    add = parser.add_argument_group("run").add_argument
    add("--dataroot", required=True, help=f"folder of {images} (has {data_set}), or a list "
        "of images: a file .txt with a path on each line")  # fmt: skip
    add("--name", type=str, default="experiment_name", help="the run's name and folder")
    add("--gpu_ids", type=str, default="0", help="GPUs, for example 0 or 0,1; -1 for the CPU")
    add("--checkpoints_dir", type=str, default="./checkpoints", help="where runs are saved")

    add = parser.add_argument_group("networks").add_argument
    add("--model", type=str, default="cycle_gan", help=f"{either(named)}; or one of "
        "yours, from models/NAME_model.py")  # fmt: skip
    add("--input_nc", type=int, default=3, help="channels that go in: 3 for RGB, 1 for grayscale")
    add("--output_nc", type=int, default=3, help="channels that come out")
    add("--ngf", type=int, default=64, help="filters in the generator's first layer")
    add("--ndf", type=int, default=64, help="filters in the discriminator's first layer")
    add("--netD", type=str, default="basic", help=f"discriminator: {either(DISCRIMINATORS)}; basic "
        "is a 70x70 PatchGAN, n_layers one with --n_layers_D layers")  # fmt: skip
    add("--netG", type=str, default="resnet_9blocks", help=f"generator: {either(GENERATORS)}")
    add("--n_layers_D", type=int, default=3, help="depth of --netD n_layers")
    add("--norm", type=str, default="instance", help=f"norm: {either(NORM_LAYERS)}")
    add("--init_type", type=str, default="normal", help=f"initial weights: {either(INIT_TYPES)}")
    add("--init_gain", type=float, default=0.02, help="scale of the initial weights")
    add("--no_dropout", action="store_true", help="build the generator without dropout")


def _add_data_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("data").add_argument
    modes = either(available("data", "dataset"))
    add("--dataset_mode", type=str, default="unaligned", help=f"{modes}; or one of "
        "yours, from data/NAME_dataset.py")  # fmt: skip
    add("--direction", type=str, default="AtoB", help="AtoB or BtoA")
    add("--serial_batches", action="store_true", help="take images in order, not shuffled")
    add("--num_threads", default=4, type=int, help="processes that load images, at most "
        "one for each core; 0: none beside this one")  # fmt: skip
    add("--batch_size", type=int, default=1, help="images in a batch")
    add("--load_size", type=int, default=286, help="resize images to this size")
    add("--crop_size", type=int, default=256, help="then cut out squares of this size")
    add("--max_dataset_size", type=int, default=float("inf"), help="use only so many images of "
        "a folder")  # fmt: skip
    add("--preprocess", type=str, default="resize_and_crop", help=f"{either(rules.PREPROCESSING)}; "
        "scale_* bring the width or the shorter side to --load_size")  # fmt: skip
    add("--value_range", action=NewOption, type=str, nargs="+", metavar="LO,HI", help="stored "
        "values that the network sees as -1 and 1, for files of any depth, for example -1000,3000; "
        "a second range is that of what comes out; auto: what the training images have (default: "
        "0,255 of 8 bits, 0,65535 of 16 bits, 0,1 of floating point)")  # fmt: skip
    add("--no_flip", action="store_true", help="do not mirror images at random")
    add("--display_winsize", type=int, default=256, help="width of images on pages")


def _add_speed_and_saving_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("speed (see docs/performance.md)").add_argument
    add("--speed", action=NewOption, help="faithful keeps numbers and random "
        "choices; max also takes other dropout masks, and makes kernels")  # fmt: skip
    add("--precision", action=NewOption, help=f"what networks compute in: {either(PRECISIONS)}")
    add("--compile", action=NewOption, help="let torch compile the networks: meant for GPUs, on "
        "CPUs steps take longer; needs a C++ compiler")  # fmt: skip

    add = parser.add_argument_group("checkpoints and logs").add_argument
    add("--epoch", type=str, default="latest", help="which epoch to load: a number, latest, or "
        "best, which --save_best keeps")  # fmt: skip
    add("--no_ema", action=NewOption, help="test, validate and show with the last weights, "
        "though there are averages (--ema)")  # fmt: skip
    add("--load_iter", type=int, default="0", help="load iter_[load_iter] instead, unless 0")
    add("--verbose", action="store_true", help="print the networks' layers, and of errors "
        "where in the code they happen")  # fmt: skip
    add("--suffix", default="", type=str, help="is added to the name, filled in: for example "
        "{model}_{netG}_size{load_size}")  # fmt: skip
    add("--use_wandb", action="store_true", help="log to Weights and Biases")
    add("--seed", action=NewOption, type=int, help="start of all random numbers; if not given, it "
        "is drawn for training, and 0 for test.py")  # fmt: skip
    add("--deterministic", action=NewOption, help="use only algorithms that give the same bits "
        "every time")  # fmt: skip
    add("--wandb_project_name", type=str, default="CycleGAN-and-pix2pix", help="its project")
