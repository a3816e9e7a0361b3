"""Which shards a data set has: a folder, an index, a list or a range, here or on the web."""

import json
import os
import re
import urllib.error
from collections.abc import Iterator
from glob import escape, glob
from typing import Any, NamedTuple

from util.base.errors import UserError
from util.storage.downloads import open_url

ENDING = ".tar"
INDEX, LIST = ".json", ".txt"
NOT_THERE = (403, 404, 410)  # storage services answer 403 for what does not exist
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]+,[^{}]*)\}")


class Shard(NamedTuple):
    """One tar file, and what an index tells of it."""

    where: str  # path or URL
    samples: int | None = None
    bytes: int | None = None

    @property
    def is_remote(self) -> bool:
        """Tell whether it has to be fetched."""
        return is_url(self.where)


def is_url(place: str) -> bool:
    """Tell whether a place is on the web."""
    return place.startswith(("http://", "https://"))


def is_one_list(root: str) -> bool:
    """Tell whether `--dataroot` says which shards there are, whatever the phase."""
    return root.lower().endswith((INDEX, LIST, ENDING)) or bool(_RANGE.search(root))


def find_shards(root: str, name: str) -> list[Shard]:
    """Return the shards of a name (trainA, say) of a data set; none if there are none.

    The first of these that is there, of which only `name.json` is looked for on the web:
    `name.json`, an index; `name.txt`, a list; tar files in a folder `name`; `name-NUMBER.tar`. If
    `root` itself is an index, a list or a range, it is that.

    Raises:
        UserError: an index or a list cannot be read, or the server does not answer.
    """
    if is_one_list(root):
        return listed(root)
    index = _join(root, name + INDEX)
    if is_url(root):
        text = _text_if_there(index)
        return [] if text is None else list(read_index(text, index))
    for file in (index, _join(root, name + LIST)):
        if os.path.isfile(file):
            return listed(file)
    inside = sorted(glob(os.path.join(escape(root), escape(name), f"*{ENDING}")))
    return [Shard(path) for path in inside or numbered_files(root, name)]


def numbered_files(folder: str, name: str) -> list[str]:
    """Return the tar files `name-NUMBER.tar` in a folder, sorted: not test-hard-0.tar for test.

    Others write `name-00000-of-00010.tar`.
    """
    found = glob(os.path.join(escape(folder), f"{escape(name)}-*{ENDING}"))
    wanted = re.compile(rf"{re.escape(name)}-[0-9]+(-of-[0-9]+)?{re.escape(ENDING)}")
    return sorted(path for path in found if wanted.fullmatch(os.path.basename(path)))


def listed(place: str) -> list[Shard]:
    """Return the shards of an index, a list, or a range of names."""
    if place.lower().endswith(INDEX):
        return list(read_index(_text(place), place))
    if not place.lower().endswith(LIST):
        return [Shard(where) for where in expand(place)]
    lines = (line.strip() for line in _text(place).splitlines())
    ranges = (_beside(place, line) for line in lines if line and line[0] != "#")
    return [Shard(where) for one in ranges for where in expand(one)]


def expand(pattern: str) -> list[str]:
    """Return the names that ranges in braces stand for.

    >>> expand("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last, words = found.groups()
    if words is None:
        if int(last) < int(first):
            raise UserError(f"{pattern}: {found[0]} has no numbers. Put the smaller one first.")
        parts = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    else:
        parts = words.split(",")
    head, tail = pattern[: found.start()], expand(pattern[found.end() :])
    return [f"{head}{part}{rest}" for part in parts for rest in tail]


def read_index(text: str, place: str) -> Iterator[Shard]:
    """Return the shards that an index lists, whose names are relative to the `place` it lies at.

    It is of the kind that WebDataset's `wids` writes and reads.

    Raises:
        UserError: it is something else.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(text)["shardlist"]
        for row in rows:
            sizes = (None if row.get(n) is None else int(row[n]) for n in ("nsamples", "filesize"))
            yield Shard(_beside(place, str(row["url"])), *sizes)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{place} is no index of shards ({type(error).__name__}: {error}). "
            "scripts/make_shards.py --index writes one."
        ) from None


def index_text(shards: list[Shard], name: str) -> str:
    """Return the text of an index of shards whose names are relative to it."""
    rows = [{"url": s.where, "nsamples": s.samples, "filesize": s.bytes} for s in shards]
    content = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name}
    return json.dumps(content | {"shardlist": rows}, indent=1) + "\n"


def _join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}" if is_url(root) else os.path.join(root, name)


def _beside(place: str, name: str) -> str:
    """Return where a name leads that stands in a file."""
    if is_url(name):
        return name
    return _join(place.rpartition("/")[0] if is_url(place) else os.path.dirname(place), name)


def _text(place: str) -> str:
    try:
        if not is_url(place):
            with open(place, encoding="utf-8-sig") as file:
                return file.read()
        with open_url(place) as response:
            return str(response.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not text in UTF-8 ({error}).") from None


def _text_if_there(place: str) -> str | None:
    try:
        return _text(place)
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, urllib.error.HTTPError) and cause.code in NOT_THERE:
            return None
        raise
