"""The networks of StarGAN v2: Choi, Uh, Yoo, Ha 2020, "StarGAN v2: Diverse Image Synthesis ...".

Four networks share two kinds of residual blocks. Their names and the order in which layers are
made are those of the published weights.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.architectures.fast.convolutions import Conv2d
from models.architectures.layers import guard_instance_norm
from util.base.errors import UserError

SLOPE = 0.2  # of all leaky ReLUs
WIDTH = 512  # of the mapping network's layers, and the most channels of the others
HIGH_PASS_SIDES = (32, 64, 128)  # heights at which the decoder gets edges of the source


def first_width(img_size: int, filters: int) -> int:
    """Return the channels of the first layer: so many `filters` for 256 pixels, fewer for more.

    Raises:
        UserError: the side is no power of two, which the networks need.
    """
    if img_size < 16 or img_size & (img_size - 1):
        raise UserError(
            f"StarGAN v2 halves images until 4 pixels are left, so their side must be a power of "
            f"two, 16 or more, not {img_size}. Give for example --crop_size 128 or 256."
        )
    return max(1, filters * 256 // img_size)


def of_domain(of_all: list[Tensor] | tuple[Tensor, ...], y: Tensor) -> Tensor:
    """Return for each item of a batch what the head of its domain made; `y` (N,) are labels."""
    return torch.stack(list(of_all), dim=1)[torch.arange(len(y), device=y.device), y]


class ResBlk(nn.Module):
    """Add two convolutions to their input; keeps the variance by dividing by the root of two."""

    def __init__(
        self, dim_in: int, dim_out: int, *, normalize: bool = False, downsample: bool = False
    ) -> None:
        super().__init__()
        self.normalize, self.downsample = normalize, downsample
        self.conv1 = Conv2d(dim_in, dim_in, 3, padding=1)
        self.conv2 = Conv2d(dim_in, dim_out, 3, padding=1)
        if normalize:
            self.norm1 = nn.InstanceNorm2d(dim_in, affine=True)
            self.norm2 = nn.InstanceNorm2d(dim_in, affine=True)
        self.conv1x1 = Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, dim_in, H, W) to (N, dim_out, H, W), or half as high and wide."""
        return (self._shortcut(x) + self._residual(x)) / math.sqrt(2)

    def _shortcut(self, x: Tensor) -> Tensor:
        x = x if self.conv1x1 is None else self.conv1x1(x)
        return F.avg_pool2d(x, 2) if self.downsample else x

    def _residual(self, x: Tensor) -> Tensor:
        x = self.norm1(x) if self.normalize else x
        x = self.conv1(F.leaky_relu(x, SLOPE))
        x = F.avg_pool2d(x, 2) if self.downsample else x
        x = self.norm2(x) if self.normalize else x
        return self.conv2(F.leaky_relu(x, SLOPE))


class AdaIN(nn.Module):
    """Instance norm whose scale and shift come from a style (Huang and Belongie 2017)."""

    def __init__(self, style_dim: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels, affine=False)
        self.fc = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Normalise (N, C, H, W) in the style (N, style_dim)."""
        scale, shift = self.fc(style)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * self.norm(x) + shift


class AdainResBlk(nn.Module):
    """A residual block of the decoder, which takes the style.

    With a high pass, edges come from the source itself, so the block adds nothing to its input;
    the 1x1 convolution is there all the same, since published weights have it.
    """

    def __init__(
        self, dim_in: int, dim_out: int, style_dim: int, *, adds: bool, upsample: bool = False
    ) -> None:
        super().__init__()
        self.adds, self.upsample = adds, upsample
        self.conv1 = Conv2d(dim_in, dim_out, 3, padding=1)
        self.conv2 = Conv2d(dim_out, dim_out, 3, padding=1)
        self.norm1 = AdaIN(style_dim, dim_in)
        self.norm2 = AdaIN(style_dim, dim_out)
        self.conv1x1 = Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Transform (N, dim_in, H, W) to (N, dim_out, H, W), or twice as high and wide."""
        residual = self._residual(x, style)
        return (residual + self._shortcut(x)) / math.sqrt(2) if self.adds else residual

    def _shortcut(self, x: Tensor) -> Tensor:
        x = self._enlarged(x)
        return x if self.conv1x1 is None else self.conv1x1(x)

    def _residual(self, x: Tensor, style: Tensor) -> Tensor:
        x = self._enlarged(F.leaky_relu(self.norm1(x, style), SLOPE))
        x = self.norm2(self.conv1(x), style)
        return self.conv2(F.leaky_relu(x, SLOPE))

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.upsample else x


