"""Input that nobody would write by hand: refused in one message, or taken; never a crash or a hang.

The counts are printed at the end; RELIABILITY=long tries 20 times as many.
"""

import io
import json
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, features

from data.image_folder import default_loader, is_image_file, make_dataset
from models.networks import define_D, define_G
from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.reliability.conftest import Count
from tests.support.corpus import (
    damaged,
    encoded,
    exif,
    noise,
    outside,
    time_limit,
    tries,
    writes,
)
from tests.support.paths import needs_any_name
from util.base.errors import UserError
from util.display.sinks.jsonl import LossRecord, parse_loss_log, read_losses
from util.storage.checkpoint import CheckpointError, load_network, load_state
from util.storage.old_names import OLD_NAMES, OLD_SWITCHES, OLD_VALUES
from util.storage.run_folder import RunFolder
from util.training.saver import FORMAT, read_state

pytestmark = pytest.mark.slow  # all of it together: a minute

# ---- command lines ------------------------------------------------------------------------------

MODELS = ("cycle_gan", "pix2pix", "colorization", "stargan_v2", "template", "test")
DATASETS = ("unaligned", "aligned", "single", "colorization", "template")


def known_options(options: type[BaseOptions], models: Sequence[str]) -> dict[str, list[str]]:
    """Return the long options of a command, each with values that surely work; none: a switch."""
    found: dict[str, list[str]] = {}
    for model in models:
        gathered = options()
        gathered.gather_options(["--dataroot", "X", "--model", model])
        for action in gathered.parser._actions:
            for name in action.option_strings:
                default = [] if action.nargs == 0 else [str(action.default)]
                if name.startswith("--") and action.dest != "help":
                    found.setdefault(name, []).extend(default)
    found["--model"] = list(models)
    found["--seed"] = found["--max_dataset_size"] = ["7"]
    return found


OPTIONS = {
    TrainOptions: known_options(TrainOptions, MODELS[:-1]),
    TestOptions: known_options(TestOptions, MODELS),
}
NAMES = sorted(OPTIONS[TrainOptions] | OPTIONS[TestOptions])
OLD = [f"--{name}" for name in (*OLD_NAMES, *OLD_SWITCHES)]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["nan", "-nan", "inf", "-inf", "1e999", "-0", "1_0", "0x10", "²", "١"]),
    st.just("9" * 400),
)
ELSEWHERE = ("..", "../x", "/x", "a/../../x", "..\\x", "C:\\x", "/", ".", "\\", "a/b", "x/..",
             "~", "C:\\Users\\me\\data set\\", "\\\\host\\share", "<C>/run",
             "<C>/../x")  # fmt: skip
CHECKPOINTS = "<C>"  # stands for --checkpoints_dir
DASHES_OF_TEXTS = ("\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}", "\N{HYPHEN}", "\N{EN DASH}" * 2)
WORDS = st.one_of(
    TEXT,
    NUMBERS,
    st.sampled_from([*MODELS, *DATASETS, *ELSEWHERE, "", "True", "os.path", "x" * 300, "{model}"]),
    st.sampled_from([old for values in OLD_VALUES.values() for old in values]),
)


def abbreviated(name: str, share: float) -> str:
    """Return the beginning of an option's name, of three characters at least."""
    return name[: max(3, round(share * len(name)))]


def misspelt(name: str, place: int, instead: str) -> str:
    """Return an option's name with something else in the place of one of its letters."""
    place = 2 + place % (len(name) - 2)
    return name[:place] + instead + name[place + 1 :]


