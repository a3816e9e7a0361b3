"""Group gpu: training steps where there is a GPU."""

from collections.abc import Iterator
from functools import partial

from benchmark import cases
from benchmark.series import Measured, Series
from benchmark.setting import Setting, missing, mode_options, row
from benchmark.side import Side, UnknownOptionError
from benchmark.table import Goal, Row

STEPS = 20  # in one repetition
SETTLE = 10  # steps before anything is measured: algorithms are tried out, graphs captured


def gpu_rows(setting: Setting) -> Iterator[Row]:
    """Time steps on the GPU, and look for waiting and allocating in steps that have settled."""
    with setting.side("ours") as side:
        has_gpu = bool(side.ask("interface.versions")["gpu"])
    for model, batch_size, value in cases.GPU_GOALS:
        if model not in setting.models:
            continue
        per = "step" if batch_size == 1 else "image"
        case = f"{model} on a GPU, batch {batch_size}, per {per}"
        goal = Goal("faster", value)
        if not has_gpu:
            yield from _no_gpu(case, goal, with_steady_state=batch_size == 1)
            continue
        setting.tell(case)
        try:
            yield from _rows(setting, model, batch_size, case, goal)
        except UnknownOptionError as error:
            yield missing("gpu", case, goal, error)


def _no_gpu(case: str, goal: Goal, *, with_steady_state: bool) -> Iterator[Row]:
    notes = ["unmeasured: no GPU"]
    yield Row("gpu", case, goal, notes=notes)
    if with_steady_state:
        yield Row("gpu", f"{case}: waits for the GPU", cases.NOTHING, notes=notes)
        yield Row("gpu", f"{case}: memory from the driver", cases.NOTHING, notes=notes)


def _rows(setting: Setting, model: str, batch_size: int, case: str, goal: Goal) -> Iterator[Row]:
    size = cases.GOAL_SIZE
    options = setting.options(f"gpu_{model}", *cases.model_options(model, size),
                              "--batch_size", str(batch_size), size=size)  # fmt: skip
    options[options.index("--gpu_ids") + 1] = "0"
    steps = {"name": "model", "size": size, "batch_size": batch_size}
    with setting.sides() as sides:
        for name, side in sides.items():
            argv = [*options, *mode_options(name, "gpu")]
            side.ask("training.build", name="model", argv=argv)
            side.ask("gpu.steps", count=SETTLE, **steps)

        def measure(side: Side) -> Measured:
            return {"wall": side.ask("gpu.steps", count=STEPS, **steps)["wall"] / batch_size}

        tasks = {name: partial(measure, side) for name, side in sides.items()}
        yield row("gpu", case, goal, setting.measure(tasks, "wall"))
        if batch_size == 1:
            found = {n: side.ask("gpu.steady_state", count=STEPS, **steps)
                     for n, side in sides.items()}  # fmt: skip
            for what, key in (("waits for the GPU", "waits"),
                              ("memory from the driver", "from_driver")):  # fmt: skip
                series = {name: Series([each[key]], "a step") for name, each in found.items()}
                result = row("gpu", f"{case}: {what}", cases.NOTHING, series)
                if key == "waits":
                    result.notes += found["ours"]["what_waits"]
                else:
                    cache = found["ours"]["from_cache"]
                    result.notes.append(f"from PyTorch's own cache: {cache:g} a step")
                yield result
