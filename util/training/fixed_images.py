"""What the model makes of the same few images after every epoch."""

from argparse import Namespace
from collections.abc import Callable, Collection
from functools import cached_property, partial
from itertools import islice

from util.base import rng
from util.base.errors import in_words
from util.base.log import warn
from util.display.sinks.base import ImageArray
from util.images.ranges import tensor2im
from util.training.asked import Loader, TrainedModel
from util.training.validation import SEED, Validator, cut, validation_options

MOST = 4  # images


class FixedImages:
    """Show how training comes on: always the same images, without a trace in training."""

    def __init__(
        self,
        trained: TrainedModel,
        create: Callable[[], Loader],
        *,
        evaluation: bool,
        divisor: int = 1,
        told: Collection[str] = (),  # problems that somebody else speaks of
    ) -> None:
        self.trained, self.evaluation, self.divisor = trained, evaluation, divisor
        self._told, self._problem = told, ""
        self._create = create  # called when the first images are drawn

    @cached_property
    def _dataset(self) -> Loader:
        return self._create()

    def draw(self) -> list[dict[str, ImageArray]]:
        """Return what the model makes of the first images, by label; none after a failure."""
        try:
            return self._translate()
        except Exception as error:  # noqa: BLE001 - they are for people alone: training goes on
            problem = in_words(error)
            if problem != self._problem and problem not in self._told:
                warn(f"No images to compare epochs by: {problem}")
            self._problem = problem
            return []

    def _translate(self) -> list[dict[str, ImageArray]]:
        model = self.trained.model
        drawn: list[dict[str, ImageArray]] = []
        with rng.isolated(SEED), self.trained.without_trace(evaluation=self.evaluation):
            for batch in islice(self._dataset, MOST):
                model.set_input(cut(batch, self.divisor))
                model.forward()
                model.compute_visuals()
                visuals = model.get_current_visuals()
                drawn.append({label: tensor2im(image) for label, image in visuals.items()})
        return drawn


def create_fixed_images(
    opt: Namespace,
    trained: TrainedModel,
    validator: Validator | None,
    first_images: Callable[[Namespace], Loader],
) -> FixedImages:
    """Take images of the validation split, else `first_images`, of the training data."""
    if validator is not None:
        dataset = validator.dataset
        evaluation, divisor = validator.evaluation, validator.divisor
        return FixedImages(
            trained,
            lambda: dataset,
            evaluation=evaluation,
            divisor=divisor,
            told=validator.problems,
        )
    multiple = trained.divisor()
    changed = {"phase": opt.phase, "max_dataset_size": MOST}
    options = Namespace(**(vars(validation_options(opt, whole=multiple is not None)) | changed))
    create = partial(first_images, options)
    return FixedImages(trained, create, evaluation=False, divisor=multiple or 1)
