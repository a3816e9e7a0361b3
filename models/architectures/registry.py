"""The built-in networks by name: `define_G`, `define_D`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from torch import nn

from models.architectures.initialization import INIT_TYPES, init_net
from models.architectures.layers import NORM_LAYERS, get_norm_layer
from models.architectures.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.architectures.resnet import ResnetGenerator
from models.architectures.unet import UnetGenerator
from util.base.errors import ChoiceError, suggest

# Called as (input_nc, output_nc, ngf=, norm_layer=, use_dropout=).
GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "resnet_9blocks": partial(ResnetGenerator, n_blocks=9),
    "resnet_6blocks": partial(ResnetGenerator, n_blocks=6),
    "unet_128": partial(UnetGenerator, num_downs=7),
    "unet_256": partial(UnetGenerator, num_downs=8),
}
DISCRIMINATORS = ("basic", "n_layers", "pixel")


def define_G(
    input_nc: int,
    output_nc: int,
    ngf: int,
    netG: str,
    norm: str = "batch",
    use_dropout: bool = False,
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
) -> nn.Module:
    """Build a generator on its device and draw its weights.

    The arguments are the options of these names; a name that is unknown raises a ChoiceError. The
    network goes to the first of the GPUs; if there are none, it stays on the CPU.
    """
    norm_layer = get_norm_layer(norm)
    if netG not in GENERATORS:
        hint = suggest(netG, GENERATORS)
        raise ChoiceError(f"Generator model name [{netG}] is not recognized. {hint}")
    net = GENERATORS[netG](
        input_nc, output_nc, ngf=ngf, norm_layer=norm_layer, use_dropout=use_dropout
    )
    return init_net(net, init_type, init_gain, gpu_ids)


def define_D(
    input_nc: int,
    ndf: int,
    netD: str,
    n_layers_D: int = 3,
    norm: str = "batch",
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
) -> nn.Module:
    """Build a discriminator on its device and draw its weights; see `define_G`."""
    norm_layer = get_norm_layer(norm)
    net: nn.Module
    if netD == "pixel":
        net = PixelDiscriminator(input_nc, ndf, norm_layer=norm_layer)
    elif netD in DISCRIMINATORS:
        depth = 3 if netD == "basic" else n_layers_D
        net = NLayerDiscriminator(input_nc, ndf, n_layers=depth, norm_layer=norm_layer)
    else:
        hint = suggest(netD, DISCRIMINATORS)
        raise ChoiceError(f"Discriminator model name [{netD}] is not recognized. {hint}")
    return init_net(net, init_type, init_gain, gpu_ids)


def unknown_names(*, netG: str, netD: str, norm: str, init_type: str) -> Iterator[str]:
    """Yield one message for each option that names nothing in the tables of this package."""
    for option, given, known in (
        ("--netG", netG, GENERATORS),
        ("--netD", netD, DISCRIMINATORS),
        ("--norm", norm, NORM_LAYERS),
        ("--init_type", init_type, INIT_TYPES),
    ):
        if given not in known:
            yield f"{option} {given} is not known. {suggest(given, known)}"
