"""What test.py wrote, read back: files by what they show, columns to compare them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from util.base.errors import UserError, suggest
from util.images.reading import has_known_ending
from util.scores.comparisons import PAIRS_FILE, images_of
from util.scores.opening import without_data_beside

MADE = ("fake_B", "fake", "fake_B_rgb", "fake_A")  # the first that there is
INPUTS = {"fake_B": "real_A", "fake": "real", "fake_B_rgb": "real_A", "fake_A": "real_B"}
TRUTHS = {"fake_B": "real_B", "fake_B_rgb": "real_B_rgb"}
MOST_NAMED = 8  # of the images that there are
USUAL = re.compile("(real|fake|rec|idt)(_[AB])?(_rgb)?")  # visuals of the built-in models


@dataclass(frozen=True)
class Results:
    """What one test wrote: files by visual (`fake_B`) and name of the image."""

    title: str
    folder: Path
    files: Mapping[str, Mapping[str, Path]]

    @classmethod
    def of(cls, title: str, folder: Path) -> "Results":
        """Look for images that end with the visuals of any model.

        Raises:
            UserError: there are none.
        """
        inside = Path(images_of(str(folder)))
        files_there = map(str, sorted(inside.rglob("*")))
        images = [Path(p) for p in without_data_beside(files_there) if has_known_ending(p)]
        stems = {path.relative_to(inside).with_suffix("").as_posix(): path for path in images}
        files: dict[str, dict[str, Path]] = {}
        for stem, path in stems.items():
            for name, visual in _divisions(stem):
                files.setdefault(visual, {})[name] = path
        if not files:
            raise UserError(f"{folder} has no images that test.py wrote, such as 1_fake_B.png.")
        return cls(title, folder, files)

    def made(self) -> str:
        """Return the visual that the model made."""
        for visual in MADE:
            if visual in self.files:
                return visual
        raise UserError(f"{self.folder} has none of {', '.join(MADE)}: say which with --visuals.")

    def path(self, visual: str, name: str) -> Path:
        """Return a file.

        Raises:
            UserError: there is none.
        """
        if visual not in self.files:
            known = sorted(name for name in self.files if USUAL.fullmatch(name)) or sorted(
                self.files
            )
            raise UserError(f"{self.folder} has no {visual}. {suggest(visual, known)}")
        try:
            return self.files[visual][name]
        except KeyError:
            names = suggest(name, sorted(self.files[visual])[:MOST_NAMED])
            raise UserError(f"{self.folder} has no {name}_{visual}. {names}") from None


def _divisions(stem: str) -> Iterator[tuple[str, str]]:
    """Yield all ways to divide `a_b_fake_B` into a name and a visual: models choose their own."""
    places = (place for place, letter in enumerate(stem) if letter == "_" and place > 0)
    yield from ((stem[:place], stem[place + 1 :]) for place in places if "/" not in stem[place:])


@dataclass(frozen=True)
class Column:
    """One visual of one test, and what stands above it."""

    caption: str
    results: Results
    visual: str


def find_results(
    run: str, epoch: str, results_dir: Path, phase: str = "test", title: str = ""
) -> Results:
    """Return the results of a run, which is a name below `results_dir` or a folder.

    Raises:
        UserError: they are not there.
    """
    if Path(run).is_dir():
        return Results.of(title or "/".join(Path(run).resolve().parts[-2:]), Path(run))
    folder = results_dir / run / f"{phase}_{epoch}"
    if not folder.is_dir():
        known = sorted(path.name for path in folder.parent.glob("*"))
        there = f"There are {', '.join(known)}." if known else "test.py makes it."
        raise UserError(f"{folder} does not exist. {there}")
    return Results.of(title or run, folder)


def columns_of(tests: Sequence[Results], visuals: Sequence[str] | None) -> list[Column]:
    """Return the columns: what was asked for of each test, or input, results and truth."""
    if visuals:
        several = len(tests) > 1
        return [
            Column(f"{test.title}: {visual}" if several else visual, test, visual)
            for test in tests
            for visual in visuals
        ]
    first, made = tests[0], tests[0].made()
    columns = [Column("input", first, INPUTS[made])] if INPUTS[made] in first.files else []
    columns += [Column(test.title, test, test.made()) for test in tests]
    is_paired = (first.folder / PAIRS_FILE).is_file() or made == "fake_B_rgb"
    if is_paired and TRUTHS.get(made) in first.files:
        columns.append(Column("truth", first, TRUTHS[made]))
    return columns


def common_names(columns: Sequence[Column]) -> list[str]:
    """Return the names of the images that all columns have.

    Raises:
        UserError: there is none.
    """
    for column in columns:
        if column.visual not in column.results.files:
            column.results.path(column.visual, "")  # says which there are
    names = [column.results.files[column.visual] for column in columns]
    common = [name for name in names[0] if all(name in others for others in names)]
    if not common:
        raise UserError("No image is in all columns. Test all runs on the same images.")
    return common
