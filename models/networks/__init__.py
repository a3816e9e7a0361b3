"""Networks, losses and schedules under the names that plugins import from `models.networks`."""

from models.losses import GAN_MODES, GANLoss, cal_gradient_penalty
from models.networks.convolutions import biases_done, fit_to_neighbours
from models.networks.layers import Identity, get_norm_layer
from models.networks.modes import (
    can_judge_together,
    judge_together,
    recompute_blocks,
    treats_pictures_alone,
    use_channels_last,
    use_compiled_norms,
)
from models.networks.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.networks.registry import define_D, define_G, unknown_names
from models.networks.resnet import ResnetBlock, ResnetGenerator
from models.networks.unet import UnetGenerator, UnetSkipConnectionBlock
from models.networks.weights import init_net, init_weights
from models.schedulers import get_scheduler

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
