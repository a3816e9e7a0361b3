"""Where results of test.py go; names for images, flat unless two inputs would share one."""

import hashlib
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path, PurePath

_key = str.casefold  # names are the same to a file system that ignores case if these are
LONGEST = 240  # bytes of a name; file systems take 255, and a label and an ending are added


def results_folder(opt: Namespace) -> str:
    """Return the folder of a test's page, such as `results/facades/test_latest`."""
    iteration = f"_iter{opt.load_iter}" if opt.load_iter > 0 else ""
    return os.path.join(opt.results_dir, opt.name, f"{opt.phase}_{opt.epoch}{iteration}")


class ResultNames:
    """Choose a name, without the ending, for what is made from each input image.

    `photos/7.jpg` becomes `7`. Only inputs of one run that would overwrite each other's results
    keep their path below `root`: `x/7.jpg` and `y/7.jpg` become `x/7` and `y/7`, `7.jpg` beside
    `7.png` becomes `7.jpg` and `7.png`. Names that would be too long for a file are cut.
    """

    def __init__(self, paths: Iterable[str] = (), root: str | Path = ".") -> None:
        """Name all `paths` of a run; those that come without notice are named when they come."""
        self.root = root
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        known = {path: self._candidates(path) for path in paths}
        stems = Counter(_key(stem) for stem, _, _ in known.values())
        inner = Counter(_key(name) for _, name, _ in known.values())
        for path, (stem, _, _) in known.items():
            if stems[_key(stem)] == 1:
                self._choose(path, 0)
        for path, (_, name, _) in known.items():
            if path not in self._names:
                self._choose(path, 1 if inner[_key(name)] == 1 else 2)

    def name(self, path: str) -> str:
        """Return the name for `path`, which no other path has."""
        return self._names.get(path) or self._choose(path, 0)

    def _choose(self, path: str, skip: int) -> str:
        candidates = self._candidates(path)
        names = chain(candidates[skip:], (f"{candidates[-1]}_{number}" for number in count(2)))
        name = next(name for name in map(_cut, names) if _key(name) not in self._taken)
        self._taken.add(_key(name))
        self._names[path] = name
        return name

    def _candidates(self, path: str) -> tuple[str, str, str]:
        """Return the stem, the path below the root without its ending, and with it."""
        relative = PurePath(os.path.relpath(path, self.root))
        # An image from elsewhere must not be written elsewhere: no step upwards survives.
        below = PurePath(*[part for part in relative.parts if part not in ("..", relative.anchor)])
        return PurePath(path).stem, below.with_suffix("").as_posix(), below.as_posix()


def _cut(name: str) -> str:
    """Shorten a name that no file can have; digits that all of it decides are added."""
    folder, slash, file = name.rpartition("/")
    encoded = file.encode("utf-8", "replace")
    if len(encoded) <= LONGEST:
        return name
    digits = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    kept = encoded[: LONGEST - len(digits) - 1].decode("utf-8", "ignore")
    return f"{folder}{slash}{kept}-{digits}"
