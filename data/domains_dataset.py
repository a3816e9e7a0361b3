"""Folders of images, one for each domain: `train/cat/1.jpg`, `train/dog/2.jpg`, ..."""

import os
import random
from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import BaseDataset, random_turns
from data.checks.folders import domains_of, folders_in
from data.pipeline.domains import images_by_domain, second_references, some_of
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from util.base.new_options import new_option
from util.images import transforms as T


class DomainsDataset(BaseDataset):
    """Read `<dataroot>/<phase>/<domain>/`; the sorted names of the domains are the labels.

    In training an item is a source and two references of one domain, drawn at random: all domains
    are equally likely, whatever their sizes. Otherwise nothing is random; there are references of
    every domain then.
    """

    reader = ImageReader()
    jitter = Jitter()

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add what the domains are called, and where images to test are."""
        add = parser.add_argument
        add("--domains", default="", help="names of the domains, separated by commas, in the order "
            "of their labels; else all folders, sorted")  # fmt: skip
        add("--num_domains", type=int, default=0, help="how many domains there must be; 0: as many "
            "as there are")  # fmt: skip
        if is_train:
            add("--randcrop_prob", type=float, default=0.5, help="how often 80%% or more of an "
                "image is taken instead of all")  # fmt: skip
        else:
            add("--src_dir", default="", help="sources: a folder, with or without folders of "
                "domains, or one image; instead of those in --dataroot")  # fmt: skip
            add("--ref_dir", default="", help="references, likewise")
        return parser

    @classmethod
    def has_split(cls, opt: Namespace, phase: str) -> bool:
        """Tell whether there are folders of domains for a phase."""
        return bool(folders_in(os.path.join(opt.dataroot, phase)))

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        folder = os.path.join(opt.dataroot, opt.phase)
        src_dir, ref_dir = (getattr(opt, name, "") or folder for name in ("src_dir", "ref_dir"))
        self.domains = domains_of(folder, opt.domains, opt.num_domains)
        opt.domains, opt.num_domains = ",".join(self.domains), len(self.domains)  # for the model
        sources = images_by_domain(opt, src_dir, self.domains)
        self.A_paths = [path for files in sources.values() for path in files]
        self.labels = [label for label, files in sources.items() for _ in files]
        draws = getattr(opt, "mode", "") == "latent"  # an option of test.py: no references then
        self.references = {} if draws else images_by_domain(opt, ref_dir, self.domains, every=True)
        self._second = second_references(self.references)
        self.reader = ImageReader.of(opt)
        self.transform = self._transform()
        self.jitter = Jitter.of(opt)

    def _transform(self) -> T.Compose:
        opt, size = self.opt, self.opt.crop_size
        steps: list[T.Step] = []
        if opt.isTrain:
            crop = T.RandomResizedCrop(size, scale=(0.8, 1.0), ratio=(0.9, 1.1))
            steps.append(T.Sometimes(opt.randcrop_prob, crop))
        steps.append(T.Resize(size, size, Image.Resampling.BILINEAR))
        steps += [] if opt.no_flip else [T.RandomFlip()]
        steps += random_turns(opt)
        return T.Compose([*steps, T.ToTensor(), T.Normalize()])

    def sampling_weights(self) -> list[float]:
        """Return how likely each source is: as likely as all others of its domain together."""
        counts = Counter(self.labels)
        return [1 / counts[label] for label in self.labels]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the source `A`, the references `B` and `B2` of one domain, labels and paths.

        Or, in test.py, `references`: as many of each domain as images are made of it.
        """
        path, label = self.A_paths[index], self.labels[index]
        item = {"A": self._read(path), "A_domain": label, "A_paths": path}
        if not self.references:
            return item
        if hasattr(self.opt, "mode"):
            return item | {
                "references": torch.stack([self._some(i, index) for i in self.references])
            }
        if self.opt.isTrain:
            target = random.choice(list(self.references))
            number = random.randrange(len(self.references[target]))
        else:
            target = (label + 1 + index % max(1, len(self.domains) - 1)) % len(self.domains)
            number = index % len(self.references[target])
        path, path_2 = self.references[target][number], self._second[target][number]
        item |= {"B": self._read(path), "B2": self._read(path_2)}
        return item | {"B_domain": target, "B_paths": path}

    def _some(self, label: int, index: int) -> Tensor:
        """Return references for one source: others than for the next one, and in another order."""
        count = getattr(self.opt, "num_outs_per_domain", 1)
        if index == 0:  # brings those of the sheets too
            count = max(count, getattr(self.opt, "sheet_size", 0))
        seed = new_option(self.opt, "seed"), label, index
        return torch.stack([self._read(p) for p in some_of(self.references[label], count, seed)])

    def _read(self, path: str) -> Tensor:
        return self.jitter(self.reader.read(path, self.transform))

    def __len__(self) -> int:
        return len(self.A_paths)
