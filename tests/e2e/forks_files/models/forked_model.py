"""A fork's own model, with a generator that only its own networks.py knows."""

from typing import Any

import torch

from . import networks
from .base_model import BaseModel


class ForkedModel(BaseModel):
    """One generator and an L1 loss."""

    def __init__(self, opt: Any) -> None:
        BaseModel.__init__(self, opt)
        self.loss_names = ["G_L1"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.model_names = ["G"]
        self.netG = networks.define_G(3, 3, opt.ngf, "fork", opt.norm, gpu_ids=self.gpu_ids)
        assert isinstance(self.netG, networks.ForkGenerator)
        if self.isTrain:
            self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=opt.lr)
            self.optimizers.append(self.optimizer_G)

    def set_input(self, input: Any) -> None:
        self.real_A, self.real_B = input["A"].to(self.device), input["B"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self) -> None:
        self.forward()
        self.optimizer_G.zero_grad()
        self.loss_G_L1 = (self.fake_B - self.real_B).abs().mean()
        self.loss_G_L1.backward()
        self.optimizer_G.step()
