"""CycleGAN: Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using ..."."""

import itertools
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models import networks
from models.base_model import BaseModel
from models.gan.options import (
    add_gradient_penalty_option,
    builtin_option_problems,
    gradient_penalty_weight,
    learning_rate,
    require_equal_size,
)
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
    takes_batches_on_device = True

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Train without dropout; add the weights of the losses."""
        parser.set_defaults(no_dropout=True)
        if is_train:
            parser.add_argument(
                "--lambda_A", type=float, default=10.0, help="weight of the cycle A -> B -> A"
            )
            parser.add_argument(
                "--lambda_B", type=float, default=10.0, help="weight of the cycle B -> A -> B"
            )
            parser.add_argument(
                "--lambda_identity",
                type=float,
                default=0.5,
                help="weight of the identity terms, relative to lambda_A and lambda_B: an image "
                "that is in the target domain already should stay as it is. 0 leaves them out",
            )
            add_gradient_penalty_option(parser)
        return parser

    @staticmethod
    def option_problems(opt: Namespace) -> Iterator[str]:
        """Yield what is wrong with the options."""
        yield from builtin_option_problems(opt)

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
        self.netG_A = self._generator(opt.input_nc, opt.output_nc)
        self.netG_B = self._generator(opt.output_nc, opt.input_nc)
        if self.isTrain:
            self.netD_A = self._discriminator(opt.output_nc)
            self.netD_B = self._discriminator(opt.input_nc)
            self._prepare_training()

    def _generator(self, input_nc: int, output_nc: int) -> nn.Module:
        opt = self.opt
        return networks.define_G(
            input_nc, output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout,
            opt.init_type, opt.init_gain, self.gpu_ids,
        )  # fmt: skip

    def _discriminator(self, input_nc: int) -> nn.Module:
        opt = self.opt
        return networks.define_D(
            input_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm,
            opt.init_type, opt.init_gain, self.gpu_ids,
        )  # fmt: skip

    def _prepare_training(self) -> None:
        opt = self.opt
        self.fake_A_pool = ImagePool(opt.pool_size)
        self.fake_B_pool = ImagePool(opt.pool_size)
        self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
        self.criterionCycle = nn.L1Loss()
        self.criterionIdt = nn.L1Loss()
        self.optimizer_G = torch.optim.Adam(
            itertools.chain(self.netG_A.parameters(), self.netG_B.parameters()),
            lr=learning_rate(opt, "G"),
            betas=(opt.beta1, 0.999),
        )
        self.optimizer_D = torch.optim.Adam(
            itertools.chain(self.netD_A.parameters(), self.netD_B.parameters()),
            lr=learning_rate(opt, "D"),
            betas=(opt.beta1, 0.999),
        )
        self.optimizers = [self.optimizer_G, self.optimizer_D]
        self._identity: dict[str, Tensor] = {}  # by generator, from `forward_together`

    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch to the device; `--direction BtoA` swaps what the data set calls A and B."""
        # (N, input_nc, H, W) and (N, output_nc, H, W), in [-1, 1]
        self.real_A, self.real_B, self.image_paths = self.both_sides(input)

    def forward(self) -> None:
        """Translate there and back, from both sides."""
        self.forward_A()
        self.forward_B()
        if self.isTrain:
            require_equal_size(self.rec_A, self.real_A)
            require_equal_size(self.rec_B, self.real_B)

    def forward_A(self) -> None:
        """Translate A to B and back."""
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)

    def forward_B(self) -> None:
        """Translate B to A and back."""
        self.fake_A = self.netG_B(self.real_B)
        self.rec_B = self.netG_A(self.fake_A)

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what was made of the other domain, and the real images of each domain."""
        return {"A": (self.fake_A, self.real_A), "B": (self.fake_B, self.real_B)}

    def optimize_parameters(self) -> None:
        """Take one step of the generators, then one of the discriminators."""
        in_parts = self._computes_in_parts()
        if self._computes_together():
            self.forward_together()
        elif not in_parts:
            self.forward()
        self.set_requires_grad([self.netD_A, self.netD_B], False)  # they only judge here
        self.clear_gradients(self.optimizer_G)
        if in_parts:
            self.forward_and_backward_G_in_parts()
        else:
            self.backward_G()
        self.step_G()
        self.set_requires_grad([self.netD_A, self.netD_B], True)
        self.clear_gradients(self.optimizer_D)
        self.backward_D_A()
        self.backward_D_B()
        self.step_D()

    def _computes_in_parts(self) -> bool:
        """Tell whether losses are computed one after the other, which saves memory."""
        return self._is_plain_step() and not self.speed.merges_forward_passes(self.real_A)

    def _computes_together(self) -> bool:
        """Tell whether the passes of `forward` and of the identity losses are put together."""
        return (
            self._is_plain_step()
            and self.speed.merges_forward_passes(self.real_A)
            and self.opt.lambda_identity > 0
            and self.real_A.shape == self.real_B.shape
            and networks.is_batch_independent(self.netG_A)
            and networks.is_batch_independent(self.netG_B)
        )

    def _is_plain_step(self) -> bool:
        """Tell whether this is CycleGAN and nothing else.

        Passes may be computed in another order, or together, only then: a subclass, or whoever has
        replaced a method of this object, may count on the usual ones.
        """
        return type(self) is CycleGANModel and vars(self).keys().isdisjoint(dir(CycleGANModel))

    def forward_together(self) -> None:
        """Do as `forward`, and translate for the identity losses in the same passes."""
        with_A_first = torch.cat([self.real_A, self.real_B])
        with_B_first = torch.cat([self.real_B, self.real_A])
        self.fake_B, self._identity["A"] = self.netG_A(with_A_first).chunk(2)
        self.fake_A, self._identity["B"] = self.netG_B(with_B_first).chunk(2)
        with networks.biases_done(self.netG_A, self.netG_B):
            self.rec_A = self.netG_B(self.fake_B)
            self.rec_B = self.netG_A(self.fake_A)
        require_equal_size(self.rec_A, self.real_A)
        require_equal_size(self.rec_B, self.real_B)

    def backward_G(self) -> None:
        """Compute the generators' losses and gradients."""
        self.compute_losses_G()
        self.backward(self.loss_G, self.optimizer_G)

    def forward_and_backward_G_in_parts(self) -> None:
        """Translate, and compute losses and gradients, with less memory.

        The losses add up, so their gradients do: each part forgets what it has computed before the
        next one begins. The passes come in the usual order.
        """
        self.forward_A()
        require_equal_size(self.rec_A, self.real_A)
        self.backward(self.compute_losses_A(), self.optimizer_G)
        self.forward_B()
        require_equal_size(self.rec_B, self.real_B)
        self.backward(self.compute_losses_B(), self.optimizer_G)
        for compute_loss in (self.compute_loss_idt_A, self.compute_loss_idt_B):
            loss = compute_loss()
            if isinstance(loss, Tensor):
                self.backward(loss, self.optimizer_G)
        self._add_up_losses_G()

    def compute_losses_G(self) -> None:
        """Compute the generators' losses."""
        self.compute_loss_idt_A()
        self.compute_loss_idt_B()
        self.compute_losses_A()
        self.compute_losses_B()
        self._add_up_losses_G()

    def compute_losses_A(self) -> Tensor:
        """Compute and return the losses of going from A to B and back."""
        self.loss_G_A = self.criterionGAN(self.netD_A(self.fake_B), True)
        self.loss_cycle_A = self.criterionCycle(self.rec_A, self.real_A) * self.opt.lambda_A
        return self.loss_G_A + self.loss_cycle_A

    def compute_losses_B(self) -> Tensor:
        """Compute and return the losses of going from B to A and back."""
        self.loss_G_B = self.criterionGAN(self.netD_B(self.fake_A), True)
        self.loss_cycle_B = self.criterionCycle(self.rec_B, self.real_B) * self.opt.lambda_B
        return self.loss_G_B + self.loss_cycle_B

    def compute_loss_idt_A(self) -> Tensor | float:
        """Compute and return the loss of G_A on images of B, which should stay as they are."""
        self.loss_idt_A: Tensor | float = 0.0
        opt = self.opt
        if opt.lambda_identity > 0:
            made = self._identity.pop("A", None)
            self.idt_A = self.netG_A(self.real_B) if made is None else made
            difference = self.criterionIdt(self.idt_A, self.real_B)
            self.loss_idt_A = difference * opt.lambda_B * opt.lambda_identity
        return self.loss_idt_A

    def compute_loss_idt_B(self) -> Tensor | float:
        """Compute and return the loss of G_B on images of A, which should stay as they are."""
        self.loss_idt_B: Tensor | float = 0.0
        opt = self.opt
        if opt.lambda_identity > 0:
            made = self._identity.pop("B", None)
            self.idt_B = self.netG_B(self.real_A) if made is None else made
            difference = self.criterionIdt(self.idt_B, self.real_A)
            self.loss_idt_B = difference * opt.lambda_A * opt.lambda_identity
        return self.loss_idt_B

    def _add_up_losses_G(self) -> None:
        self.loss_G = (
            self.loss_G_A
            + self.loss_G_B
            + self.loss_cycle_A
            + self.loss_cycle_B
            + self.loss_idt_A
            + self.loss_idt_B
        )

    def validation_losses(self) -> dict[str, Tensor]:
        """Return the generators' loss on a validation batch."""
        self.compute_losses_G()
        return {"G": self.loss_G}

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what went there and back with where it came from; unpaired data has no more."""
        pairs = {"cycle_A": (self.rec_A, self.real_A), "cycle_B": (self.rec_B, self.real_B)}
        if self.opt.lambda_identity > 0:  # the images that validation_losses has made
            pairs |= {"idt_A": (self.idt_A, self.real_B), "idt_B": (self.idt_B, self.real_A)}
        return pairs

    def step_G(self) -> None:
        """Take the generators' step."""
        self.step(self.optimizer_G, self.netG_A, self.netG_B)

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
        of_real, of_fake = self.judge(netD, real, fake.detach())
        loss_real = self.criterionGAN(of_real, True)
        loss_fake = self.criterionGAN(of_fake, False)
        loss: Tensor = (loss_real + loss_fake) * 0.5
        if (lambda_gp := gradient_penalty_weight(self.opt)) > 0:
            penalty, _ = networks.cal_gradient_penalty(
                netD, real, fake.detach(), self.device, lambda_gp=lambda_gp
            )
            loss = loss + penalty
        self.backward(loss, self.optimizer_D)
        return loss

    def step_D(self) -> None:
        """Take the discriminators' step."""
        self.step(self.optimizer_D, self.netD_A, self.netD_B)
