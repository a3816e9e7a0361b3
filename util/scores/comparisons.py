"""Which images are compared: sets of them, or pairs that their names tell."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from util.base.errors import UserError
from util.base.log import printable
from util.scores.images import METRICS
from util.scores.sides import made_from

OF_SETS = ("FID", "KID")
OF_GROUPS = ("DIVERSITY",)  # of several images made of the same one
OF_PAIRS = tuple(name for name in METRICS if name not in (*OF_SETS, *OF_GROUPS))
ALL = (*OF_PAIRS, *OF_SETS)
LABELLED = re.compile(r"(.+)_((?:real|fake|rec)(?:_[AB])?)(?:_rgb)?")  # how test.py names images
NAMED = 5  # files in a message
PAIRS_FILE = "pairs.json"  # beside a test's page: labels of what was made, and of what for
OUTPUTS_FILE = "outputs.json"  # likewise: what was made of what for which domain
RANGES_FILE = "value_ranges.json"  # likewise: of the values in files, by label
USUAL_PAIRS = {"fake_B": "real_B", "fake_B_rgb": "real_B_rgb"}  # of the built-in models


class NamedImage(NamedTuple):
    """A file, and its name without folder, ending and label: that of its partner too."""

    name: str
    path: str


@dataclass(frozen=True)
class Comparison:
    """Images to be scored."""

    title: str
    real: list[NamedImage]  # of pairs, in the order of `fake`
    fake: list[NamedImage]
    paired: bool
    metrics: tuple[str, ...]  # that make sense here
    alone: Sequence[str] = ()  # files without partner, which are left out
    notes: tuple[str, ...] = ()  # what to keep in mind
    groups: Sequence[Sequence[NamedImage]] = ()  # of `fake`: what was made of the same image

    @property
    def units(self) -> Sequence[NamedImage]:
        """What has values of its own, by its first image: a pair, or a group."""
        return [group[0] for group in self.groups] or self.fake


def pairs(title: str, real: list[NamedImage], fake: list[NamedImage], *metrics: str) -> Comparison:
    """Match images by name, for these metrics or all; a name that is there twice is an error."""
    reals, fakes = _by_name(real), _by_name(fake)
    both = [name for name in fakes if name in reals]
    alone = [one.path for one in (*real, *fake) if not (one.name in reals and one.name in fakes)]
    if not both:
        raise UserError(
            f"No image has a partner: the real ones are called {shown(reals)}, the generated "
            f"ones {shown(fakes)}. Names without endings must be equal; or leave --paired out."
        )
    matched = [reals[name] for name in both], [fakes[name] for name in both]
    return Comparison(title, *matched, paired=True, metrics=metrics or ALL, alone=alone)


def _by_name(images: list[NamedImage]) -> dict[str, NamedImage]:
    counts = Counter(image.name for image in images)
    twice = [image.path for image in images if counts[image.name] > 1]
    if twice:
        raise UserError(
            f"Which one belongs to the other folder's image? {shown(twice)} share their names "
            "but for the ending. Rename some, or leave --paired out."
        )
    return {image.name: image for image in images}


def sets(
    title: str, real: list[NamedImage], fake: list[NamedImage], notes: tuple[str, ...] = ()
) -> Comparison:
    """Compare sets of images that do not belong together one by one."""
    return Comparison(title, real, fake, paired=False, metrics=OF_SETS, notes=notes)


def same_names(real: list[NamedImage], fake: list[NamedImage]) -> bool:
    """Tell whether every generated image has a real one's name."""
    return {image.name for image in fake} <= {image.name for image in real}


def images_of(folder: str) -> str:
    """Return the images' folder in what test.py wrote; any other folder as it is."""
    inside = os.path.join(folder, "images")
    beside = ("index.html", PAIRS_FILE, OUTPUTS_FILE)  # a test that was stopped has left no page
    is_ours = any(os.path.isfile(os.path.join(folder, name)) for name in beside)
    return inside if is_ours and os.path.isdir(inside) else folder


def by_label(folder: str, paths: Iterable[str]) -> dict[str, list[NamedImage]]:
    """Sort images by the label that test.py gave them: fake_B, real_B, ...; "" has the others."""
    found: dict[str, list[NamedImage]] = {}
    for path in paths:
        name, label = _plain_name(folder, path), ""
        if match := LABELLED.fullmatch(name):
            name, label = match.groups()
        found.setdefault(label, []).append(NamedImage(name, path))
    return found


