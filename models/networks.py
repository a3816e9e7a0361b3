"""Networks, losses and schedules under the names that plugins import from `models.networks`."""

from models.architectures.fast.convolutions import biases_done, link_layers
from models.architectures.initialization import init_net, init_weights
from models.architectures.layers import Identity, get_norm_layer
from models.architectures.losses import GAN_MODES, GANLoss, cal_gradient_penalty
from models.architectures.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.architectures.registry import define_D, define_G, unknown_names
from models.architectures.resnet import ResnetBlock, ResnetGenerator
from models.architectures.switches import (
    can_discriminate_as_one_batch,
    discriminate_as_one_batch,
    is_batch_independent,
    recompute_blocks,
    use_channels_last,
    use_compiled_norms,
)
from models.architectures.unet import UnetGenerator, UnetSkipConnectionBlock
from models.optimization.schedulers import get_scheduler

__all__ = [
    "GAN_MODES",
    "GANLoss",
    "Identity",
    "NLayerDiscriminator",
    "PixelDiscriminator",
    "ResnetBlock",
    "ResnetGenerator",
    "UnetGenerator",
    "UnetSkipConnectionBlock",
    "biases_done",
    "cal_gradient_penalty",
    "can_discriminate_as_one_batch",
    "define_D",
    "define_G",
    "link_layers",
    "get_norm_layer",
    "get_scheduler",
    "init_net",
    "init_weights",
    "discriminate_as_one_batch",
    "recompute_blocks",
    "is_batch_independent",
    "unknown_names",
    "use_channels_last",
    "use_compiled_norms",
]
