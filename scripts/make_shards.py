"""Pack the images of a data set into tar files, for data that are larger than a disk.

    python scripts/make_shards.py --dataroot ./datasets/facades --out ./shards/facades
    python scripts/make_shards.py --dataroot ./datasets/maps --out ./shards/maps --shard_mb 64
    python scripts/make_shards.py --index 'https://example.org/a-{000..099}.tar' --out ./train.json

Shards are of the WebDataset format and have an index: train-000000.tar, ..., train.json. Files are
taken as they are. Images of train go in a random order, which is the same each time, since training
draws from few shards at a time. The same images give the same bytes; shards that are there and hold
what they should are left alone, so a command that was interrupted goes on when it is given again.
--index counts the samples of shards of others: of a range, a list (.txt) or one file, here or on
the web. Train with --dataset_mode webdataset. Exit status: 0 done; 1 not all of it, and why; 2 the
command was wrong.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from data.base_dataset import ITSELF, LAYOUTS, PAIR_FOLDERS, TWO_FOLDERS
from data.checks.folders import Folder, find_folders
from data.pipeline.files import list_files
from data.pipeline.pairs import match_folders
from data.shards.cache import ShardCache
from data.shards.lists import ENDING, INDEX, Shard, index_text, listed, numbered_files
from data.shards.store import count
from data.shards.writing import (
    SampleFiles,
    in_shards,
    is_written,
    keys_of,
    sample_files,
    shard_name,
    write_shard,
)
from util.base.commands import command, parser_of
from util.base.errors import UserError, run_command
from util.base.log import say, warn
from util.display.progress_bar import in_threads
from util.storage.files import remove_leftovers, write_text

MEGABYTE = 10**6
SHOWN = 5  # images without a partner
MODES = [mode for mode in LAYOUTS if mode != "domains"]


def main(argv: Sequence[str] | None = None) -> None:
    """Pack images, or count what is in shards, as the command line says."""
    args = parse(argv)
    if args.index:
        make_index(args.index, Path(args.out), force=args.force)
        return
    sets = sets_of(find_folders(args.dataroot, args.dataset_mode), args)
    if not sets:
        mode = f"--dataset_mode {args.dataset_mode}" if args.dataset_mode else "a data set"
        raise UserError(f"{args.dataroot} has no images in folders of {mode}. Check --dataroot.")
    packs = [Pack.of(name, samples, args) for name, samples in sets.items()]
    if not args.force:
        for pack in packs:
            pack.refuse_others()
    for pack in packs:
        pack.write()
    if model := model_for(sets, args.dataset_mode):
        options = {"dataroot": args.out, "dataset_mode": "webdataset", "model": model}
        say(f"Train on them with:\n  {command('train.py', options)}")


def model_for(names: Container[str], dataset_mode: str | None) -> str | None:
    """Return a model that learns from these sets; None if they are not for training."""
    if "train" in names:
        return "colorization" if dataset_mode == "colorization" else "pix2pix"
    return "cycle_gan" if "trainA" in names else None


def sets_of(folders: Sequence[Folder], args: argparse.Namespace) -> dict[str, list[SampleFiles]]:
    """Return the samples to pack by what their shards are called, sorted."""
    is_paired = args.dataset_mode == "aligned"
    sets: dict[str, list[SampleFiles]] = {}
    for folder in folders:
        if folder.layout == PAIR_FOLDERS or (folder.layout == TWO_FOLDERS and is_paired):
            partner = partner_of(folder, folders)
            if partner is not None:
                sets[folder.phase] = pairs(folder.path, partner)
        else:
            name = args.phase if folder.layout == ITSELF else folder.name
            sets[name] = single_images(folder.path)
    return {name: samples for name, samples in sets.items() if samples}


def partner_of(folder: Folder, folders: Sequence[Folder]) -> str | None:
    """Return the folder of B for one of A; None for one of B, or if it is missing."""
    for_A, for_B = (name.format(phase=folder.phase) for name in folder.layout)
    others = [other.path for other in folders if other.name == for_B]
    return others[0] if folder.name == for_A and others else None


def pairs(folder_A: str, folder_B: str) -> list[SampleFiles]:
    """Return the images of the same name in two folders; say which have no partner."""
    found = match_folders(folder_A, folder_B)
    for path in found.alone[:SHOWN]:
        warn(f"{path} has no partner and is left out")
    if len(found.alone) > SHOWN:
        warn(f"{len(found.alone)} images have none in all")
    keys = keys_of([os.path.relpath(path, folder_A) for path in found.pairs])
    return [
        sample_files(key, {"a": A, "b": B})
        for key, (A, B) in zip(keys, found.pairs.items(), strict=True)
    ]


def single_images(folder: str) -> list[SampleFiles]:
    """Return the images of a folder, each of which is a sample."""
    paths = list_files(folder)
    keys = keys_of([os.path.relpath(path, folder) for path in paths])
    return [sample_files(key, {"": path}) for key, path in zip(keys, paths, strict=True)]


@dataclass(frozen=True)
class Pack:
    """The shards and the index of one phase, or of one side of it."""

    index: Path
    shards: dict[Path, list[SampleFiles]]

    @classmethod
    def of(cls, name: str, samples: list[SampleFiles], args: argparse.Namespace) -> Self:
        """Divide samples into shards."""
        if name.startswith("train"):
            samples = random.Random(args.seed).sample(samples, len(samples))
        out = Path(args.out)
        shards = enumerate(in_shards(samples, args.shard_mb * MEGABYTE))
        named = {out / shard_name(name, number): shard for number, shard in shards}
        return cls(out / f"{name}{INDEX}", named)

    def refuse_others(self) -> None:
        """Raise a UserError if shards are there that hold something else."""
        for path in self._others():
            raise UserError(
                f"{path} is there, but none of these shards, or made of other images or options. "
                "--force replaces what is there; or give another --out."
            )

    def _others(self) -> list[Path]:
        there = map(Path, numbered_files(str(self.index.parent), self.index.stem))
        return [p for p in there if p not in self.shards or not is_written(p, self.shards[p])]

    def write(self) -> None:
        """Write what is not there, then the index; remove other shards of this name."""
        self.index.parent.mkdir(parents=True, exist_ok=True)
        # No others than of this name: another machine may be writing those at this moment.
        remove_leftovers(self.index.parent, f"{escape(self.index.stem)}-{'[0-9]' * 6}{ENDING}")
        others = self._others()
        todo = [path for path in self.shards if path in others or not path.exists()]
        if others or todo:
            self.index.unlink(missing_ok=True)  # never beside shards that it does not tell of
        for path in others:
            path.unlink()
        self._write_index()  # which tells what is missing, should this be interrupted
        for _ in in_threads(self.index.stem, lambda p: write_shard(p, self.shards[p]), todo):
            pass
        self._write_index()
        were_there = len(self.shards) - len(todo)
        kept = f", {were_there} of which were there" if were_there else ""
        count = sum(map(len, self.shards.values()))
        say(f"{self.index}: {count} samples in {len(self.shards)} shards{kept}")

    def _write_index(self) -> None:
        """List all shards, and the sizes of those that are there."""
        rows = [
            Shard(path.name, len(held), path.stat().st_size if path.exists() else None)
            for path, held in self.shards.items()
        ]
        write_text(self.index, index_text(rows, self.index.stem))


def make_index(where: str, out: Path, *, force: bool) -> None:
    """Count what is in shards, and write their index."""
    if out.suffix != INDEX:
        raise UserError(f"--out {out} is no name of an index. It ends with {INDEX}.")
    if out.exists() and not force:
        raise UserError(f"{out} is there already. --force replaces it.")
    shards = [shard._replace(samples=None, bytes=None) for shard in listed(where)]
    with tempfile.TemporaryDirectory() as folder:
        work = partial(count, cache=ShardCache(Path(folder), 0))
        threads = 1 if any(shard.is_remote for shard in shards) else 0  # one at a time is kept
        counted = list(in_threads("shards", work, shards, threads))
    rows = [shard._replace(where=seen_from(out.parent, shard)) for shard in counted]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, index_text(rows, out.stem))
    say(f"{out}: {sum(row.samples or 0 for row in rows)} samples in {len(rows)} shards")


def seen_from(folder: Path, shard: Shard) -> str:
    """Return where a shard is for who reads an index in a folder."""
    if shard.is_remote:
        return shard.where
    return Path(os.path.relpath(shard.where, folder)).as_posix()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--dataroot", metavar="DIR", help="the data set, as for train.py")
    add("--index", metavar="SHARDS", help="shards to write an index of, instead")
    add("--out", required=True, metavar="DIR", help="where shards go; with --index, its file")
    add("--dataset_mode", choices=MODES, help="how to read it: trainA and trainB as pairs, say "
        "(aligned); by default whatever folders there are, these as two domains")  # fmt: skip
    add("--phase", default="test", help="what shards of a folder without phases are called")
    add("--shard_mb", type=int, default=256, help="megabytes of a shard, about")
    add("--seed", type=int, default=0, help="decides the order of training images")
    add("--force", action="store_true", help="replace other shards that are there")
    args = parser.parse_args(argv)
    if (args.dataroot is None) == (args.index is None):
        parser.error("Give either --dataroot or --index.")
    if args.shard_mb < 1:
        parser.error(f"--shard_mb {args.shard_mb}: it must be 1 or more.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
