# ruff: noqa
# fmt: off
import os
from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset
from PIL import Image


class SeparatedDataset(BaseDataset):
    """Pairs in two folders: trainA/x.png belongs to trainB/x.png."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        return parser

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.dir_A = os.path.join(opt.dataroot, opt.phase + "A")
        self.dir_B = os.path.join(opt.dataroot, opt.phase + "B")
        self.A_paths = sorted(make_dataset(self.dir_A, opt.max_dataset_size))
        self.B_paths = [os.path.join(self.dir_B, os.path.basename(p)) for p in self.A_paths]
        btoA = self.opt.direction == "BtoA"
        self.input_nc = opt.output_nc if btoA else opt.input_nc
        self.output_nc = opt.input_nc if btoA else opt.output_nc

    def __getitem__(self, index):
        A = Image.open(self.A_paths[index]).convert("RGB")
        B = Image.open(self.B_paths[index]).convert("RGB")
        params = get_params(self.opt, A.size)
        A = get_transform(self.opt, params, grayscale=(self.input_nc == 1))(A)
        B = get_transform(self.opt, params, grayscale=(self.output_nc == 1))(B)
        return {"A": A, "B": B, "A_paths": self.A_paths[index], "B_paths": self.B_paths[index]}

    def __len__(self):
        return len(self.A_paths)