SLIPS = st.sampled_from(["", "-", "_", "x", "ee", "ß", " "])
COPIED = st.builds(  # out of a text that a program has made
    lambda text, how: how.format(text),
    st.one_of(TEXT, st.sampled_from([*MODELS, "4", "0.1", "run"])),
    st.sampled_from(
        ["\u201c{}\u201d", "\u2018{}\u2019", "\u201e{}", "{}\r", "{}\xa0", "\u2013{}", "\ufeff{}"]
    ),
)
FLAGS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(OLD),
    st.builds(misspelt, st.sampled_from(NAMES + OLD), st.integers(0, 30), SLIPS),
    st.builds(abbreviated, st.sampled_from(NAMES), st.floats(0, 1)),
    TEXT.map(lambda text: f"--{text}"),
    st.sampled_from(["-h", "--help", "-", "--", "-x", "-1"]),
)
ODD_PIECES = st.one_of(
    st.builds(lambda name, word: [name, word], FLAGS, WORDS),
    st.builds(lambda name, word: [f"{name}={word}"], FLAGS, WORDS),
    FLAGS.map(lambda name: [name]),
    WORDS.map(lambda word: [word]),
    st.builds(lambda name, word: [name + word], FLAGS, WORDS),
    st.sampled_from(NAMES).map(lambda name: ["--", name.removeprefix("--")]),
    st.sampled_from(NAMES).map(lambda name: [name.replace("_", "-").replace("--", "\N{EM DASH}")]),
    st.builds(
        lambda name, dash, word: [name.replace("--", dash), word],
        st.sampled_from(NAMES + OLD), st.sampled_from(DASHES_OF_TEXTS), WORDS,
    ),
    st.builds(lambda name, word: [name, word], st.sampled_from(NAMES + OLD), COPIED),
    st.builds(lambda name, word: [f"{name}={word}"], st.sampled_from(NAMES + OLD), COPIED),
    st.sampled_from(ELSEWHERE).map(lambda name: [f"--name={name}"]),
)  # fmt: skip


def commands(options: type[BaseOptions]) -> st.SearchStrategy[list[str]]:
    """Draw a command line, right in most of its parts."""
    known = OPTIONS[options]

    def right(name: str) -> st.SearchStrategy[list[str]]:
        values = known[name]
        return st.sampled_from([[name, value] for value in values]) if values else st.just([name])

    pieces = st.lists(st.sampled_from(sorted(known)).flatmap(right), max_size=3)
    return st.builds(
        lambda *parts: [word for pieces in parts for piece in pieces for word in piece],
        st.sampled_from([[["--dataroot", "X"]]] * 9 + [[]]),
        pieces,
        st.lists(ODD_PIECES, max_size=2),
        pieces,
    )


def outcome(options: type[BaseOptions], argv: Sequence[str], folder: Path) -> str:
    """Parse and say how that ended, in one of the ways that are allowed."""
    said = io.StringIO()
    status: object = None
    message = ""
    with time_limit(), writes() as written, redirect_stdout(said), redirect_stderr(said):
        try:
            words = [word.replace(CHECKPOINTS, str(folder)) for word in argv]
            options().parse([*words, "--checkpoints_dir", str(folder)])
        except SystemExit as stopped:
            status, message = stopped.code, said.getvalue()
        except UserError as error:
            status, message = 2, f"error: {error}"
        except OSError as error:  # the commands show this in one line, if it has a name to show
            status, message = 2, f"error: {error}" if error.filename else ""
    assert outside(written, folder) == []
    assert status in (None, 0, 2)
    assert status != 2 or len(message.partition("error: ")[2]) > 10, message
    return {None: "accepted", 0: "help"}.get(status, "refused")


@pytest.mark.parametrize("options", OPTIONS)
@tries(250)
@given(data=st.data())
def test_command_lines_are_accepted_or_refused(
    tmp_path: Path, count: Count, options: type[BaseOptions], data: st.DataObject
) -> None:
    argv = data.draw(commands(options))
    count(f"fuzz, options: {outcome(options, argv, tmp_path / 'checkpoints')}")


VALUES = ("", "-1", "0", "nan", "-inf", "9" * 400, "../x", "/x", "a\\..\\b", "中", "x" * 5000)


@needs_any_name
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:5])
def test_every_option_stands_every_kind_of_value(
    tmp_path: Path, count: Count, options: type[BaseOptions], value: str
) -> None:
    for name in OPTIONS[options]:
        argv = ["--dataroot", "X", f"{name}={value}"]
        ended = outcome(options, argv, tmp_path / "checkpoints")
        count(f"fuzz, single options: {ended}")


