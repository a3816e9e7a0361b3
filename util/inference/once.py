"""Show each image of two domains once, although the smaller domain begins anew."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from util.scores.sides import OTHER, Repeats, made_from, paths_of, unequal_domains

KNOWN = "data.unaligned_dataset"  # whose items follow from their numbers, in order
Made = tuple[Mapping[str, Any], Sequence[str]]  # images by label, and where they came from


class OncePerSide:
    """Leave out what a test makes of an image a second time."""

    def __init__(self, dataset: object, direction: str) -> None:
        self._dataset = dataset
        self._are_unequal = unequal_domains(dataset)
        self._direction = direction
        self._repeats = Repeats()

    @property
    def knows_items(self) -> bool:
        """Tell whether `pass_over` can be called: where nothing repeats, or how is known."""
        return not self._are_unequal or type(self._dataset).__module__ == KNOWN

    def pass_over(self, items: range) -> None:
        """Take what is made of the images of these items as made, by another process."""
        if self._are_unequal:
            of_data = {side: getattr(self._dataset, f"{side}_paths") for side in OTHER}
            for item in items:
                batch = {f"{s}_paths": [p[item % len(p)]] for s, p in of_data.items()}
                self._repeats.side_of(paths_of(batch, 0, self._direction))

    def new(self, batch: Mapping[str, Any], items: Iterable[Made]) -> Iterator[Made]:
        """Yield what is new of the items of a batch.

        Where domain A has begun anew, an item is named after the image of domain B.
        """
        for number, (visuals, sources) in enumerate(items):
            paths = paths_of(batch, number, self._direction) if self._are_unequal else {}
            old = self._repeats.side_of(paths)
            sides = {label: made_from(label) for label in visuals}
            kept = {label: image for label, image in visuals.items() if sides[label] != old}
            if old is None:
                yield visuals, sources
            elif old == "B":
                yield kept, sources
            elif OTHER[old] in sides.values():
                yield kept, [paths["B"]]
