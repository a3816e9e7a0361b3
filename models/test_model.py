"""One generator of a trained model, applied to a folder of images."""

from argparse import ArgumentParser, Namespace
from typing import Any

from models import networks
from models.base_model import BaseModel
from models.gan.options import builtin_option_problems
from util.base.errors import UserError
from util.inference.trained_as import own_model_command
from util.storage.run_folder import RunFolder
from util.storage.saved_options import read_saved_options


class TestModel(BaseModel):
    """Translate in one direction, without discriminators and without targets.

    `--model_suffix _A` takes the generator `G_A` of a CycleGAN.
    """

    __test__ = False  # for pytest: not a test case
    batch_independent = True
    option_problems = staticmethod(builtin_option_problems)

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Read single images; train.py is refused."""
        if is_train:
            raise UserError(
                "--model test: TestModel cannot be used during training time. Use cycle_gan, "
                "pix2pix or another model to train."
            )
        parser.set_defaults(dataset_mode="single")
        parser.add_argument(
            "--model_suffix",
            type=str,
            default="",
            help="which generator to load: [epoch]_net_G[model_suffix].pth",
        )
        return parser

    def __init__(self, opt: Namespace) -> None:
        if opt.isTrain:
            raise UserError("TestModel cannot be used during training time.")
        _, trained = read_saved_options(RunFolder(opt.checkpoints_dir, opt.name))
        if opt.output_nc == 2 and trained.get("model", "colorization") == "colorization":  # a, b
            raise UserError(
                "--model test writes what the generator makes as images, but the 2 channels that "
                f"it makes in {opt.name} are none. Use the model that it was trained with:\n"
                f"  {own_model_command(opt, trained)}"
            )
        super().__init__(opt)
        self.visual_names = ["real", "fake"]
        self.model_names = [f"G{opt.model_suffix}"]
        self.netG = networks.define_G(
            opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout,
            opt.init_type, opt.init_gain, self.gpu_ids,
        )  # fmt: skip
        setattr(self, f"net{self.model_names[0]}", self.netG)  # where BaseModel looks for it

    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch to the device; only `A` is used."""
        self.real = input["A"].to(self.device)  # (N, input_nc, H, W)
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        """Translate."""
        self.fake = self.netG(self.real)

    def optimize_parameters(self) -> None:
        """Do nothing: this model does not train."""
