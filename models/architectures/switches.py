"""Ways in which the built-in networks can compute, switched on after they were built.

Networks of others are left as they are.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.architectures.fast.batch_norm import BatchNorm2d, separate_batch_statistics
from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.layers import Identity, ReflectionPad2d
from models.architectures.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.architectures.resnet import ResnetBlock, ResnetGenerator
from models.architectures.unet import UnetGenerator, UnetSkipConnectionBlock
from util.base.torch_private import count_hooks, has_amx

BUILT_IN = (ResnetGenerator, UnetGenerator, NLayerDiscriminator, PixelDiscriminator)
# Layers that treat every image alone, or keep batches apart (batch norm).
KNOWN_LAYERS = (
    *(nn.Sequential, nn.Conv2d, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.ReplicationPad2d, Identity),
    *(Conv2d, ConvTranspose2d, InstanceNorm2d, BatchNorm2d, ReflectionPad2d),
    *(ResnetBlock, UnetSkipConnectionBlock),
)


def use_channels_last(net: nn.Module, *, half: bool) -> None:
    """Compute in this layout even with dropout, whose mask then is another one, and on GPUs.

    On CPUs the wide layers in the middle of a U-Net lose more by it than the others gain, except
    in half precision where the processor has units for it.
    """
    loses = isinstance(net, UnetGenerator) and not (half and has_amx())
    if isinstance(net, BUILT_IN):
        net.channels_last_on = ("cuda",) if loses else ("cpu", "cuda")


def keep_kernels(net: nn.Module) -> None:
    """Let convolutions prepare their weights once, for a network that is used and not trained."""
    for layer in net.modules():
        if type(layer) is Conv2d:
            layer.keeps_kernels = True


def recompute_blocks(net: nn.Module) -> bool:
    """Forget what is inside a network's blocks, and compute it again for the backward pass.

    Return whether the network can do that: it has this attribute. Batch norm would count every
    image twice.
    """
    if not isinstance(getattr(net, "recompute_blocks", None), bool) or _has_batch_norm(net):
        return False
    setattr(net, "recompute_blocks", True)  # noqa: B010 - a module's attributes have no type
    return True


def is_batch_independent(net: nn.Module) -> bool:
    """Tell whether a network makes the same of an image in any batch, without random numbers."""
    return _is_as_built(net) and not _has_batch_norm(net)


def translates_alone(net: nn.Module) -> bool:
    """Tell whether a network, in the mode that it is in, makes the same of an image in any batch.

    Unlike in training, batch norm may be there if it is in evaluation mode.
    """
    return is_batch_independent(net) or (type(net) in BUILT_IN and not net.training)


def draws_nothing(net: nn.Module) -> bool:
    """Tell whether a pass through a network, in the mode that it is in, draws no random numbers."""
    return _is_as_built(net) or (type(net) in BUILT_IN and not net.training)


def discriminate_as_one_batch(
    netD: nn.Module, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a discriminator's scores of two batches from one pass; batch norm keeps them apart."""
    with separate_batch_statistics(netD, 2):
        of_first, of_second = netD(torch.cat([first, second])).chunk(2)
    return of_first, of_second


def can_discriminate_as_one_batch(netD: nn.Module, first: Tensor, second: Tensor) -> bool:
    """Tell whether `discriminate_as_one_batch` gives what two passes give."""
    return _is_as_built(netD) and first.shape == second.shape


def _is_as_built(net: nn.Module) -> bool:
    """Tell whether a network is one of ours, without dropout, and nobody has changed its layers.

    Hooks (spectral norm is one) see single batches elsewhere, so they must here; those of
    `--precision`, one before and one after the network, do not care.
    """
    own = int(hasattr(net, "computes_in"))
    if type(net) not in BUILT_IN or count_hooks(net) != (own, own):
        return False
    return all(
        type(layer) in KNOWN_LAYERS
        and not any(count_hooks(layer))
        and getattr(layer, "momentum", 0) is not None
        for layer in net.modules()
        if layer is not net
    )


def _has_batch_norm(net: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in net.modules())
