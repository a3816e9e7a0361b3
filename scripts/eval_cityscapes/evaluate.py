"""FCN-score on Cityscapes: can a segmentation network read generated street scenes?

    python scripts/eval_cityscapes/evaluate.py label2photo RESULTS --model fcn.pt
    python scripts/eval_cityscapes/evaluate.py label2photo RESULTS --model my_fcn:load --labels DIR
    python scripts/eval_cityscapes/evaluate.py photo2label RESULTS

RESULTS is a folder that test.py wrote, or one of generated images.

label2photo: generated photos are brought to the size of the true label maps (bilinear), segmented
with your network, and its classes compared with the true ones. True maps: those in --labels, or
the label images that the photos were made from, beside them in RESULTS.

photo2label: each pixel of a generated label image becomes the class with the nearest colour; the
map is brought to the size of the true one (nearest neighbour) and compared with it. True maps:
those in --labels, or, for paired data, the true label images beside them in RESULTS.

True maps are coloured images, *_labelIds.png or *_labelTrainIds.png as Cityscapes has them.

The network is a TorchScript file, a file of torch.export (.pt2), or MODULE:FUNCTION, a function of
yours that returns it. It gets RGB images (1, 3, H, W) in [0, 1], and returns (1, 19, h, w) scores
of the classes, as tensor or in a dict under "out", or (1, h, w) train ids. Whichever it is, the
network is a program, which is run: use only files that you trust.

Exit status: 0 fine, 1 it could not be done, 2 the command itself was wrong.
"""

import argparse
import importlib
import json
import os
import re
import shlex
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.image_folder import default_loader, make_dataset
from eval_cityscapes.cityscapes import (
    CLASSES,
    IGNORED,
    Scores,
    confusion,
    from_colours,
    from_ids,
    scores,
)
from util.base.errors import UserError, run_command
from util.base.log import printable, say, warn
from util.display.progress_bar import progress_bar
from util.scores.comparisons import NamedImage, by_label, images_of, pick, shown
from util.scores.report import table
from util.scores.scorer import as_tensor, read_ahead
from util.storage.files import write_text

SUFFIX = re.compile(r"_(leftImg8bit|gt(Fine|Coarse)_\w+)$")  # what follows a scene's name
KINDS = ("labelIds", "labelTrainIds", "color")  # of Cityscapes' label files, the best one first
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
OTHER = {"A": "B", "B": "A"}
# Flags of the original's script, except `--gpu_id`, which abbreviates ours.
OF_ORIGINAL = ("result_dir", "cityscapes_dir", "output_dir", "caffemodel_dir", "split")

Network = Callable[[Tensor], Any]


class Scene(NamedTuple):
    """A generated image and the true label map."""

    generated: str
    truth: str


# ---- the command line ---------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("protocol", choices=("label2photo", "photo2label"), help="what was generated from what")
    add("results", metavar="RESULTS", help="folder of generated images")
    add("--labels", metavar="DIR", help="folder of true label maps, for example gtFine/val")
    add("--model", metavar="FILE|MODULE:FUNCTION", help="segmentation network, for label2photo")
    add("--normalize", action="store_true", help="give the network colours as torchvision's "
        "networks want them, with ImageNet's mean 0 and deviation 1")  # fmt: skip
    add("--side", choices=("A", "B"), default="B", help="the generated domain: fake_B, or fake_A")
    add("--json", metavar="FILE", help="write everything there, with the confusion matrix")
    add("--gpu_ids", type=int, default=0, help="GPU to use, -1 for the CPU (0, if there is one)")
    return parser


def todays_form(argv: Sequence[str]) -> str:
    """Say how to write a command of the original's script; nothing if it is none."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in OF_ORIGINAL:
        parser.add_argument(f"--{name}", nargs="?", const="")
    old = vars(parser.parse_known_args(argv)[0])
    flags = [f"--{name}" for name in OF_ORIGINAL if old[name] is not None]
    results, data = (old[name] or name.upper() for name in OF_ORIGINAL[:2])
    labels = os.path.join(data, "gtFine", old["split"] or "val")
    today = ["label2photo", results, "--labels", labels, "--model", "FILE"]
    if old["output_dir"]:
        today += ["--json", os.path.join(old["output_dir"], "scores.json")]
    if not flags:
        return ""
    return (
        f"{', '.join(flags)}: the original ran a Caffe network, this script runs FILE, one of "
        f"yours (--help tells more). Write: evaluate.py {shlex.join(today)}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Score what the command line (or `argv`) names.

    Raises:
        SystemExit: with status 2 for a wrong command.
    """
    parser = build_parser()
    if form := todays_form(sys.argv[1:] if argv is None else argv):
        parser.error(form)
    args = parser.parse_args(argv)
    if bool(args.model) != (args.protocol == "label2photo"):
        parser.error("label2photo needs --model, and only label2photo.")
    if args.json and not Path(args.json).absolute().parent.is_dir():
        parser.error(f"--json {args.json}: its folder does not exist. Make it first.")
    scenes = find_scenes(args)
    device = torch.device("cpu")
    if args.gpu_ids >= 0 and torch.cuda.is_available():
        device = torch.device("cuda", args.gpu_ids)
    if args.model:
        network = load_network(args.model, device)
        predict = segmenting(network, device, normalize=args.normalize)
    else:
        predict = by_nearest_colour
    counts, ignored = count(scenes, predict)
    if not counts.sum():
        raise UserError("No pixel of the true label maps is one of the 19 classes. Check them.")
    found = scores(counts)
    show(found, args, len(scenes), ignored)
    if args.json:
        report = as_json(found, counts, args, scenes, ignored)
        write_text(args.json, json.dumps(report, indent=1) + "\n")


