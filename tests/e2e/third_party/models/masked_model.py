# ruff: noqa
# fmt: off
from .pix2pix_model import Pix2PixModel


class MaskedModel(Pix2PixModel):
    """pix2pix whose output counts inside a mask alone; shows the mask."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        Pix2PixModel.modify_commandline_options(parser)
        parser.set_defaults(dataset_mode="masked", norm="instance")
        return parser

    def __init__(self, opt):
        Pix2PixModel.__init__(self, opt)
        self.visual_names += ["mask"]

    def set_input(self, input):
        Pix2PixModel.set_input(self, input)
        self.mask = input["mask"].to(self.device)
        self.name = input["name"]

    def forward(self):
        self.fake_B = self.netG(self.real_A) * self.mask + self.real_B * (1 - self.mask)