@needs_any_name
@pytest.mark.parametrize("option", ["--dataroot", "--name", "--display_env"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_options_that_a_console_cannot_show_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, encoding: str
) -> None:
    """Names of files may hold bytes that are no UTF-8; consoles may know fewer letters still."""
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    argv = ["--dataroot", "X", "--checkpoints_dir", str(tmp_path), f"{option}=风 \udcff"]
    opt = TrainOptions().parse(argv)
    assert vars(opt)[option[2:]] == "风 \udcff"
    console.flush()
    assert b"batch_size" in console.buffer.getvalue()


# Without digits, which may be a width: that of 10**10 characters is legal.
FORMS = TEXT.filter(lambda form: not any(character.isdigit() for character in form))
FIELDS = st.one_of(
    TEXT,
    st.sampled_from(["{model}", "{lr}", "{load_size:04d}", "{name!r:.3}", "{dataroot}"]),
    st.sampled_from(["{", "}", "{{", "{}", "{0}", "{nosuch}", "{model.x}", "{model[x]}", "{lr:d}"]),
    st.sampled_from(["{gpu_ids[0]}", "{model!x}", "{model:{netG}}", "{model.__class__.__mro__}"]),
    st.sampled_from(["/../", "..", "\\"]),
    st.builds(lambda name, form: f"{{{name}:{form}}}", st.sampled_from(["lr", "name"]), FORMS),
)


@needs_any_name
@tries(150)
@given(pieces=st.lists(FIELDS, min_size=1, max_size=4))
def test_suffixes_are_filled_in_or_refused(tmp_path: Path, count: Count, pieces: list[str]) -> None:
    argv = ["--dataroot", "X", f"--suffix={''.join(pieces)}"]
    count(f"fuzz, suffixes: {outcome(TrainOptions, argv, tmp_path / 'checkpoints')}")


# ---- saved options ------------------------------------------------------------------------------

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
OPTION_NAMES = st.one_of(st.sampled_from([*NAMES, "--help"]).map(lambda name: name[2:]), TEXT)
SAVED = st.one_of(st.dictionaries(OPTION_NAMES, ANYTHING, max_size=6), ANYTHING)


@pytest.fixture(scope="module")
def saved_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return what a run saves of its options, as JSON and as text."""
    folder = tmp_path_factory.mktemp("saved")
    with redirect_stdout(io.StringIO()):
        TrainOptions().parse(["--dataroot", "X", "--checkpoints_dir", str(folder), "--name", "run"])
    return [(folder / "run" / f"train_opt.{ending}").read_bytes() for ending in ("json", "txt")]


def parse_beside(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Parse for a test and for a continued run, with these files beside the checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "latest_state.pth").touch()  # the run can be continued
    argv = ["--name", "run", "--gpu_ids", "-1", "--dataroot", "X"]
    ends = []
    for options, more in ((TestOptions, []), (TrainOptions, ["--continue_train"])):
        for name, content in files.items():
            (folder / "run" / name).write_bytes(content)
        ends.append(outcome(options, [*argv, *more], folder))
    return ends


@tries(80)
@given(saved=SAVED)
@example(saved={"model": ["pix2pix"], "name": "../x", "phase": "../x"})
def test_saved_options_of_any_content_are_taken_or_passed_over(
    tmp_path: Path, count: Count, saved: Any
) -> None:
    content = json.dumps(saved).encode()
    for ended in parse_beside(tmp_path / "checkpoints", {"train_opt.json": content}):
        count(f"fuzz, saved options: {ended}")


@pytest.mark.parametrize(
    "saved",
    [
        {"help": True},
        {"netG": ["resnet_9blocks"]},
        {"norm": {"instance": 1}},
        {"no_dropout": "perhaps"},
        {"ngf": float("nan")},
        {"ngf": "many"},
        ["netG", "resnet_9blocks"],
        {"nosuch": 1},
    ],
    ids=str,
)
def test_saved_values_of_the_wrong_kind_are_as_if_they_were_not_there(
    tmp_path: Path, saved: Any
) -> None:
    content = json.dumps(saved).encode()
    ends = parse_beside(tmp_path / "checkpoints", {"train_opt.json": content})
    assert ends == ["accepted", "accepted"]


@tries(40)
@given(data=st.data())
def test_damaged_option_files_are_taken_or_passed_over(
    tmp_path: Path, count: Count, saved_files: list[bytes], data: st.DataObject
) -> None:
    content = data.draw(st.one_of(damaged(saved_files), st.binary(max_size=50)))
    for name in ("train_opt.json", "train_opt.txt"):
        for ended in parse_beside(tmp_path / "checkpoints", {name: content}):
            count(f"fuzz, damaged option files: {ended}")


def test_option_files_that_are_nested_too_deeply_are_passed_over(tmp_path: Path) -> None:
    ends = parse_beside(tmp_path / "checkpoints", {"train_opt.json": b'{"ngf":' + b"[" * 200_000})
    assert ends[0] == "accepted"


# ---- checkpoints --------------------------------------------------------------------------------


def small_discriminator() -> torch.nn.Module:
    return define_D(1, 1, "pixel", norm="batch")


def torch_file(state: object, *, zipped: bool = True) -> bytes:
    """Return a checkpoint's content, as torch writes it now or did before 1.6."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)  # noqa: TID251
    return file.getvalue()


NETWORKS = {
    "pixel discriminator": small_discriminator(),
    "resnet": define_G(1, 1, 1, "resnet_6blocks", "instance"),
    "unet": define_G(1, 1, 1, "unet_128", "batch"),
}


def good_checkpoints() -> list[bytes]:
    state = small_discriminator().state_dict()
    training = {"format": FORMAT, "networks": {}, "step": 3, "moments": [torch.ones(2), 0.5, None]}
    return [
        torch_file(state),
        torch_file(state, zipped=False),
        torch_file(training),
        torch_file(training, zipped=False),
        pickle.dumps({"plain": [1, 2.5, "x"]}),
    ]


KEYS = st.one_of(
    st.sampled_from(list(small_discriminator().state_dict())),
    st.sampled_from(["model.1.weight", "model.26.weight", "model.10.conv_block.1.weight"]),
    st.sampled_from(["model.model.0.weight", "model.model.3.weight", "module.x", "format"]),
    TEXT,
    st.integers(),
)
TENSORS = st.builds(
    lambda shape, kind: torch.zeros(shape).to(kind),
    st.lists(st.integers(0, 3), max_size=4),
    st.sampled_from([torch.float32, torch.float16, torch.int64, torch.bool]),
)
STATES = st.one_of(
    st.dictionaries(KEYS, TENSORS, max_size=5),
    st.dictionaries(KEYS, st.one_of(TENSORS, ANYTHING), max_size=5).map(OrderedDict),
    ANYTHING,
    st.lists(TENSORS, max_size=3),
    TENSORS,
)


def altered(original: dict[str, Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Draw a network's state in which some entries are missing, renamed or something else."""
    keys = st.sampled_from(list(original))

    def change(where: str, how: Any) -> Callable[[dict[Any, Any]], None]:
        def edit(state: dict[Any, Any]) -> None:
            value = state.pop(where, None)
            if how == "rename":
                state[f"{where}.x"] = value
            elif how == "other digits":
                state[where.translate({ord("1"): "\u0661"})] = value
            elif isinstance(how, torch.dtype):
                state[where] = original[where].to(how)
            elif how != "remove":
                state[where] = how

        return edit

    changes = st.builds(
        change,
        keys,
        st.one_of(
            st.sampled_from(["remove", "rename", "other digits", torch.float16, torch.bool]),
            TENSORS,
            ANYTHING,
        ),
    )

    def apply(edits: Sequence[Callable[[dict[Any, Any]], None]]) -> dict[Any, Any]:
        state = dict(original)
        for edit in edits:
            edit(state)
        return state

    return st.builds(apply, st.lists(changes, min_size=1, max_size=3))


PICKLED = st.builds(lambda state, how: how(state), STATES, st.sampled_from([
    torch_file,
    lambda state: torch_file(state, zipped=False),
    lambda state: pickle.dumps(state, protocol=2),
    lambda state: pickle.dumps(state, protocol=4),
]))  # fmt: skip


def attempt(
    call: Callable[[], object],
    allowed: type[Exception] | tuple[type[Exception], ...] = CheckpointError,
) -> str:
    """Call and tell whether it worked; other errors than the allowed one are the test's."""
    try:
        with time_limit():
            call()
    except allowed as error:
        return "refused" if len(str(error)) > 10 else "refused without a message"
    return "accepted"


def use_as_checkpoint(folder: Path, content: bytes) -> dict[str, str]:
    """Read a file in all ways in which checkpoints are read."""
    folder.mkdir(exist_ok=True)
    for name in ("latest_net_G.pth", "latest_state.pth"):
        (folder / name).write_bytes(content)
    net = folder / "latest_net_G.pth"
    argv = ["--dataroot", "X", "--name", folder.name, "--gpu_ids", "-1"]
    return {
        "load": attempt(lambda: load_state(net)),
        "load into a network": attempt(lambda: load_network(small_discriminator(), net)),
        "training state": attempt(lambda: read_state(RunFolder(folder), "latest")),
        "infer options": outcome(TestOptions, argv, folder.parent),
    }


def use_and_count(folder: Path, content: bytes, group: str, count: Count) -> None:
    for how, ended in use_as_checkpoint(folder, content).items():
        count(f"fuzz, {group}, {how}: {ended}")


@tries(100)
@given(content=damaged(good_checkpoints()))
def test_damaged_checkpoints_are_refused_or_read(
    tmp_path: Path, count: Count, content: bytes
) -> None:
    use_and_count(tmp_path / "run", content, "damaged checkpoints", count)


@tries(60)
@given(
    content=st.builds(
        lambda start, rest, end: start + rest + end,
        st.sampled_from([b"", b"PK\3\4", b"\x80\x02", b"\x80\x04"]),
        st.binary(max_size=100),
        st.sampled_from([b"", b"."]),
    )
)
def test_any_bytes_as_a_checkpoint_are_refused_or_read(
    tmp_path: Path, count: Count, content: bytes
) -> None:
    use_and_count(tmp_path / "run", content, "random checkpoints", count)


@tries(100)
@given(content=PICKLED)
def test_checkpoints_of_any_content_are_refused_or_read(
    tmp_path: Path, count: Count, content: bytes
) -> None:
    use_and_count(tmp_path / "run", content, "strange checkpoints", count)


@pytest.mark.parametrize("network", NETWORKS)
@tries(20)
@given(data=st.data())
def test_networks_with_wrong_entries_are_refused_or_loaded(
    tmp_path: Path, count: Count, network: str, data: st.DataObject
) -> None:
    """Right enough to get past the first look, and into the guess of the architecture."""
    net = NETWORKS[network]
    state = data.draw(altered(net.state_dict()))
    path = tmp_path / "run" / "latest_net_G.pth"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(torch_file(state))
    ended = attempt(lambda: load_network(net, path))
    count(f"fuzz, networks with wrong entries, load into a network: {ended}")
    argv = ["--dataroot", "X", "--name", "run", "--gpu_ids", "-1"]
    ended = outcome(TestOptions, argv, tmp_path)
    count(f"fuzz, networks with wrong entries, infer options: {ended}")


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        *(("resnet", f"model.{number}.weight") for number in (1, 23)),
        *(("unet", f"model.model.{number}.weight") for number in (0, 3)),
    ],
)
def test_an_odd_outer_layer_does_not_confuse_the_guess(
    tmp_path: Path, network: str, layer: str
) -> None:
    """Right names with wrong shapes, or nearly right names, which random changes rarely hit."""
    state = dict(NETWORKS[network].state_dict())
    weight = state.pop(layer)
    path = tmp_path / "run" / "latest_net_G.pth"
    path.parent.mkdir()
    in_arabic = layer.translate({ord(digit): chr(0x660 + int(digit)) for digit in "0123456789"})
    for odd in ({layer: torch.zeros(())}, {f"{layer}.x": weight}, {in_arabic: weight}):
        path.write_bytes(torch_file(state | odd))
        argv = ["--dataroot", "X", "--name", "run", "--gpu_ids", "-1"]
        assert outcome(TestOptions, argv, tmp_path) in ("accepted", "refused")


@tries(60)
@given(
    networks=st.dictionaries(
        st.one_of(TEXT, st.sampled_from(["net_G.pth", "../../x", "\0", "x" * 300, 5])),
        SCALARS,
        max_size=3,
    ),
    rest=st.dictionaries(TEXT, ANYTHING, max_size=2),
)
def test_training_states_of_any_networks_are_refused_or_read(
    tmp_path: Path, count: Count, networks: dict[Any, Any], rest: dict[str, Any]
) -> None:
    content = torch_file({**rest, "format": FORMAT, "networks": networks})
    (tmp_path / "latest_state.pth").write_bytes(content)
    with redirect_stdout(io.StringIO()):
        ended = attempt(
            lambda: read_state(RunFolder(tmp_path), "latest"), (CheckpointError, OSError)
        )
    count(f"fuzz, training states: {ended}")


def test_a_pipe_in_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "latest_net_G.pth")
    os.mkfifo(tmp_path / "latest_state.pth")
    assert attempt(lambda: load_state(tmp_path / "latest_net_G.pth")) == "refused"
    assert attempt(lambda: read_state(RunFolder(tmp_path), "latest")) == "refused"


