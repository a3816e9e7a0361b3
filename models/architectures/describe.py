"""What a checkpoint's keys and shapes tell about the network it was made with."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

LAYER_OF_BLOCK = re.compile(r"(?:module\.)?model\.(\d+)\.conv_block\.(\d)\.weight")
UNETS = {7: "unet_128", 8: "unet_256"}  # by how often they halve the image


@dataclass(frozen=True)
class Architecture:
    """A generator as the options describe it."""

    netG: str
    norm: str
    ngf: int
    input_nc: int
    output_nc: int
    no_dropout: bool | None = None  # None: not known, dropout leaves no trace in a U-Net

    def options(self) -> dict[str, str | int | bool]:
        """Return what is known, by option."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        dropout = {True: " --no_dropout", False: " with dropout", None: ""}[self.no_dropout]
        return (
            f"--netG {self.netG} --norm {self.norm} --ngf {self.ngf} --input_nc {self.input_nc} "
            f"--output_nc {self.output_nc}{dropout}"
        )


def describe_generator(state: Mapping[str, Tensor]) -> Architecture | None:
    """Read a built-in generator's options off its state dict; None if it is something else."""
    shapes = {
        key.removeprefix("module."): tuple(value.shape)
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, Tensor)  # who knows what a file holds
    }
    if "model.model.0.weight" in shapes:
        return _describe_unet(shapes)
    if "model.1.weight" in shapes and any(LAYER_OF_BLOCK.fullmatch(key) for key in shapes):
        return _describe_resnet(shapes)
    return None


def resnet_uses_dropout(keys: Iterable[str]) -> bool | None:
    """Tell whether a ResNet generator was built with dropout; None if it is another network.

    A residual block's second convolution is layer 5 of the block, 6 behind a dropout layer; with
    zero padding, which has no layer of its own, 3 and 4.
    """
    found = {int(match[2]) for match in map(LAYER_OF_BLOCK.fullmatch, keys) if match}
    without, behind_dropout = (3, 4) if 0 in found else (5, 6)
    return False if without in found else (True if behind_dropout in found else None)


def _describe_resnet(shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    blocks = {match[1] for match in map(LAYER_OF_BLOCK.fullmatch, shapes) if match}
    layers = (re.fullmatch(r"model\.([0-9]+)\.weight", key) for key in shapes)
    last_layer = max(int(match[1]) for match in layers if match)
    first, last = shapes["model.1.weight"], shapes[f"model.{last_layer}.weight"]
    if not len(first) == len(last) == 4:  # right names, but no convolutions
        return None
    norm = _norm("model.1.bias" in shapes, "model.2.weight" in shapes)
    dropout = resnet_uses_dropout(shapes)
    no_dropout = None if dropout is None else not dropout
    return Architecture(f"resnet_{len(blocks)}blocks", norm, *first[:2], last[0], no_dropout)


def _describe_unet(shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    # Each level's down convolution is layer 1 of its block; the outermost one is layer 0.
    levels = {key for key in shapes if re.fullmatch(r"model(\.model\.\d)*\.model\.1\.weight", key)}
    downs = 1 + sum(len(shapes[key]) == 4 for key in levels)
    if downs not in UNETS or "model.model.3.weight" not in shapes:
        return None
    first, last = shapes["model.model.0.weight"], shapes["model.model.3.weight"]
    if not len(first) == len(last) == 4:
        return None
    second = "model.model.1.model"
    norm = _norm(f"{second}.1.bias" in shapes, f"{second}.2.weight" in shapes)
    return Architecture(UNETS[downs], norm, ngf=first[0], input_nc=first[1], output_nc=last[1])


def _norm(convolution_has_bias: bool, norm_has_weight: bool) -> str:
    """Tell the norm; running statistics alone, without weights, are pre-0.4 instance norm."""
    if norm_has_weight:
        return "batch"
    return "instance" if convolution_has_bias else "none"
