"""Check the images of a data set before training on them.

    python scripts/check_dataset.py ./datasets/maps
    python scripts/check_dataset.py --dataroot ./datasets/facades --preprocess crop --crop_size 256

Reads every image to its end, in several processes, and prints a table, what is wrong with which
file, and a verdict. Exit status: 0 nothing wrong, 1 problems, 2 the command was wrong, or train.py
would refuse the whole data set, with the same message. Notes, such as of duplicates, are no
problems.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from data import find_dataset_using_name
from data.base_dataset import (
    ITSELF,
    LAYOUTS,
    ONE_FOLDER,
    PAIR_FOLDERS,
    TWO_FOLDERS,
    Layout,
    check_crop_fits,
)
from data.checks import files
from data.checks import folders as layouts
from data.checks.files import Inspection, Size
from data.checks.folders import Folder
from data.pipeline.files import list_files
from data.pipeline.pairs import match_folders
from options.parsing.rules import base_problems
from util.base.errors import UserError, run_command
from util.base.system import usable_cores
from util.display.progress_bar import progress_bar
from util.storage.files import write_text

OPTIONS = ("preprocess", "load_size", "crop_size")
PER_PARCEL = 8  # images that a process takes at once
FEW = 64  # up to so many images, starting processes takes longer than it saves
MOST_WORKERS = 61  # what Windows can wait for
DWARFS = "much smaller than the others"
DOUBTS = (files.ALPHA, DWARFS)  # notes that somebody should look at
MUCH = 4  # times
LISTED = 20  # of a kind; --json has all
NAMED = 4  # of the files that are passed over
SIZES = ("smallest", "median", "largest")
COLUMNS = ("folder", "images", *SIZES, "unreadable", "too small", "duplicates", "modes")
GAP = "  "  # between columns
WIDTH = 100  # of the table
NARROWEST = 12  # what the last column gets at least


@dataclass(frozen=True)
class Finding:
    """A file (or folder), and what about it."""

    file: str
    what: str


@dataclass(frozen=True)
class Contents:
    """A folder and what was found in it."""

    folder: Folder
    inspections: list[Inspection]
    passed_over: list[str]

    @property
    def paths(self) -> list[str]:
        """Return the images."""
        return [inspection.path for inspection in self.inspections]

    @property
    def sizes(self) -> list[Size]:
        """Return the sizes of the images that can be used."""
        return [one.size for one in self.inspections if one.size and not one.problem]


@dataclass
class Report:
    """All that is printed, and written by --json.

    Attributes:
        reading: how the folders were understood.
        options: those that decide which images are too small.
        table: one row for each folder.
        problems: findings by kind; any of them makes the exit status 1.
        notes: findings by kind that do not.
    """

    images: int
    reading: str
    options: str
    table: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, list[Finding]] = field(default_factory=dict)
    notes: dict[str, list[Finding]] = field(default_factory=dict)


# ---- the command line ---------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s DIR [options]", description="Check the images of a data set."
    )
    add = parser.add_argument
    add("folder", nargs="?", help="the data set's folder; the same as --dataroot")
    add("--dataroot", help="the data set's folder, as for train.py")
    add("--dataset_mode", choices=LAYOUTS, help="how to read it, if not to be found out")
    add("--preprocess", default="resize_and_crop", help="as for train.py")
    add("--load_size", type=int, default=286, help="as for train.py")
    add("--crop_size", type=int, default=256, help="as for train.py")
    cores = usable_cores()
    add(
        "--workers", type=int, default=cores, help=f"processes that read; here {cores} if not given"
    )
    add("--json", metavar="FILE", help="write everything that was found there, for programs")
    return parser


def argument_problems(args: argparse.Namespace) -> Iterator[str]:
    """Yield one message per argument that cannot work."""
    given = [root for root in (args.folder, args.dataroot) if root]
    if len(given) != 1:
        yield "Give the data set's folder once: as --dataroot DIR, or just DIR."
    if args.workers < 1:
        yield f"--workers {args.workers} cannot work: it must be 1 or more."
    if args.json and not Path(args.json).absolute().parent.is_dir():
        yield f"--json {args.json} cannot be written: its folder does not exist. Make it first."
    options = argparse.Namespace(
        direction="AtoB",  # not asked for here, but the rules look at it
        **{name: getattr(args, name) for name in OPTIONS},
    )
    yield from base_problems(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Check the data set that the command line (or `argv`) names.

    Raises:
        SystemExit: with status 1 for problems, 2 for a wrong command.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if found := list(argument_problems(args)):
        parser.error(" ".join(found))
    try:
        report = check(args.folder or args.dataroot, args)
    except UserError as error:
        parser.error(str(error))
    print_report(report)
    if args.json:
        try:
            write_text(args.json, json.dumps(as_json(report), indent=1) + "\n")
        except OSError as error:
            reason = error.strerror
            parser.error(f"--json {args.json} cannot be written: {reason}. Choose another file.")
    if report.problems:
        sys.exit(1)


# ---- reading ------------------------------------------------------------------------------


def check(root: str, args: argparse.Namespace) -> Report:
    """Read the data set and report on it.

    Raises:
        UserError: there is no such folder, or training would refuse what is in it.
    """
    folders = layouts.find_folders(root, args.dataset_mode)
    check_crop_fits(args)  # also where there is nothing to train on
    for mode in modes_to_train(folders, args.dataset_mode):
        open_for_training(mode, root, args)
    listed = {folder: list_files(folder.path) for folder in folders}
    paths = [path for images in listed.values() for path in images]
    show(f"Reading {len(paths)} images below {root}")
    inspected = {one.path: one for one in inspect_all(paths, args.workers)}
    contents = [
        Contents(
            folder,
            [inspected[path] for path in images],
            passed_over(folder.path, images),
        )
        for folder, images in listed.items()
    ]
    return make_report(root, contents, args)


def passed_over(folder: str, images: Iterable[str]) -> list[str]:
    """Return what lies in a folder and is no image to `list_files`, sorted, relative to it.

    That are files without an image's ending, and linked folders; not what a dot hides.
    """
    taken, found = set(images), []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        paths = (os.path.join(parent, name) for name in [*names, *links] if name[0] != ".")
        found += [files.shown_name(path, folder) for path in paths if path not in taken]
    return sorted(found)


def modes_to_train(folders: Sequence[Folder], dataset_mode: str | None) -> list[str]:
    """Return the data sets that train.py would make of the folders; none if they are for tests."""
    to_train = [folder for folder in folders if folder.phase in ("", "train")]
    if dataset_mode is not None:
        return [dataset_mode] if to_train or not folders else []
    modes = {ONE_FOLDER: "aligned", PAIR_FOLDERS: "aligned"}
    modes |= {TWO_FOLDERS: "unaligned", ITSELF: "single"}
    return list(dict.fromkeys(modes[folder.layout] for folder in to_train))


def open_for_training(mode: str, root: str, args: argparse.Namespace) -> None:
    """Make a data set as train.py does.

    Raises:
        UserError: what train.py would say.
    """
    channels = (1, 2) if mode == "colorization" else (3, 3)
    find_dataset_using_name(mode)(
        argparse.Namespace(
            dataroot=root, dataset_mode=mode, phase="train", isTrain=False, direction="AtoB",
            input_nc=channels[0], output_nc=channels[1], no_flip=False,
            max_dataset_size=float("inf"), **{name: getattr(args, name) for name in OPTIONS},
        )
    )  # fmt: skip


def inspect_all(paths: Sequence[str], workers: int) -> list[Inspection]:
    """Inspect the images in parallel, with a progress bar.

    Raises:
        UserError: a process was killed.
    """
    done: list[Inspection] = []
    workers = 1 if len(paths) <= FEW else min(workers, MOST_WORKERS)
    try:
        with (
            inspecting(paths, workers) as results,
            progress_bar("reading", len(paths)) as bar,
        ):
            for inspection in results:
                done.append(inspection)
                bar.update(1)
    except BrokenProcessPool:
        raise UserError(
            "A process that read images was killed, perhaps because there was not enough memory "
            "for huge ones. Try --workers 1."
        ) from None
    return done


@contextmanager
def inspecting(paths: Sequence[str], workers: int) -> Iterator[Iterable[Inspection]]:
    """Give the results as they come, in order; on the way out, drop what has not begun."""
    if workers == 1:
        yield map(files.inspect_image, paths)
        return
    # The processes start here, before the progress bar's thread does.
    pool = ProcessPoolExecutor(workers, initializer=prepare_process)
    try:
        with interrupts_held():
            results = pool.map(files.inspect_image, paths, chunksize=PER_PARCEL)
        yield results
    except (KeyboardInterrupt, SystemExit):  # the latter from SIGTERM
        for process in multiprocessing.active_children():  # they would finish what they have begun
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Put off Ctrl-C meanwhile, also in processes started meanwhile until they are ready."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_process() -> None:
    """Let a process end at Ctrl-C without a word, and whenever the main one has gone."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a script's background job
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_with_parent() -> None:
    """Wait for the end of the main process, however it ends, then end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# ---- judging ------------------------------------------------------------------------------


def make_report(root: str, contents: list[Contents], args: argparse.Namespace) -> Report:
    """Judge what was read."""
    side_by_side = are_pairs(contents, args.dataset_mode)
    inspections = [one for content in contents for one in content.inspections]
    groups = duplicates(inspections)
    dwarfs = [one for content in contents for one in much_smaller(content, args)]
    options = " ".join(f"--{name} {getattr(args, name)}" for name in OPTIONS)
    report = Report(
        len(inspections), reading_of(contents, side_by_side, args.dataset_mode), options
    )
    report.problems = by_kind(problems_of(root, contents, args, side_by_side))
    report.notes = by_kind(notes_of(root, contents, groups, dwarfs, args.dataset_mode))
    for sides in sides_of_pairs(contents, args.dataset_mode):
        if len(sides) == 1:
            alone = Finding(sides[0].folder.name, "has no folder of partners beside it")
            report.notes.setdefault("no partner", []).append(alone)
    copies = {path for group in groups for path in group}
    small = Counter(finding.file for finding in report.problems.get("too small", []))
    report.table = [row_of(root, content, small, copies) for content in contents]
    return report


def duplicates(inspections: Iterable[Inspection]) -> list[list[str]]:
    """Return groups of files with the same bytes, in the order of their first files."""
    groups: dict[str, list[str]] = defaultdict(list)
    for inspection in inspections:
        if inspection.digest is not None:
            groups[inspection.digest].append(inspection.path)
    return [paths for paths in groups.values() if len(paths) > 1]


def are_pairs(contents: list[Contents], dataset_mode: str | None) -> bool:
    """Tell whether the images of train, val and test hold A and B side by side."""
    if dataset_mode is not None:
        return dataset_mode == "aligned"
    phases = [content for content in contents if content.folder.layout == ONE_FOLDER]
    return files.look_side_by_side([size for content in phases for size in content.sizes])


def reading_of(contents: list[Contents], side_by_side: bool, dataset_mode: str | None) -> str:
    """Say how the folders were understood."""
    words = {
        ONE_FOLDER: "A and B side by side in every image (--dataset_mode aligned)"
        if side_by_side
        else "single images in phases (as for --dataset_mode colorization)",
        PAIR_FOLDERS: "A and B in folders of their own (--dataset_mode aligned)",
        TWO_FOLDERS: "A and B in folders of their own (--dataset_mode aligned)"
        if dataset_mode == "aligned"
        else "two domains without pairs (--dataset_mode unaligned)",
        ITSELF: "single images (--dataset_mode single)",
    }
    found = dict.fromkeys(content.folder.layout for content in contents)
    return "; ".join(words[layout] for layout in found)


def by_kind(found: Iterable[tuple[str, Finding]]) -> dict[str, list[Finding]]:
    """Sort findings into lists."""
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for kind, finding in found:
        kinds[kind].append(finding)
    return dict(kinds)


def problems_of(
    root: str, contents: list[Contents], args: argparse.Namespace, side_by_side: bool
) -> Iterator[tuple[str, Finding]]:
    """Yield what must be put right."""
    for content in contents:
        halved = side_by_side and content.folder.layout == ONE_FOLDER
        for one in content.inspections:
            for kind, what in flaws_of(one, args, halved):
                yield kind, Finding(files.shown_name(one.path, root), what)
        if not content.inspections:
            yield "missing", Finding(content.folder.name, "has no images")
    for sides in sides_of_pairs(contents, args.dataset_mode):
        if len(sides) == len("AB"):
            yield from flaws_of_pairs(root, *sides)


def flaws_of_pairs(root: str, A: Contents, B: Contents) -> Iterator[tuple[str, Finding]]:
    """Yield what is wrong with pairs whose images lie in two folders."""
    sizes = {one.path: one.size for one in (*A.inspections, *B.inspections)}
    matched = match_folders(A.folder.path, B.folder.path)
    for path in matched.alone:
        yield "no partner", Finding(files.shown_name(path, root), "has no partner")
    for path, partner in matched.pairs.items():
        if sizes[path] and sizes[partner] and sizes[path] != sizes[partner]:
            what = f"not as large as its partner {files.shown_name(partner, root)}"
            yield "unequal pairs", Finding(files.shown_name(path, root), what)


def sides_of_pairs(contents: list[Contents], dataset_mode: str | None) -> list[list[Contents]]:
    """Return the folders that hold the sides of pairs, phase by phase: two, if none is missing."""
    layouts = [PAIR_FOLDERS, *([TWO_FOLDERS] if dataset_mode == "aligned" else [])]
    phases: dict[tuple[Layout, str], list[Contents]] = defaultdict(list)
    for content in contents:
        if content.folder.layout in layouts:
            phases[content.folder.layout, content.folder.phase].append(content)
    return list(phases.values())


def flaws_of(one: Inspection, args: argparse.Namespace, halved: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one image."""
    if one.problem or one.size is None:
        yield "unreadable", one.problem or "of no known size"
        return
    if files.DEEP in one.losses and args.dataset_mode == "colorization":
        yield files.DEEP, files.LOSSES[files.DEEP]
    if halved and (odd := files.odd_width(one.size)):
        yield "odd width", odd
    if small := files.too_small(
        one.size, preprocess=args.preprocess, crop_size=args.crop_size, side_by_side=halved
    ):
        yield "too small", small


