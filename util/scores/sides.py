"""Of two domains of unequal size the smaller one begins anew: which images of an item are new."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

OTHER = {"A": "B", "B": "A"}


def made_from(label: str) -> str | None:
    """Return the domain of the image that something was made from, by its name in the models.

    >>> [made_from(label) for label in ("real_A", "rec_A", "fake_B", "idt_B", "output")]
    ['A', 'A', 'A', 'A', None]
    """
    kind, _, side = label.rpartition("_")
    if kind in ("real", "rec", "cycle") and side in OTHER:
        return side
    return OTHER.get(side) if kind in ("fake", "idt") else None


def domain_of(label: str) -> str | None:
    """Return the domain that an image belongs to, by its name in the models.

    >>> [domain_of(label) for label in ("real_A", "rec_A", "fake_B", "idt_B", "real", "output")]
    ['A', 'A', 'B', 'A', 'A', None]
    """
    kind, _, side = label.rpartition("_")
    if kind == "idt":
        return made_from(label)
    if kind in ("real", "rec", "cycle", "fake") and side in OTHER:
        return side
    return {"real": "A", "fake": "B"}.get(label)  # of --model test


def unequal_domains(dataset: object) -> bool:
    """Tell whether a data set lists fewer images of one domain, which begins anew then."""
    lists = [getattr(dataset, f"{side}_paths", None) for side in OTHER]
    counts = {len(paths) for paths in lists if isinstance(paths, Sized) and len(paths)}
    return len(counts) == 2


def paths_of(batch: Mapping[str, Any], number: int, direction: str) -> dict[str, str]:
    """Return where an item of a batch came from, by what the model calls its domains.

    `--direction BtoA` swaps what the data set calls A and B.
    """
    of_data = {"A": "A", "B": "B"} if direction == "AtoB" else OTHER
    found = {side: batch.get(f"{named}_paths") for side, named in of_data.items()}
    return {
        side: str(paths[number])
        for side, paths in found.items()
        if isinstance(paths, Sequence) and number < len(paths)
    }


class Repeats:
    """Notice the images that items of two domains bring a second time."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {"A": set(), "B": set()}

    def side_of(self, paths: Mapping[str, str]) -> str | None:
        """Return the domain whose image was there before; None if both are new, or neither is."""
        again = [side for side, path in paths.items() if path in self._seen[side]]
        for side, path in paths.items():
            self._seen[side].add(path)
        return again[0] if len(again) == 1 and len(paths) == 2 else None
