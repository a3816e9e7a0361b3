"""How good the model is on images that it does not learn from."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.base import rng
from util.base.errors import UserError, in_words
from util.base.log import note, say, warn
from util.base.new_options import new_option, set_new_option
from util.base.system import claim_device
from util.images.ranges import from_unit, in_unit_range, three_channels
from util.images.sizes import ImageSize
from util.processes import group
from util.processes.agreement import require_same
from util.processes.failures import ProcessError
from util.processes.parts import by_first, shared
from util.scores.distances import frechet_distance, squared_mmd
from util.scores.images import METRICS, mean_over_images
from util.scores.networks import Inception, Lpips, load_inception, load_lpips
from util.scores.sides import OTHER, Repeats, made_from, paths_of, unequal_domains
from util.training.asked import Loader, TrainedModel
from util.training.best import BestEpoch

SEED = 20170330  # of what is random while validating: always the same draws
LEAST_OF_A_SET = 2  # images that FID and KID need on each side
Features = dict[str, tuple[list[Tensor], list[Tensor]]]  # of made and of real images, by name


@dataclass(frozen=True)
class Validation:
    """What one validation found."""

    metrics: dict[str, float]  # means over all images; L1, PSNR, SSIM on a scale from 0 to 1
    images: int
    statistics: str  # `batch` or `running`, see `--val_eval`
    seconds: float


@dataclass
class Validator:
    """Measure a model on a data set, without a trace in training."""

    trained: TrainedModel
    dataset: Loader  # batches, in the same order every time
    evaluation: bool = False  # in evaluation mode, instead of as test.py does without --eval
    every: int = 1  # epochs from one validation to the next
    lpips: Lpips | None = None  # measures the perceptual distance of pairs
    inception: Inception | None = None  # gives the features for FID and KID
    direction: str = ""  # of data in two domains, of which the smaller one begins anew
    divisor: int = 1  # images that are no multiple of it lose their edges
    tried: int = field(default=0, init=False)
    problems: list[str] = field(default_factory=list, init=False)  # why validations failed

    def measure(self, epoch: int) -> Validation | None:
        """Validate and print what was found, if it is time to; what fails there stops nothing."""
        if epoch % self.every != 0:
            return None
        self.tried += 1
        try:
            found = self.run()
        except ProcessError:  # training cannot go on either
            raise
        except Exception as error:  # noqa: BLE001 - training, which may have taken days, is whole
            problem = in_words(error)
            if problem not in self.problems:  # else it was said
                warn(f"No validation in epoch {epoch}: {problem}")
            self.problems.append(problem)
            return None
        metrics = " ".join(f"{name}: {value:.3f}" for name, value in found.metrics.items())
        say(f"validation (epoch: {epoch}, images: {found.images}) {metrics or '-'}")
        return found

    def tell_failures(self) -> None:
        """Say at the end how often there was no validation; why was said when it happened."""
        if self.problems:
            warn(f"{len(self.problems)} of {self.tried} validations failed.")

    def run(self, most: int | None = None) -> Validation:
        """Translate all images (or the first ones) and return the means of all metrics.

        Processes that train together share the images out, and all find the same.
        """
        began = time.time()
        images = len(self.dataset) if most is None else min(most, len(self.dataset))
        measured = shared(images, self._measure)
        return Validation(
            metrics=by_first(lambda: self._means(measured)),  # of all: not even rounding differs
            images=images,
            statistics="running" if self.evaluation else "batch",
            seconds=time.time() - began,
        )

    def _means(self, images: list["MeasuredImage"]) -> dict[str, float]:
        """Return the means of all metrics; what was measured twice counts once."""
        found: dict[str, list[Tensor]] = {}
        features: Features = {}
        repeats = Repeats()
        for measured in images:
            old = repeats.side_of(measured.paths)  # what is made of it has been measured before
            for label, value, source in measured.metrics:
                if old is None or source != old:
                    found.setdefault(label, []).append(value)
            for name, side, value, source in measured.features:
                sides = features.setdefault(name, ([], []))
                if source != old:
                    sides[side].append(value)
        means = {name: mean_over_images(torch.cat(values)) for name, values in found.items()}
        return with_means_of_both_sides(means | distances_of_sets(features))

    def _measure(self, images: range) -> list["MeasuredImage"]:
        """Measure what the model makes of these images of the data set.

        Random numbers begin anew with each: they do not depend on which ones came before.
        """
        measured = []
        # Of what another process has before these, nobody knows yet: `run` leaves it out.
        repeats = Repeats() if images.start == 0 else None
        without_trace = self.trained.without_trace(evaluation=self.evaluation)
        with rng.isolated(SEED), without_trace, closing(self.dataset.only(images)) as batches:
            for number in images:
                rng.seed_all(rng.fold_seed(SEED, number))
                batch = next(batches)
                self.trained.model.set_input(cut(batch, self.divisor))
                self.trained.model.forward()
                paths = paths_of(batch, 0, self.direction) if self.direction else {}
                old = repeats.side_of(paths) if repeats else None
                metrics = [(label, value.cpu(), of) for label, value, of in self._metrics(old)]
                measured.append(MeasuredImage(paths, metrics, list(self._features(old))))
        return measured

    def _metrics(self, old: str | None) -> Iterator[tuple[str, Tensor, str | None]]:
        """Yield metrics of the last image by their label, and the domain that it came from.

        What came from the domain of an `old` image has been measured before.
        """
        for name, value in self.trained.validation_losses().items():
            yield name, value.detach().double().reshape(1), None
        for pair, images in self.trained.validation_pairs().items():
            is_identity, source = pair.startswith("idt"), made_from(pair)
            if old is not None and source == old:
                continue
            made, real = (in_unit_range(image) for image in images)
            for name, metric in METRICS.items():
                if metric.measure is not None and (name == "L1" or not is_identity):
                    value = metric.of_each(made, real).double()
                    yield f"{pair}_{name}".lstrip("_"), value, source
            if self.lpips is not None and not is_identity:
                made, real = (three_channels(image) for image in (made, real))
                yield f"{pair}_LPIPS".lstrip("_"), self.lpips(made, real).double(), source

    def _features(self, old: str | None) -> Iterator[tuple[str, int, Tensor, str]]:
        """Yield what FID and KID compare: of what was made (0) and of the real image (1)."""
        if self.inception is None:
            return
        for name, sides in self.trained.validation_sets().items():
            real = name if name in OTHER else "B"  # the domain; what is made comes from the other
            for number, (images, source) in enumerate(zip(sides, (OTHER[real], real), strict=True)):
                if source != old:
                    seen = from_unit(three_channels(in_unit_range(images)))
                    yield name, number, self.inception(seen).cpu(), source


@dataclass(frozen=True)
class MeasuredImage:
    """What was measured of one image of the data set."""

    paths: dict[str, str]  # where it came from, by domain
    metrics: list[tuple[str, Tensor, str | None]]
    features: list[tuple[str, int, Tensor, str]]


def cut(batch: Any, divisor: int) -> Any:
    """Cut the edges off the images of a batch until their sides are multiples of a number."""
    if divisor == 1 or not isinstance(batch, dict):
        return batch
    images = {name: batch[name] for name in "AB" if isinstance(batch.get(name), Tensor)}
    for name, image in images.items():
        for axis in (-2, -1) if image.dim() == 4 else ():
            length = image.shape[axis]
            over = length % divisor if length > divisor else 0
            images[name] = images[name].narrow(axis, over // 2, length - over).contiguous()
    return {**batch, **images}


def distances_of_sets(features: Features) -> dict[str, float]:
    """Return FID and KID (unbiased, over all images) between what was made and what is real.

    Of fewer than two images there is neither.
    """
    found = {}
    for name, sides in features.items():
        made, real = (torch.cat(side) for side in sides)
        if min(len(made), len(real)) >= LEAST_OF_A_SET:
            found[f"{name}_FID".lstrip("_")] = frechet_distance(made, real)
            found[f"{name}_KID".lstrip("_")] = squared_mmd(made, real)
    return found


def with_means_of_both_sides(values: Mapping[str, float]) -> dict[str, float]:
    """Add `cycle_L1` where there are `cycle_A_L1` and `cycle_B_L1`: one number to go by."""
    both = {}
    for name, value in values.items():
        stem, side, metric = name.partition("_A_")
        if side and f"{stem}_B_{metric}" in values:
            both[f"{stem}_{metric}"] = (value + values[f"{stem}_B_{metric}"]) / 2
    return {**both, **values}


def create_validator(
    opt: Namespace,
    trained: TrainedModel,
    best: BestEpoch,
    create_dataset: Callable[[Namespace], Loader],
    has_split: Callable[[Namespace, str], bool],
) -> tuple[Validator | None, str]:
    """Return what measures the model on the validation split; None, and why, if there is none."""
    if (every := new_option(opt, "val_freq")) == 0:
        return None, "--val_freq 0"
    divisor = trained.divisor()
    data_options = validation_options(opt, whole=divisor is not None)
    data, problem = _validation_data(opt, data_options, create_dataset, has_split)
    with group.with_others():
        images = "none" if data is None else data.state_dict()["pictures"]
        require_same(images, "The images to validate on")
    if data is None:
        if best.name:
            raise UserError(f"--save_best {best.name} needs images to measure on: {problem}")
        return None, problem
    here, there = (ImageSize.of(vars(options)) for options in (data_options, opt))
    if str(here) != str(there):
        say(f"Images are {here} in validation; in training they are {there}.")
    device = claim_device(opt.gpu_ids)
    lpips, inception = (new_option(opt, f"{name}_weights") for name in ("lpips", "inception"))
    if inception and len(data) < LEAST_OF_A_SET:
        warn(
            f"FID and KID need {LEAST_OF_A_SET} images or more to validate on; there is "
            f"{len(data)}, so --inception_weights measures nothing."
        )
    features = load_inception(inception, device) if inception else None
    if features and (remark := features.identity.remark):
        note(f"--inception_weights {inception}: {remark}")
    validator = Validator(
        trained, data, evaluation=new_option(opt, "val_eval"), every=every,
        lpips=load_lpips(lpips, device) if lpips else None,
        inception=features,
        direction=opt.direction if unequal_domains(getattr(data, "dataset", None)) else "",
        divisor=divisor or 1,
    )  # fmt: skip
    if best.name:  # rather now than after an epoch
        best.check(validator.run(most=LEAST_OF_A_SET).metrics)
    return validator, ""


def _validation_data(
    opt: Namespace,
    data_options: Namespace,
    create_dataset: Callable[[Namespace], Loader],
    has_split: Callable[[Namespace, str], bool],
) -> tuple[Loader | None, str]:
    """Return what to validate on, or None and why there is nothing."""
    try:
        if has_split(opt, "val"):
            return create_dataset(data_options), ""
    except Exception as error:  # noqa: BLE001 - a plugin may know its training images alone
        return None, in_words(error).split("\n")[0]
    return None, why_no_split(opt)


def why_no_split(opt: Namespace) -> str:
    """Say what a data set has instead of images to validate on."""
    root = opt.dataroot
    found = sorted(path.name for path in Path(root).glob("val*") if path.is_dir())
    if not found:
        return f"{root} has neither val, nor valA and valB."
    if found in (["valA"], ["valB"]):
        return f"{root} has {found[0]} alone, not both valA and valB."
    return f"--dataset_mode {opt.dataset_mode} does not read {' and '.join(found)} in {root}."


def validation_options(opt: Namespace, *, whole: bool = False) -> Namespace:
    """Return the options of the data to validate on: those of training without what is random.

    What `resize_and_crop` crops is taken whole, as large as the crop. Scaled images are too if
    `whole`, at the scale of training; all other crops stay, always at the same places.
    """
    changed = {
        "phase": "val", "isTrain": False, "serial_batches": True, "no_flip": True,
        "batch_size": 1, "num_threads": 0,
        "max_dataset_size": min(new_option(opt, "num_val"), opt.max_dataset_size),
    }  # fmt: skip
    size = ImageSize.of(vars(opt))
    if size is not None and (whole or "resize" in size.preprocess):
        changed |= size.whole()._asdict()
    options = Namespace(**(vars(opt) | changed))
    set_new_option(options, "skip_bad_images", False)
    return options
