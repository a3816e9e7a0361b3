"""Networks, losses and schedules under the names that the original's module has.

Nothing of ours asks this module for more, so the networks.py of somebody's fork may take its
place. To add a network, see `models/architectures/registry.py`.
"""

from models.architectures.initialization import init_net, init_weights
from models.architectures.layers import Identity, get_norm_layer
from models.architectures.losses import GANLoss, cal_gradient_penalty
from models.architectures.patchgan import NLayerDiscriminator, PixelDiscriminator
from models.architectures.registry import define_D, define_G
from models.architectures.resnet import ResnetBlock, ResnetGenerator
from models.architectures.unet import UnetGenerator, UnetSkipConnectionBlock
from models.optimization.schedulers import get_scheduler

__all__ = [
    "GANLoss",
    "Identity",
    "NLayerDiscriminator",
    "PixelDiscriminator",
    "ResnetBlock",
    "ResnetGenerator",
    "UnetGenerator",
    "UnetSkipConnectionBlock",
    "cal_gradient_penalty",
    "define_D",
    "define_G",
    "get_norm_layer",
    "get_scheduler",
    "init_net",
    "init_weights",
]