def test_good_checkpoints_are_accepted_in_all_ways(tmp_path: Path) -> None:
    """Else the tests above would pass although everything is refused."""
    files = good_checkpoints()
    assert use_as_checkpoint(tmp_path / "run", files[0]) == {
        "load": "accepted",
        "load into a network": "accepted",
        "training state": "refused",
        "infer options": "accepted",
    }
    assert use_as_checkpoint(tmp_path / "run", files[2])["training state"] == "accepted"


# ---- images -----------------------------------------------------------------------------------


def good_images() -> list[bytes]:
    image = Image.fromarray(noise(20, 24))
    deep = Image.fromarray(np.arange(480, dtype=np.uint16).reshape(24, 20))
    notes = exif((274, 3, 6), (271, 2, 65), (296, 3, 2))
    turned = Image.Exif()
    turned[274], turned[282] = 6, 72.0
    files = [
        *(encoded(image, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "PPM", "GIF")),
        *(encoded(image, kind, exif=notes) for kind in ("PNG", "JPEG")),
        encoded(image, "JPEG", progressive=True, exif=notes),
        encoded(image, "TIFF", exif=turned),
        encoded(image, "TIFF", compression="tiff_lzw"),
        encoded(image.convert("P"), "PNG", transparency=bytes(range(256))),
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(deep, "PNG"),
        encoded(deep, "TIFF"),
        encoded(image, "PNG", interlace=1),
    ]
    if features.check("webp"):
        files += [encoded(image, "WEBP", exif=notes), encoded(image, "WEBP", lossless=True)]
    return files