# ---- which images -----------------------------------------------------------------------


def find_scenes(args: argparse.Namespace) -> list[Scene]:
    """Match generated images with label maps.

    Raises:
        UserError: there are none.
    """
    folder = images_of(args.results)
    paths = images_in(folder)
    generated = pick(folder, paths, [f"fake_{args.side}"])[1]
    if args.labels:
        maps = label_files(args.labels)
    else:
        side = OTHER[args.side] if args.protocol == "label2photo" else args.side
        maps = by_label(folder, paths).get(f"real_{side}", [])
        if not maps:
            raise UserError(
                f"{folder} has no true label images (x_real_{side}.png). Give their folder with "
                "--labels."
            )
    truths = {scene_name(image): image.path for image in maps}
    scenes = [
        Scene(image.path, truths[scene_name(image)])
        for image in generated
        if scene_name(image) in truths
    ]
    if not scenes:
        raise UserError(
            f"No generated image has a label map: they are called "
            f"{shown(map(scene_name, generated))}, the label maps {shown(truths)}."
        )
    if alone := [image.path for image in generated if scene_name(image) not in truths]:
        warn(f"{len(alone)} generated images have no label map: {shown(alone)}")
    return scenes


def label_files(folder: str) -> list[NamedImage]:
    """Return the label maps below a folder; where Cityscapes has several for a scene, one kind."""
    images = pick(folder, images_in(folder), [])[1]
    for kind in KINDS:
        chosen = [image for image in images if image.name.endswith(f"_{kind}")]
        if chosen:
            return chosen
    return images


def images_in(folder: str) -> list[str]:
    """Return the images below a folder.

    Raises:
        UserError: there are none.
    """
    paths = make_dataset(folder) if os.path.isdir(folder) else []
    if not paths:
        raise UserError(f"{folder} is no folder with images. Check the path.")
    return paths


def scene_name(image: NamedImage) -> str:
    """Return what a scene's photo and label map have in common: their name without folder."""
    return SUFFIX.sub("", os.path.basename(image.name))


# ---- label maps ---------------------------------------------------------------------------


def read_truth(path: str) -> Tensor:
    """Read a true label map as train ids, (H, W) uint8.

    Raises:
        UserError: it is grey, and its name does not tell what the numbers mean.
    """
    checked = default_loader(path)  # complains if it is broken
    stem = os.path.splitext(path)[0]
    with Image.open(path) as image:
        grey = image.mode in ("1", "L", "I;16", "I")
        if stem.endswith(("_labelIds", "_labelTrainIds")):
            if image.mode not in ("L", "P"):
                raise UserError(f"{path} should hold ids of 8 bits, but its mode is {image.mode}.")
            ids = torch.from_numpy(np.array(image))
            return from_ids(ids) if stem.endswith("_labelIds") else ids
    if grey:
        raise UserError(
            f"{path} is grey. If it holds ids, its name must end with _labelIds or _labelTrainIds; "
            "otherwise colours are expected."
        )
    return from_colours(as_tensor(checked), void=True)


def count(
    scenes: list[Scene], predict: Callable[[Image.Image, tuple[int, ...]], Tensor]
) -> tuple[Tensor, int]:
    """Return the sum of all confusion matrices, and how many pixels they leave out."""
    total, pixels = torch.zeros(len(CLASSES), len(CLASSES) + 1, dtype=torch.int64), 0

    def read(scene: Scene) -> tuple[Image.Image, Tensor]:
        return default_loader(scene.generated), read_truth(scene.truth)

    with progress_bar("scoring", len(scenes)) as bar:
        for image, truth in read_ahead(read, scenes):
            total += confusion(truth, predict(image, tuple(truth.shape)))
            pixels += truth.numel()
            bar.update(1)
    return total, pixels - int(total.sum())


def by_nearest_colour(image: Image.Image, size: tuple[int, ...]) -> Tensor:
    """Return the train ids that a label image's colours mean, at a size (H, W)."""
    return resized(from_colours(as_tensor(image), void=False), size)