def pick(folder: str, paths: Iterable[str], labels: Iterable[str]) -> tuple[str, list[NamedImage]]:
    """Return the first of the labels that there is, and its images; without any, "" and all."""
    paths = list(paths)
    found = by_label(folder, paths)
    for label in labels:
        if label in found:
            return label, found[label]
    return "", [NamedImage(_plain_name(folder, path), path) for path in paths]


def _plain_name(folder: str, path: str) -> str:
    return os.path.splitext(os.path.relpath(path, folder))[0]


def from_results(
    folder: str, paths: Iterable[str], *, paired: bool, side: str | None = None
) -> list[Comparison]:
    """Return what images written by test.py allow: each domain, and ways there and back.

    With `paired`, `x_real_B` is what `x_fake_B` should be. test.py has written down whether it is,
    and the labels of other models' pairs. `side`, A or B, takes one domain.
    """
    paths, comparisons = list(paths), list[Comparison]()
    known = _known_pairs(folder)
    paired = paired or not USUAL_PAIRS.items().isdisjoint(known.items())
    found = every = by_label(folder, paths)
    if not paired:
        found = _once_per_side(found)
    for domain in side or "BA":
        real, fake = found.get(f"real_{domain}"), found.get(f"fake_{domain}")
        if real and fake:
            title = f"fake_{domain} against real_{domain} in {folder}"
            notes = _note_on_repeats(len(every[f"real_{domain}"]) - len(real))
            compared = pairs(title, real, fake) if paired else sets(title, real, fake, notes)
            comparisons.append(compared)
    for domain in side or "AB":
        real, back = found.get(f"real_{domain}"), found.get(f"rec_{domain}")
        if real and back:
            title = f"rec_{domain} (there and back) against real_{domain} in {folder}"
            comparisons.append(pairs(title, real, back, *OF_PAIRS))
    others = {made: real for made, real in known.items() if USUAL_PAIRS.get(made) != real}
    for made, wanted in others.items():
        reals, fakes = (_labelled(folder, paths, label) for label in (wanted, made))
        if side is None and reals and fakes:
            comparisons.append(pairs(f"{made} against {wanted} in {folder}", reals, fakes))
    if not comparisons and (Path(folder).parent / OUTPUTS_FILE).is_file():
        raise UserError(
            f"{folder} has images made for several domains: --diverse REAL compares them with real "
            "ones. REAL has a folder for each domain, such as the folder train of the data set."
        )
    if not comparisons:
        labels = ", ".join(f"x_{label}" for label in found if label) or "other names"
        raise UserError(
            f"{folder} has no generated images with true ones beside them, such as x_fake_B.png "
            f"and x_real_B.png, only {labels}. Give two folders: real and generated images."
        )
    return comparisons


def _once_per_side(found: Mapping[str, list[NamedImage]]) -> dict[str, list[NamedImage]]:
    """Leave out what comes of an image that was there before: a smaller domain begins anew.

    test.py shows each image once, but results of other versions have them again.
    """
    again = {side: _repeated(found.get(f"real_{side}", [])) for side in "AB"}
    return {
        label: [one for one in images if one.name not in again.get(made_from(label) or "", ())]
        for label, images in found.items()
    }


def _note_on_repeats(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    those = "is there twice: it counts" if count == 1 else "are there twice: they count"
    return (f"{count} of the real images {those} once.",)


def _repeated(images: Iterable[NamedImage]) -> set[str]:
    """Return the names of images whose bytes an earlier one has."""
    first: dict[str, str] = {}
    return {
        one.name for one in images if first.setdefault(digest_of(one.path), one.name) != one.name
    }


def _known_pairs(folder: str) -> dict[str, str]:
    file = Path(folder).parent / PAIRS_FILE
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(real, str) for real in found.values()):
        raise UserError(f"{file} does not say which images are pairs. Remove it; test.py makes it.")
    return found


def _labelled(folder: str, paths: Iterable[str], label: str) -> list[NamedImage]:
    names = {path: _plain_name(folder, path) for path in paths}
    end = f"_{label}"
    return [NamedImage(n.removesuffix(end), path) for path, n in names.items() if n.endswith(end)]


def digest_of(path: str) -> str:
    """Return a digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(names: Iterable[str]) -> str:
    """Join the first names, as far as they can be printed."""
    listed = [printable(name) for name in names]
    return ", ".join(listed[:NAMED]) + (", ..." if len(listed) > NAMED else "")
