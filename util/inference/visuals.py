"""Which of the images that a model shows test.py saves: `--visuals`."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from util.base.errors import UserError, suggest
from util.base.new_options import new_option


class SavedVisuals(NamedTuple):
    """The labels of the images to save, in their order; without any, all that the model shows."""

    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, opt: Namespace) -> Self:
        """Return what `--visuals` names."""
        names = (name.strip() for name in new_option(opt, "visuals").split(","))
        return cls(tuple(dict.fromkeys(filter(None, names))))

    def require_in(self, visuals: Mapping[str, Any]) -> None:
        """Raise a UserError if the model does not show all of them."""
        for label in self.labels:
            if label not in visuals:
                raise UserError(
                    f"--visuals {label}: the model shows no such image. "
                    f"{suggest(label, list(visuals))}"
                )

    def among(self, visuals: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the images to save, as far as they are among these."""
        if not self.labels:
            return visuals
        return {label: visuals[label] for label in self.labels if label in visuals}

    def pairs_among(self, pairs: Mapping[str, str]) -> dict[str, str]:
        """Return the pairs of labels both of which are saved."""
        every = not self.labels
        return {a: b for a, b in pairs.items() if every or {a, b}.issubset(self.labels)}

    @property
    def can_be_scored(self) -> bool:
        """Tell whether real images are saved too, with which others are compared."""
        return not self.labels or any(label.startswith("real") for label in self.labels)
