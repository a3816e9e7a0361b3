"""CycleGAN: Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using ..."."""

import itertools as itertools  # for other people's code
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models import networks
from models.base_model import BaseModel
from models.gan import step_ways
from models.gan.inputs import both_sides, require_equal_size
from models.gan.options import adam, add_gradient_penalty_option, builtin_option_problems
from util.base.errors import UserError
from util.image_pool import ImagePool


class CycleGANModel(BaseModel):
    """Two generators that undo each other, two discriminators.

    G_A translates A to B, D_A judges B; G_B translates B to A, D_B judges A. The generators
    minimise (paper, eq. 3, with least squares by default, and the identity terms of section 5.2)

        GAN(D_A(G_A(A))) + GAN(D_B(G_B(B)))
        + lambda_A |G_B(G_A(A)) - A| + lambda_B |G_A(G_B(B)) - B|
        + lambda_identity (lambda_B |G_A(B) - B| + lambda_A |G_B(A) - A|)
    """

    batch_independent = True
    generators = ("G_A", "G_B")
    option_problems = staticmethod(builtin_option_problems)

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Train without dropout; add the weights of the losses."""
        parser.set_defaults(no_dropout=True)
        if is_train:
            add_weight = partial(parser.add_argument, type=float)
            add_weight("--lambda_A", default=10.0, help="weight of the cycle A -> B -> A")
            add_weight("--lambda_B", default=10.0, help="weight of the cycle B -> A -> B")
            add_weight(
                "--lambda_identity", default=0.5,
                help="weight of the identity terms, relative to lambda_A and lambda_B: an image "
                "that is in the target domain already should stay as it is. 0 leaves them out",
            )  # fmt: skip
            add_gradient_penalty_option(parser)
        return parser

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"]
        with_identity = self.isTrain and opt.lambda_identity > 0.0
        if with_identity and opt.input_nc != opt.output_nc:
            raise UserError(
                f"--lambda_identity {opt.lambda_identity} feeds images of one domain to the "
                f"generator of the other, so --input_nc {opt.input_nc} and --output_nc "
                f"{opt.output_nc} must be equal. Give --lambda_identity 0."
            )
        self.visual_names = [
            *["real_A", "fake_B", "rec_A", *(["idt_B"] if with_identity else [])],
            *["real_B", "fake_A", "rec_B", *(["idt_A"] if with_identity else [])],
        ]
        self.model_names = ["G_A", "G_B", "D_A", "D_B"] if self.isTrain else ["G_A", "G_B"]

        # The order of construction decides which random numbers each network starts from.
        init = (opt.init_type, opt.init_gain, self.gpu_ids)
        of_G = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, *init)
        self.netG_A = networks.define_G(opt.input_nc, opt.output_nc, *of_G)
        self.netG_B = networks.define_G(opt.output_nc, opt.input_nc, *of_G)
        if not self.isTrain:
            return
        of_D = (opt.ndf, opt.netD, opt.n_layers_D, opt.norm, *init)
        self.netD_A = networks.define_D(opt.output_nc, *of_D)
        self.netD_B = networks.define_D(opt.input_nc, *of_D)
        self.fake_A_pool = ImagePool(opt.pool_size)
        self.fake_B_pool = ImagePool(opt.pool_size)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.criterionCycle = nn.L1Loss()
        self.criterionIdt = nn.L1Loss()
        self.optimizer_G = adam(opt, "G", self.netG_A, self.netG_B)
        self.optimizer_D = adam(opt, "D", self.netD_A, self.netD_B)
        self.optimizers = [self.optimizer_G, self.optimizer_D]
        self._optimization.notes.append(partial(step_ways.way_of, self, CycleGANModel))  # printed

    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch to the device; `--direction BtoA` swaps what the data set calls A and B."""
        # (N, input_nc, H, W) and (N, output_nc, H, W), in [-1, 1]
        self.real_A, self.real_B, self.image_paths = both_sides(self, input)

    def forward(self) -> None:
        """Translate there and back, from both sides; training does it by `step_ways`."""
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)
        self.fake_A = self.netG_B(self.real_B)
        self.rec_B = self.netG_A(self.fake_A)

    def optimize_parameters(self) -> None:
        """Take one step of the generators, then one of the discriminators."""
        # These two do what self.forward() and self.backward_G() do, in less memory or fewer passes.
        # If you change more of those than terms of equation 3, call them here instead.
        step_ways.forward(self, CycleGANModel)
        self.set_requires_grad([self.netD_A, self.netD_B], False)  # they only judge here
        self._optimization.clear(self.optimizer_G)
        step_ways.backward_G(self, CycleGANModel)
        self._optimization.step(self.optimizer_G, self.netG_A, self.netG_B)

        self.set_requires_grad([self.netD_A, self.netD_B], True)
        self._optimization.clear(self.optimizer_D)
        self.backward_D_A()
        self.backward_D_B()
        self._optimization.step(self.optimizer_D, self.netD_A, self.netD_B)

    def backward_G(self) -> None:
        """Compute the generators' loss and its gradients; training does it by `step_ways`."""
        self.loss_G = torch.stack(list(self.equation_3())).sum()
        self._optimization.backward(self.loss_G, self.optimizer_G)

    def equation_3(
        self, idt_A: Tensor | None = None, idt_B: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield the paper's equation 3: the terms about A to B and back, B to A and back, identity.

        What is computed for one `yield` may be forgotten before the next: a new term belongs into
        the one whose images it uses. `step_ways` may know `idt_A` (G_A of B) and `idt_B` already.
        """
        opt = self.opt
        require_equal_size(self.rec_A, self.real_A)
        self.loss_G_A = self.criterionGAN(self.netD_A(self.fake_B), True)
        self.loss_cycle_A = self.criterionCycle(self.rec_A, self.real_A) * opt.lambda_A
        yield self.loss_G_A + self.loss_cycle_A

        require_equal_size(self.rec_B, self.real_B)
        self.loss_G_B = self.criterionGAN(self.netD_B(self.fake_A), True)
        self.loss_cycle_B = self.criterionCycle(self.rec_B, self.real_B) * opt.lambda_B
        yield self.loss_G_B + self.loss_cycle_B

        self.loss_idt_A = self.loss_idt_B = torch.zeros((), device=self.device)
        if opt.lambda_identity > 0:
            self.idt_A = self.netG_A(self.real_B) if idt_A is None else idt_A
            difference = self.criterionIdt(self.idt_A, self.real_B)
            self.loss_idt_A = difference * opt.lambda_B * opt.lambda_identity
            yield self.loss_idt_A
            self.idt_B = self.netG_B(self.real_A) if idt_B is None else idt_B
            difference = self.criterionIdt(self.idt_B, self.real_A)
            self.loss_idt_B = difference * opt.lambda_A * opt.lambda_identity
            yield self.loss_idt_B

    def backward_D_A(self) -> None:
        """Let D_A judge real and translated images of domain B."""
        fake_B = self.fake_B_pool.query(self.fake_B)
        self.loss_D_A = self.backward_D_basic(self.netD_A, self.real_B, fake_B)

    def backward_D_B(self) -> None:
        """Let D_B judge real and translated images of domain A."""
        fake_A = self.fake_A_pool.query(self.fake_A)
        self.loss_D_B = self.backward_D_basic(self.netD_B, self.real_A, fake_A)

    def backward_D_basic(self, netD: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Compute one discriminator's loss and gradients, and return the loss."""
        fake = fake.detach()
        of_real, of_fake = step_ways.discriminate_both(self, netD, real, fake)
        loss = (self.criterionGAN(of_real, True) + self.criterionGAN(of_fake, False)) * 0.5
        loss = step_ways.with_gradient_penalty(self, loss, netD, real, fake)
        self._optimization.backward(loss, self.optimizer_D)
        return loss

    def compute_visuals(self) -> None:
        """Make the identity images of a batch that is no step's: there the losses make them."""
        if self.isTrain and self.opt.lambda_identity > 0 and not torch.is_grad_enabled():
            self.idt_A, self.idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)

    def validation_losses(self) -> dict[str, Tensor]:
        """Return the generators' loss on a validation batch."""
        return {"G": torch.stack(list(self.equation_3())).sum()}

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what went there and back with where it came from; unpaired data has no more."""
        pairs = {"cycle_A": (self.rec_A, self.real_A), "cycle_B": (self.rec_B, self.real_B)}
        if self.isTrain and self.opt.lambda_identity > 0:  # validation_losses has made them
            pairs |= {"idt_A": (self.idt_A, self.real_B), "idt_B": (self.idt_B, self.real_A)}
        return pairs

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what was made of the other domain, and the real images of each domain."""
        return {"A": (self.fake_A, self.real_A), "B": (self.fake_B, self.real_B)}
