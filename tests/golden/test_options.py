"""Options: names, types, defaults, command lines, abbreviations, the option file."""

import json
import re
import shlex
from argparse import Action, ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from data import get_option_setter as dataset_option_setter
from models import get_option_setter as model_option_setter
from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.golden.formulas import from_json, ids, load, value_of
from tests.support.tiers import LONG

pytestmark = pytest.mark.golden

RECORDS = load("options")
FLAGS, COMMANDS, SUFFIXES = RECORDS["flags"], RECORDS["command_lines"], RECORDS["suffix"]
EFFECTIVE, WITH_DATASET = RECORDS["effective"], RECORDS["effective_with_dataset_mode"]
RUNS = load("runs")
PHASES: dict[str, type[BaseOptions]] = {"train": TrainOptions, "test": TestOptions}
SETTERS = {"model": model_option_setter, "dataset_mode": dataset_option_setter}

# ---- flags ------------------------------------------------------------------------------


def phase_parser(phase: str) -> ArgumentParser:
    """Return a parser with the options of train.py or test.py alone."""
    return PHASES[phase]().initialize(ArgumentParser(conflict_handler="resolve", add_help=False))


def by_flag(parser: ArgumentParser) -> dict[str, Action]:
    """Return a parser's options by name."""
    return {name: action for action in parser._actions for name in action.option_strings}


def as_record(action: Action, parser: ArgumentParser) -> dict[str, Any]:
    """Describe an option as the records do."""
    return {
        "flag": list(action.option_strings),
        "dest": action.dest,
        "type": getattr(action.type, "__name__", None),
        "default": parser.get_default(action.dest),
        "choices": action.choices,
        "store_true": type(action).__name__ == "_StoreTrueAction",
        "required": action.required,
        "nargs": action.nargs,
    }


