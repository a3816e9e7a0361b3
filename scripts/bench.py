"""How fast is this checkout, against another one? Measured in turns, on this machine.

    python scripts/bench.py --reference ../reference --check
    python scripts/bench.py --only step --model pix2pix --size 128
    python scripts/bench.py --counts

The reference is any checkout with train.py, test.py and the same public interface: the original
framework, or an earlier commit of this one (git worktree add ../reference COMMIT). Without it
there are our own numbers, and ratios are unmeasured.

First comes whether both compute the same: one step of each model from the same weights, losses
and gradients in float64. If they do not, no speed is printed. docs/performance.md explains the
rows; repetitions of both sides alternate, and ratios are those of medians: of processor time
where nothing else is said below a line, of the wall's for first batches, saving and GPUs.

Exit status: 0 fine; 1 the sides disagree, a measurement failed, or with --check a goal was missed
by more than 15%; 2 the command itself was wrong.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark import numerics
from benchmark.cases import GROUPS, MODELS
from benchmark.checkouts import BenchError
from benchmark.context import Context
from benchmark.machine import describe, load, memory_folder
from benchmark.measure_commands import stall_rows, startup_rows
from benchmark.measure_data import data_rows, list_rows
from benchmark.measure_display import page_rows, plot_rows, save_rows, test_rows
from benchmark.measure_several import dist_rows
from benchmark.measure_training import count_rows, gpu_rows, memory_rows, step_rows
from benchmark.results import Row, missed, render

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.errors import run_command

ROOT = Path(__file__).resolve().parent.parent
MEASURES: dict[str, Callable[[Context], Iterator[Row]]] = {
    "step": step_rows,
    "memory": memory_rows,
    "counts": count_rows,
    "data": data_rows,
    "test": test_rows,
    "save": save_rows,
    "page": page_rows,
    "plot": plot_rows,
    "list": list_rows,
    "startup": startup_rows,
    "stall": stall_rows,
    "gpu": gpu_rows,
    "dist": dist_rows,
}
QUICK = {"size": 128, "reps": 1, "files": 20_000,
         "only": ["numerics", "step", "page", "plot", "list"]}  # fmt: skip
USUAL = {"size": 256, "reps": 3, "files": 1_000_000, "only": list(GROUPS)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and return the exit status."""
    args = _arguments(argv)
    with tempfile.TemporaryDirectory(prefix="bench_", dir=memory_folder()) as folder:
        context = _context(args, Path(folder))
        try:
            return run(context, args.only, json_file=args.json, check=args.check)
        except (BenchError, numerics.DisagreementError) as error:
            print(f"error: {error}", file=sys.stderr)
            _show_logs(context)
            return 1


def run(context: Context, groups: Sequence[str], *, json_file: str, check: bool) -> int:
    """Measure these groups, print the table, and return the exit status."""
    checkouts = {"ours": context.ours, **(
        {"reference": context.reference} if context.reference else {}
    )}  # fmt: skip
    report: dict[str, Any] = {"machine": describe(checkouts), "load_before": load()}
    with context.checkout("ours") as checkout:
        report["machine"] |= checkout.ask("interface.versions")
    print(_heading(report["machine"]))
    if context.reference is not None and set(groups) - {"counts", "list", "dist"}:
        report["numerics"] = numerics.check(context)
        print("\n".join(report["numerics"]))
    rows: list[Row] = []
    for group in groups:
        if group in MEASURES:
            rows += MEASURES[group](context)
    report |= {"load_after": load(), "rows": [row.as_json() for row in rows]}
    if rows:
        print(f"\n{render(rows)}\n")
    print(f"load: {report['load_before']} before, {report['load_after']} after")
    if json_file:
        Path(json_file).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return _verdict(rows) if check else 0


def _verdict(rows: Sequence[Row]) -> int:
    failed = missed(rows)
    for row in failed:
        print(f"missed: {row.case} ({row.missing or f'goal {row.goal}'})", file=sys.stderr)
    return 1 if failed else 0


def _heading(machine: dict[str, Any]) -> str:
    commits = ", ".join(f"{name} {commit or '?'}" for name, commit in machine["commits"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores ({' '.join(machine['flags'])}), "
        f"{machine['gpu'] or 'no GPU'}\n"
        f"torch {machine['torch']}, Python {machine['python']}; commits: {commits}"
    )


def _show_logs(context: Context) -> None:
    """Print the end of what the checkouts have said."""
    for log in sorted(context.folder.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        print(f"--- end of {log.name}", *lines, sep="\n", file=sys.stderr)


def _context(args: argparse.Namespace, folder: Path) -> Context:
    return Context(
        ours=args.ours.resolve(),
        reference=args.reference.resolve() if args.reference else None,
        folder=folder,
        models=[args.model] if args.model else list(MODELS),
        size=args.size,
        reps=args.reps,
        threads=args.threads,
        files=args.files,
        quick=args.quick,
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="docs/performance.md explains rows and goals.",
    )
    add = parser.add_argument
    add("--reference", type=_checkout, help="checkout to compare with")
    add("--ours", type=_checkout, default=ROOT, help="checkout that is measured (this one)")
    add("--only", type=_groups, help=f"groups, separated by commas: "
        f"{', '.join(GROUPS)}")  # fmt: skip
    add("--model", choices=MODELS, help="one model only")
    add("--size", type=int, choices=(64, 128, 256), help="sides of the images in steps (256)")
    add("--reps", type=_positive, help="repetitions, after one to warm up (3)")
    add("--threads", type=_positive, default=1, help="threads of torch (1)")
    add("--files", type=_positive, help="how many files are listed (1000000)")
    add("--quick", action="store_true", help="few groups, small and few: a look in two minutes")
    add("--json", default="", metavar="FILE", help="write everything that was measured")
    add("--check", action="store_true", help="exit with 1 if a goal is missed by more than 15%%")
    add("--counts", action="store_true", help="only count operations, FLOPs and bytes")
    args = parser.parse_args(argv)
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.counts:
        args.only = ["counts"]
    return args


def _checkout(text: str) -> Path:
    path = Path(text)
    if not (path / "train.py").is_file() or not (path / "options").is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no checkout: it has no train.py and options")
    return path


def _groups(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(
            f"there is no group {', '.join(unknown)}. Groups: {', '.join(GROUPS)}"
        )
    return [name for name in GROUPS if name in names]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_command(lambda: sys.exit(main())))
