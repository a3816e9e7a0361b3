"""Groups step, memory, counts and gpu: what a training step needs."""

from collections.abc import Iterator
from functools import partial

from benchmark import cases
from benchmark.checkouts import Checkout, UnknownOptionError
from benchmark.context import Context, missing, mode_options, row
from benchmark.machine import has_flag
from benchmark.numerics import largest_difference
from benchmark.results import Goal, Measured, Row, Series

SEED = 2
STEPS_FOR_MEMORY = 2  # the second one has the optimisers' state too


def step_rows(context: Context) -> Iterator[Row]:
    """Time training steps of all modes; each mode in a process of its own."""
    for model in context.models:
        for mode, goal in cases.STEP_GOALS[model].items():
            size = _size(context, model)
            case = f"{model} step {size} CPU, {mode}"
            context.tell(case)
            try:
                yield _step_row(context, case, model, mode, goal)
            except UnknownOptionError as error:
                yield missing("step", case, goal, error)


def _step_row(context: Context, case: str, model: str, mode: str, goal: Goal | None) -> Row:
    size, run = _size(context, model), f"step_{model}"
    options = context.options(run, *cases.model_options(model, size), size=size)
    with context.checkouts() as checkouts:
        plain = checkouts.get("reference", checkouts["ours"])
        expected = _first_losses(plain, options, size, load="")
        losses = _first_losses(checkouts["ours"], [*options, *cases.MODES[mode]], size, load="same")
        tasks = {
            name: checkout.task("training.step", name="model", size=size, seed=SEED)
            for name, checkout in checkouts.items()
        }
        result = row("step", case, goal, context.measure(tasks))
        if goal and "reference" in checkouts and "bf16" not in mode:
            _judge_by_convolutions(result, checkouts["reference"], size)
    if mode != "default":
        difference = largest_difference(expected, losses)
        result.notes.append(f"losses of the first step differ by {difference:.1e} at most")
    _remark(result, context, mode, size)
    return result


def _first_losses(checkout: Checkout, argv: list[str], size: int, load: str) -> dict[str, float]:
    """Build a model and take its first step; without `load` its weights are saved before."""
    checkout.ask("training.build", name="model", argv=argv, load=load)
    if not load:
        checkout.ask("training.save", name="model", label="same")
    return dict(checkout.ask("training.step", name="model", size=size, seed=SEED)["losses"])


def _judge_by_convolutions(result: Row, reference: Checkout, size: int) -> None:
    """Do not judge by a goal that is out of reach, since convolutions take their time."""
    share = reference.ask("training.share_of_convolutions", name="model", size=size, seed=SEED)
    most = 1 / share["share"]
    result.notes.append(
        f"convolutions take {share['share']:.0%} of the reference's step on this processor: "
        f"without faster ones {most:.2f} is the most"
    )
    if result.goal is not None and result.ok == "no" and result.goal.value > most:
        result.not_judged = "the goal was set on a processor that spends less on convolutions"


def _remark(result: Row, context: Context, mode: str, size: int) -> None:
    """Say what must be known about a row whose goal was set for a certain size and machine."""
    if result.goal and size != cases.GOAL_SIZE:
        result.not_judged = f"the goal is for {cases.GOAL_SIZE} px"
    if "bf16" in mode and not has_flag("amx_bf16") and result.ok == "no":
        result.not_judged = "the goal was set on a processor with AMX, which this one has not"
    if "max" in mode and "pix2pix" in result.case:
        result.notes.append("dropout may draw other masks in this mode, which moves losses too")


def memory_rows(context: Context) -> Iterator[Row]:
    """Measure the peak memory of training, each in a process of its own."""
    if "cycle_gan" not in context.models:
        return
    base = None
    for mode, goal in cases.MEMORY_GOALS.items():
        case = f"peak memory cycle_gan {context.size}, {mode}"
        context.tell(case)
        if base is None and context.reference is not None:
            base = _peak(context, "reference", mode)
        try:
            ours = _peak(context, "ours", mode)
        except UnknownOptionError as error:
            yield missing("memory", case, Goal("smaller", goal), error)
            continue
        found = {"ours": ours, **({"reference": base} if base else {})}
        result = row("memory", case, Goal("smaller", goal), found)
        _remark(result, context, mode, context.size)
        yield result


