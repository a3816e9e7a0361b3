"""Networks, losses and schedules under the names that plugins import from `models.networks`."""

from models.architectures.fast.convolutions import biases_done, fit_to_neighbours
from models.architectures.initialization import init_net, init_weights
from models.architectures.layers import Identity, get_norm_layer
from models.architectures.losses import GAN_MODES, GANLoss, cal_gradient_penalty
from models.architectures.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.architectures.registry import define_D, define_G, unknown_names
from models.architectures.resnet import ResnetBlock, ResnetGenerator
from models.architectures.switches import (
    can_judge_together,
    judge_together,
    recompute_blocks,
    treats_pictures_alone,
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
    "can_judge_together",
    "define_D",
    "define_G",
    "fit_to_neighbours",
    "get_norm_layer",
    "get_scheduler",
    "init_net",
    "init_weights",
    "judge_together",
    "recompute_blocks",
    "treats_pictures_alone",
    "unknown_names",
    "use_channels_last",
    "use_compiled_norms",
]