@tries(600)
@given(content=damaged(good_images()))
def test_damaged_images_are_refused_by_name_or_read(
    tmp_path: Path, count: Count, content: bytes
) -> None:
    """Warnings are errors here, so none of Pillow's reaches the user."""
    path = tmp_path / "a.png"
    path.write_bytes(content)
    message = ""
    try:
        with time_limit():
            image = default_loader(path)
    except UserError as error:
        message = str(error)
        assert str(path) in message
    else:
        assert image.mode == "RGB"
        assert min(image.size) > 0
    count(f"fuzz, images: {'refused' if message else 'accepted'}")


def test_whole_images_are_accepted(tmp_path: Path) -> None:
    for content in good_images():
        (tmp_path / "a.png").write_bytes(content)
        assert default_loader(tmp_path / "a.png").mode == "RGB"


# ---- listings -----------------------------------------------------------------------------------

FILE_NAMES = st.one_of(
    TEXT.filter(lambda name: name and "/" not in name),
    st.sampled_from(["a.png", "b.JPG", "c.Png", "d.webp", ".hidden.png", "a", "link.png", "x.tif"]),
).filter(lambda name: name not in (".", ".."))
THINGS = st.sampled_from(["file", "image", "pipe", "to itself", "to nowhere", "to the top", "to a"])
TREES = st.recursive(
    st.dictionaries(FILE_NAMES, THINGS, max_size=5),
    lambda inner: st.dictionaries(FILE_NAMES, st.one_of(THINGS, inner), max_size=4),
    max_leaves=8,
)


