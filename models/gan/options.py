"""Options and checks that several built-in models share."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from torch import Tensor

from models.networks import GAN_MODES, unknown_names
from util.base.errors import UserError, suggest
from util.base.new_options import NewOption, new_option


def add_gradient_penalty_option(parser: ArgumentParser) -> None:
    """Add the weight of the penalty that `--gan_mode wgangp` needs."""
    parser.add_argument(
        "--lambda_gp",
        action=NewOption,
        help="weight of the gradient penalty of --gan_mode wgangp; 0 leaves it out",
    )


def gradient_penalty_weight(opt: Namespace) -> float:
    """Return the weight of the gradient penalty, 0 where the loss needs none."""
    is_needed = getattr(opt, "gan_mode", "lsgan") == "wgangp"  # a training option
    return float(new_option(opt, "lambda_gp")) if is_needed else 0.0


def builtin_option_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that choose built-in networks and losses."""
    yield from unknown_names(netG=opt.netG, netD=opt.netD, norm=opt.norm, init_type=opt.init_type)
    yield from _recompute_problems(opt)
    gan_mode = getattr(opt, "gan_mode", "lsgan")  # a training option
    if gan_mode not in GAN_MODES:
        yield f"--gan_mode {gan_mode} is not known. {suggest(gan_mode, GAN_MODES)}"
    elif getattr(opt, "precision", "fp32") == "fp16" and gradient_penalty_weight(opt) > 0:
        yield (
            "--precision fp16 has too few exponents for the gradient penalty of --gan_mode wgangp: "
            "the discriminator would not learn. Use --precision bf16, or --lambda_gp 0."
        )


def _recompute_problems(opt: Namespace) -> Iterator[str]:
    suits = opt.netG.startswith("resnet") and opt.norm in ("instance", "none")
    if getattr(opt, "grad_checkpoint", False) and not suits:
        yield (
            f"--grad_checkpoint computes the blocks of a ResNet generator twice, which --netG "
            f"{opt.netG} with --norm {opt.norm} cannot do. It needs resnet_9blocks or "
            "resnet_6blocks, with --norm instance or none."
        )


def require_equal_size(made: Tensor, target: Tensor) -> None:
    """Refuse images that cannot be compared with what the generator makes of them.

    Raises:
        UserError: the sides or channels differ.
    """
    if made.shape == target.shape:
        return
    channels = "" if made.shape[1] == target.shape[1] else " and channels"
    raise UserError(
        f"The generator makes {_size(made)}, to be compared with {_size(target)}: sizes{channels} "
        "must agree. ResNets round sides up to a multiple of 4: use a --crop_size that is one, or "
        "--preprocess none, which rounds images too. In pairs, both halves must be equally wide."
    )


def _size(images: Tensor) -> str:
    _, channels, height, width = images.shape
    return f"{width}x{height} images of {channels} channels"


def learning_rate(opt: Namespace, side: str) -> float:
    """Return `--lr_G` or `--lr_D` if given, else `--lr`."""
    own: float | None = getattr(opt, f"lr_{side}", None)
    return float(opt.lr) if own is None else own
