"""Networks, losses and schedules under the names that the original's module has.

Nothing of ours asks this module for more, so the networks.py of somebody's fork may take its
place. To add a network, see `models/architectures/registry.py`. (`as` says: take it from here.)
"""

import functools as functools  # these five for other people's code

import torch as torch
from torch import nn as nn
from torch.nn import init as init
from torch.optim import lr_scheduler as lr_scheduler

from models.architectures.initialization import init_net as init_net
from models.architectures.initialization import init_weights as init_weights
from models.architectures.layers import Identity as Identity
from models.architectures.layers import get_norm_layer as get_norm_layer
from models.architectures.losses import GANLoss as GANLoss
from models.architectures.losses import cal_gradient_penalty as cal_gradient_penalty
from models.architectures.patchgan import NLayerDiscriminator as NLayerDiscriminator
from models.architectures.patchgan import PixelDiscriminator as PixelDiscriminator
from models.architectures.registry import define_D as define_D
from models.architectures.registry import define_G as define_G
from models.architectures.resnet import ResnetBlock as ResnetBlock
from models.architectures.resnet import ResnetGenerator as ResnetGenerator
from models.architectures.unet import UnetGenerator as UnetGenerator
from models.architectures.unet import UnetSkipConnectionBlock as UnetSkipConnectionBlock
from models.optimization.schedulers import get_scheduler as get_scheduler
