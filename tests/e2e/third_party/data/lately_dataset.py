# ruff: noqa
# fmt: off
from pathlib import Path
from data.aligned_dataset import BaseDataset, Image, get_params, get_transform, make_dataset


class LatelyDataset(BaseDataset):
    """Pairs side by side, found by a Path as people do since 2025."""

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.dir_AB = Path(opt.dataroot) / opt.phase
        self.AB_paths = sorted(make_dataset(self.dir_AB, opt.max_dataset_size))

    def __getitem__(self, index):
        AB_path = self.AB_paths[index]
        AB = Image.open(AB_path).convert("RGB")
        w, h = AB.size
        A, B = AB.crop((0, 0, w // 2, h)), AB.crop((w // 2, 0, w, h))
        params = get_params(self.opt, A.size)
        A, B = get_transform(self.opt, params)(A), get_transform(self.opt, params)(B)
        return {"A": A, "B": B, "A_paths": str(AB_path), "B_paths": str(AB_path)}

    def __len__(self):
        return len(self.AB_paths)
