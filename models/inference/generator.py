"""Translate images from Python: `load_generator` and what it returns.

    from models import load_generator

    generator = load_generator("facades")
    generator.translate("photo.jpg").save("translated.png")

Nothing is printed or written, and no global setting or random number is changed for long.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models import networks
from models.architectures.switches import draws_nothing, keep_kernels, translates_alone
from models.inference.images import ImageOpener, Opened
from models.inference.padding import Sides, Translate, translate_any_size
from models.inference.tiles import translate_tiled
from models.inference.trained import TrainedGenerator, find_generator
from models.optimization.precision import PRECISIONS, Precision
from util.base.errors import UserError, suggest
from util.base.log import silently
from util.inference.streams import seed_of_image
from util.storage import checkpoint

_random_numbers = threading.Lock()  # torch has one generator for all threads


class Generator:
    """A trained generator.

    Threads may share one: those that draw random numbers (dropout) wait for each other, others
    run side by side.

    Attributes:
        module: the network.
        trained: where it comes from.
        device: where it computes.
        input_nc, output_nc: channels that go in and come out.
        divisor, shortest_side: sides of images are multiples of the one and not below the other
            while the network runs; others are continued, and the result is cut.
    """

    def __init__(self, module: nn.Module, trained: TrainedGenerator, device: torch.device) -> None:
        self.module = module
        self.trained = trained
        self.device = device
        self._options = trained.options()
        self.input_nc: int = self._options["input_nc"]
        self.output_nc: int = self._options["output_nc"]
        self.divisor, self.shortest_side = Sides.of(module)
        self._takes_batches = translates_alone(module)
        self._draws = not draws_nothing(module)

    def translate(
        self,
        x: Any,
        *,
        batch_size: int = 1,
        load_size: int = 0,
        keep_size: bool = True,
        tile: int = 0,
        overlap: int = 0,
    ) -> Any:
        """Translate one image, or several.

        Args:
            x: one image: a path, a Pillow image, an array (H, W) or (H, W, C), a tensor (C, H, W)
                or (N, C, H, W). Values are those of files, of any depth (`--value_range` of the
                training says which are black and white); tensors of floating point are what
                networks take, [-1, 1]. Or a list of images, or what yields them, which is asked
                for more as results are taken.
            batch_size: images of one size that are translated together, where this changes none
                of them: else they are translated one by one.
            load_size: resize images to a square of this side first, as test.py does by
                `--load_size`; 0 leaves them as they are. Tensors always stay.
            keep_size: return images as large as they came, of any size. Else sides are rounded to
                multiples of 4 first, as by test.py with `--preprocess none`.
            tile: compute larger images in tiles of this side, in bounded memory, with the same
                result; only ResNet generators can. 0: whole.
            overlap: compute so many pixels more around each tile; changes nothing.

        Returns:
            The same kind: for a path a Pillow image (where there is none of such values, an
            array), for a list a list, for what yields images an iterator. A network that makes one
            channel gives grey images.

        Raises:
            UserError: an image cannot be read, or the network cannot take it.
            TypeError, ValueError: that is no image.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: give 1 or more.")
        several = isinstance(x, list | tuple | Iterator)
        opener = self.opener(load_size, keep_size=keep_size)
        opened = (_open(opener, each) for each in (x if several else [x]))
        net = self.computing(keep_size=keep_size, tile=tile, overlap=overlap)
        made = self.translate_opened(opened, batch_size, net)
        if not several:
            return next(made)
        return made if isinstance(x, Iterator) else [*made] if isinstance(x, list) else (*made,)

    def opener(self, load_size: int = 0, *, keep_size: bool = True) -> ImageOpener:
        """Return what brings images to the network; the arguments are those of `translate`."""
        return ImageOpener(self.input_nc, load_size, not keep_size, self.trained.value_ranges())

    def computing(self, *, keep_size: bool = True, tile: int = 0, overlap: int = 0) -> Translate:
        """Return what runs the network; the arguments are those of `translate`."""
        net: Translate = self.module
        if tile:
            net = partial(translate_tiled, self.module, tile=tile, overlap=overlap)
        return partial(translate_any_size, self.module, translate=net) if keep_size else net

    def describe(self) -> dict[str, str | int | bool]:
        """Return what this is: where it comes from, how it is built, how it computes."""
        return {
            "name": self.trained.name,
            "epoch": self.trained.label,
            "direction": self.trained.direction,
            "file": str(self.trained.file),
            **self._options,
            "parameters": sum(each.numel() for each in self.module.parameters()),
            "divisor": self.divisor,
            "shortest_side": self.shortest_side,
            "eval": not self.module.training,
            "precision": getattr(self.module, "computes_in", "fp32"),
            "device": str(self.device),
        }

    def __repr__(self) -> str:
        return f"Generator({', '.join(f'{k}={v!r}' for k, v in self.describe().items())})"

    def translate_opened(
        self, opened: Iterable[Opened], batch_size: int, net: Translate
    ) -> Iterator[Any]:
        """Yield what becomes of images that are `opened`, in order; `net` runs the network."""
        size = batch_size if self._takes_batches else 1
        for group in _of_one_size(opened, size):
            names = [one.name for one in group for _ in one.images]
            images = torch.cat([one.images for one in group])
            parts = zip(images.split(size), names[::size], strict=True)
            made = torch.cat([self._run(net, part, name) for part, name in parts])
            counts = [len(one.images) for one in group]
            for one, its in zip(group, made.split(counts), strict=True):
                yield one.back(its)

    def _run(self, net: Translate, images: Tensor, name: str) -> Tensor:
        """Run the network; random numbers are those that test.py has for a file of this name."""
        drawing = _seeded(seed_of_image(0, name), self.device) if self._draws else nullcontext()
        with torch.no_grad(), drawing:
            return net(images.to(self.device)).cpu()


