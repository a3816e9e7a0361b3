# ruff: noqa
# fmt: off
import os
from data.base_dataset import get_params, get_transform
from data.separated_dataset import SeparatedDataset
from PIL import Image


class MaskedDataset(SeparatedDataset):
    """Separated pairs with masks: trainM/x.png is white where the loss counts."""

    def __getitem__(self, index):
        path = self.A_paths[index]
        name = os.path.basename(path)
        A, B = Image.open(path).convert("RGB"), Image.open(self.B_paths[index]).convert("RGB")
        mask = Image.open(os.path.join(self.root, self.opt.phase + "M", name)).convert("L")
        params = get_params(self.opt, A.size)
        transform = get_transform(self.opt, params)
        nearest = get_transform(self.opt, params, grayscale=True, method=Image.NEAREST)
        return {"A": transform(A), "B": transform(B), "mask": (nearest(mask) > 0).float(), "name": name,
                "A_paths": path, "B_paths": self.B_paths[index]}
