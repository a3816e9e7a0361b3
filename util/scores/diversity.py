"""What was made of the same images for several domains: how good, and how diverse it is.

test.py writes down which files were made of which images, for which domain:

    {"cat": {"dog": [["1_fake_dog_01.png", "1_fake_dog_02.png"], ...], ...}, ...}

Each inner list holds the outputs of one image.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from util.base.errors import UserError
from util.scores.comparisons import (
    OF_GROUPS,
    OF_SETS,
    OUTPUTS_FILE,
    Comparison,
    NamedImage,
    images_of,
)
from util.scores.scorer import Result, Score

Outputs = dict[str, dict[str, list[list[str]]]]  # by domain of the image, and domain to go to


def between_domains(
    folder: str, real: str, images_in: Callable[[str], list[str]]
) -> list[Comparison]:
    """Return what a test made for each other domain, to compare with `real/<domain>`.

    `images_in` lists the images below a folder.
    """
    made = read_outputs(folder)
    domains = sorted({target for targets in made.values() for target in targets})
    reals = {domain: _named(images_in(str(Path(real, domain)))) for domain in domains}
    found = [
        _comparison(f"{source} to {target}", reals[target], _groups(folder, groups))
        for source, targets in made.items()
        for target, groups in targets.items()
        if source != target
    ]
    if not found:
        raise UserError(
            f"{folder} has outputs for no other domain than that of their images. Test a model of "
            "several domains."
        )
    return found


def read_outputs(folder: str) -> Outputs:
    """Return what test.py wrote down.

    Raises:
        UserError: there is none, or something else.
    """
    file = Path(folder, OUTPUTS_FILE)
    if not file.is_file():
        raise UserError(
            f"{folder} has no {OUTPUTS_FILE}, which test.py writes there with models that make "
            "images of several domains. Give what it wrote, such as results/RUN/test_latest."
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not _are_outputs(found):
        raise UserError(f"{file} does not say what was made of what. Remove it; test.py makes it.")
    outputs: Outputs = found
    return outputs


def _are_outputs(found: object) -> bool:
    """Tell whether this is a dict of dicts of lists of lists of names."""
    return isinstance(found, dict) and all(
        isinstance(targets, dict)
        and all(
            isinstance(groups, list)
            and all(isinstance(one, list) and one and all(map(_is_name, one)) for one in groups)
            for groups in targets.values()
        )
        for targets in found.values()
    )


def _is_name(found: object) -> bool:
    return isinstance(found, str)


def _groups(folder: str, groups: Sequence[Sequence[str]]) -> list[list[NamedImage]]:
    inside = Path(images_of(folder))
    return [_named([str(inside / name) for name in group]) for group in groups]


def _named(paths: Sequence[str]) -> list[NamedImage]:
    return [NamedImage(Path(path).stem, path) for path in paths]


def _comparison(title: str, real: list[NamedImage], groups: list[list[NamedImage]]) -> Comparison:
    outputs = [image for group in groups for image in group]
    metrics = (*OF_GROUPS, *OF_SETS)
    return Comparison(title, real, outputs, paired=False, metrics=metrics, groups=groups)


def mean_of(results: Sequence[Result]) -> Result:
    """Return the mean of each score over comparisons, as far as all of them have it."""
    real = list(dict.fromkeys(image for one in results for image in one.comparison.real))
    fake = [image for one in results for image in one.comparison.fake]
    title = f"mean of {len(results)} pairs of domains"
    whole = Result(Comparison(title, real, fake, paired=False, metrics=(*OF_GROUPS, *OF_SETS)))
    for name in _common_scores(results):
        values = [result.scores[name].value for result in results]
        whole.scores[name] = Score(mean(values), details={"comparisons": float(len(values))})
    return whole


def _common_scores(results: Sequence[Result]) -> Iterator[str]:
    yield from (name for name in results[0].scores if all(name in one.scores for one in results))