def load_generator(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    epoch: int | str = "latest",
    direction: str | None = None,
    checkpoints_dir: str | Path = "./checkpoints",
    precision: str = "fp32",
    eval: bool = False,
) -> Generator:
    """Load a trained generator, as test.py would.

    Args:
        source: a run's name, a folder of checkpoints, or one `.pth` file, which is taken as it is.
        device: where to compute: by default on the first GPU, without one on the CPU.
        epoch: which save: `latest`, `best`, a number, or `iter_<images>`.
        direction: `AtoB` or `BtoA`; by default what the run was trained for. Only CycleGANs have
            both.
        checkpoints_dir: where runs are.
        precision: `fp32`, `bf16` or `fp16`.
        eval: without dropout, and batch norm with the statistics of training, as by `--eval`.

    Raises:
        UserError: there is none, or it cannot be loaded; says why.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is not known. {suggest(precision, PRECISIONS)}")
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(usual if device is None else device)
    trained = find_generator(source, checkpoints_dir, str(epoch), direction)
    module = build_network(trained.options())
    checkpoint.load_network(module, trained.file)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.momentum = 0.0  # the statistics of training stay what they are
    keep_kernels(module)
    Precision(precision, place).attach(module)
    # Weights go on requiring gradients: torch rounds otherwise where they do not.
    return Generator(module.to(place).train(not eval), trained, place)


def _open(opener: ImageOpener, x: Any) -> Opened:
    """Open an image; nobody is told that sides are rounded, who has asked for it."""
    with silently():
        return opener.open(x)


def build_network(options: dict[str, Any]) -> nn.Module:
    """Build a network on the CPU; its random weights leave everybody else's numbers alone."""
    wanted = {**options, "use_dropout": not options["no_dropout"]}
    del wanted["no_dropout"]
    with silently(), _seeded(0, torch.device("cpu")):
        return networks.define_G(**wanted)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random numbers for a while, and put them back; one thread at a time."""
    devices = [device] if device.type == "cuda" else []
    with _random_numbers, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def _of_one_size(opened: Iterable[Opened], batch_size: int) -> Iterator[list[Opened]]:
    """Yield neighbours of one size together, as soon as they make a batch."""
    group: list[Opened] = []
    for one in opened:
        if group and one.images.shape[1:] != group[0].images.shape[1:]:
            yield group
            group = []
        group.append(one)
        if sum(len(each.images) for each in group) >= batch_size:
            yield group
            group = []
    if group:
        yield group
