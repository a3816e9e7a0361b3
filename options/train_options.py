"""Options of train.py."""

from argparse import ArgumentParser

from models.architectures.losses import GAN_MODES
from models.optimization.schedulers import LR_POLICIES
from options.base_options import BaseOptions
from options.parsing.parser import either
from util.base.new_options import NewOption

EXAMPLES = """examples:
  python train.py --dataroot ./datasets/maps --name maps --model cycle_gan
  python train.py --name maps --continue_train
  python train.py --model pix2pix --help  (its options and defaults)"""


class TrainOptions(BaseOptions):
    """Options of train.py."""

    isTrain = True

    def initialize(self, parser: ArgumentParser) -> ArgumentParser:
        """Add the options of training."""
        super().initialize(parser)
        parser.description = EXAMPLES
        _add_cache_and_display_options(parser)
        _add_saving_and_schedule_options(parser)
        _add_validation_options(parser)
        return parser


def _add_cache_and_display_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("memory for images").add_argument
    add("--cache", action=NewOption, help="keep images in memory, shared by all loading "
        "processes: none, decoded (as in the file) or resized (as --preprocess resizes them: "
        "fastest); files that change during the run are not read again")  # fmt: skip
    add("--cache_gb", action=NewOption, type=float, help="gigabytes of memory for --cache; without "
        "it a quarter of what is free")  # fmt: skip

    add = parser.add_argument_group("what is drawn from the images").add_argument
    add("--epoch_size", action=NewOption, help="images in an epoch: as many are drawn anew "
        "for each one, or all several times; 0: all of them once")  # fmt: skip
    add("--balanced", action=NewOption, help="draw images of every folder equally often, "
        "however many it has; of two domains, all images of the smaller one")  # fmt: skip
    add("--vertical_flip", action=NewOption, help="mirror images top to bottom at random")
    add("--rotate90", action=NewOption, help="turn images by none to three quarters at random")
    add("--jitter", action=NewOption, help="B,C,S,H: change brightness, contrast and saturation at "
        "random by factors of 1 - B to 1 + B and so on, and hue by up to H (0.5: all hues); of "
        "pairs only the image that goes in")  # fmt: skip
    add("--jitter_both", action=NewOption, help="with --jitter: change both images of a pair alike")

    add = parser.add_argument_group("display (all frequencies count images)").add_argument
    add("--display_freq", type=int, default=400, help="show images every so many images")
    add("--display_ncols", type=int, default=4, help="images in a row; 0: a window for each")
    add("--display_id", type=int, default=1, help="visdom window; 0 or below: no visdom")
    add("--display_server", type=str, default="http://localhost", help="visdom server")
    add("--display_env", type=str, default="main", help="visdom environment")
    add("--display_port", type=int, default=8097, help="visdom port")
    add("--start_visdom", action=NewOption, help="start a visdom server, for this machine only, "
        "on --display_port")  # fmt: skip
    add("--visdom_log", action=NewOption, help="losses on a logarithmic axis in visdom")
    add("--update_html_freq", type=int, default=1000, help="write images to the page")
    add("--print_freq", type=int, default=100, help="print losses")
    add("--tensorboard", action=NewOption, help="write events to [checkpoints_dir]/[name]/"
        "tensorboard")  # fmt: skip
    add("--no_html", action="store_true", help="write no page to [checkpoints_dir]/[name]/web")