def plant(folder: Path, tree: dict[str, Any], top: Path) -> None:
    """Make a tree of folders, files, pipes and links."""
    folder.mkdir(parents=True)
    targets = {"to itself": None, "to nowhere": "nowhere", "to the top": top, "to a": "a.png"}
    for name, what in tree.items():
        path = folder / name
        if isinstance(what, dict):
            plant(path, what, top)
        elif what == "pipe":
            os.mkfifo(path)
        elif what in targets:
            path.symlink_to(targets[what] or path.name)
        else:
            path.write_bytes(b"\x89PNG" if what == "image" else b"")


@needs_any_name
@tries(150)
@given(tree=TREES, most=st.one_of(st.none(), st.integers(1, 3)))
def test_any_tree_is_listed(
    tmp_path: Path, count: Count, tree: dict[str, Any], most: int | None
) -> None:
    top = tmp_path / "top"
    shutil.rmtree(top, ignore_errors=True)
    plant(top, tree, top)
    with time_limit():
        listed = make_dataset(top)
        assert make_dataset(top, most or float("inf")) == listed[:most]
    assert listed == sorted(set(listed))
    for path in listed:
        assert is_image_file(path)
        assert os.path.lexists(path)
        assert not os.path.isdir(path)
        hidden = [part for part in Path(path).relative_to(top).parts if part.startswith(".")]
        assert hidden == []
    wanted = [
        os.path.join(folder, name)
        for folder, _, files in os.walk(top)
        for name in files
        if name.endswith((".png", ".JPG", ".tif"))
        and "/." not in f"{folder}/{name}"[len(str(top)) :]
    ]
    assert set(wanted) <= set(listed)
    count("fuzz, listings: accepted")
    count("fuzz, listings: images in them", len(listed))