def notes_of(
    root: str,
    contents: list[Contents],
    groups: list[list[str]],
    dwarfs: list[Inspection],
    dataset_mode: str | None,
) -> Iterator[tuple[str, Finding]]:
    """Yield what is worth knowing."""
    phases = {path: content.folder.phase for content in contents for path in content.paths}
    for content in contents:
        for one in content.inspections:
            name = files.shown_name(one.path, root)
            yield from (("odd, but usable", Finding(name, note)) for note in one.notes)
            if files.DEEP in one.losses and dataset_mode != "colorization":
                yield files.DEEP, Finding(name, files.OWN_DEPTH)
            if files.ALPHA in one.losses:
                yield files.ALPHA, Finding(name, files.LOSSES[files.ALPHA])
    for one in dwarfs:
        width, height = one.size or (0, 0)
        yield DWARFS, Finding(files.shown_name(one.path, root), f"{width}x{height}")
    if not any(content.folder.phase in ("", "train") for content in contents):
        yield "not for training", Finding(".", "has no folder for --phase train, only for others")
    for group in groups:
        names = [files.shown_name(path, root) for path in group]
        several = dict.fromkeys(phases[path] for path in group)
        kind = f"the same in {' and '.join(several)}" if len(several) > 1 else "duplicates"
        yield kind, Finding(names[0], f"same as {shortened(names[1:])}")
    for content in contents:
        if content.passed_over:
            count, shown = len(content.passed_over), shortened(content.passed_over)
            what = f"{count} not named like images: {shown}"
            yield "passed over", Finding(content.folder.name, what)


