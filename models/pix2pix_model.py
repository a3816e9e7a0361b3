"""pix2pix: Isola, Zhu, Zhou, Efros 2017, "Image-to-Image Translation with Conditional ..."."""

from argparse import ArgumentParser, Namespace
from typing import Any

import torch
from torch import Tensor, nn

from models import networks
from models.base_model import BaseModel
from models.gan.inputs import both_sides, require_equal_size
from models.gan.options import adam, add_gradient_penalty_option, builtin_option_problems
from models.gan.step_ways import discriminate_both, with_gradient_penalty


class Pix2PixModel(BaseModel):
    """One generator A to B, one discriminator that judges B beside A.

    The generator minimises GAN(D(A, G(A))) + lambda_L1 |G(A) - B| (paper, eq. 4).
    """

    batch_independent = True
    generators = ("G",)
    option_problems = staticmethod(builtin_option_problems)

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Use paired data, a U-Net and batch norm, as in the paper; add the losses' weights."""
        parser.set_defaults(norm="batch", netG="unet_256", dataset_mode="aligned")
        if is_train:
            parser.set_defaults(pool_size=0, gan_mode="vanilla")
            parser.add_argument(
                "--lambda_L1", type=float, default=100.0, help="weight of the L1 loss"
            )
            add_gradient_penalty_option(parser)
        return parser

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["G_GAN", "G_L1", "D_real", "D_fake"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.model_names = ["G", "D"] if self.isTrain else ["G"]
        init = (opt.init_type, opt.init_gain, self.gpu_ids)
        of_G = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, *init)
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, *of_G)
        if not self.isTrain:
            return
        # The discriminator sees the condition and the image, one behind the other.
        of_D = (opt.ndf, opt.netD, opt.n_layers_D, opt.norm, *init)
        self.netD = networks.define_D(opt.input_nc + opt.output_nc, *of_D)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.criterionL1 = nn.L1Loss()
        self.optimizer_G = adam(opt, "G", self.netG)
        self.optimizer_D = adam(opt, "D", self.netD)
        self.optimizers = [self.optimizer_G, self.optimizer_D]

    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch to the device; `--direction BtoA` swaps what the data set calls A and B."""
        # (N, input_nc, H, W) and (N, output_nc, H, W), in [-1, 1]
        self.real_A, self.real_B, self.image_paths = both_sides(self, input)

    def forward(self) -> None:
        """Translate A."""
        self.fake_B = self.netG(self.real_A)
        if self.isTrain:
            require_equal_size(self.fake_B, self.real_B)

    def optimize_parameters(self) -> None:
        """Take one step of the discriminator, then one of the generator."""
        self.forward()
        self.set_requires_grad(self.netD, True)
        self._optimization.clear(self.optimizer_D)
        self.backward_D()
        self._optimization.step(self.optimizer_D, self.netD)
        self.set_requires_grad(self.netD, False)  # it only judges here
        self._optimization.clear(self.optimizer_G)
        self.backward_G()
        self._optimization.step(self.optimizer_G, self.netG)

    def backward_D(self) -> None:
        """Compute the discriminator's loss and gradients."""
        fake_AB = torch.cat((self.real_A, self.fake_B), 1).detach()
        real_AB = torch.cat((self.real_A, self.real_B), 1)
        of_fake, of_real = discriminate_both(self, self.netD, fake_AB, real_AB)
        self.loss_D_fake = self.criterionGAN(of_fake, False)
        self.loss_D_real = self.criterionGAN(of_real, True)
        loss = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.loss_D = with_gradient_penalty(self, loss, self.netD, real_AB, fake_AB)
        self._optimization.backward(self.loss_D, self.optimizer_D)

    def backward_G(self) -> None:
        """Compute the generator's losses and gradients."""
        self.equation_4()
        self._optimization.backward(self.loss_G, self.optimizer_G)

    def equation_4(self) -> None:
        """Compute the generator's losses, equation 4 of the paper."""
        fake_AB = torch.cat((self.real_A, self.fake_B), 1)
        self.loss_G_GAN = self.criterionGAN(self.netD(fake_AB), True)
        self.loss_G_L1 = self.criterionL1(self.fake_B, self.real_B) * self.opt.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1

    def validation_losses(self) -> dict[str, Tensor]:
        """Return the generator's loss on a validation batch."""
        self.equation_4()
        return {"G": self.loss_G}
