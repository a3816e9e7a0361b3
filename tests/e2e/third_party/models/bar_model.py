# ruff: noqa
# fmt: off
import functools
import itertools

import numpy as np
import torch
import torch.nn as nn

from models.base_model import BaseModel
from models.networks import get_norm_layer, init_weights, GANLoss, NLayerDiscriminator
from util.util import tensor2im


class BarGenerator(nn.Module):
    def __init__(self, nc, ngf=8, norm_layer=nn.BatchNorm2d):
        super(BarGenerator, self).__init__()
        if type(norm_layer) == functools.partial:
            use_bias = norm_layer.func == nn.InstanceNorm2d
        else:
            use_bias = norm_layer == nn.InstanceNorm2d
        self.uses_bias = use_bias
        model = [nn.ReflectionPad2d(1), nn.Conv2d(nc, ngf, 3, bias=use_bias), norm_layer(ngf), nn.ReLU(True)]
        model += [nn.ReflectionPad2d(1), nn.Conv2d(ngf, nc, 3), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, input):
        return self.model(input)


class BarModel(BaseModel):
    """Unpaired, one direction.  Never looks at gpu_ids, brings no options."""

    def __init__(self, opt):
        super(BarModel, self).__init__(opt)
        self.loss_names = ["G", "D", "tv"]
        self.visual_names = ["real_A", "fake_B", "montage"]
        self.model_names = ["bar", "critic"] if opt.isTrain else ["bar"]
        norm_layer = get_norm_layer(norm_type=opt.norm)
        self.netbar = BarGenerator(opt.input_nc, opt.ngf, norm_layer)
        init_weights(self.netbar, opt.init_type, opt.init_gain)
        self.loss_tv = 0
        if opt.isTrain:
            self.netcritic = NLayerDiscriminator(opt.output_nc, opt.ndf, n_layers=2, norm_layer=norm_layer)
            init_weights(self.netcritic, opt.init_type)
            self.criterionGAN = GANLoss(opt.gan_mode, target_real_label=0.9).to(self.device)
            self.optimizer = torch.optim.RMSprop(itertools.chain(self.netbar.parameters()), lr=opt.lr)
            self.optimizer_c = torch.optim.RMSprop(self.netcritic.parameters(), lr=opt.lr)
            self.optimizers = [self.optimizer, self.optimizer_c]

    def set_input(self, input):
        self.real_A = input["A"].to(self.device)
        self.real_B = input["B"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self):
        self.fake_B = self.netbar(self.real_A)

    def compute_visuals(self):
        self.montage = np.concatenate([tensor2im(self.real_A), tensor2im(self.fake_B)], 1)

    def optimize_parameters(self):
        self.forward()
        self.optimizer.zero_grad()
        self.loss_tv = (self.fake_B[:, :, 1:] - self.fake_B[:, :, :-1]).abs().mean().item()
        self.loss_G = self.criterionGAN(self.netcritic(self.fake_B), True)
        self.loss_G.backward()
        self.optimizer.step()
        self.optimizer_c.zero_grad()
        self.loss_D = self.criterionGAN(self.netcritic(self.real_B), True)
        self.loss_D = self.loss_D + self.criterionGAN(self.netcritic(self.fake_B.detach()), False)
        self.loss_D.backward()
        self.optimizer_c.step()
