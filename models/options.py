"""Options and checks that several built-in models share."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from models.networks import GAN_MODES, unknown_names
from util.errors import near_miss


def add_gradient_penalty_option(parser: ArgumentParser) -> None:
    """Add the weight of the penalty that `--gan_mode wgangp` needs."""
    parser.add_argument(
        "--lambda_gp",
        type=float,
        default=10.0,
        help="weight of the gradient penalty of --gan_mode wgangp; 0 leaves it out",
    )


def builtin_option_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that choose built-in networks and losses."""
    yield from unknown_names(netG=opt.netG, netD=opt.netD, norm=opt.norm, init_type=opt.init_type)
    gan_mode = getattr(opt, "gan_mode", "lsgan")  # a training option
    if gan_mode not in GAN_MODES:
        yield f"--gan_mode {gan_mode} is not known. {near_miss(gan_mode, GAN_MODES)}"
