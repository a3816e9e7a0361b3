"""Run train.py as it is, and watch when its steps begin.

    python scripts/benchmark/worker/launcher.py WATCH REPORT SCRIPT ...

WATCH is `first` (stop when the first step is about to begin) or `gaps` (take two real steps, then
sleep instead of computing, and note how long the loop needs between steps). REPORT is the file for
what was found, SCRIPT with what follows is the command.
"""

import importlib
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REAL_STEPS = 2  # the second one tells how long a step takes
ALL_STEPS = 34
SHORTEST, LONGEST = 0.3, 1.0  # seconds of a step that is slept through

STARTED = time.time() - time.process_time()  # about when the process began


def main(watch: str, report: str, script: str, *argv: str) -> None:
    """Run the command with a model whose step is watched."""
    sys.path[0] = os.getcwd()
    sys.argv = [script, *argv]
    models: Any = importlib.import_module("models")
    create = models.create_model

    def create_watched(opt: Any) -> Any:
        model = create(opt)
        model.optimize_parameters = WATCHES[watch](model, Path(report))
        return model

    models.create_model = create_watched
    runpy.run_path(script, run_name="__main__")


def _first(_model: Any, report: Path) -> Callable[[], None]:
    def step() -> None:
        found = {
            "cpu": time.process_time(),
            "wall": time.time() - STARTED,
            "imports_torchvision": "torchvision" in sys.modules,
        }
        report.write_text(json.dumps(found), encoding="utf-8")
        raise SystemExit(0)

    return step


def _gaps(model: Any, report: Path) -> Callable[[], None]:
    real_step: Callable[[], None] = model.optimize_parameters
    spans: list[tuple[float, float]] = []  # when each step began and ended

    def step() -> None:
        began = time.perf_counter()
        if len(spans) < REAL_STEPS:
            real_step()
        elif len(spans) == ALL_STEPS:
            report.write_text(json.dumps(_gaps_between(spans)), encoding="utf-8")
            raise SystemExit(0)
        else:
            seconds = spans[REAL_STEPS - 1][1] - spans[REAL_STEPS - 1][0]
            time.sleep(min(max(seconds, SHORTEST), LONGEST))
        spans.append((began, time.perf_counter()))

    return step


def _gaps_between(spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Return what lies between the steps; the gap after step number n is the n-th."""
    began, ended = spans[REAL_STEPS - 1]
    gaps = [after[0] - before[1] for before, after in zip(spans, spans[1:], strict=False)]
    return {"step": ended - began, "gaps": gaps}


WATCHES: dict[str, Callable[[Any, Path], Callable[[], None]]] = {"first": _first, "gaps": _gaps}

if __name__ == "__main__":
    main(*sys.argv[1:])
