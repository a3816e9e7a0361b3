# ruff: noqa
# fmt: off
import os
import glob
import torch
from data.base_dataset import BaseDataset
from util.slices import read_nifti, to_range


class NiftiDataset(BaseDataset):
    """Slices of pairs of volumes: <phase>/<case>_ct.nii.gz and <case>_mr.nii.gz; two neighbours go in."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--window", type=int, nargs=2, default=[-100, 900])
        parser.set_defaults(input_nc=3, output_nc=1)
        return parser

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.volumes, self.slices = [], []
        for path in sorted(glob.glob(os.path.join(opt.dataroot, opt.phase, "*_mr.nii.gz"))):
            mr = to_range(read_nifti(path), 0, 255)
            ct = to_range(read_nifti(path.replace("_mr", "_ct")), *opt.window)
            self.volumes.append((path, torch.from_numpy(mr.copy()), torch.from_numpy(ct.copy())))
            self.slices += [(len(self.volumes) - 1, z) for z in range(1, mr.shape[2] - 1)]

    def __getitem__(self, index):
        volume, z = self.slices[index]
        path, mr, ct = self.volumes[volume]
        A = mr[:, :, z - 1:z + 2].permute(2, 0, 1).contiguous()
        B = ct[:, :, z].unsqueeze(0).contiguous()
        name = "%s_%03d.png" % (os.path.basename(path).split("_")[0], z)
        return {"A": A, "B": B, "A_paths": name, "B_paths": name}

    def __len__(self):
        return len(self.slices)
