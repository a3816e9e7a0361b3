"""Score generated images against real ones.

    python scripts/evaluate.py REAL FAKE                 two folders of images
    python scripts/evaluate.py REAL FAKE --paired        the same; equal names are pairs
    python scripts/evaluate.py results/RUN/test_latest   what test.py wrote
    python scripts/evaluate.py --name RUN                run test.py first; its options may follow
    python scripts/evaluate.py RESULTS RESULTS ... --table markdown   several runs in one table
    python scripts/evaluate.py RESULTS --diverse REAL    what was made of images for other domains;
                                                         REAL has a folder for each domain

Pairs give L1, PSNR, SSIM, LPIPS, FID and KID; sets of images give FID and KID. LPIPS, FID and
KID need the extra `metrics` and files of trained weights; without them, one line says what to get.
DIVERSITY is the mean LPIPS of all pairs among the outputs of one image, and its mean over images.
Exit status: 0 fine, 1 a score that was asked for is missing, 2 the command itself was wrong.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from data.pipeline.files import list_files
from options.base_options import settle_processes
from options.parsing import several
from options.parsing.pieces import allow_negative_ranges
from options.test_options import TestOptions
from util.base import system
from util.base.commands import ScriptParser
from util.base.errors import UserError, run_command, suggest
from util.base.log import note, say
from util.images.ranges import ValueRange
from util.inference.result_names import results_folder
from util.processes import launching
from util.processes.parts import by_first
from util.processes.together import sharing
from util.scores.comparisons import (
    OF_GROUPS,
    OF_SETS,
    Comparison,
    by_label,
    from_results,
    images_of,
    pairs,
    pick,
    same_names,
    sets,
)
from util.scores.diversity import between_domains, mean_of
from util.scores.feature_cache import FeatureCache, default_folder
from util.scores.images import METRICS
from util.scores.networks import BACKBONES
from util.scores.opening import Opener, without_data_beside
from util.scores.report import as_json, identity_lines, lines_of
from util.scores.runs_table import STYLES, runs_table, titles
from util.scores.scorer import Result, Scorer
from util.storage.checkpoint import require_run, require_save
from util.storage.files import write_text
from util.storage.old_names import in_names_of_today
from util.storage.run_folder import RunFolder, label_of
from util.storage.saved_options import read_saved_options

ROOT = Path(__file__).resolve().parent.parent
MAYBE_PAIRS = (
    "names are equal in both folders: if they tell pairs, --paired adds L1, PSNR, SSIM and LPIPS."
)
ALL = 10**6  # images for test.py to translate


# ---- the command line ---------------------------------------------------------------------


def build_parser(*, named: bool) -> argparse.ArgumentParser:
    """Return the parser of the command line, for a run's name or for folders."""
    parser = ScriptParser(
        usage="%(prog)s (REAL FAKE | RESULTS | --name RUN) [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is not known here goes to test.py
    )
    allow_negative_ranges(parser)
    _add_images(parser, named=named)
    _add_measures(parser)
    several.add_options(parser)
    return parser


def _add_images(parser: argparse.ArgumentParser, *, named: bool) -> None:
    add = parser.add_argument_group("which images").add_argument
    if not named:
        add("folders", nargs="*", metavar="FOLDER", help="REAL and FAKE, or results of test.py")
    add("--name", metavar="RUN", help="a trained run: its test images are translated, then "
        "scored; options that are not listed here go to test.py")  # fmt: skip
    add("--checkpoints_dir", default="./checkpoints", help="where runs are saved, for --name")
    add("--paired", action="store_true", help="x_fake_B.png belongs to x_real_B.png, x.png to "
        "x.jpg in the other folder; known of what test.py wrote")  # fmt: skip
    add("--side", choices=("A", "B"), help="of results in both directions, only this domain")
    add("--diverse", metavar="REAL", help="real images, a folder for each domain: for each pair of "
        "domains, what test.py made for the one of images of the other is scored, and how "
        "different the outputs of one image are")  # fmt: skip
    add("--resize", action="store_true", help="bring generated images to the size of the real "
        "ones (bicubic): changes the scores of pairs")  # fmt: skip


