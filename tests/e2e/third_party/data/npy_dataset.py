# ruff: noqa
# fmt: off
import os
import random
import numpy as np
import torch
from data.base_dataset import BaseDataset
from data.image_folder import make_dataset, IMG_EXTENSIONS
from util.slices import to_range

if ".npy" not in IMG_EXTENSIONS:
    IMG_EXTENSIONS.append(".npy")


class NpyDataset(BaseDataset):
    """Unpaired arrays of one channel, in trainA and trainB."""

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.A_paths = sorted(make_dataset(os.path.join(opt.dataroot, opt.phase + "A"), opt.max_dataset_size))
        self.B_paths = sorted(make_dataset(os.path.join(opt.dataroot, opt.phase + "B"), opt.max_dataset_size))

    def load(self, path):
        img = to_range(np.load(path), 0, 4095)
        size = self.opt.crop_size
        y, x = random.randint(0, img.shape[0] - size), random.randint(0, img.shape[1] - size)
        return torch.from_numpy(img[y:y + size, x:x + size].copy()).unsqueeze(0)

    def __getitem__(self, index):
        A_path = self.A_paths[index % len(self.A_paths)]
        B_path = self.B_paths[random.randint(0, len(self.B_paths) - 1)]
        return {"A": self.load(A_path), "B": self.load(B_path), "A_paths": A_path, "B_paths": B_path}

    def __len__(self):
        return max(len(self.A_paths), len(self.B_paths))