# ---- logs of losses -----------------------------------------------------------------------------

JSON_LINES = "".join(
    json.dumps({
        "epoch": epoch, "iters": 100, "total_iters": 100 * epoch,
        "times": {"time": 0.1, "data": None}, "losses": {"G_A": 0.5, "D_A": None},
    }) + "\n"
    for epoch in range(1, 6)
)  # fmt: skip
TEXT_LINES = "================ Training Loss (Mon Jan  1) ================\n" + "".join(
    f"(epoch: {epoch}, iters: 100, time: 0.391, data: 0.016) G_A: 0.510 D_A: -1.250 \n"
    for epoch in range(1, 6)
)
LOGS = [JSON_LINES.encode(), TEXT_LINES.encode()]


def check_records(records: list[LossRecord]) -> None:
    for record in records:
        assert isinstance(record["epoch"], int)
        assert isinstance(record["iters"], int)
        for number in (record["time"], record["data"], *record["losses"].values()):
            assert isinstance(number, float)
        assert all(isinstance(name, str) for name in record["losses"])


@tries(150)
@given(content=st.one_of(
    damaged(LOGS),
    st.binary(max_size=80),
    st.builds(lambda before, value, after: before + json.dumps(value).encode() + b"\n" + after,
              st.sampled_from([b"", LOGS[0]]), ANYTHING, st.sampled_from([b"", LOGS[0]])),
))  # fmt: skip
def test_logs_of_any_content_are_refused_or_read(
    tmp_path: Path, count: Count, content: bytes
) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    for name, read in (("losses.jsonl", read_losses), ("loss_log.txt", parse_loss_log)):
        ended = attempt(lambda read=read: check_records(read(path)), UserError)  # type: ignore[misc]
        count(f"fuzz, {name}: {ended}")


def test_whole_logs_are_read(tmp_path: Path) -> None:
    for content, read in zip(LOGS, (read_losses, parse_loss_log), strict=True):
        (tmp_path / "log").write_bytes(content)
        assert [record["epoch"] for record in read(tmp_path / "log")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("read", [read_losses, parse_loss_log])
@pytest.mark.parametrize(
    "line", ["[" * 200_000, "=" * 200_000, ")" * 200_000, "(epoch: 1" * 20_000]
)
def test_endless_lines_do_not_hang_the_reader(
    tmp_path: Path, read: Callable[[Path], list[LossRecord]], line: str
) -> None:
    path = tmp_path / "log"
    path.write_text(f"{line}\n{line}\n")
    assert attempt(lambda: read(path), UserError) == "refused"
