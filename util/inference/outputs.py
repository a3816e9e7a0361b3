"""What a model of several domains made of each image of a test, and for which domain."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from util.base.plugins import own_method
from util.scores.comparisons import OUTPUTS_FILE
from util.scores.diversity import Outputs
from util.storage.files import write_text


class OutputsByDomain:
    """Gather file names by what a model says in `outputs_by_domain` after each image."""

    def __init__(self, model: object) -> None:
        self._ask: Callable[..., Any] | None = own_method(model, "outputs_by_domain", arguments=0)
        self._files: Outputs = defaultdict(lambda: defaultdict(list))

    def __bool__(self) -> bool:
        return bool(self._files)

    def add(self, name: str, visuals: Mapping[str, Any], ending: str = "png") -> None:
        """Note what was made of the image `name`, as far as it is among the `visuals`."""
        said: Any = None if self._ask is None else self._ask()
        if not _is_by_domain(said):  # a plugin's own business
            return
        domain, targets = said
        for target, labels in targets.items():
            if made := [f"{name}_{label}.{ending}" for label in labels if label in visuals]:
                self._files[domain][target].append(made)

    def plain(self) -> dict[str, dict[str, list[list[str]]]]:
        """Return what was noted, for `take_over` in another process."""
        return {domain: dict(targets) for domain, targets in self._files.items()}

    def take_over(self, noted: Mapping[str, Mapping[str, list[list[str]]]]) -> None:
        """Note what was noted in another process, after what there is."""
        for domain, targets in noted.items():
            for target, made in targets.items():
                self._files[domain][target] += made

    def save(self, folder: str) -> None:
        """Write it down beside the page, where scripts/evaluate.py looks for it."""
        file = Path(folder, OUTPUTS_FILE)
        if self:
            write_text(file, json.dumps(self._files) + "\n")
        else:
            file.unlink(missing_ok=True)  # of an earlier test


def _is_by_domain(said: Any) -> bool:
    """Tell whether this is a domain, and labels by domains."""
    if not isinstance(said, tuple) or len(said) != 2 or not isinstance(said[1], Mapping):
        return False
    return all(isinstance(labels, list) for labels in said[1].values())