def recorded_flag(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded option; infinity is a number again."""
    return {**record, "default": from_json(record["default"])}


BASE_FLAGS = [(phase, record) for phase in PHASES for record in FLAGS["base"]]
PHASE_FLAGS = [(phase, record) for phase in PHASES for record in FLAGS[phase]["added"]]


@pytest.mark.parametrize(
    ("phase", "record"),
    BASE_FLAGS + PHASE_FLAGS,
    ids=[f"{phase}-{record['dest']}" for phase, record in BASE_FLAGS + PHASE_FLAGS],
)
def test_flag_is_the_recorded_one(phase: str, record: dict[str, Any]) -> None:
    wanted = recorded_flag(record)
    override = FLAGS[phase]["defaults_overridden"].get(record["dest"])
    if override and record in FLAGS["base"]:
        assert override["from"] == wanted["default"]
        wanted["default"] = override["to"]
    parser = phase_parser(phase)
    assert as_record(by_flag(parser)[wanted["flag"][0]], parser) == wanted


PLUGINS = [
    (kind, name, phase)
    for kind in SETTERS
    for name, phases in FLAGS[kind].items()
    for phase, record in phases.items()
    if "error" not in record
]


@pytest.mark.parametrize(
    ("kind", "name", "phase"), PLUGINS, ids=["-".join(plugin) for plugin in PLUGINS]
)
def test_plugin_adds_and_overrides_what_is_recorded(kind: str, name: str, phase: str) -> None:
    record = FLAGS[kind][name][phase]
    before, parser = phase_parser(phase), phase_parser(phase)
    SETTERS[kind](name)(parser, phase == "train")
    actions = by_flag(parser)
    for added in record["added"]:
        wanted = recorded_flag(added)
        assert wanted["flag"][0] not in by_flag(before)
        assert as_record(actions[wanted["flag"][0]], parser) == wanted
    overridden = {
        action.dest: {"from": before.get_default(action.dest), "to": default}
        for action in by_flag(before).values()
        if (default := parser.get_default(action.dest)) != before.get_default(action.dest)
    }
    # The reference's `from` is the base default, before the phase changed any.
    recorded = {
        dest: {"from": before.get_default(dest), "to": from_json(change["to"])}
        for dest, change in record["defaults_overridden"].items()
    }
    assert overridden == recorded


# ---- command lines ------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the default `./checkpoints` be in a temporary folder."""
    monkeypatch.chdir(tmp_path)


def parsed(phase: str, argv: Iterable[str]) -> dict[str, Any]:
    """Parse a command line and return the values."""
    return dict(vars(PHASES[phase]().parse(list(argv))))


def usable(gpu_ids: str) -> list[int]:
    """Return what `parse` makes of `--gpu_ids` here."""
    numbers = [int(part) for part in gpu_ids.split(",")]
    return [n for n in numbers if n >= 0] if torch.cuda.is_available() else []


def compare_values(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    """Compare a namespace; options of ours may be there besides."""
    wanted = {name: from_json(value) for name, value in recorded.items()}
    wanted["gpu_ids"] = usable(wanted["gpu_ids"])
    assert {name: found[name] for name in wanted if name in found} == wanted


def follows_crop_size(phase: str, argv: list[str]) -> list[str]:
    """Give the reference's load_size where ours would follow crop_size at test time."""
    if phase == "test" and "--crop_size" in argv and "--load_size" not in argv:
        return [*argv, "--load_size", "256"]
    return argv


def case_ids(records: list[dict[str, Any]]) -> list[str]:
    """Return phase and command line of each record."""
    return [f"{record['phase']} {shlex.join(record['argv'])}" for record in records]


def split(
    records: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Separate records of values from records of errors."""
    valid = [record for record in records if "error" not in record]
    return valid, [record for record in records if "error" in record]


VALID, INVALID = split(EFFECTIVE + COMMANDS)
VALID_WITH_DATASET, INVALID_WITH_DATASET = split(WITH_DATASET)
INVALID += INVALID_WITH_DATASET


@pytest.mark.parametrize("record", VALID, ids=case_ids(VALID))
def test_command_line_gives_the_recorded_values(record: dict[str, Any]) -> None:
    found = parsed(record["phase"], follows_crop_size(record["phase"], record["argv"]))
    compare_values(found, record["values"])


@pytest.mark.parametrize("record", VALID_WITH_DATASET, ids=case_ids(VALID_WITH_DATASET))
def test_dataset_mode_changes_the_recorded_values(record: dict[str, Any]) -> None:
    base = next(
        other["values"]
        for other in EFFECTIVE
        if (other["model"], other["phase"]) == (record["model"], record["phase"])
    )
    found = parsed(record["phase"], record["argv"])
    compare_values(found, {**base, **record["differs_from_model_default"]})


def test_load_size_follows_crop_size_at_test_time() -> None:
    assert parsed("test", ["--dataroot", "D", "--crop_size", "512"])["load_size"] == 512
    assert parsed("train", ["--dataroot", "D", "--crop_size", "128"])["load_size"] == 286


# What our message must name where the reference died of an exception.
NAMED = {"AssertionError": "TestModel", "ModuleNotFoundError": "'nosuch'"}


@pytest.mark.parametrize("record", INVALID, ids=case_ids(INVALID))
def test_wrong_command_line_exits_with_status_2_and_a_reason(
    record: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed(record["phase"], record["argv"])
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    # argparse's own text follows the program's name.
    named = NAMED.get(record["error"]) or record["stderr_last_line"].split("error: ")[1]
    assert named in message
    assert not (tmp_path / "checkpoints").exists(), "nothing is written for a refused command line"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--lr_policy", "bogus"),
        ("--direction", "atob"),
        ("--preprocess", "resise"),
        ("--gan_mode", "hinge"),
        ("--init_type", "uniform"),
        ("--netG", "resnet_5blocks"),
        ("--netD", "patch"),
        ("--norm", "group"),
    ],
)
def test_unknown_value_is_refused_when_parsing(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed("train", ["--dataroot", "D", "--model", "pix2pix", option, value])
    assert exit_.value.code == 2
    assert f"{option} {value}" in capsys.readouterr().err


@pytest.mark.parametrize("record", SUFFIXES, ids=ids(SUFFIXES, "suffix"))
def test_suffix_extends_the_name_as_recorded(
    record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--dataroot", "X", "--name", "nm", "--gpu_ids", "-1", "--suffix", record["suffix"]]
    argv += record["extra"]
    if "error" in record:
        with pytest.raises(SystemExit) as exit_:
            parsed("train", argv)
        assert exit_.value.code == 2
        assert record["suffix"] in capsys.readouterr().err
        return
    found = parsed("train", argv)
    assert (found["name"], found["gpu_ids"]) == (record["name"], record["gpu_ids"])
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == record["dirs"]


# ---- abbreviations ------------------------------------------------------------------------

COMBINATIONS = [
    (record["phase"], record["model"])
    for record in EFFECTIVE
    if record["model"] and "error" not in record
]


def reference_flags(phase: str, model: str) -> dict[str, dict[str, Any]]:
    """Return the options that the reference had for a phase and a model, with its data set."""
    values = next(
        record["values"]
        for record in EFFECTIVE
        if (record["phase"], record["model"]) == (phase, model)
    )
    groups = [FLAGS["base"], FLAGS[phase]["added"], FLAGS["model"][model][phase]["added"]]
    groups.append(FLAGS["dataset_mode"][values["dataset_mode"]][phase]["added"])
    flags = {flag["flag"][0]: flag for group in groups for flag in group}
    assert {flag["dest"] for flag in flags.values()} == set(values) - {"isTrain"}
    return flags


def unambiguous_prefixes(flags: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield every abbreviation that means exactly one option, with that option."""
    names = [*flags, "--help"]
    for flag in names[:-1]:
        for length in range(len("--x"), len(flag)):
            if [name for name in names if name.startswith(flag[:length])] == [flag]:
                yield flag[:length], flag


VALUES_THAT_MATTER = {
    "--direction": "BtoA",
    "--preprocess": "none",
    "--gan_mode": "wgangp",
    "--lr_policy": "step",
    "--init_type": "xavier",
    "--netG": "unet_128",
    "--netD": "pixel",
    "--norm": "none",
    "--gpu_ids": "-1",
}


def other_value(flag: str, record: Mapping[str, Any]) -> tuple[list[str], Any]:
    """Return the words to write after an option, and the value they must give."""
    if record["store_true"]:
        return [], True
    if record["type"] == "int":
        return ["7"], 7
    if record["type"] == "float":
        return ["0.125"], 0.125
    text = VALUES_THAT_MATTER.get(flag, "some_text")
    return [text], text


@pytest.mark.parametrize(
    ("phase", "model"), COMBINATIONS, ids=["-".join(pair) for pair in COMBINATIONS]
)
def test_every_abbreviation_still_means_its_option(phase: str, model: str) -> None:
    flags = reference_flags(phase, model)
    dataset_mode = parsed(phase, ["--dataroot", "D", "--model", model])["dataset_mode"]
    texts = {"--model": model, "--dataset_mode": dataset_mode}
    prefixes = [*unambiguous_prefixes(flags)]
    assert len(prefixes) > 100
    for prefix, flag in prefixes if LONG or model == "cycle_gan" else prefixes[::3]:
        words, value = other_value(flag, flags[flag])
        if flag in texts:
            words, value = [texts[flag]], texts[flag]
        argv = [] if flag == "--dataroot" else ["--dataroot", "D"]
        argv += [] if flag == "--model" else ["--model", model]
        opt = PHASES[phase]().gather_options([*argv, prefix, *words])
        assert vars(opt)[flags[flag]["dest"]] == value, prefix


# ---- the option file ------------------------------------------------------------------------

LINE = re.compile(r" *(\w+): (.*?) *(?:\t\[default: (.*)\])?")


def option_files() -> Iterator[tuple[str, list[str], str, list[str]]]:
    """Yield tag, command line, file and lines of every recorded option file."""
    for run in RUNS["runs"]:
        argv, name = run["argv"], value_of(run["argv"], "--name")
        if run["script"] == "train.py":
            (lines,) = run["opt_txt"].values()
            yield run["tag"], argv, "train_opt", lines
        else:
            file = f"{value_of(argv, '--phase', 'test')}_opt"
            yield run["tag"], argv, file, RUNS["test_opt_txt"][f"{name}/{file}.txt"]


FILES = list(option_files())


@pytest.mark.parametrize(
    ("argv", "file", "lines"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_option_file_has_the_recorded_lines(
    argv: list[str], file: str, lines: list[str], tmp_path: Path
) -> None:
    def real(text: str) -> str:
        return re.sub("<[A-Z]+>", str(tmp_path), text)

    def real_line(line: str) -> str:
        if real(line) == line:
            return line
        match = LINE.fullmatch(line)  # the record lost the padding of values with a folder in them
        assert match
        return f"{match[1]:>25}: {real(match[2]):<30}\t[default: {match[3]}]"

    opt = PHASES["train" if file == "train_opt" else "test"]().parse([real(word) for word in argv])
    text = (Path(opt.checkpoints_dir) / opt.name / f"{file}.txt").read_text()
    assert text.endswith("-\n")
    found, wanted = text.splitlines(), [real_line(line) for line in lines]
    names = {line.split(":")[0].strip() for line in wanted}
    ours = [line for line in found if line.split(":")[0].strip() not in names]
    assert [line for line in found if line not in ours] == wanted
    assert all(re.fullmatch(r" {,24}\w+: .{30,}(\t\[default: .*\])?", line) for line in ours)
    assert found[1:-1] == sorted(found[1:-1], key=lambda line: line.split(":")[0].strip())


def test_option_file_also_comes_as_json(tmp_path: Path) -> None:
    opt = TrainOptions().parse(["--dataroot", "X", "--name", "n", "--gpu_ids", "-1"])
    values = json.loads((tmp_path / "checkpoints" / "n" / "train_opt.json").read_text())
    assert values["max_dataset_size"] is None, "infinity is null"
    for name, value in vars(opt).items():
        if name not in {"gpu_ids", "max_dataset_size"}:
            assert values[name] == value, name


def test_parsing_again_starts_afresh() -> None:
    options = TrainOptions()
    first = options.parse(["--dataroot", "X", "--model", "pix2pix", "--ngf", "8"])
    second = options.parse(["--dataroot", "X"])
    assert (first.model, first.netG, first.ngf) == ("pix2pix", "unet_256", 8)
    assert (second.model, second.netG, second.ngf) == ("cycle_gan", "resnet_9blocks", 64)