class HighPass(nn.Module):
    """Keep the edges of every channel."""

    filter: Tensor

    def __init__(self, w_hpf: float) -> None:
        super().__init__()
        kernel = [[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]
        self.register_buffer("filter", torch.tensor(kernel) / w_hpf)

    def forward(self, x: Tensor) -> Tensor:
        """Filter (N, C, H, W)."""
        channels = x.shape[1]
        return F.conv2d(x, self.filter.repeat(channels, 1, 1, 1), padding=1, groups=channels)


class Generator(nn.Module):
    """G: give an image a style.

    Shapes:
        x: (N, 3, img_size, img_size), values in [-1, 1]
        s: (N, style_dim)
        masks: with `w_hpf` above 0, two batches (N, 1, h, w) that say where edges of `x` are kept:
            at 32 pixels, and at 64 and 128
        output: as `x`, values not limited

    Attributes:
        recompute_blocks: see `--grad_checkpoint`.
    """

    def __init__(
        self, img_size: int = 256, style_dim: int = 64, max_conv_dim: int = WIDTH,
        w_hpf: float = 1, ngf: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        width = first_width(img_size, ngf)
        self.recompute_blocks = False
        self.divisor = img_size
        self.from_rgb = Conv2d(3, width, 3, padding=1)
        self.encode, self.decode = nn.ModuleList(), nn.ModuleList()
        self.to_rgb = nn.Sequential(
            nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(SLOPE), Conv2d(width, 3, 1)
        )
        adds = w_hpf == 0
        for _ in range(int(math.log2(img_size)) - 4 + (not adds)):
            wider = min(2 * width, max_conv_dim)
            self.encode.append(ResBlk(width, wider, normalize=True, downsample=True))
            self.decode.insert(0, AdainResBlk(wider, width, style_dim, adds=adds, upsample=True))
            width = wider
        for _ in range(2):
            self.encode.append(ResBlk(width, width, normalize=True))
            self.decode.insert(0, AdainResBlk(width, width, style_dim, adds=adds))
        if not adds:
            self.hpf = HighPass(w_hpf)
        guard_instance_norm(self)

    def forward(self, x: Tensor, s: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Translate a batch of images."""
        x = self.from_rgb(x)
        sources: dict[int, Tensor] = {}  # what edges are taken from, by height
        for block in self.encode:
            if masks is not None:
                sources[x.shape[2]] = x
            x = self._run(block, x)
        for block in self.decode:
            x = self._run(block, x, s)
            if masks is not None and x.shape[2] in HIGH_PASS_SIDES:
                mask = masks[0] if x.shape[2] == HIGH_PASS_SIDES[0] else masks[1]
                mask = F.interpolate(mask, size=x.shape[2], mode="bilinear")
                x = x + self.hpf(mask * sources[x.shape[2]])
        images: Tensor = self.to_rgb(x)
        return images

    def _run(self, block: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        if self.recompute_blocks and torch.is_grad_enabled():
            made: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return made
        return block(*inputs)


class MappingNetwork(nn.Module):
    """F: make a style of random numbers, for each domain by layers of its own."""

    def __init__(self, latent_dim: int = 16, style_dim: int = 64, num_domains: int = 2) -> None:
        super().__init__()
        self.shared = nn.Sequential(*_linear_relu(latent_dim), *_linear_relu(times=3))
        self.unshared = nn.ModuleList(
            nn.Sequential(*_linear_relu(times=3), nn.Linear(WIDTH, style_dim))
            for _ in range(num_domains)
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return styles (N, style_dim) of `z` (N, latent_dim) in the domains `y` (N,)."""
        h = self.shared(z)
        return of_domain([head(h) for head in self.unshared], y)


def _linear_relu(width: int = WIDTH, times: int = 1) -> list[nn.Module]:
    return [layer for _ in range(times) for layer in (nn.Linear(width, WIDTH), nn.ReLU())]


def _down_to_one_pixel(
    img_size: int, max_conv_dim: int, filters: int
) -> tuple[list[nn.Module], int]:
    """Return layers that make one pixel of an image, and its channels."""
    width = first_width(img_size, filters)
    layers: list[nn.Module] = [Conv2d(3, width, 3, padding=1)]
    for _ in range(int(math.log2(img_size)) - 2):
        wider = min(2 * width, max_conv_dim)
        layers.append(ResBlk(width, wider, downsample=True))
        width = wider
    layers += [nn.LeakyReLU(SLOPE), Conv2d(width, width, 4), nn.LeakyReLU(SLOPE)]
    return layers, width


class StyleEncoder(nn.Module):
    """E: read the style off an image, for each domain by a layer of its own."""

    def __init__(
        self, img_size: int = 256, style_dim: int = 64, num_domains: int = 2,
        max_conv_dim: int = WIDTH, ndf: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        layers, width = _down_to_one_pixel(img_size, max_conv_dim, ndf)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList(nn.Linear(width, style_dim) for _ in range(num_domains))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return styles (N, style_dim) of images (N, 3, H, W) of the domains `y` (N,)."""
        h = self.shared(x).flatten(1)
        return of_domain([head(h) for head in self.unshared], y)


class Discriminator(nn.Module):
    """D: tell real images of a domain from made ones, as logits."""

    def __init__(
        self, img_size: int = 256, num_domains: int = 2, max_conv_dim: int = WIDTH, ndf: int = 64
    ) -> None:
        super().__init__()
        layers, width = _down_to_one_pixel(img_size, max_conv_dim, ndf)
        self.main = nn.Sequential(*layers, Conv2d(width, num_domains, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return a logit (N,) for each image (N, 3, H, W) as one of its domain `y` (N,)."""
        return of_domain(self.main(x).flatten(1).unbind(1), y)


def draw_weights(net: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. 2015; biases become 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
