# ruff: noqa
# fmt: off
import os.path
import random
import numpy as np
import torch
from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset
from PIL import Image
import torchvision.transforms as transforms


class FooDataset(BaseDataset):
    """A is a picture with noise, B the picture."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--foo_noise", type=float, default=0.05)
        parser.set_defaults(load_size=36, crop_size=32)
        return parser

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.dir = os.path.join(opt.dataroot, opt.phase)
        self.A_paths = sorted(make_dataset(self.dir, opt.max_dataset_size))
        assert self.opt.load_size >= self.opt.crop_size
        self.input_nc = self.opt.output_nc if self.opt.direction == "BtoA" else self.opt.input_nc
        self.to_tensor = transforms.Compose([transforms.ToTensor(),
                                             transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])

    def __getitem__(self, index):
        A_path = self.A_paths[index % len(self.A_paths)]
        img = Image.open(A_path).convert("RGB")
        params = get_params(self.opt, img.size)
        crop = get_transform(self.opt, params, grayscale=(self.input_nc == 1), method=Image.BICUBIC, convert=False)
        full = get_transform(self.opt, params, method=transforms.InterpolationMode.BICUBIC)
        B = full(img)
        A = self.to_tensor(crop(img))
        noise = torch.from_numpy(np.random.randn(*A.shape)).float() * random.random() + torch.randn(A.shape)
        A = A + self.opt.foo_noise * noise
        return {"A": A, "B": B, "A_paths": A_path, "B_paths": A_path}

    def __len__(self):
        return len(self.A_paths)
