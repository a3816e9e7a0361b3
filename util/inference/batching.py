"""Several images at once in test.py, where it changes no result."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from util.base.log import say
from util.base.new_options import new_option
from util.base.plugins import declares
from util.images.transforms import resizes
from util.inference.layer_modes import LayerModes
from util.inference.parallel import MOST_PIXELS, processes_for

ON_CUDA = 8 * 256 * 256  # pixels at once; on a CPU one image at a time is the fastest
OF_ONE_SIZE = ("aligned", "unaligned", "single")  # data sets whose items `--preprocess` makes equal


def images_at_once(opt: Namespace, model: type, *, given: bool) -> int:
    """Return the batch size for test.py; says so if it is not that of a `given` --batch_size."""
    why = _why_alone(opt, model)
    if given and why and opt.batch_size > 1:
        ignored = f"--batch_size {opt.batch_size} is not used"
        say(f"{ignored}, images are translated one by one: {why}.")
    if given:
        return 1 if why else opt.batch_size
    if why or not opt.gpu_ids or opt.dataset_mode not in OF_ONE_SIZE:
        return 1
    side = opt.crop_size if "crop" in opt.preprocess else opt.load_size
    return max(1, ON_CUDA // side**2)


def processes_at_once(opt: Namespace, model: type, images: int) -> int:
    """Return in how many processes test.py translates images; 1: in its own alone.

    Several where what is made of an image does not depend on the others, on the CPU, and images
    are known to be of usual sizes.
    """
    side = opt.crop_size if "crop" in opt.preprocess else opt.load_size
    is_usual = ("crop" in opt.preprocess or "resize" in opt.preprocess) and side**2 <= MOST_PIXELS
    is_alone = not declares(model, "batch_independent") or opt.batch_size > 1
    has_own_ways = new_option(opt, "compile") or new_option(opt, "tile")
    if opt.gpu_ids or is_alone or not is_usual or has_own_ways:
        return 1
    return processes_for(images)


def one_by_one(
    visuals: Mapping[str, Any], paths: Sequence[str], batch_size: int
) -> Iterator[tuple[Mapping[str, Any], Sequence[str]]]:
    """Yield the images (1, C, H, W) made from each item of a batch, with its path.

    With a `batch_size` of 1 they may be anything.
    """
    if batch_size == 1:
        yield visuals, paths
        return
    for number, path in enumerate(paths):
        yield {label: image[number : number + 1] for label, image in visuals.items()}, [path]


def _why_alone(opt: Namespace, model: type) -> str:
    """Say why the images of a batch would not be what they are alone; nothing if they would."""
    if not declares(model, "batch_independent"):
        return f"{model.__name__} does not say that it translates batches (batch_independent)"
    modes = LayerModes.of(opt)
    if modes.norm == "batch" and opt.norm not in ("instance", "none"):
        return f"{modes.given_by('norm')}, --norm {opt.norm} takes its statistics from the batch"
    if modes.dropout == "on" and not opt.no_dropout:
        return f"{modes.given_by('dropout')}, dropout would draw otherwise"
    cut = resizes(opt.preprocess) and "crop" in opt.preprocess
    if "resize" not in opt.preprocess and not cut:
        return f"with --preprocess {opt.preprocess} they may differ in size"
    return ""
