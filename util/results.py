"""Names for result pictures: flat as the reference's, unless two inputs would share one."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath


class ResultNames:
    """Choose a name, without the ending, for what is made from each input picture.

    `photos/7.jpg` becomes `7`.  Only inputs of one run that would overwrite each other's results
    keep their path below `root`: `x/7.jpg` and `y/7.jpg` become `x/7` and `y/7`, `7.jpg` beside
    `7.png` becomes `7.jpg` and `7.png`.
    """

    def __init__(self, paths: Iterable[str] = (), root: str | Path = ".") -> None:
        self.root = root
        known = list(dict.fromkeys(paths))
        self._stems = Counter(_key(PurePath(path).stem) for path in known)
        self._relative = Counter(_key(self._below_root(path).with_suffix("")) for path in known)
        self._known = set(known)

    def name(self, path: str) -> str:
        """Return the name for `path`; a path not announced before is taken into account now."""
        stem = PurePath(path).stem
        relative = self._below_root(path)
        if path not in self._known:
            self._known.add(path)
            self._stems[_key(stem)] += 1
            self._relative[_key(relative.with_suffix(""))] += 1
        if self._stems[_key(stem)] == 1:
            return stem
        if self._relative[_key(relative.with_suffix(""))] == 1:
            return relative.with_suffix("").as_posix()
        return relative.as_posix()

    def _below_root(self, path: str) -> PurePath:
        relative = PurePath(os.path.relpath(path, self.root))
        # A picture from elsewhere must not be written elsewhere: no step upwards survives.
        return PurePath(*[part for part in relative.parts if part not in ("..", relative.anchor)])


def _key(name: str | PurePath) -> str:
    """Compare names as a file system that ignores case would."""
    return str(name).casefold()