def _add_measures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how they are scored").add_argument
    add("--metrics", type=metric_names, metavar="NAMES", help="only these, with commas between "
        f"them: {','.join(METRICS)}")  # fmt: skip
    add("--inception_weights", metavar="FILE", help="weights for FID and KID")
    add("--lpips_weights", metavar="FILE", help="torchvision's weights of --lpips_net")
    add("--lpips_net", default="alex", choices=BACKBONES, help="backbone of LPIPS (alex)")
    add("--kid_subset_size", type=int, metavar="N", help="images in a subset of KID (1000, or "
        "half of those there are)")  # fmt: skip
    add("--table", choices=STYLES, help="all folders are results of runs: print one table of them, "
        "the best values in bold")  # fmt: skip
    add("--json", metavar="FILE", help="write everything there, with the scores of each pair")
    add("--value_range", type=value_range, metavar="LO,HI", help="values that are black and white, "
        "of files of any depth; known of what test.py wrote (0,255 of 8 bits, 0,65535 of 16, 0,1 "
        "of floating point)")  # fmt: skip
    add("--cache", metavar="DIR", type=Path, help="keeps features, found again by the content of "
        "images and weights (~/.cache/cyclegan-pix2pix/features)")  # fmt: skip
    add("--no_cache", action="store_true", help="keep no features")
    add("--gpu_ids", default="0", help="GPU to use, or several, as 0,1; -1 for the CPU (0, if "
        "there is one)")  # fmt: skip


def value_range(text: str) -> ValueRange:
    """Read the value of --value_range."""
    try:
        return ValueRange.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no range, such as 0,4095.") from None


