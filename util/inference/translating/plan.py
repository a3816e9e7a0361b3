"""Which file each result goes to, and which results are there already."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from util.base.errors import UserError
from util.images.reading import has_known_ending
from util.images.writing import RESULT_FORMATS, format_of
from util.inference.translating.sources import VIDEOS, Source

VIDEO = ".mp4"
IMAGES = tuple(f".{name}" for name in RESULT_FORMATS)
MOST_NAMED = 3


class Job(NamedTuple):
    """A file to translate, where the result goes, and the name that random numbers depend on."""

    source: Path
    target: Path
    name: str
    is_video: bool


def plan(sources: Sequence[Source], output: Path, ending: str) -> list[Job]:
    """Return a job for each source: `output` is a folder, or a file if there is one source.

    Below a folder, results have the paths that sources have below theirs. Two that would have one
    name keep their endings in front of the new one.

    Raises:
        UserError: two results would have one name, a result would replace what it is made of, or
            a video would be an image.
    """
    if _is_file(output):
        if len(sources) > 1:
            raise UserError(
                f"{output} is the name of one file, but there are {len(sources)} to translate. "
                "Give a folder."
            )
        if sources[0].is_video != (output.suffix.lower() in VIDEOS):
            kind, known = ("a video", VIDEOS) if sources[0].is_video else ("an image", IMAGES)
            raise UserError(
                f"{sources[0].path} becomes {kind}, which {output} cannot be. Give a folder, or a "
                f"name that ends like one of {', '.join(known)}."
            )
        targets = [output]
    else:
        endings = [VIDEO if source.is_video else f".{ending}" for source in sources]
        short = [_named(source.below, new) for source, new in zip(sources, endings, strict=True)]
        counts = Counter(map(str.casefold, short))
        targets = [
            output / (name if counts[name.casefold()] == 1 else f"{source.below}{new}")
            for source, name, new in zip(sources, short, endings, strict=True)
        ]
    jobs = [
        Job(source.path, target, source.below, source.is_video)
        for source, target in zip(sources, targets, strict=True)
    ]
    _check(jobs)
    return jobs


def left_to_do(jobs: Sequence[Job], *, force: bool, skip_existing: bool) -> list[Job]:
    """Return the jobs to do: all, but with `skip_existing` those whose results are not there.

    Raises:
        UserError: there are results, and nobody has said what to do about them.
    """
    there = [job.target for job in jobs if job.target.exists()]
    if there and not (force or skip_existing):
        names = ", ".join(map(str, there[:MOST_NAMED])) + (", ..." if there[MOST_NAMED:] else "")
        raise UserError(
            f"{len(there)} of {len(jobs)} results are there already ({names}). --skip_existing "
            "leaves them and translates the others, --force replaces them."
        )
    return [job for job in jobs if not job.target.exists()] if skip_existing else list(jobs)


def _is_file(output: Path) -> bool:
    """Tell whether the output names a file rather than a folder.

    Raises:
        UserError: it does, of a format that is not written.
    """
    if output.is_dir():
        return False
    is_known = bool(format_of(output)) or output.suffix.lower() in VIDEOS
    if not is_known and (has_known_ending(output.name) or output.suffix.lower() == ".gif"):
        raise UserError(
            f"{output} ends like none of {', '.join(IMAGES)}. Rename it, or give a folder."
        )
    return is_known


def _named(below: str, ending: str) -> str:
    return str(PurePosixPath(below).with_suffix(ending))


def _check(jobs: Sequence[Job]) -> None:
    first: dict[str, Path] = {}
    for job in jobs:
        key = str(job.target).casefold()
        if key in first:
            raise UserError(
                f"{first[key]} and {job.source} would both become {job.target}. Give the folder "
                "that both are in: results have the same paths below it."
            )
        first[key] = job.source
    sources = {os.path.realpath(job.source) for job in jobs}
    if replaced := [job.target for job in jobs if os.path.realpath(job.target) in sources]:
        raise UserError(f"{replaced[0]} is to be translated, and would be replaced. Change -o.")
