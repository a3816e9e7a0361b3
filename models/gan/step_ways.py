"""Ways to compute a step of adversarial training that give the same numbers.

A model says what is computed. On a GPU, passes through one network are put together, which saves
launches; elsewhere, and with `--grad_checkpoint`, losses are computed one after the other, which
saves memory: each forgets what its backward pass needed before the next one begins.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models import networks
from models.architectures import switches
from models.gan.options import gradient_penalty_weight
from models.storage.names import Model
from util.base.errors import UserError


def discriminate_both(
    model: Model, netD: nn.Module, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a discriminator's scores of two batches; in one pass where that is faster.

    Not for wgangp, where the gradients of the last bias cancel: exactly only if each batch has its
    own sum, and Adam makes whole steps of what is left otherwise.
    """
    merges = model._optimization.speed.merges_forward_passes(first)
    is_wgangp = getattr(model.opt, "gan_mode", "") == "wgangp"
    if merges and not is_wgangp and switches.can_discriminate_as_one_batch(netD, first, second):
        return switches.discriminate_as_one_batch(netD, first, second)
    return netD(first), netD(second)


def with_gradient_penalty(
    model: Model, loss: Tensor, netD: nn.Module, real: Tensor, fake: Tensor
) -> Tensor:
    """Add the penalty that `--gan_mode wgangp` needs to a discriminator's loss."""
    if (weight := gradient_penalty_weight(model.opt)) == 0:
        return loss
    penalty, _ = networks.cal_gradient_penalty(netD, real, fake, model.device, lambda_gp=weight)
    return loss + penalty


LATER = ("fake_A", "rec_B", "idt_A", "idt_B")  # what equation_3 does not have from the start
IN_PARTS, TOGETHER, AT_ONCE = "losses in parts", "passes put together", "losses at once"


def way_of(model: Any, known: type[Any]) -> str:
    """Return how a CycleGAN's generators are trained.

    `known` is the class whose steps may be computed in another order, or together. A subclass, or
    whoever has replaced a method of this object, may count on the usual one.
    """
    if type(model) is not known or not vars(model).keys().isdisjoint(dir(known)):
        return AT_ONCE
    somewhere = torch.empty(0, device=model.device)
    if not model._optimization.speed.merges_forward_passes(somewhere):
        return IN_PARTS
    alone = all(map(switches.is_batch_independent, (model.netG_A, model.netG_B)))
    return TOGETHER if alone and model.opt.lambda_identity > 0 else AT_ONCE


def _way_of_batch(model: Any, known: type[Any]) -> str:
    way, same_size = way_of(model, known), model.real_A.shape == model.real_B.shape
    return way if same_size or way != TOGETHER else AT_ONCE


def forward(model: Any, known: type[Any]) -> None:
    """Run a CycleGAN's `forward`, unless `backward_G` translates along with its losses."""
    if _way_of_batch(model, known) == AT_ONCE:
        model.forward()


def backward_G(model: Any, known: type[Any]) -> None:
    """Do what a CycleGAN's `backward_G` does, in the way that suits the device."""
    way = _way_of_batch(model, known)
    if way == AT_ONCE:
        model.backward_G()
    elif way == TOGETHER:
        _together(model)
    else:
        try:
            _in_parts(model)
        except (RuntimeError, AttributeError) as error:
            if not _is_of_other_images(error):
                raise
            raise UserError(
                "A term of equation_3 uses images of another `yield`, which are computed later or "
                f"forgotten already to save memory ({error}). Move it to the `yield` whose images "
                "it uses, or let optimize_parameters call self.forward() and self.backward_G()."
            ) from error


def _is_of_other_images(error: Exception) -> bool:
    """Tell whether a term used what is there before or after its turn alone."""
    is_forgotten = "backward through the graph a second time" in str(error)  # torch's words
    return is_forgotten or getattr(error, "name", "") in LATER


def _in_parts(model: Any) -> None:
    """Compute the gradients of each term of the loss before the next one: they add up."""
    terms = []
    model.fake_B = model.netG_A(model.real_A)
    model.rec_A = model.netG_B(model.fake_B)
    for term in model.equation_3():
        model._optimization.backward(term, model.optimizer_G)
        terms.append(term.detach())
        if len(terms) == 1:  # the second term is about these images
            model.fake_A = model.netG_B(model.real_B)
            model.rec_B = model.netG_A(model.fake_A)
    model.loss_G = torch.stack(terms).sum()


def _together(model: Any) -> None:
    """Translate for the identity terms in the passes of `forward`."""
    model.fake_B, idt_A = model.netG_A(torch.cat([model.real_A, model.real_B])).chunk(2)
    model.fake_A, idt_B = model.netG_B(torch.cat([model.real_B, model.real_A])).chunk(2)
    model.rec_A, model.rec_B = model.netG_B(model.fake_B), model.netG_A(model.fake_A)
    model.loss_G = torch.stack(list(model.equation_3(idt_A, idt_B))).sum()
    model._optimization.backward(model.loss_G, model.optimizer_G)
