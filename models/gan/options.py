"""Options that several built-in models share, and what is made of them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import chain

from torch import nn
from torch.optim import Adam

from models import networks
from models.architectures import registry
from models.architectures.losses import GAN_MODES, GANLoss
from util.base.errors import suggest
from util.base.new_options import NewOption, framework_option, new_option


def add_gradient_penalty_option(parser: ArgumentParser) -> None:
    """Add the weight of the penalty that `--gan_mode wgangp` needs."""
    parser.add_argument(
        "--lambda_gp",
        action=NewOption,
        help="weight of the gradient penalty of --gan_mode wgangp; 0 leaves it out",
    )


def gradient_penalty_weight(opt: Namespace) -> float:
    """Return the weight of the gradient penalty, 0 where the loss needs none."""
    is_needed = getattr(opt, "gan_mode", None) == "wgangp"  # a training option
    return float(new_option(opt, "lambda_gp")) if is_needed else 0.0


def builtin_option_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that choose built-in networks and losses.

    A `models/networks.py` of somebody else may know more of them.
    """
    if networks.define_G is registry.define_G:
        yield from registry.unknown_names(
            netG=opt.netG, netD=opt.netD, norm=opt.norm, init_type=opt.init_type
        )
        can_recompute = opt.netG.startswith("resnet") and opt.norm in ("instance", "none")
        if new_option(opt, "grad_checkpoint") and not can_recompute:
            yield (
                f"--grad_checkpoint computes the blocks of a ResNet generator twice, which --netG "
                f"{opt.netG} with --norm {opt.norm} cannot do. It needs resnet_9blocks or "
                "resnet_6blocks, with --norm instance or none."
            )
    gan_mode = getattr(opt, "gan_mode", None)  # a training option
    if gan_mode is not None and gan_mode not in GAN_MODES and networks.GANLoss is GANLoss:
        yield f"--gan_mode {gan_mode} is not known. {suggest(gan_mode, GAN_MODES)}"
    elif new_option(opt, "precision") == "fp16" and gradient_penalty_weight(opt) > 0:
        yield (
            "--precision fp16 has too few exponents for the gradient penalty of --gan_mode wgangp: "
            "the discriminator would not learn. Use --precision bf16, or --lambda_gp 0."
        )


def adam(
    opt: Namespace, side: str, *nets: nn.Module, beta2: float = 0.999, weight_decay: float = 0.0
) -> Adam:
    """Return an optimiser of networks; its rate is `--lr_<side>`, if given, else `--lr`.

    There are `--lr_G` and `--lr_D`, and what a model adds.
    """
    own: float | None = framework_option(opt, f"lr_{side}")
    parameters = chain.from_iterable(net.parameters() for net in nets)
    rate = float(opt.lr) if own is None else own
    return Adam(parameters, lr=rate, betas=(opt.beta1, beta2), weight_decay=weight_decay)
