"""Samples in tar files (shards), as WebDataset writes them: on a disk, or fetched from the web."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from data.base_dataset import BaseDataset, check_crop_fits, get_params, get_transform
from data.colorization_dataset import ColorizationDataset, check_options, lightness_and_colour
from data.pipeline.drawing import Drawing
from data.pipeline.image_cache import GIGABYTE
from data.pipeline.image_reader import ImageReader
from data.pipeline.jitter import Jitter
from data.pipeline.sides import AUTO, MOST_LOOKED_AT, Side, sides_of
from data.shards.cache import ShardCache, default_folder
from data.shards.lists import Shard, find_shards, is_one_list, is_url
from data.shards.store import ShardStore, streamed_order
from util.base.errors import UserError
from util.base.new_options import new_option
from util.images.reading import FileInMemory

KINDS = ("aligned", "unaligned", "single", "colorization")
AHEAD = 2  # shards of a side that are there besides those that are open: the next, the last one


class WebdatasetDataset(BaseDataset):
    """Read samples of shards as another data set reads files; `--shards_as` says which one.

    A sample is `KEY.png` (of pairs with A and B side by side), or `KEY.a.png` with `KEY.b.png`. Two
    domains have shards of their own, trainA and trainB. See docs/webdataset.md.
    """

    reader = ImageReader()
    jitter = Jitter()
    side_A: Side
    side_B: Side

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add what the shards hold, by default what the model reads, and where they are kept."""
        usual = parser.get_default("dataset_mode")
        add = parser.add_argument
        add("--shards_as", choices=KINDS, default=usual if usual in KINDS else "aligned",
            help="what the shards hold, as --dataset_mode names it")  # fmt: skip
        add("--shard_cache", default="", metavar="DIR", help="where shards from the web are kept "
            "while they are read; by default below ~/.cache")  # fmt: skip
        add("--shard_cache_gb", type=float, default=20.0, help="how much of them, at most")
        if is_train:
            add("--shuffle_shards", type=int, default=8, help="from how many shards at a time "
                "samples are drawn")  # fmt: skip
        if usual == "colorization":
            ColorizationDataset.modify_commandline_options(parser, is_train)
        return parser

    @staticmethod
    def option_problems(opt: Namespace) -> Iterator[str]:
        """Yield what cannot be: one message for each."""
        if opt.shard_cache_gb <= 0:
            yield f"--shard_cache_gb {opt.shard_cache_gb:g}: it must be above 0."
        if getattr(opt, "shuffle_shards", 1) < 1:
            yield f"--shuffle_shards {opt.shuffle_shards}: it must be 1 or more."
        if Drawing.of(opt).balanced:
            yield (
                "--balanced draws images from everywhere, but shards are read one after another. "
                "Leave it out."
            )
        if opt.model == "stargan_v2":
            yield (
                "--model stargan_v2 draws references of every domain for each image, which shards "
                "are not made for. It reads folders: --dataset_mode domains."
            )

    @classmethod
    def has_split(cls, opt: Namespace, phase: str) -> bool:
        """Tell whether there are shards for a phase."""
        if is_one_list(opt.dataroot):
            return phase == opt.phase
        return all(find_shards(opt.dataroot, name) for name in names_of(opt, phase))

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        check_crop_fits(opt)
        self.kind = kind_of(opt)
        if self.kind == "colorization":
            check_options(opt)
        is_shuffled = opt.isTrain and not opt.serial_batches
        self._opened = int(opt.shuffle_shards) if is_shuffled else 1
        cache = ShardCache(
            Path(opt.shard_cache or default_folder()), int(opt.shard_cache_gb * GIGABYTE)
        )
        stores = [
            ShardStore(shards, cache, most=opt.max_dataset_size, remembered=self._opened + AHEAD)
            for shards in shards_of(opt)
        ]
        check_room(stores, self._opened + AHEAD, cache.most)
        self.A, self.B = stores[0], stores[-1]
        if not (len(self.A) and len(self.B)):
            raise UserError(f"The shards of {opt.phase} in {opt.dataroot} hold no samples.")
        # What a run that goes on must find again, and what names the results of a test.
        self.shard_paths = [shard.where for store in stores for shard in store.shards]
        if not opt.isTrain:
            self.A_paths, self.B_paths = (names_in(store, opt) for store in (self.A, self.B))
        self._prepare_images()

    def _prepare_images(self) -> None:
        opt = self.opt
        self.reader, self.jitter = ImageReader.of(opt), Jitter.of(opt)
        sides = sides_of(opt, self._examples(self.A, "a"), self._examples(self.B, "b"))
        self.side_A, self.side_B = sides
        self.transform_A, self.transform_B = (
            get_transform(opt, grayscale=side.channels == 1, value_range=side.value_range)
            for side in sides
        )

    def _examples(self, store: ShardStore, side: str) -> list[FileInMemory]:
        """Return images of the first shard with samples: enough to tell values and depth."""
        texts = new_option(self.opt, "value_range")
        is_auto = bool(texts and AUTO in texts)
        wanted = MOST_LOOKED_AT if is_auto else int(not texts and self.opt.isTrain)
        held = (store.numbers_of(shard) for shard in range(len(store.shards)))
        numbers = next(filter(None, held))
        found = (store.sample(number) for number in numbers)
        images = ((shard, image) for shard, sample in found if (image := sample.image(side)))
        examples = [store.read(shard, image) for shard, image in islice(images, wanted)]
        if is_auto and not examples:
            self._file(store, numbers[0], "a")  # an error that says what its images are called
        return examples

    def _file(self, store: ShardStore, number: int, side: str) -> tuple[str, FileInMemory]:
        """Return the name of a sample, and its image of a side."""
        shard, sample = store.sample(number)
        name = f"{shard.where}/{sample.key}"
        image = sample.image(side)
        if image is None:
            raise UserError(
                f"{name} has no image {sample.key}.{side}.*, nor one without a side, as "
                f"{sample.key}.png. {sample.names()}"
            )
        return name, store.read(shard, image)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return what the data set of `--shards_as` returns; paths are of shards, with the keys."""
        match self.kind:
            case "aligned":
                return self._pair(index)
            case "unaligned":
                return self._two_images(index)
            case "single":
                name, file = self._file(self.A, index, "a")
                A = self.jitter(self.reader.read(file, self.transform_A, self.side_A))
                return {"A": A, "A_paths": name}
        name, file = self._file(self.A, index, "a")
        image = self.reader.read(file, get_transform(self.opt, convert=False))
        A, B = lightness_and_colour(image)
        return {"A": A, "B": B, "A_paths": name, "B_paths": name}

    def _pair(self, index: int) -> dict[str, Any]:
        shard, sample = self.A.sample(index)
        name = f"{shard.where}/{sample.key}"
        files = [self.A.read(shard, member) for member in sample.pair()]
        if not files:
            raise UserError(
                f"{name} is no pair: it has neither {sample.key}.a.* and {sample.key}.b.*, nor one "
                f"image with both side by side, as {sample.key}.png. {sample.names()}"
            )
        both = files[0], files[1] if files[1:] else None
        images = self.reader.open_pair(*both, self.side_A, self.side_B)
        params = get_params(self.opt, images[0].size)
        A, B = (
            image.transformed(
                get_transform(self.opt, params, side.channels == 1, value_range=side.value_range)
            )
            for image, side in zip(images, (self.side_A, self.side_B), strict=True)
        )
        A, B = self.jitter.pair(A, B)
        return {"A": A, "B": B, "A_paths": name, "B_paths": name}

    def _two_images(self, index: int) -> dict[str, Any]:
        """Return an A and a B: an index beyond the length says which B (see `epoch_order`)."""
        which_B, place = divmod(index, len(self))
        A_name, A_file = self._file(self.A, place % len(self.A), "a")
        number_B = which_B - 1 if which_B else place % len(self.B)
        B_name, B_file = self._file(self.B, number_B, "b")
        A = self.jitter(self.reader.read(A_file, self.transform_A, self.side_A))
        B = self.jitter(self.reader.read(B_file, self.transform_B, self.side_B))
        return {"A": A, "B": B, "A_paths": A_name, "B_paths": B_name}

    def epoch_order(self, generator: torch.Generator) -> Iterator[int]:
        """Yield the items of an epoch in an order that needs few shards at a time.

        Two domains are walked through side by side, the smaller one several times. Item
        i + (1 + b) * length is the A of item i with the B of number b.
        """
        places = self._places_of_A(generator)
        if self.kind != "unaligned":
            yield from places
            return
        for place, number_B in zip(places, self._walk_B(generator), strict=False):
            yield place + (1 + number_B) * len(self)

    def _places_of_A(self, generator: torch.Generator) -> Iterator[int]:
        for first in range(0, len(self), len(self.A)):
            for number in streamed_order(self.A, self._opened, generator):
                if first + number < len(self):
                    yield first + number

    def _walk_B(self, generator: torch.Generator) -> Iterator[int]:
        while True:
            yield from streamed_order(self.B, self._opened, generator)

    def __len__(self) -> int:
        return max(len(self.A), len(self.B))


def kind_of(opt: Namespace) -> str:
    """Return as which data set samples are read."""
    return "single" if opt.model == "test" else str(opt.shards_as)


def names_of(opt: Namespace, phase: str) -> list[str]:
    """Return what the shards of a phase are called."""
    return [f"{phase}{side}" for side in "AB"] if kind_of(opt) == "unaligned" else [phase]


def shards_of(opt: Namespace) -> list[list[Shard]]:
    """Return the shards of each side that has its own.

    Raises:
        UserError: there are none, or local ones are missing or others than their index tells of.
    """
    root, names = opt.dataroot, names_of(opt, opt.phase)
    if is_one_list(root) and len(names) > 1:
        raise UserError(
            f"--dataroot {root} names the shards of one side, but {names[0]} and {names[1]} are "
            f"needed. Give a folder that holds indices or lists of both ({names[0]}.json or .txt)."
        )
    found = {name: find_shards(root, name) for name in names}
    for name, shards in found.items():
        if not shards:
            raise UserError(_nothing_found(root, name))
        check_files([shard for shard in shards if not shard.is_remote])
    return list(found.values())


def check_files(shards: list[Shard]) -> None:
    """Raise a UserError if shards on this machine are missing, or their index is of other ones."""
    missing = [shard.where for shard in shards if not os.path.isfile(shard.where)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(shards)} shards do not exist, the first one is "
            f"{missing[0]}. Check --dataroot, and the index or list that is there. If "
            "scripts/make_shards.py was interrupted, give its command again."
        )
    for shard in shards:
        size = os.path.getsize(shard.where)
        if shard.bytes not in (None, size):
            raise UserError(
                f"{shard.where} has {size:,} bytes, its index says {shard.bytes:,}: one of them is "
                "old, or the shard was cut off. Bring those together that belong together, or "
                "write the index anew, with scripts/make_shards.py."
            )


def _nothing_found(root: str, name: str) -> str:
    places = [f"{root}/{name}.json   an index, as scripts/make_shards.py writes it"]
    if not is_url(root):
        places += [
            f"{root}/{name}.txt   a list of shards, paths or URLs",
            f"{root}/{name}/*.tar",
            f"{root}/{name}-000000.tar, ...   with any numbers",
        ]
    expected = "\n    ".join(places)
    return (
        f"There are no shards of {name} in {root}. Check --dataroot and --phase.\n"
        f"  --dataset_mode webdataset expects one of\n    {expected}\n"
        "  or in --dataroot itself an index, a list or a range, as shards-{000..099}.tar."
    )


def check_room(stores: list[ShardStore], at_once: int, room: int) -> None:
    """Raise a UserError if shards from the web would push each other out while they are needed."""
    sizes = [[s.bytes or 0 for s in store.shards if s.is_remote] for store in stores]
    needed = sum(sum(sorted(side)[-at_once:]) for side in sizes)
    if needed > room:
        raise UserError(
            f"--shard_cache_gb {room / GIGABYTE:g} is too little: the shards that are needed at a "
            f"time have {needed / GIGABYTE:.3g} GB, and would be fetched again and again. Give "
            "more, or a smaller --shuffle_shards in training, or make smaller shards."
        )


def names_in(store: ShardStore, opt: Namespace) -> list[str]:
    """Return the names of the samples that a test takes."""
    most = getattr(opt, "num_test", -1)
    return [store.name(number) for number in range(len(store))[: most if most >= 0 else None]]
