"""Is a change as good? Compare the validation of runs with it and without it, seed by seed.

    python scripts/compare_runs.py --first fp32_1 fp32_2 fp32_3 --second bf16_1 bf16_2 bf16_3
    python scripts/compare_runs.py --first checkpoints/a_* --second checkpoints/b_* --within 3

A GAN ends somewhere else with every seed, so that two runs alone tell nothing. Train the same
number of runs in both ways, with the same --seed for the first of each, for the second, and so on.
What is compared is the mean over all pairs of second minus first, from what the last validations
wrote to metrics.jsonl. "More than chance" stands where equal trainings would differ so much in one
of twenty comparisons (Student's t); with few pairs that takes several standard errors.

A run is a name below --checkpoints_dir or a folder. Exit status: 0 compared; 1 not (no validation,
a broken log), or with --within, a difference is more than chance or larger than that; 2 the command
itself was wrong.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from util.base.errors import UserError, run_command, suggest
from util.base.log import say
from util.display.sinks.epochs import read_metrics
from util.storage.run_folder import RunFolder

FILE = RunFolder("").metrics.name
# Standard errors within which 95% of the differences lie that are chance alone, for 2 to 11 pairs
# (Student's t with 1 to 10 degrees of freedom). For more pairs the last one stands, a little high.
BY_CHANCE = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
LINE = "{:<12}{:>11}{:>11}{:>12}{:>10}{:>16}  {}"
HEAD = LINE.format("metric", "first", "second", "difference", "of first", "standard error", "")


@dataclass(frozen=True)
class Comparison:
    """One metric of all pairs of runs.

    Attributes:
        metric: its name.
        first: its value in each run of the first group.
        second: the same for the second group, in the same order.
    """

    metric: str
    first: Sequence[float]
    second: Sequence[float]

    @property
    def difference(self) -> float:
        """Return the mean of second minus first."""
        return fmean(b - a for a, b in zip(self.first, self.second, strict=True))

    @property
    def standard_error(self) -> float:
        """Return how far that mean is from the true one, about."""
        differences = [b - a for a, b in zip(self.first, self.second, strict=True)]
        return stdev(differences) / math.sqrt(len(differences))

    @property
    def percent(self) -> float:
        """Return the difference, in per cent of the first group's mean."""
        mean = abs(fmean(self.first))
        return 100 * self.difference / mean if mean else math.inf * self.difference

    @property
    def is_chance(self) -> bool:
        """Tell whether the difference may well be chance."""
        errors = BY_CHANCE[min(len(self.first), 1 + len(BY_CHANCE)) - 2]
        return abs(self.difference) <= errors * self.standard_error

    def line(self) -> str:
        """Return a line of the table."""
        verdict = "may be chance" if self.is_chance else "more than chance"
        return LINE.format(
            self.metric, f"{fmean(self.first):.4f}", f"{fmean(self.second):.4f}",
            f"{self.difference:+.4f}", f"{self.percent:+.1f}%", f"{self.standard_error:.4f}",
            verdict,
        )  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Compare the validation of runs, seed by seed.")
    add = parser.add_argument
    add("--first", nargs="+", required=True, metavar="RUN", help="runs as they were")
    add("--second", nargs="+", required=True, metavar="RUN", help="runs with the change")
    add("--checkpoints_dir", default="./checkpoints", help="where the runs are")
    add("--metrics", metavar="NAMES", help="only these, with commas between them: L1,SSIM")
    add("--last", type=int, default=1, metavar="N", help="mean of so many validations (default: 1)")
    add("--within", type=float, metavar="PERCENT", help="exit with 1 if more differs")
    return parser


def argument_problems(args: argparse.Namespace) -> Iterator[str]:
    """Yield one message per argument that cannot work."""
    if len(args.first) != len(args.second):
        yield (
            f"--first names {len(args.first)} runs and --second {len(args.second)}: they are "
            "compared in pairs, so give as many of both."
        )
    elif len(args.first) < 2:
        yield "One pair of runs tells nothing about chance. Give two pairs or more."
    if args.last < 1:
        yield f"--last {args.last} cannot work: it must be 1 or more."


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the runs that the command line (or `argv`) names.

    Raises:
        SystemExit: with status 2 for a wrong command, 1 if --within does not hold.
        UserError: the runs cannot be compared.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if problems := list(argument_problems(args)):
        parser.error(" ".join(problems))
    first, second = (
        [read_run(find_run(run, args.checkpoints_dir), args.last) for run in runs]
        for runs in (args.first, args.second)
    )
    comparisons = compare(first, second, wanted=args.metrics)
    say(f"{len(args.first)} pairs of runs, means of the last {args.last} of their validations")
    say("\n".join([HEAD.rstrip(), *(comparison.line() for comparison in comparisons)]))
    if args.within is not None:
        failed = [
            comparison.metric
            for comparison in comparisons
            if not comparison.is_chance or abs(comparison.percent) > args.within
        ]
        if failed:
            say(f"Differs by more than chance, or by more than --within: {', '.join(failed)}")
            raise SystemExit(1)


def find_run(given: str, checkpoints_dir: str) -> Path:
    """Return the metrics of a run, named or given as a folder.

    Raises:
        UserError: there are none.
    """
    for folder in (Path(checkpoints_dir, given), Path(given)):
        if (folder / FILE).is_file():
            return folder / FILE
    files = Path(checkpoints_dir).glob(f"*/{FILE}")
    known = sorted(path.parent.name for path in files if path.is_file())
    others = suggest(given, known) if known else f"Nor has any run in {checkpoints_dir}."
    raise UserError(
        f"{given} has no {FILE}: train.py writes it if there are validation images. {others}"
    )


def read_run(path: Path, last: int) -> dict[str, float]:
    """Return each metric's mean over the last validations of a run; nan if one was not finite.

    Raises:
        UserError: there are fewer.
    """
    validations = [record["val"] for record in read_metrics(path) if "val" in record]
    if len(validations) < last:
        raise UserError(
            f"{path} has {len(validations)} validations, and --last asks for {last}. Train longer, "
            "with --val_freq above 0 and validation images."
        )
    chosen = validations[-last:]
    return {
        name: fmean(math.nan if values[name] is None else values[name] for values in chosen)
        for name in chosen[-1]
        if all(name in values for values in chosen)
    }


def compare(
    first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]], wanted: str | None
) -> list[Comparison]:
    """Return all metrics, or those that are wanted.

    Raises:
        UserError: a run lacks one of them, or has a value that is not finite.
    """
    runs = [*first, *second]
    known = list(dict.fromkeys(name for run in runs for name in run))
    names = known if wanted is None else [name.strip() for name in wanted.split(",")]
    for name in names:
        lacking = sum(name not in run for run in runs)
        if lacking:
            raise UserError(
                f"{lacking} of {len(runs)} runs have no {name}. Choose others with --metrics. "
                f"{suggest(name, known)}"
            )
        if not all(math.isfinite(run[name]) for run in runs):
            raise UserError(f"{name} is not finite in one of the runs, which has failed.")
    return [
        Comparison(name, [run[name] for run in first], [run[name] for run in second])
        for name in names
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