def much_smaller(content: Contents, args: argparse.Namespace) -> Iterator[Inspection]:
    """Yield images that must be enlarged, and are far below what is usual in their folder."""
    sides = sorted(min(size) for size in content.sizes)
    limit = sides[len(sides) // 2] / MUCH if sides else 0
    if "resize" in args.preprocess or "scale" in args.preprocess:
        limit = min(limit, args.load_size)
    for one in content.inspections:
        if one.size and not one.problem and min(one.size) < limit:
            yield one


def shortened(names: Sequence[str]) -> str:
    """Join the first names, and say how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def row_of(root: str, content: Contents, small: Counter[str], copies: set[str]) -> dict[str, Any]:
    """Return a folder's row of the table, by column."""
    sizes = sorted(content.sizes, key=lambda size: size[0] * size[1])
    shown = [f"{width}x{height}" for width, height in sizes] or ["-"]
    modes = Counter(one.mode for one in content.inspections if one.mode and not one.problem)
    return {
        "folder": content.folder.name,
        "images": len(content.inspections),
        "smallest": shown[0],
        "median": shown[len(shown) // 2],
        "largest": shown[-1],
        "unreadable": sum(one.problem is not None for one in content.inspections),
        "too small": sum(small[files.shown_name(path, root)] for path in content.paths),
        "duplicates": sum(path in copies for path in content.paths),
        "modes": dict(modes.most_common()),
    }


# ---- showing ------------------------------------------------------------------------------


def print_report(report: Report) -> None:
    """Print the table, the findings and the verdict."""
    show(f"Read as {report.reading}.")
    show(f"Sizes are judged for {report.options}.\n")
    for line in table_lines(report.table):
        show(line)
    for kind, findings in report.problems.items():
        print_findings(f"{kind}: {len(findings)}", findings)
    for kind, findings in report.notes.items():
        print_findings(f"note, {kind}: {len(findings)}", findings)
    show(f"\n{verdict(report)}")


def table_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table: columns aligned, the modes below each other if need be."""
    cells = [list(COLUMNS)] + [[str(row[column]) for column in COLUMNS[:-1]] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(COLUMNS) - 1)]
    room = max(NARROWEST, WIDTH - sum(widths) - len(GAP) * len(widths))
    modes = [["modes"], *(modes_of(row, room) for row in rows)]
    for line, (first, *more) in zip(cells, modes, strict=True):
        name, *numbers = line[: len(widths)]
        shown = [name.ljust(widths[0])]
        shown += [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
        start = GAP.join(shown) + GAP
        yield (start + first).rstrip()
        yield from (" " * len(start) + text for text in more)


def modes_of(row: dict[str, Any], width: int) -> list[str]:
    """Return lines that say how many images have which mode."""
    # A count and its mode stay together: textwrap breaks lines at plain blanks only.
    counted = ", ".join(f"{count}\N{NO-BREAK SPACE}{mode}" for mode, count in row["modes"].items())
    lines = textwrap.wrap(counted or "-", width, break_long_words=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def print_findings(title: str, findings: list[Finding]) -> None:
    """Print the first findings of a kind."""
    show(f"\n{title}")
    for finding in findings[:LISTED]:
        show(f"  {finding.file}: {finding.what}")
    if len(findings) > LISTED:
        show(f"  ... and {len(findings) - LISTED} more")


def verdict(report: Report) -> str:
    """Sum up in one line."""
    doubts = {kind: found for kind, found in report.notes.items() if kind in DOUBTS}
    counted = (report.problems or doubts).items()
    kinds = ", ".join(f"{len(found)} {kind}" for kind, found in counted)
    if report.problems:
        verdict = f"Problems: {kinds}"
    elif doubts:
        verdict = f"Nothing stops training, but look at {kinds}"
    else:
        verdict = "Nothing wrong"
    return f"{verdict} (images: {report.images})."


def show(text: str) -> None:
    """Print, whatever characters the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return {"ok": not report.problems, **asdict(report)}


if __name__ == "__main__":
    sys.exit(run_command(main))
