"""Translate image files: reading, computing and writing side by side, one broken file or not."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from util.base.errors import UserError, in_words
from util.images.ranges import MOST_CUT_OFF
from util.images.writing import write_stored
from util.inference.parallel import MOST_PIXELS, in_processes
from util.inference.translating.plan import Job
from util.processes.parts import own_items

THREADS = 4  # that read, and as many that write
FAILURES = (UserError, OSError, RuntimeError, MemoryError)  # of one image: the next may do
MOST_IN_MEMORY = 2**23  # pixels of an image; larger ones are translated in parts, where possible


class Outcome(NamedTuple):
    """What became of a job: a problem, or something to know about it, or neither."""

    problem: str = ""
    note: str = ""
    is_fatal: bool = False  # the others will fare no better


@dataclass(frozen=True)
class Translator:
    """How to translate files: two functions of `models/inference`, seen from below it.

    Attributes:
        open: opens a file under a name, on which random numbers depend.
        run: yields the stored values (C, H, W) that become of what was opened, in order; gets the
            size of batches.
        in_parts: translates a file that is larger than memory should hold into another one, and
            returns which part of its values was cut off; None: files are whole in memory.
    """

    open: Callable[[Path, str], Any]
    run: Callable[[Iterable[Any], int], Iterator[Tensor]]
    batch_size: int = 1
    in_parts: Callable[[Path, Path], float] | None = None


def translate_images(
    jobs: Sequence[Job], translator: Translator, processes: int
) -> Iterator[tuple[Job, Outcome]]:
    """Translate files, and yield what became of each; of several processes each has its part.

    On the CPU, images of usual sizes are translated in several processes. In one process there
    are threads that read the next ones and write the last ones.
    """
    huge = {job for job in jobs if translator.in_parts and _has_more(job.source, MOST_IN_MEMORY)}
    others = own_items([job for job in jobs if job not in huge], translator.batch_size)
    if processes > 1:
        work = partial(_translate_one, translator)
        yield from in_processes(work, others, processes, here=_is_large)
    else:
        yield from _with_threads(others, translator)
    for job in own_items([job for job in jobs if job in huge]):
        yield job, _translate_in_parts(translator, job)


def _translate_one(translator: Translator, job: Job) -> Outcome:
    try:
        opened = translator.open(job.source, job.name)
        (stored,) = translator.run([opened], 1)
    except FAILURES as error:
        return _failed(job, error)
    return _write(job, stored, _note(opened.cut_off))


def _translate_in_parts(translator: Translator, job: Job) -> Outcome:
    assert translator.in_parts is not None
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        return Outcome(note=_note(translator.in_parts(job.source, job.target)))
    except FAILURES as error:
        return _failed(job, error)


def _write(job: Job, stored: Tensor, note: str) -> Outcome:
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_stored(job.target, stored)
    except FAILURES as error:
        return _failed(job, error)._replace(is_fatal=isinstance(error, OSError))
    return Outcome(note=note)


def _failed(job: Job, error: Exception) -> Outcome:
    said = in_words(error)
    return Outcome(said if str(job.source) in said else f"{job.source}: {said}")


def _note(cut_off: float) -> str:
    if cut_off <= MOST_CUT_OFF:
        return ""
    return f"{cut_off:.1%} of its values lie outside of --value_range, and were cut off"


def _with_threads(jobs: Sequence[Job], translator: Translator) -> Iterator[tuple[Job, Outcome]]:
    """Translate in this process, while threads read the next files and write the last ones."""
    reading = ThreadPoolExecutor(THREADS, thread_name_prefix="reading")
    writing = ThreadPoolExecutor(THREADS, thread_name_prefix="writing")
    done: deque[tuple[Job, Future[Outcome] | Outcome]] = deque()
    try:
        opened = _read_ahead(jobs, translator, reading)
        while batch := list(islice(opened, translator.batch_size)):
            for job, made in _computed(batch, translator):
                if isinstance(made, Outcome):
                    done.append((job, made))
                else:
                    done.append((job, writing.submit(_write, job, *made)))
            yield from _results(done, most=THREADS)
        yield from _results(done, most=0)
    finally:
        reading.shutdown(cancel_futures=True)
        writing.shutdown(cancel_futures=True)


def _read_ahead(
    jobs: Sequence[Job], translator: Translator, pool: ThreadPoolExecutor
) -> Iterator[tuple[Job, Any]]:
    """Yield each job with what its file holds, or with an Outcome if that cannot be read."""

    def read(job: Job) -> Any:
        try:
            return translator.open(job.source, job.name)
        except FAILURES as error:
            return _failed(job, error)

    coming = iter(jobs)
    waiting: deque[tuple[Job, Future[Any]]] = deque()
    while True:
        for job in islice(coming, THREADS + translator.batch_size - len(waiting)):
            waiting.append((job, pool.submit(read, job)))
        if not waiting:
            return
        job, opened = waiting.popleft()
        yield job, opened.result()


def _computed(
    batch: Sequence[tuple[Job, Any]], translator: Translator
) -> Iterator[tuple[Job, Outcome | tuple[Tensor, str]]]:
    """Yield each job with its result and what to note of it, or with the Outcome that it has."""
    yield from ((job, opened) for job, opened in batch if isinstance(opened, Outcome))
    sound = [(job, opened) for job, opened in batch if not isinstance(opened, Outcome)]
    try:
        results = list(translator.run([opened for _, opened in sound], translator.batch_size))
    except FAILURES as error:
        if len(sound) == 1:
            yield sound[0][0], _failed(sound[0][0], error)
        for one in sound if len(sound) > 1 else []:  # one of them may be why
            yield from _computed([one], translator)
        return
    for (job, opened), stored in zip(sound, results, strict=True):
        yield job, (stored, _note(opened.cut_off))


def _results(
    done: deque[tuple[Job, Future[Outcome] | Outcome]], most: int
) -> Iterator[tuple[Job, Outcome]]:
    """Yield what is finished, in order; waits if more than so many are not."""
    while done:
        job, outcome = done[0]
        if isinstance(outcome, Future):
            if not outcome.done() and len(done) <= most:
                return
            outcome = outcome.result()
        done.popleft()
        yield job, outcome


def _is_large(job: Job) -> bool:
    return _has_more(job.source, MOST_PIXELS)


def _has_more(path: Path, pixels: int) -> bool:
    """Tell by its header whether an image has more pixels; if that is not known, by its bytes."""
    with suppress(Exception):  # what is broken is told of later
        try:
            with Image.open(path) as image:
                return image.width * image.height > pixels
        except Image.DecompressionBombError:
            return True
    return path.exists() and path.stat().st_size > pixels
