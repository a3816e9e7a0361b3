"""What test.py makes with StarGAN v2: images in styles that are drawn, or taken from others."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from util.images.sheets import sheet

MODES = ("latent", "reference", "interpolate")
FOR_MEAN = 10_000  # styles whose mean `--psi` goes by
# From one style to the next: slowly away from the first, and a rest at the second.
STEPS = [0.0, *torch.sigmoid(torch.arange(-5.0, 5.0, 0.5)).tolist()]
REST = 10  # frames
MOST_COLUMNS, MOST_REFERENCES = 8, 4  # on a sheet of a batch
Masks = tuple[Tensor, Tensor] | None
Sheet = NDArray[np.uint8]  # (H, W, 3)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of test.py."""
    add = parser.add_argument
    add("--mode", choices=MODES, default="latent", help="latent: drawn styles; reference: those "
        "of other images; interpolate: animations from one reference to the next")  # fmt: skip
    add("--psi", type=float, default=1.0, help="how far from their mean drawn styles may be, 0 to "
        "1: less is less diverse, and more usual")  # fmt: skip
    add("--num_outs_per_domain", type=int, default=1, help="images of each domain to make of each "
        "source; 10 to measure how diverse they are")  # fmt: skip
    add("--sheet_size", type=int, default=8, help="most rows and columns of a sheet; 0: no sheets")


def problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with these options, which only test.py has."""
    if getattr(opt, "num_outs_per_domain", 1) < 1:
        yield f"--num_outs_per_domain {opt.num_outs_per_domain} makes no image. Give 1 or more."
    if not 0 <= getattr(opt, "psi", 1) <= 1:  # nan neither
        yield f"--psi {opt.psi} is not between 0 (all styles the mean) and 1 (as they are drawn)."


@dataclass(frozen=True)
class Source:
    """An image to translate."""

    image: Tensor  # (1, 3, H, W)
    masks: Masks
    name: str

    def to(self, device: torch.device) -> "Source":
        """Return the same image on another device."""
        masks = self.masks and (self.masks[0].to(device), self.masks[1].to(device))
        return Source(self.image.to(device), masks, self.name)


class Sampler:
    """Translate images into all domains; the first ones are kept for sheets."""

    def __init__(
        self, netG: nn.Module, netF: nn.Module, netE: nn.Module, domains: Sequence[str],
        opt: Namespace,
    ) -> None:  # fmt: skip
        self.netG, self.netF, self.netE = netG, netF, netE
        self.domains, self.opt = domains, opt
        self._sources: list[Source] = []
        self._references: list[list[Tensor]] = [[] for _ in domains]  # of the sheets, by domain
        self._means: dict[int, Tensor] = {}

    # ---- one source ---------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """Return the names of the images that `translate` makes."""
        return [name for names in self._names() for name in names[1 if self._draws else 0 :]]

    def _names(self) -> list[tuple[str, str]]:
        count = self.opt.num_outs_per_domain
        ends = [f"_{number + 1:02d}" for number in range(count)] if count > 1 else [""]
        wholes = [f"{domain}{end}" for domain in self.domains for end in ends]
        return [(f"reference_{whole}", f"fake_{whole}") for whole in wholes]

    def outputs(self) -> dict[str, list[str]]:
        """Return the names of the images that are made for each domain."""
        names, count = [name for _, name in self._names()], self.opt.num_outs_per_domain
        return {
            domain: names[number * count : (number + 1) * count]
            for number, domain in enumerate(self.domains)
        }

    @property
    def _draws(self) -> bool:
        return bool(self.opt.mode == "latent")

    def translate(self, source: Source, references: Tensor) -> dict[str, Tensor]:
        """Return images (1, 3, H, W) by label: what is made of a source, and of what its style is.

        `references` are (domains, outputs or more, 3, H, W); where styles are drawn, from torch's
        generator, they are not looked at.
        """
        self.keep([source], [] if self._draws else references)
        made: dict[str, Tensor] = {}
        for number, (name_of_reference, name) in enumerate(self._names()):
            domain, output = divmod(number, self.opt.num_outs_per_domain)
            if self._draws:
                style = self.drawn(domain, torch.randn(1, self.opt.latent_dim))
            else:
                made[name_of_reference] = references[domain, output][None]
                style = self.encoded(domain, made[name_of_reference])
            made[name] = self.netG(source.image, style, source.masks).clamp(-1, 1)
        return made

    def drawn(self, domain: int, z: Tensor) -> Tensor:
        """Return the styles (N, style_dim) of a domain that random numbers (N, latent_dim) make."""
        z = z.to(next(self.netF.parameters()))
        style: Tensor = self.netF(z, _labels(domain, z))
        if self.opt.psi == 1:
            return style
        if domain not in self._means:
            many = torch.randn(FOR_MEAN, z.shape[1], generator=_generator(domain)).to(z)
            self._means[domain] = self.netF(many, _labels(domain, many)).mean(0, keepdim=True)
        return self._means[domain].lerp(style, self.opt.psi)

    def encoded(self, domain: int, images: Tensor) -> Tensor:
        """Return the styles (N, style_dim) of images (N, 3, H, W), as such of a domain."""
        style: Tensor = self.netE(images, _labels(domain, images))
        return style

    # ---- sheets -------------------------------------------------------------------------------

    def keep(
        self, sources: Sequence[Source], references: Tensor | Sequence[Sequence[Tensor]]
    ) -> None:
        """Keep sources, and references (3, H, W) by domain, as far as sheets have room for them."""
        most = self.opt.sheet_size
        self._sources += [each.to(self._device) for each in sources[: most - len(self._sources)]]
        for kept, images in zip(self._references, references, strict=False):
            for image in images:
                image = image.to(self._device)
                if len(kept) < most and not any(torch.equal(image, other) for other in kept):
                    kept.append(image)

    def kept(self) -> tuple[list[Source], list[list[Tensor]]]:
        """Return the sources and references that are kept, on the CPU."""
        cpu = torch.device("cpu")
        references = [[image.cpu() for image in images] for images in self._references]
        return [source.to(cpu) for source in self._sources], references

    @property
    def _device(self) -> torch.device:
        return next(self.netG.parameters()).device

    def sheets(self) -> Iterator[tuple[str, Sheet | list[Sheet]]]:
        """Yield, for each domain, a sheet of sources in several styles, or frames of an animation.

        Columns are sources, rows are styles.
        """
        for domain, name in enumerate(self.domains if self._sources else ()):
            images = self._references[domain]
            styles = [self.encoded(domain, image[None]) for image in images]
            if self.opt.mode == "interpolate":
                way = ((self._sheet([style], []), frames) for style, frames in between(styles))
                yield name, [made for made, frames in way for _ in range(frames)]
                continue
            if self._draws:
                size = self.opt.sheet_size, self.opt.latent_dim
                codes = torch.randn(*size, generator=_generator(self.opt.sheet_size))
                styles = [self.drawn(domain, z[None]) for z in codes]
            yield name, self._sheet(styles, images)

    def _sheet(self, styles: Sequence[Tensor], references: Sequence[Tensor]) -> Sheet:
        """Return a sheet, a row for each style; references stand at the left of their rows."""
        rows: list[list[Tensor | None]] = [[source.image[0] for source in self._sources]]
        rows += [[self.netG(s.image, style, s.masks)[0] for s in self._sources] for style in styles]
        if references:
            rows = [[left, *row] for left, row in zip([None, *references], rows, strict=True)]
        corner = [""] * bool(references)
        return sheet(rows, columns=[*corner, *(source.name for source in self._sources)])


def batch_sheet(
    nets: tuple[nn.Module, nn.Module, nn.Module],
    sources: Tensor,
    masks: Masks,
    references: Tensor,
    labels: Tensor,
    z: Tensor,
    domains: Sequence[str],
) -> Sheet:
    """Return a sheet of a batch of training: a drawn style of each domain, then references.

    `nets` are G, F and E; `labels` (N,) those of the references (N, 3, H, W); `z` (1, latent_dim).
    """
    netG, netF, netE = nets
    count = min(len(sources), MOST_COLUMNS)
    masks = masks and (masks[0][:count], masks[1][:count])
    each = torch.arange(len(domains), device=labels.device)
    styles = [*netF(z.expand(len(domains), -1), each)]
    styles += [*netE(references[:MOST_REFERENCES], labels[:MOST_REFERENCES])]
    left = [None] * (1 + len(domains)) + [*references[:MOST_REFERENCES]]
    rows = [[*sources[:count]]]
    rows += [[*netG(sources[:count], style.expand(count, -1), masks)] for style in styles]
    names = ["", *domains, *(domains[label] for label in labels[:MOST_REFERENCES].tolist())]
    return sheet([[first, *row] for first, row in zip(left, rows, strict=True)], rows=names)


def between(styles: Sequence[Tensor]) -> Iterator[tuple[Tensor, int]]:
    """Yield styles on the way from each one to the next, and for how many frames they are shown.

    Of a single style there is nothing else.
    """
    if len(styles) == 1:
        yield styles[0], 1
    for first, second in pairwise(styles):
        for step in STEPS:
            yield first.lerp(second, step), 1
        yield second, REST


def _labels(domain: int, items: Tensor) -> Tensor:
    return torch.full((len(items),), domain, device=items.device)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
