"""Discriminators that judge patches or single pixels (Isola et al. 2017, section 3.2.2)."""

import torch
from torch import Tensor, nn

from models.architectures.fast.convolutions import Conv2d
from models.architectures.layers import BuiltInNetwork, NormLayer, conv_norm_act, needs_bias
from util.base.errors import UserError


class NLayerDiscriminator(BuiltInNetwork):
    """PatchGAN: judge overlapping patches; three layers see 70x70 pixels each.

    Shapes:
        input:  (N, input_nc, H, W), values in [-1, 1]
        output: (N, 1, h, w), raw scores, one for each patch
    """

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 3,
        norm_layer: NormLayer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(input_nc, ndf, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        width = ndf
        for level in [*range(1, n_layers), n_layers]:  # the last one even if n_layers is 0
            wider = ndf * min(2**level, 8)
            layers += conv_norm_act(
                Conv2d, width, wider, norm_layer, nn.LeakyReLU(0.2, inplace=True),
                kernel_size=4, stride=2 if level < n_layers else 1, padding=1,
            )  # fmt: skip
            width = wider
        layers.append(nn.Conv2d(width, 1, kernel_size=4, stride=1, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, input: Tensor) -> Tensor:
        """Score every patch."""
        return self.model(input) if torch.jit.is_scripting() else self.run_layers(self.model, input)

    def require_size(self, height: int, width: int) -> None:
        """Raise a UserError if images are smaller than the network needs."""
        given = f"{width}x{height}"
        for layer in self.model:
            if isinstance(layer, nn.Conv2d):
                stride = layer.stride[0]
                height, width = (height - 2) // stride + 1, (width - 2) // stride + 1
            # One pixel has no variance to normalise by.
            too_small = isinstance(layer, nn.InstanceNorm2d) and height * width < 2
            if too_small or min(height, width) < 1:
                raise UserError(
                    f"An image of {given} is too small for this discriminator. Use larger "
                    "images (--crop_size), or a smaller --n_layers_D with --netD n_layers."
                )


class PixelDiscriminator(BuiltInNetwork):
    """Judge each pixel on its own, with 1x1 convolutions.

    Shapes:
        input:  (N, input_nc, H, W), values in [-1, 1]
        output: (N, 1, H, W), raw scores
    """

    def __init__(
        self, input_nc: int, ndf: int = 64, norm_layer: NormLayer = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(input_nc, ndf, kernel_size=1),
            nn.LeakyReLU(0.2, inplace=True),
            *conv_norm_act(
                Conv2d, ndf, 2 * ndf, norm_layer, nn.LeakyReLU(0.2, inplace=True), kernel_size=1
            ),
            nn.Conv2d(2 * ndf, 1, kernel_size=1, bias=needs_bias(norm_layer)),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Score every pixel."""
        return self.net(input) if torch.jit.is_scripting() else self.run_layers(self.net, input)
