"""The ResNet generator: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer"."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.layers import (
    BuiltInNetwork,
    NormLayer,
    ReflectionPad2d,
    conv_norm_act,
    needs_bias,
    pad_by_one,
)
from util.base.errors import UserError


class ResnetGenerator(BuiltInNetwork):
    """Halve the image twice, transform it with residual blocks, enlarge it twice.

    Shapes:
        input:  (N, input_nc, H, W), values in [-1, 1]
        output: (N, output_nc, H, W), values in [-1, 1]; sides are rounded up to a multiple of 4

    Attributes:
        recompute_blocks: see `--grad_checkpoint`.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
        n_blocks: int = 6,
        padding_type: str = "reflect",
    ) -> None:
        # With dropout its mask would be another one.
        super().__init__(channels_last_on=() if use_dropout else ("cpu",))
        self.recompute_blocks = False
        self.divisor = 4  # other sides are rounded up to a multiple
        # 4 pixels become 1 in the middle, which cannot be padded by reflection.
        self.shortest_side = 5 if padding_type == "reflect" else 4
        use_bias = needs_bias(norm_layer)
        layers: list[nn.Module] = [
            ReflectionPad2d(3),
            *conv_norm_act(Conv2d, input_nc, ngf, norm_layer, nn.ReLU(inplace=True), kernel_size=7),
        ]
        for width in (ngf, 2 * ngf):
            layers += conv_norm_act(
                Conv2d, width, 2 * width, norm_layer, nn.ReLU(inplace=True),
                kernel_size=3, stride=2, padding=1,
            )  # fmt: skip
        for _ in range(n_blocks):
            layers.append(ResnetBlock(4 * ngf, padding_type, norm_layer, use_dropout, use_bias))
        for width in (4 * ngf, 2 * ngf):
            layers += conv_norm_act(
                ConvTranspose2d, width, width // 2, norm_layer, nn.ReLU(inplace=True),
                kernel_size=3, stride=2, padding=1, output_padding=1,
            )  # fmt: skip
        layers += [ReflectionPad2d(3), Conv2d(ngf, output_nc, kernel_size=7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, input: Tensor) -> Tensor:
        """Translate a batch of images."""
        return self.model(input) if torch.jit.is_scripting() else self.run_layers(self._run, input)

    def require_size(self, height: int, width: int) -> None:
        """Raise a UserError if images are too small to be padded by reflection."""
        if min(height, width) < self.shortest_side:
            raise UserError(
                f"An image of {width}x{height} is too small for a ResNet generator: both sides "
                f"need {self.shortest_side} pixels or more."
            )

    def _run(self, x: Tensor) -> Tensor:
        if not (self.recompute_blocks and torch.is_grad_enabled()):
            return self.model(x)
        for layer in self.model:
            is_block = isinstance(layer, ResnetBlock)
            x = checkpoint(layer, x, use_reentrant=False) if is_block else layer(x)
        return x


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions of `dim` channels, added to their input (He et al. 2016)."""

    def __init__(
        self, dim: int, padding_type: str, norm_layer: NormLayer, use_dropout: bool, use_bias: bool
    ) -> None:
        super().__init__()
        self.conv_block = self.build_conv_block(
            dim, padding_type, norm_layer, use_dropout, use_bias
        )

    def build_conv_block(
        self, dim: int, padding_type: str, norm_layer: NormLayer, use_dropout: bool, use_bias: bool
    ) -> nn.Sequential:
        """Return what is added to the input; a subclass may build something else."""
        padding, more = pad_by_one(padding_type)
        layers = padding + conv_norm_act(
            Conv2d, dim, dim, norm_layer, nn.ReLU(inplace=True),
            kernel_size=3, padding=more, bias=use_bias,
        )  # fmt: skip
        if use_dropout:
            layers.append(nn.Dropout(0.5))
        padding, more = pad_by_one(padding_type)
        layers += padding + conv_norm_act(
            Conv2d, dim, dim, norm_layer, kernel_size=3, padding=more, bias=use_bias
        )
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus what the block makes of it."""
        return x + self.conv_block(x)
