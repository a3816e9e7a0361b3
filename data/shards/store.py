"""The samples of one side of a data set: counted, found by number, read, and their order."""

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import torch

from data.shards.ahead import FetchAhead
from data.shards.cache import ShardCache
from data.shards.lists import Shard
from data.shards.tar import Contents, Member, Sample, read_contents
from util.base.errors import UserError
from util.base.log import note_of_process, say
from util.display.progress_bar import progress_bar
from util.images.reading import FileInMemory


class ShardStore:
    """The first `most` samples of shards, numbered in the order of the shards.

    Each process remembers where the samples lie in the shards that it used last, `remembered` ones.
    """

    def __init__(
        self, shards: list[Shard], cache: ShardCache, *, most: float = math.inf, remembered: int = 8
    ) -> None:
        self.cache = cache
        self._ahead = FetchAhead(cache)
        self._remembered = remembered
        counted = with_counts(shards, cache)
        ends = [int(min(end, most)) for end in accumulate(s.samples or 0 for s in counted)]
        needed = sum(end < most for end in ends[:-1]) + bool(ends)
        self.shards, self._ends = counted[:needed], ends[:needed]
        self._contents: OrderedDict[str, Contents] = OrderedDict()
        self._fetched_anew: set[str] = set()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def numbers_of(self, shard: int) -> range:
        """Return the numbers of the samples in a shard."""
        return range(self._ends[shard - 1] if shard else 0, self._ends[shard])

    def sample(self, number: int) -> tuple[Shard, Sample]:
        """Return a sample, and the shard it is in.

        Raises:
            UserError: the shard is damaged before it, or has another number of samples than
                its index says.
        """
        which = bisect_right(self._ends, number)
        shard = self.shards[which]
        place = number - self.numbers_of(which).start
        contents = self._contents_of(shard)
        if place >= len(contents.samples):
            contents = self._contents_anew(shard, contents)
        if place >= len(contents.samples):
            raise UserError(
                f"{shard.where} has no sample {place + 1} of {shard.samples}: "
                f"{_problem_of(contents)}.{_copy_of(shard, self.cache)} Make it or its index anew, "
                "with scripts/make_shards.py."
            )
        return shard, contents.samples[place]

    def name(self, number: int) -> str:
        """Return the name of a sample, with its shard's in front."""
        shard, sample = self.sample(number)
        return f"{shard.where}/{sample.key}"

    def read(self, shard: Shard, member: Member) -> FileInMemory:
        """Return the bytes of a file in a shard."""
        name = f"{shard.where}/{member.name}"
        content = self.cache.use(shard, lambda path: _part_of(path, member))
        if len(content) < member.size:
            raise UserError(f"{name} cannot be read: the shard ends before it.")
        return FileInMemory(content, name)

    def prepare(self, shard: int) -> None:
        """Begin to fetch a shard beside other work."""
        self._ahead.want(self.shards[shard])

    def _contents_of(self, shard: Shard) -> Contents:
        found = self._contents.get(shard.where)
        if found is None:
            found = self._contents[shard.where] = self.cache.use(shard, read_contents)
            if len(self._contents) > self._remembered:
                self._contents.popitem(last=False)
        self._contents.move_to_end(shard.where)
        return found

    def _contents_anew(self, shard: Shard, before: Contents) -> Contents:
        """Return what is in a shard once it was fetched again: its copy here may be damaged.

        Once is enough: what the server gives then is what it has.
        """
        if shard.is_remote and shard.where not in self._fetched_anew:
            self._fetched_anew.add(shard.where)
            self._contents.pop(shard.where, None)
            _forget(shard, self.cache, before)
        return self._contents_of(shard)


def with_counts(shards: list[Shard], cache: ShardCache) -> list[Shard]:
    """Return shards with their numbers of samples; where no index tells them, they are counted.

    Raises:
        UserError: a shard is damaged.
    """
    known = [s if s.samples is not None else cache.counted(s) or s for s in shards]
    unknown = sum(shard.samples is None for shard in known)
    if not unknown:
        return known
    say(
        f"No index tells how many samples there are in {unknown} shards: each is read once. "
        "scripts/make_shards.py --index writes one."
    )
    counted = []
    with progress_bar("counting samples", unknown) as bar:
        for shard in known:
            counted.append(shard if shard.samples is not None else count(shard, cache))
            bar.update(shard.samples is None)
    return counted


def count(shard: Shard, cache: ShardCache) -> Shard:
    """Return a shard with its number of samples and its size; of one from the web they are kept.

    Raises:
        UserError: it is damaged.
    """
    if known := cache.counted(shard):
        return known
    was_here = shard.is_remote and cache.has(shard)
    size, contents = cache.use(shard, _size_and_contents)
    if contents.problem and was_here:  # and damaged since, perhaps
        _forget(shard, cache, contents)
        size, contents = cache.use(shard, _size_and_contents)
    if contents.problem:
        copy = _copy_of(shard, cache) if was_here else ""
        raise UserError(
            f"{shard.where} is damaged: {contents.problem}.{copy} Make it anew, with "
            "scripts/make_shards.py."
        )
    found = shard._replace(samples=len(contents.samples), bytes=size)
    if shard.is_remote:
        cache.keep_count(found)
    return found


def _size_and_contents(path: Path) -> tuple[int, Contents]:
    return path.stat().st_size, read_contents(path)


def _forget(shard: Shard, cache: ShardCache, contents: Contents) -> None:
    """Remove the copy of a shard, and say why."""
    note_of_process(
        f"warning: {shard.where}: {_problem_of(contents)}. Its copy, {cache.path_of(shard)}, may "
        "be damaged: it is fetched once more."
    )
    cache.forget(shard)


def _problem_of(contents: Contents) -> str:
    return contents.problem or "its index is of other shards"


def _copy_of(shard: Shard, cache: ShardCache) -> str:
    """Say where the copy of a shard from the web lies."""
    return f" Its copy is {cache.path_of(shard)}." if shard.is_remote else ""


def _part_of(path: Path, member: Member) -> bytes:
    with open(path, "rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def streamed_order(store: ShardStore, opened: int, generator: torch.Generator) -> Iterator[int]:
    """Yield all numbers of samples at random, from few shards at a time.

    Shards come in random order, one in each round, and each stays open for `opened` rounds: its
    samples are spread over these at random, and mixed with those of the others that are open. No
    shard is needed again after that. If all can be open at once, it is a random order of all.
    """
    if len(store.shards) <= opened:
        yield from _random(len(store), generator)
        return
    order = _random(len(store.shards), generator)
    parts: list[list[list[int]]] = []  # of each open shard, what is to come in which round
    for turn in range(len(order) + opened - 1):
        for shard in order[turn : turn + 2]:  # the next one too, so that nobody waits for it
            store.prepare(shard)
        for shard in order[turn : turn + 1]:
            numbers = store.numbers_of(shard)
            mixed = numbers.start + torch.randperm(len(numbers), generator=generator)
            parts.append([part.tolist() for part in mixed.tensor_split(opened)])
        now = [number for rest in parts for number in rest.pop(0)]
        parts = [rest for rest in parts if rest]
        yield from (now[place] for place in _random(len(now), generator))


def _random(length: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(length, generator=generator).tolist()
