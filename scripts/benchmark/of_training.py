"""Groups step, memory and counts: what a training step needs."""

from collections.abc import Iterator

from benchmark import cases
from benchmark.machine import has_flag
from benchmark.numerics import largest_difference
from benchmark.series import Series
from benchmark.setting import Setting, missing, mode_options, row
from benchmark.side import Side, UnknownOptionError
from benchmark.table import Goal, Row

SEED = 2
STEPS_FOR_MEMORY = 2  # the second one has the optimisers' state too


def step_rows(setting: Setting) -> Iterator[Row]:
    """Time training steps of all modes; each mode in a process of its own."""
    for model in setting.models:
        for mode, goal in cases.STEP_GOALS[model].items():
            size = _size(setting, model)
            case = f"{model} step {size} CPU, {mode}"
            setting.tell(case)
            try:
                yield _step_row(setting, case, model, mode, goal)
            except UnknownOptionError as error:
                yield missing("step", case, goal, error)


def _step_row(setting: Setting, case: str, model: str, mode: str, goal: Goal | None) -> Row:
    size, run = _size(setting, model), f"step_{model}"
    options = setting.options(run, *cases.model_options(model, size), size=size)
    with setting.sides() as sides:
        plain = sides.get("reference", sides["ours"])
        expected = _first_losses(plain, options, size, load="")
        losses = _first_losses(sides["ours"], [*options, *cases.MODES[mode]], size, load="same")
        tasks = {
            name: side.task("training.step", name="model", size=size, seed=SEED)
            for name, side in sides.items()
        }
        result = row("step", case, goal, setting.measure(tasks))
        if goal and "reference" in sides and "bf16" not in mode:
            _judge_by_convolutions(result, sides["reference"], size)
    if mode != "default":
        difference = largest_difference(expected, losses)
        result.notes.append(f"losses of the first step differ by {difference:.1e} at most")
    _remark(result, setting, mode, size)
    return result


def _first_losses(side: Side, argv: list[str], size: int, load: str) -> dict[str, float]:
    """Build a model and take its first step; without `load` its weights are saved before."""
    side.ask("training.build", name="model", argv=argv, load=load)
    if not load:
        side.ask("training.save", name="model", label="same")
    return dict(side.ask("training.step", name="model", size=size, seed=SEED)["losses"])


def _judge_by_convolutions(result: Row, reference: Side, size: int) -> None:
    """Do not judge by a goal that is out of reach, since convolutions take their time."""
    share = reference.ask("training.share_of_convolutions", name="model", size=size, seed=SEED)
    most = 1 / share["share"]
    result.notes.append(
        f"convolutions take {share['share']:.0%} of the reference's step on this processor: "
        f"without faster ones {most:.2f} is the most"
    )
    if result.goal is not None and result.ok == "no" and result.goal.value > most:
        result.not_judged = "the goal was set on a processor that spends less on convolutions"


def _remark(result: Row, setting: Setting, mode: str, size: int) -> None:
    """Say what must be known about a row whose goal was set for a certain size and machine."""
    if result.goal and size != cases.GOAL_SIZE:
        result.not_judged = f"the goal is for {cases.GOAL_SIZE} px"
    if "bf16" in mode and not has_flag("amx_bf16") and result.ok == "no":
        result.not_judged = "the goal was set on a processor with AMX, which this one has not"
    if "max" in mode and "pix2pix" in result.case:
        result.notes.append("dropout may draw other masks in this mode, which moves losses too")


def memory_rows(setting: Setting) -> Iterator[Row]:
    """Measure the peak memory of training, each in a process of its own."""
    if "cycle_gan" not in setting.models:
        return
    base = None
    for mode, goal in cases.MEMORY_GOALS.items():
        case = f"peak memory cycle_gan {setting.size}, {mode}"
        setting.tell(case)
        if base is None and setting.reference is not None:
            base = _peak(setting, "reference", mode)
        try:
            ours = _peak(setting, "ours", mode)
        except UnknownOptionError as error:
            yield missing("memory", case, Goal("smaller", goal), error)
            continue
        found = {"ours": ours, **({"reference": base} if base else {})}
        result = row("memory", case, Goal("smaller", goal), found)
        _remark(result, setting, mode, setting.size)
        yield result


def _peak(setting: Setting, name: str, mode: str) -> Series:
    options = setting.options("memory", *cases.model_options("cycle_gan", setting.size))
    with setting.side(name) as side:
        side.ask("training.build", name="model", argv=[*options, *mode_options(name, mode)])
        for _ in range(STEPS_FOR_MEMORY):
            side.ask("training.step", name="model", size=setting.size, seed=SEED)
        return Series([side.ask("training.peak_memory")["megabytes"]], "MB")


def count_rows(setting: Setting) -> Iterator[Row]:
    """Count what one step does; always at 256 px, for it costs no time."""
    size = cases.GOAL_SIZE
    for model in setting.models:
        setting.tell(f"counting the operations of {model}")
        options = setting.options("counts", *cases.model_options(model, size), size=size)
        with setting.sides() as sides:
            found = {
                name: side.ask("counting.count", argv=options, size=size)
                for name, side in sides.items()
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


def _size(setting: Setting, model: str) -> int:
    return cases.pix2pix_size(setting.size) if model == "pix2pix" else setting.size