def _add_saving_and_schedule_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("saving and continuing").add_argument
    add("--save_latest_freq", type=int, default=5000, help="save latest every so many images")
    add("--save_epoch_freq", type=int, default=5, help="save a checkpoint every so many epochs")
    add("--keep_last", action=NewOption, help="keep only so many of the numbered checkpoints; 0 "
        "keeps all")  # fmt: skip
    add("--keep_states", action=NewOption, help="how many of the numbered checkpoints, the newest, "
        "keep what an exact --continue_train needs beside the networks: a number, or all; latest "
        "and best always do")  # fmt: skip
    add("--save_by_iter", action="store_true", help="save iter_[images] instead of latest")
    add("--continue_train", action="store_true", help="go on with the run --name, from --epoch (or "
        "--load_iter); its options need not be repeated")  # fmt: skip
    add("--pretrained", action=NewOption, help="start from the networks of another run, a "
        "folder (--epoch says which save) or a .pth file: what fits is taken, the rest starts "
        "fresh")  # fmt: skip
    add("--epoch_count", type=int, default=1, help="first epoch's number; a continued run knows it")
    add("--on_nan", action=NewOption, help="what to do when losses or weights are "
        "no longer finite: stop, or rollback to the last save")  # fmt: skip
    add("--skip_bad_images", action=NewOption, help="take the next image in the place of one "
        "that cannot be read")  # fmt: skip
    add("--phase", type=str, default="train", help="train, val or test: part of folder names")

    add = parser.add_argument_group("training").add_argument
    add("--n_epochs", type=int, default=100, help="epochs at the initial learning rate")
    add("--n_epochs_decay", type=int, default=100, help="epochs in which it falls to zero")
    add("--total_steps", action=NewOption, help="count the run in steps, one for each batch, "
        "instead of epochs: it ends after so many, in the middle of the data if need be; 0: as "
        "--n_epochs and --n_epochs_decay say")  # fmt: skip
    add("--decay_steps", action=NewOption, type=int, help="with --total_steps: the last steps, in "
        "which the learning rate falls to zero (0: none); half of all, if not given")  # fmt: skip
    add("--val_steps", action=NewOption, help="with --total_steps: an epoch has so many steps, "
        "whatever the size of the data set, before validation, saves and what else comes after an "
        "epoch; 0: one pass over the data")  # fmt: skip
    add("--beta1", type=float, default=0.5, help="momentum of Adam")
    add("--lr", type=float, default=0.0002, help="initial learning rate")
    add("--gan_mode", type=str, default="lsgan", help=f"loss of the networks: {either(GAN_MODES)}")
    add("--pool_size", type=int, default=50, help="generated images kept for discriminators")
    add("--lr_policy", type=str, default="linear", help=f"schedule of --lr: {either(LR_POLICIES)}")
    add("--lr_gamma", action=NewOption, help="what --lr_policy step multiplies with")
    add("--lr_G", action=NewOption, type=float, help="learning rate of generators, if not --lr")
    add("--lr_D", action=NewOption, type=float, help="learning rate of discriminators, if not --lr")
    add("--accumulate", action=NewOption, help="take a step only every so many batches, with "
        "the mean of their gradients; the same as a larger --batch_size for cycle_gan without "
        "image pools, not for pix2pix, whose generator then learns from a discriminator that has "
        "not taken the step of these batches yet; --total_steps counts batches all the same"
        )  # fmt: skip
    add("--ema", action=NewOption, help="keep averages of the generators' weights, which test.py, "
        "validation and images shown use; each batch leaves this part of them, .999 for example, "
        "and adds the rest of what the weights are then; 0: none")  # fmt: skip
    add("--grad_checkpoint", action=NewOption, help="less memory, more time: forget what is "
        "inside the generator's blocks and compute it again")  # fmt: skip
    add("--lr_decay_iters", type=int, default=50, help="epochs between drops of --lr_policy "
        "step; with --total_steps, steps")  # fmt: skip


def _add_validation_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("validation (needs [dataroot]/val, or valA and valB)")
    add = group.add_argument
    add("--val_freq", action=NewOption, help="measure every so many epochs; 0: never")
    add("--num_val", action=NewOption, help="how many images to measure on; --max_dataset_size is "
        "a limit too")  # fmt: skip
    add("--val_eval", action=NewOption, help="in evaluation mode: no dropout, batch norm with "
        "the statistics of training; otherwise as test.py without --eval")  # fmt: skip
    add("--lpips_weights", action=NewOption, help="AlexNet's weights: LPIPS is measured too")
    add("--inception_weights", action=NewOption, help="Inception's weights: FID and KID "
        "are measured too")  # fmt: skip
    add("--save_best", action=NewOption, help="metric whose best epoch is kept as `best`, for "
        "example L1 or PSNR:max")  # fmt: skip
    add("--early_stop", action=NewOption, help="stop when so many validations in a row brought "
        "no better --save_best; 0: never")  # fmt: skip