def resized(ids: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring ids (H, W) to a size; each pixel takes its nearest neighbour's."""
    image = Image.fromarray(ids.to(torch.uint8).cpu().numpy())
    return torch.from_numpy(np.array(image.resize((size[1], size[0]), Image.Resampling.NEAREST)))


# ---- the network --------------------------------------------------------------------------


def load_network(name: str, device: torch.device) -> Network:
    """Return the network in a file, or what a function of the user's returns.

    Raises:
        UserError: there is no such thing.
    """
    if not os.path.isfile(name):
        return _from_function(name, device)
    members = _members(name)
    try:
        if "archive_format" in members:
            with open(name, "rb") as file:
                return torch.export.load(file).module().to(device)
        if "constants.pkl" in members:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TorchScript will go one day
                return torch.jit.load(name, map_location=device).eval()
    except Exception as error:  # whatever makes torch's readers fail
        raise UserError(
            f"{name} cannot be loaded: {str(error).strip().partition(chr(10))[0]}. Write it again "
            "with this version of torch."
        ) from error
    raise UserError(
        f"{name} is no TorchScript file and none of torch.export. A checkpoint alone is not "
        "enough: write a function that builds the network, and give MODULE:FUNCTION."
    )


def _members(file: str) -> set[str]:
    """Return the names in an archive, without folders; nothing if it is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {os.path.basename(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return set()


def _from_function(name: str, device: torch.device) -> Network:
    module_name, colon, function = name.partition(":")
    if not (module_name and colon and function.isidentifier()):
        raise UserError(f"--model {name}: there is no such file, and it is not MODULE:FUNCTION.")
    sys.path.insert(0, os.getcwd())  # where the user's modules are
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name not in (module_name, module_name.partition(".")[0]):
            raise  # something that the module needs
        raise UserError(
            f"--model {name}: no module {module_name} in this folder or among the packages."
        ) from None
    if not hasattr(module, function):
        raise UserError(f"--model {name}: {module.__file__} has no function {function}.")
    network = getattr(module, function)()
    return network.to(device).eval() if isinstance(network, torch.nn.Module) else network


def segmenting(
    network: Network, device: torch.device, *, normalize: bool
) -> Callable[[Image.Image, tuple[int, ...]], Tensor]:
    """Return a function that segments a photo at a size (H, W)."""

    @torch.no_grad()
    def predict(photo: Image.Image, size: tuple[int, ...]) -> Tensor:
        enlarged = photo.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = as_tensor(enlarged)[None].to(device).float() / 255  # (1, 3, H, W)
        if normalize:
            mean, deviation = (torch.tensor(x, device=device) for x in (MEAN, DEVIATION))
            pixels = (pixels - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        return train_ids_of(network(pixels), size)

    return predict


def train_ids_of(output: Any, size: tuple[int, ...]) -> Tensor:
    """Turn what a network returned into train ids, (H, W), on the CPU.

    Raises:
        UserError: it is neither scores of 19 classes nor ids.
    """
    if isinstance(output, Mapping):
        output = output.get("out")
    if isinstance(output, Tensor):
        if output.is_floating_point() and output.shape[:2] == (1, len(CLASSES)):
            if output.shape[2:] != size:
                output = torch.nn.functional.interpolate(
                    output.float(), size, mode="bilinear", align_corners=False
                )
            return output.argmax(dim=1)[0].cpu()
        if not output.is_floating_point() and output.dim() == 3 and len(output) == 1:
            return resized(output[0].clamp(0, IGNORED), size)
    what = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else type(output)
    raise UserError(
        f"The network returned {what}. Wanted are scores (1, {len(CLASSES)}, h, w), as tensor or "
        'in a dict under "out", or train ids (1, h, w).'
    )


# ---- showing ------------------------------------------------------------------------------


def show(found: Scores, args: argparse.Namespace, images: int, ignored: int) -> None:
    """Print the scores of each class, then the three that count."""
    total = sum(found.pixels)
    say(f"\n{args.protocol}, {printable(args.results)}: {images} images")
    say(f"{total:,} pixels are scored, {ignored:,} are none of the classes.\n")
    say("\n".join(table([("class", "accuracy", "   IoU", "share of pixels"), *rows(found, total)])))
    say("\n".join(["", *table(list(summary(found))), ""]))
    say("From 0 to 1, higher is better. Classes that neither occur nor are predicted do not count.")


def rows(found: Scores, total: int) -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for each class."""
    columns = zip(CLASSES, found.accuracies, found.ious, found.pixels, strict=True)
    for name, accuracy, iou, pixels in columns:
        share = f"{pixels / total:.2%}".rjust(6)
        shares = ("-" if x is None else f"{x:.4f}" for x in (accuracy, iou))
        yield name, *(text.rjust(6) for text in shares), share


def summary(found: Scores) -> Iterator[tuple[str, str]]:
    """Yield the three numbers."""
    yield "per-pixel accuracy", f"{found.pixel_accuracy:.4f}"
    yield "per-class accuracy", f"{found.class_accuracy:.4f}"
    yield "class IoU", f"{found.class_iou:.4f}"


def as_json(
    found: Scores, counts: Tensor, args: argparse.Namespace, scenes: list[Scene], ignored: int
) -> dict[str, Any]:
    """Return everything for programs."""
    return {
        "protocol": args.protocol,
        "results": printable(args.results),
        "model": args.model,
        "images": len(scenes),
        "pixels_ignored": ignored,
        **asdict(found),
        "classes": list(CLASSES),
        "confusion": counts.tolist(),
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
