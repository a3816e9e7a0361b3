"""Translate images and videos with a trained generator: files, folders, patterns, lists.

    python scripts/translate.py photo.jpg -o translated.png --name horse2zebra
    python scripts/translate.py photos "more/*.tif" -o translated --name horse2zebra
    find . -name "*.png" | python scripts/translate.py - -o translated --name horse2zebra
    python scripts/translate.py film.mp4 -o zebras.mp4 --name horse2zebra

Results are as large as what they are made of, and of the same depth. --name may also be a folder of
checkpoints or one .pth file. A file that cannot be translated is named, and the others go on. Exit
status: 0 all are translated; 1 some are not, or none, and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":  # before the imports that take seconds
    from util.base.log import tell_of_loading
    from util.base.stop_signals import end_at_ctrl_c

    end_at_ctrl_c()
    tell_of_loading()

from PIL import Image

from models.inference.generator import Generator, load_generator
from models.inference.large_files import translate_large_file
from models.inference.tiles import require_tiles
from models.optimization.precision import PRECISIONS
from models.optimization.speed import compile_network
from options.base_options import settle_processes
from options.parsing import several
from util.base.commands import parser_of
from util.base.errors import UserError, run_command, suggest
from util.base.log import say, warn
from util.base.system import device_of
from util.display.progress_bar import progress_bar
from util.images.reading import allow_large_images
from util.images.writing import RESULT_FORMATS
from util.inference.parallel import MOST_PIXELS, in_processes, processes_for
from util.inference.translating.images import Outcome, Translator, translate_images
from util.inference.translating.plan import Job, left_to_do, plan
from util.inference.translating.sources import find_sources
from util.inference.translating.video import VideoFacts, translate_video, video_problem
from util.processes import launching
from util.processes.parts import by_first, go_on, of_all, own_pace, own_part
from util.processes.shared_files import require_shared
from util.processes.together import sharing

MOST_NAMED = 10  # files that could not be translated


def main(argv: Sequence[str] | None = None) -> None:
    """Translate what the command line (or `argv`) names."""
    args = parse(argv)
    if launching.must_be_started(args):  # --gpu_ids 0,1: several processes, which begin here again
        launching.start(args, __file__, argv)
        return
    with sharing(args):
        translate(args)


def translate(args: argparse.Namespace) -> None:
    """Translate; of several processes each takes some of the images, and some of the videos."""
    if args.large_pictures:
        allow_large_images()
    jobs, skipped = by_first(partial(what_to_do, args))
    generator = load(args)
    images = [job for job in jobs if not job.is_video]
    videos = [job for job in jobs if job.is_video]
    failed = translate_all(images, generator, args) if images else []
    failed += translate_videos(videos, generator, args) if videos else []
    also = f"; {skipped} were there already" if skipped else ""
    say(f"Translated {len(jobs) - len(failed)} of {len(jobs)} to {args.output}{also}.")
    if failed:
        names = [str(job.source) for job in failed]
        listed = ", ".join(names[:MOST_NAMED]) + (", ..." if names[MOST_NAMED:] else "")
        raise UserError(f"{len(failed)} could not be translated: {listed}")


def what_to_do(args: argparse.Namespace) -> tuple[list[Job], int]:
    """Return what is to be translated, and how much is left out, since it has been."""
    sources = find_sources(args.inputs, sys.stdin, without=args.output)
    planned = plan(sources, args.output, args.format)
    jobs = left_to_do(planned, force=args.force, skip_existing=args.skip_existing)
    return jobs, len(planned) - len(jobs)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern, or - for a list of "
        "them on standard input")  # fmt: skip
    add("-o", "--output", type=Path, required=True, help="folder, or file for one input")
    add("--name", required=True, help="the run; or a folder of checkpoints, or a .pth file")
    add("--checkpoints_dir", default="./checkpoints", help="where runs are")
    add("--epoch", default="latest", help="which save: latest, best, a number, iter_<images>")
    add("--direction", help="AtoB or BtoA, of a CycleGAN; else what the run was trained for")
    add("--format", default="png", help=f"of images in a folder: {', '.join(RESULT_FORMATS)} "
        "(png); a file's ending says it")  # fmt: skip
    add("--load_size", type=int, default=0, help="resize to a square of this side first, as "
        "test.py does; 0: not")  # fmt: skip
    add("--batch_size", type=int, default=1, help="images of one size at once, on a GPU")
    add("--eval", action="store_true", help="no dropout, batch norm with statistics of training")
    add("--tile", type=int, default=0, help="compute larger images in tiles of this side, in "
        "bounded memory: ResNet generators")  # fmt: skip
    add("--overlap", type=int, default=0, help="pixels around a tile that are computed as well")
    add("--large_pictures", action="store_true", help="open images of more than 179 megapixels; "
        "with --tile they are read and written in parts")  # fmt: skip
    add("--precision", default="fp32", help=f"{', '.join(PRECISIONS)}")
    add("--compile", action="store_true", help="let torch compile the network: for GPUs")
    add("--gpu_ids", default="0", help="the GPU, or several, as 0,1; -1 for the CPU")
    several.add_options(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace results that are there")
    existing.add_argument("--skip_existing", action="store_true", help="leave results that are "
        "there: goes on where it was stopped")  # fmt: skip
    args = parser.parse_args(argv)
    if problems := [*problems_of(args), *settle_processes(args)]:
        parser.error("\n  ".join(problems))
    return args


def problems_of(args: argparse.Namespace) -> Iterator[str]:
    """Yield what is wrong with the options."""
    if args.format not in RESULT_FORMATS:
        yield f"--format {args.format} is not known. {suggest(args.format, RESULT_FORMATS)}"
    for name, least in (("batch_size", 1), ("load_size", 0), ("tile", 0), ("overlap", 0)):
        if (value := getattr(args, name)) < least:
            yield f"--{name} {value} must be {least} or more."
    if args.tile and args.compile:
        yield f"--tile {args.tile} and --compile: what is computed in tiles is not compiled."
    if args.overlap and not args.tile:
        yield f"--overlap {args.overlap} needs --tile, the side of a tile, such as --tile 512."


def load(args: argparse.Namespace) -> Generator:
    """Load the generator that the options name."""
    generator = load_generator(
        args.name,
        device=device_of(args.gpu_ids),
        epoch=args.epoch,
        direction=args.direction,
        checkpoints_dir=args.checkpoints_dir,
        precision=args.precision,
        eval=args.eval,
    )
    if args.tile:
        require_tiles(generator.module)
    if args.compile:
        compile_network(generator.module, generator.device)
    trained = generator.trained
    which = f" ({trained.direction})" if trained.direction else ""
    say(f"{trained.file}{which} on {generator.device}")
    return generator


def translate_all(jobs: Sequence[Job], generator: Generator, args: argparse.Namespace) -> list[Job]:
    """Translate images, and return those that could not be."""
    opener = generator.opener(args.load_size)
    net = generator.computing(tile=args.tile, overlap=args.overlap)
    run = partial(generator.translate_opened, net=net)
    in_parts = None
    if args.tile and not args.load_size:
        in_parts = partial(translate_large_file, generator, tile=args.tile, overlap=args.overlap)
    translator = Translator(opener.open_file, run, args.batch_size, in_parts)
    own = len(own_part(len(jobs), args.batch_size))  # of this process
    at_once = processes(generator, args, own)
    done = []
    with own_pace(), progress_bar("translating", own) as bar:
        for job, outcome in translate_images(jobs, translator, at_once):
            go_on()  # unless another process has failed
            if outcome.is_fatal:
                raise UserError(outcome.problem)
            warn_of(job, outcome)
            done.append((job, outcome))
            bar.update(1)
    return failed_of_all(done)


def failed_of_all(done: list[tuple[Job, Outcome]]) -> list[Job]:
    """Return what has failed, in all processes; say what the others have found.

    Raises:
        UserError: the first process does not find what the others have written.
    """
    of_each = of_all(done)
    for job, outcome in of_each[len(done) :]:
        warn_of(job, outcome)
    require_shared([job.target for job, outcome in done if not outcome.problem], "-o")
    return [job for job, outcome in of_each if outcome.problem]


def warn_of(job: Job, outcome: Outcome) -> None:
    """Say what people should know about a result."""
    if outcome.problem:
        warn(outcome.problem)
    elif outcome.note:
        warn(f"{job.source}: {outcome.note}")


def processes(generator: Generator, args: argparse.Namespace, images: int) -> int:
    """Return in how many processes to translate so many images of usual sizes."""
    if generator.device.type != "cpu" or args.compile or args.tile or args.batch_size > 1:
        return 1
    return processes_for(images)


def translate_videos(
    jobs: Sequence[Job], generator: Generator, args: argparse.Namespace
) -> list[Job]:
    """Translate videos, and return those that could not be."""
    done = []
    with own_pace():
        for number in own_part(len(jobs)):
            done.append((jobs[number], translate_one_video(jobs[number], generator, args)))
            warn_of(*done[-1])
    return failed_of_all(done)


def translate_one_video(job: Job, generator: Generator, args: argparse.Namespace) -> Outcome:
    """Translate a video, frame by frame."""
    if problem := video_problem():
        raise UserError(f"{job.source}: {problem}")
    if generator.output_nc not in (1, 3):
        raise UserError(f"{job.source}: no video has {generator.output_nc} channels, as results.")
    one = partial(
        generator.translate, load_size=args.load_size, tile=args.tile, overlap=args.overlap
    )
    try:
        frames, pixels = VideoFacts.of(job.source)
        is_usual = args.load_size or pixels <= MOST_PIXELS
        at_once = processes(generator, args, frames) if is_usual else 1
        with progress_bar(job.source.name, frames, unit="frame") as bar:

            def translated(frames: Iterator[Image.Image]) -> Iterator[Image.Image]:
                for _, made in in_processes(one, frames, at_once):
                    go_on()
                    bar.update(1)
                    yield made.convert("RGB")

            translate_video(job.source, job.target, translated)
    except UserError as error:
        return Outcome(str(error))
    return Outcome()


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
