"""The U-Net generator: Isola et al. 2017, "Image-to-Image Translation with Conditional ..."."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.layers import BuiltInNetwork, NormLayer, conv_norm_act, needs_bias
from util.base.errors import UserError


class UnetGenerator(BuiltInNetwork):
    """Halve the image `num_downs` times and enlarge it again, with skip connections.

    Shapes:
        input:  (N, input_nc, H, W), values in [-1, 1]; sides are multiples of 2**num_downs
        output: (N, output_nc, H, W), values in [-1, 1]
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        num_downs: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
    ) -> None:
        super().__init__(channels_last_on=())  # see `use_channels_last`
        self.divisor = self.shortest_side = 2**num_downs  # of both sides
        # From the inside out: this order decides which random numbers each layer starts from.
        level = functools.partial(UnetSkipConnectionBlock, norm_layer=norm_layer)
        wide = 8 * ngf
        block = level(wide, wide, innermost=True)
        for _ in range(num_downs - 5):
            block = level(wide, wide, submodule=block, use_dropout=use_dropout)
        for width in (4 * ngf, 2 * ngf, ngf):
            block = level(width, 2 * width, submodule=block)
        self.model = level(output_nc, ngf, input_nc, submodule=block, outermost=True)

    def forward(self, input: Tensor) -> Tensor:
        """Translate a batch of images."""
        return self.model(input) if torch.jit.is_scripting() else self.run_layers(self.model, input)

    def require_size(self, height: int, width: int) -> None:
        """Raise a UserError if images cannot be halved so often."""
        if height % self.divisor or width % self.divisor:
            raise UserError(
                f"This U-Net halves images until they are {self.divisor} times smaller, so both "
                f"sides must be multiples of {self.divisor}, but an image is {width}x{height}. "
                "Choose another --crop_size (and --load_size), or a generator that halves less "
                "often: unet_128 needs multiples of 128, resnet_9blocks of 4."
            )


class UnetSkipConnectionBlock(nn.Module):
    """One level of a U-Net: halve, run the level below, enlarge, put beside the input.

    Shapes:
        input:  (N, input_nc, H, W), by default `outer_nc` channels
        output: (N, 2 * outer_nc, H, W): the (activated) input, then what the level made of it;
            (N, outer_nc, H, W) for the outermost level, which has no skip connection
    """

    def __init__(
        self,
        outer_nc: int,
        inner_nc: int,
        input_nc: int | None = None,
        submodule: nn.Module | None = None,
        outermost: bool = False,
        innermost: bool = False,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.outermost = outermost
        width_down = input_nc or outer_nc
        width_up = inner_nc if innermost else 2 * inner_nc  # the level below doubles the channels
        by_two: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1}

        # In place, so that the skip connection carries the activated tensor.
        down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        if outermost or innermost:
            down.append(Conv2d(width_down, inner_nc, bias=needs_bias(norm_layer), **by_two))
        else:
            down += conv_norm_act(Conv2d, width_down, inner_nc, norm_layer, **by_two)
        below = [] if submodule is None else [submodule]
        up: list[nn.Module] = [nn.ReLU(inplace=True)]
        if outermost:
            up += [ConvTranspose2d(width_up, outer_nc, **by_two), nn.Tanh()]
        else:
            up += conv_norm_act(ConvTranspose2d, width_up, outer_nc, norm_layer, **by_two)
        if use_dropout:
            up.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*down, *below, *up)

    def forward(self, x: Tensor) -> Tensor:
        """Run this level and all below it."""
        if self.outermost:
            return self.model(x)
        return torch.cat([x, self.model(x)], 1)