def _peak(context: Context, name: str, mode: str) -> Series:
    options = context.options("memory", *cases.model_options("cycle_gan", context.size))
    with context.checkout(name) as checkout:
        checkout.ask("training.build", name="model", argv=[*options, *mode_options(name, mode)])
        for _ in range(STEPS_FOR_MEMORY):
            checkout.ask("training.step", name="model", size=context.size, seed=SEED)
        return Series([checkout.ask("training.peak_memory")["megabytes"]], "MB")


def count_rows(context: Context) -> Iterator[Row]:
    """Count what one step does; always at 256 px, for it costs no time."""
    size = cases.GOAL_SIZE
    for model in context.models:
        context.tell(f"counting the operations of {model}")
        options = context.options("counts", *cases.model_options(model, size), size=size)
        with context.checkouts() as checkouts:
            found = {
                name: checkout.ask("counting.count", argv=options, size=size)
                for name, checkout in checkouts.items()
            }
        for what, unit, scale, goal in (
            ("operations", "ops", 1.0, Goal("limit", cases.OPERATIONS[model])),
            ("flops", "GFLOP", 1e-9, None),
            ("bytes", "GB", 1e-9, None),
        ):
            series = {name: Series([counts[what] * scale], unit) for name, counts in found.items()}
            result = row("counts", f"{model} step {size}: {what}", goal, series)
            if what == "operations":
                original = cases.OPERATIONS_OF_ORIGINAL[model]
                result.notes = [f"the original has {original}; dispatched, on the meta device"]
            yield result


def _size(context: Context, model: str) -> int:
    return cases.pix2pix_size(context.size) if model == "pix2pix" else context.size


STEPS = 20  # in one repetition
SETTLE = 10  # steps before anything is measured: algorithms are tried out, graphs captured


def gpu_rows(context: Context) -> Iterator[Row]:
    """Time steps on the GPU, and look for waiting and allocating in steps that have settled."""
    with context.checkout("ours") as checkout:
        has_gpu = bool(checkout.ask("interface.versions")["gpu"])
    for model, batch_size, value in cases.GPU_GOALS:
        if model not in context.models:
            continue
        per = "step" if batch_size == 1 else "image"
        case = f"{model} on a GPU, batch {batch_size}, per {per}"
        goal = Goal("faster", value)
        if not has_gpu:
            yield from _no_gpu(case, goal, with_steady_state=batch_size == 1)
            continue
        context.tell(case)
        try:
            yield from _rows(context, model, batch_size, case, goal)
        except UnknownOptionError as error:
            yield missing("gpu", case, goal, error)


def _no_gpu(case: str, goal: Goal, *, with_steady_state: bool) -> Iterator[Row]:
    notes = ["unmeasured: no GPU"]
    yield Row("gpu", case, goal, notes=notes)
    if with_steady_state:
        yield Row("gpu", f"{case}: waits for the GPU", cases.NOTHING, notes=notes)
        yield Row("gpu", f"{case}: memory from the driver", cases.NOTHING, notes=notes)


def _rows(context: Context, model: str, batch_size: int, case: str, goal: Goal) -> Iterator[Row]:
    size = cases.GOAL_SIZE
    options = context.options(f"gpu_{model}", *cases.model_options(model, size),
                              "--batch_size", str(batch_size), size=size)  # fmt: skip
    options[options.index("--gpu_ids") + 1] = "0"
    steps = {"name": "model", "size": size, "batch_size": batch_size}
    with context.checkouts() as checkouts:
        for name, checkout in checkouts.items():
            argv = [*options, *mode_options(name, "gpu")]
            checkout.ask("training.build", name="model", argv=argv)
            checkout.ask("training.steps", count=SETTLE, **steps)

        def measure(checkout: Checkout) -> Measured:
            return {
                "wall": checkout.ask("training.steps", count=STEPS, **steps)["wall"] / batch_size
            }

        tasks = {name: partial(measure, checkout) for name, checkout in checkouts.items()}
        yield row("gpu", case, goal, context.measure(tasks, "wall"))
        if batch_size == 1:
            found = {n: checkout.ask("training.steady_state", count=STEPS, **steps)
                     for n, checkout in checkouts.items()}  # fmt: skip
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