def metric_names(text: str) -> list[str]:
    """Split the value of --metrics."""
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METRICS:
            raise argparse.ArgumentTypeError(f"{name} is no metric. {suggest(name, METRICS)}")
    return names


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and what is left for test.py."""
    argv = sys.argv[1:] if argv is None else argv
    # With --name there are no folders: values of test.py's options must not be taken for some.
    named = any(argument.partition("=")[0] == "--name" for argument in argv)
    parser = build_parser(named=named)
    args, others = parser.parse_known_args(argv)
    if problem := argument_problem(args, others):
        parser.error(problem)
    args.gpus = args.gpu_ids  # as it was given
    if problems := settle_processes(args):
        parser.error("\n  ".join(problems))
    return args, others


def argument_problem(args: argparse.Namespace, others: Sequence[str]) -> str | None:
    """Say what is wrong with the arguments, if anything."""
    if problem := images_problem(args, others):
        return problem
    if args.json and not Path(args.json).absolute().parent.is_dir():
        return f"--json {args.json} cannot be written: its folder does not exist. Make it first."
    if args.kid_subset_size is not None and args.kid_subset_size < 2:
        return f"--kid_subset_size {args.kid_subset_size} cannot work: it must be 2 or more."
    return None


def images_problem(args: argparse.Namespace, others: Sequence[str]) -> str | None:
    """Say what is wrong with the arguments that tell which images are meant."""
    if args.name is None and others:
        return f"there is no option {others[0]}. --help lists them all."
    if args.table and args.name is not None and not args.diverse:
        return "--table compares folders that test.py wrote; give those, not --name."
    if args.name == "":
        return "--name is empty. Give the name of a run, its folder below --checkpoints_dir."
    if args.diverse and (args.paired or args.side):
        return "--diverse knows no pairs, and no sides A and B: leave --paired and --side out."
    if args.name is not None or (args.table and args.folders):
        return None  # as many folders as there are
    if args.diverse and len(args.folders) != 1:
        return "--diverse takes one folder that test.py wrote; several with --table."
    if not 1 <= len(args.folders) <= 2:
        return (
            "give two folders, REAL and FAKE, or one that test.py wrote, or --name RUN. "
            "--help explains more."
        )
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """Score what the command line (or `argv`) names.

    Raises:
        SystemExit: with status 1 if a score is missing, 2 for a wrong command.
    """
    args, others = parse(argv)
    if launching.must_be_started(args):  # --gpu_ids 0,1: several processes, which begin here again
        launching.start(args, __file__, argv)
        return
    with sharing(args):
        evaluate(args, others)


def evaluate(args: argparse.Namespace, others: Sequence[str]) -> None:
    """Score; of several processes each looks at some of the images, and all find the same."""
    scorer = scorer_of(args)
    results = score_diverse(scorer, args, others) if args.diverse else score(scorer, args, others)
    if scorer.identities:
        say("\n".join(["", *identity_lines(scorer.identities)]))
    if args.json and system.is_main_process():
        report = as_json(results, scorer.identities)
        write_text(args.json, json.dumps(report, indent=1, allow_nan=False) + "\n")
    if not is_complete(results, args):
        sys.exit(1)


def scorer_of(args: argparse.Namespace) -> Scorer:
    """Return what measures as the command line says."""
    return Scorer(
        Opener(args.value_range),
        cache=FeatureCache(None if args.no_cache else args.cache or default_folder()),
        device=system.claim_device(args.gpu_ids),
        inception_weights=args.inception_weights,
        lpips_weights=args.lpips_weights,
        lpips_net=args.lpips_net,
        resize=args.resize,
        kid_subset_size=args.kid_subset_size,
    )


def score(scorer: Scorer, args: argparse.Namespace, others: Sequence[str]) -> list[Result]:
    """Score pairs or sets, and print what is found."""
    if args.table:
        comparisons = [comparison_of(folder, args) for folder in args.folders]
    else:
        comparisons = generate(args, others) if args.name else from_folders(args)
    results = list(scored(scorer, suitable(comparisons, args.metrics), args))
    if args.table and len(results) < len(args.folders):
        raise UserError(
            "Some of these results are pairs, others are not: --metrics FID,KID fits all."
        )
    if args.table:
        print_table(dict(zip(titles(args.folders), results, strict=True)), args.table)
    return results


def score_diverse(scorer: Scorer, args: argparse.Namespace, others: Sequence[str]) -> list[Result]:
    """Score what was made for other domains, and print it: each pair of domains, and the means.

    With a table there is a row for each pair; of several runs, a row with the means of each.
    """
    folders = [os.path.dirname(translated(args, others)[0])] if args.name else args.folders
    results: list[Result] = []
    rows: dict[str, Result] = {}
    for title, folder in zip(titles(folders), folders, strict=True):
        comparisons = between_domains(folder, args.diverse, images_in)
        found = list(scored(scorer, suitable(comparisons, args.metrics), args))
        found.append(mean_of(found))
        several = {title: found[-1]}
        rows |= several if len(folders) > 1 else {one.comparison.title: one for one in found}
        results += found
        if not args.table:
            say("\n".join(["", *lines_of(found[-1], set())]))
    if args.table:
        print_table(rows, args.table, best=len(folders) > 1)
    return results


def scored(
    scorer: Scorer, comparisons: Sequence[Comparison], args: argparse.Namespace
) -> Iterator[Result]:
    """Yield the scores of each comparison; without a table, print them."""
    said: set[str] = set()
    for comparison in comparisons:
        result = scorer.score(comparison, args.metrics or list(METRICS))
        if not args.table:
            say("\n".join(["", *lines_of(result, said)]))
        yield result


def print_table(rows: Mapping[str, Result], style: str, *, best: bool = True) -> None:
    """Print one table, with the best values in bold; beside it, what is not in it."""
    say(runs_table(rows, style, best=best))
    missing = [one.missing for one in rows.values()]
    for name, reason in {n: why for one in missing for n, why in one.items()}.items():
        note(f"not computed: {name}. {reason}")


def suitable(comparisons: list[Comparison], asked: list[str] | None) -> list[Comparison]:
    """Return the comparisons for which some of the metrics asked for make sense.

    Raises:
        UserError: one of the metrics makes sense for none of them.
    """
    if asked is None:
        return comparisons
    for name in asked:
        if not any(name in comparison.metrics for comparison in comparisons):
            raise UserError(f"--metrics {name} {why_senseless(name, comparisons)}")
    return [one for one in comparisons if not set(asked).isdisjoint(one.metrics)]


def why_senseless(name: str, comparisons: Sequence[Comparison]) -> str:
    """Say why a metric makes no sense for any of the comparisons, and what does."""
    if name in OF_GROUPS:
        return "compares outputs of the same image: see --diverse."
    if name in OF_SETS:
        return "compares sets of images, which there are none of here."
    if any(comparison.groups for comparison in comparisons):
        return "compares pairs; how different outputs are, by LPIPS, is called DIVERSITY."
    return "compares images one by one, but these are sets. If names tell pairs, add --paired."


def is_complete(results: Sequence[Result], args: argparse.Namespace) -> bool:
    """Tell whether there is every score that was asked for, and at least one."""
    asked = set(args.metrics or ())
    if args.metrics is None:
        asked |= {"LPIPS", "DIVERSITY"} if args.lpips_weights else set()
        asked |= {"FID", "KID"} if args.inception_weights else set()
    missing = {name for result in results for name in result.missing}
    return any(result.scores for result in results) and asked.isdisjoint(missing)


# ---- which images -----------------------------------------------------------------------


def from_folders(args: argparse.Namespace) -> list[Comparison]:
    """Return what the folders on the command line hold.

    Raises:
        UserError: a folder is missing, or holds nothing to compare.
    """
    real_folder, fake_folder = (images_of(folder) for folder in (*args.folders, *args.folders)[:2])
    generated = images_in(fake_folder)
    same = os.path.realpath(real_folder) == os.path.realpath(fake_folder)
    if len(args.folders) == 1 or (same and set(by_label(fake_folder, generated)) != {""}):
        return from_results(fake_folder, generated, paired=args.paired, side=args.side)
    sides = args.side or "BA"
    label, fake = pick(fake_folder, generated, [*(f"fake_{side}" for side in sides), "fake"])
    if args.side and not label:
        raise UserError(f"{fake_folder} has no images called x_fake_{args.side}. Leave --side out.")
    side = label[-1] if label.startswith("fake_") else sides[0]
    _, real = pick(real_folder, images_in(real_folder), [f"real_{side}", "real"])
    title = f"{fake_folder} against {real_folder}"
    if args.paired:
        return [pairs(title, real, fake)]
    return [sets(title, real, fake, (MAYBE_PAIRS,) if same_names(real, fake) else ())]


def comparison_of(folder: str, args: argparse.Namespace) -> Comparison:
    """Return what a run made of the images of one domain, B unless --side says A."""
    inside = images_of(folder)
    return from_results(inside, images_in(inside), paired=args.paired, side=args.side)[0]


def images_in(folder: str) -> list[str]:
    """Return the images below a folder.

    Raises:
        UserError: there are none.
    """
    if not os.path.isdir(folder):
        is_run = RunFolder("./checkpoints", folder).path.is_dir()
        hint = f" To test the run of that name: --name {folder}." if is_run else ""
        raise UserError(f"There is no folder {folder}. Check the path.{hint}")
    if tests := results_in(folder):
        raise UserError(
            f"{folder} holds the results of several tests ({', '.join(tests)}), which cannot be "
            f"scored together. Give one of them, such as {os.path.join(folder, tests[0])}."
        )
    if paths := without_data_beside(list_files(folder)):
        return paths
    raise UserError(f"{folder} has no images. Check the path.")


def results_in(folder: str) -> list[str]:
    """Return the folders in a folder that test.py wrote, if there are several."""
    found = [entry.name for entry in os.scandir(folder) if images_of(entry.path) != entry.path]
    return sorted(found) if len(found) > 1 else []


def generate(args: argparse.Namespace, others: Sequence[str]) -> list[Comparison]:
    """Run test.py, and return what it wrote, without what was there before."""
    return from_results(*translated(args, others), paired=args.paired, side=args.side)


def translated(args: argparse.Namespace, others: Sequence[str]) -> tuple[str, list[str]]:
    """Run test.py, and return the folder of its images, and those that it wrote.

    Raises:
        SystemExit: with the status of test.py, which has said why.
    """
    argv = test_arguments(args, others)
    if not any(word.startswith("--dataroot") for word in argv):
        require_run(args.checkpoints_dir, args.name)  # rather than ask for --dataroot
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        opt = TestOptions().parse(argv, quiet=True)
    require_save(args.checkpoints_dir, opt.name, label_of(opt.load_iter, opt.epoch))
    images = os.path.join(results_folder(opt), "images")
    say(f"$ python test.py {shlex.join(argv)}")
    status, written = by_first(lambda: run_test(argv, images))
    if status:
        sys.exit(status)
    return images, written


def run_test(argv: Sequence[str], images: str) -> tuple[int, list[str]]:
    """Run test.py, and return its status, and what it has written into the folder of images."""
    before = stamps(images)
    command = [sys.executable, str(ROOT / "test.py"), *argv]
    environment = system.environment_of_one()  # it starts processes of its own
    done = subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False)
    written = [path for path, stamp in stamps(images).items() if before.get(path) != stamp]
    return done.returncode, written


def test_arguments(args: argparse.Namespace, others: Sequence[str]) -> list[str]:
    """Return a command line for test.py: what the run was trained on, then what the user gave."""
    _, saved = read_saved_options(RunFolder(args.checkpoints_dir, args.name))
    saved = in_names_of_today(saved)
    given = {other.partition("=")[0] for other in others}
    wanted = ["dataroot"] if "--model" in given else ["dataroot", "model", "dataset_mode"]
    trained = [text for name in wanted if name in saved for text in (f"--{name}", str(saved[name]))]
    own = ["--name", args.name, "--checkpoints_dir", args.checkpoints_dir, *for_processes(args)]
    return [*own, *trained, "--num_test", str(ALL), *others]


def for_processes(args: argparse.Namespace) -> list[str]:
    """Return options by which test.py uses what the processes on this machine do."""
    _, here = system.processes_here()
    if here == 1:
        return ["--gpu_ids", args.gpus]
    if not args.gpu_ids:
        return ["--gpu_ids", "-1", "--processes", str(here)]
    is_default = args.gpus == "0"  # then the n-th process has GPU n
    return ["--gpu_ids", ",".join(map(str, range(here))) if is_default else args.gpus]


def stamps(folder: str) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written anew, for the images of a folder."""
    if not os.path.isdir(folder):
        return {}
    found = {path: os.stat(path) for path in without_data_beside(list_files(folder))}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
