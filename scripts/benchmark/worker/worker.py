"""The process of one side: works in its checkout, and does what comes in as lines of JSON.

    python scripts/benchmark/worker/worker.py CHECKOUT ANSWERS

ANSWERS is the number of an open file for the answers. Whatever the checkout prints goes to
standard output and does not disturb them.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any


def main(checkout: str, answers: int) -> None:
    """Answer every line of standard input with one line."""
    scripts = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    sys.path[0] = checkout  # as if a script of the checkout had been started
    sys.path.append(scripts)  # last: nothing here may hide a module of the checkout
    with open(answers, "w", encoding="utf-8") as out:
        for line in sys.stdin:
            request = json.loads(line)
            out.write(json.dumps(_answer(request["task"], request["arguments"])) + "\n")
            out.flush()


def _answer(task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    module, _, function = task.partition(".")
    try:
        run = getattr(importlib.import_module(f"benchmark.worker.{module}"), function)
        return {"result": run(**arguments) or {}}
    except Exception as error:  # noqa: BLE001 - the parent says it
        traceback.print_exc()
        kind = "refused" if type(error).__name__ == "RefusedError" else "error"
        return {kind: f"{error}" if kind == "refused" else f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
