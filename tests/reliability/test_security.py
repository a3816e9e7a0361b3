"""Hostile files, names and archives: nothing runs, and nothing is written or shown elsewhere."""

import functools
import io
import os
import pickle
import stat
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import test as test_script
import train as train_script
from tests.reliability.conftest import Count
from tests.support.commands import ROOT, draw_pairs, draw_unpaired, start, train
from tests.support.commands import test as run_test
from tests.support.corpus import NAMES, outside, tree, writes
from tests.support.paths import needs_any_name
from util.base.errors import UserError, run_command
from util.display.pages.page_sink import PageSink
from util.display.sinks import LogStep
from util.get_data import unpack
from util.html import HTML
from util.storage.checkpoint import CheckpointError, load_state
from util.visualizer import save_images

# ---- checkpoints that would run code ------------------------------------------------------------

Call = tuple[Callable[..., object], tuple[object, ...]]


class Payload:
    """Calls a function when it is unpickled."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __reduce__(self) -> Call:
        return self.call


def old_torch_file(state: object) -> bytes:
    """Write as torch before 1.6 did."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)  # noqa: TID251
    return file.getvalue()


def torch_file(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)  # noqa: TID251
    return file.getvalue()


CALLS: dict[str, Callable[[str], Call]] = {
    "os.system": lambda marker: (os.system, (f"touch '{marker}'",)),
    "os.mkdir": lambda marker: (os.mkdir, (marker,)),
    "eval": lambda marker: (eval, (f"open({marker!r}, 'w').close()",)),
    "exec": lambda marker: (exec, (f"open({marker!r}, 'w').close()",)),
    "subprocess": lambda marker: (subprocess.call, (["touch", marker],)),
    "partial": lambda marker: (functools.partial(os.mkdir, marker), ()),
    "pickle.loads": lambda marker: (pickle.loads, (pickle.dumps(payload(marker)),)),
    "torch's own": lambda marker: (
        torch.storage._load_from_bytes,
        (old_torch_file(payload(marker)),),
    ),
}


def payload(marker: str, kind: str = "os.mkdir") -> Payload:
    return Payload(CALLS[kind](marker))


def with_hostile_notes(hostile: Payload) -> "OrderedDict[str, torch.Tensor]":
    """Hide it where torch keeps the versions of a network's parts."""
    state = OrderedDict(weight=torch.ones(1))
    vars(state)["_metadata"] = hostile
    return state


PLACES: dict[str, Callable[[Payload], object]] = {
    "alone": lambda hostile: hostile,
    "in a state dict": lambda hostile: OrderedDict(weight=torch.ones(1), bias=hostile),
    "in its notes": with_hostile_notes,
    "deep inside": lambda hostile: {"model": {"optimizers": [{"state": {0: (1.0, hostile)}}]}},
}
FORMATS: dict[str, Callable[[object], bytes]] = {
    "zip": torch_file,
    "old": old_torch_file,
    "pickle": functools.partial(pickle.dumps, protocol=2),
}


def read_carelessly(path: Path, kind: str) -> None:
    """Read as one must not."""
    if kind == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)  # noqa: TID251


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_checkpoint_that_would_run_code_is_refused(
    tmp_path: Path, count: Count, call: str, place: str, form: str
) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    path.write_bytes(FORMATS[form](PLACES[place](payload(str(marker), call))))
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's advice: to switch safety off
    assert not marker.exists()

    read_carelessly(path, form)
    assert marker.exists()  # so the payload is one
    count("security: checkpoints with code, refused")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images in `unpaired` and `pairs`."""
    root = tmp_path_factory.mktemp("world")
    draw_unpaired(root / "unpaired", "train", 1, 1)
    draw_unpaired(root / "unpaired", "test", 1, 1)
    draw_pairs(root / "pairs", "train", 2)
    draw_pairs(root / "pairs", "test", 1)
    return root


SMALL = "--gpu_ids -1 --num_threads 0 --ngf 2 --netG resnet_6blocks --crop_size 32 --load_size 32"
TRAIN = f"{SMALL} --display_id -1 --ndf 2 --n_epochs 1 --n_epochs_decay 0 --dataroot {{W}}/unpaired"
COMMANDS = {
    "test.py": f"{SMALL} --dataroot {{W}}/unpaired/testA --name evil",
    "train.py, state": f"{TRAIN} --continue_train --name evil_state",
    "train.py, networks": f"{TRAIN} --continue_train --name evil",
    "train.py, other networks": f"{TRAIN} --pretrained checkpoints/evil --name new",
}


def run_as_process(script: str, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder; return its status and what it says of errors."""
    ended = start([ROOT / script, *arguments], folder)
    return ended.returncode, ended.stderr


def run_here(script: str, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Do the same in this process, which has torch's optimisers loaded: that takes long."""
    main = train_script.main if script == "train.py" else test_script.main
    said = io.StringIO()
    with chdir(folder), redirect_stderr(said):
        return run_command(lambda: main(arguments)), said.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_checkpoint_that_would_run_code(
    world: Path, tmp_path: Path, count: Count, command: str
) -> None:
    marker = tmp_path / "marker"
    content = torch_file(OrderedDict(weight=payload(str(marker), "os.system")))
    networks = [f"evil/latest_net_{name}.pth" for name in ("G", "G_A", "G_B", "D_A", "D_B")]
    for file in [*networks, "evil_state/latest_state.pth"]:
        path = tmp_path / "checkpoints" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run = run_here if "networks" in command else run_as_process
    status, said = run(
        command.partition(",")[0],
        [word.format(W=world) for word in COMMANDS[command].split()],
        tmp_path,
    )
    assert status == 1, said
    assert "it holds something else than tensors, which could run code" in said
    assert "Traceback" not in said
    assert not marker.exists()
    count("security: commands that refused code")


# ---- pages --------------------------------------------------------------------------------------

SCRIPT = '"><img src=x onerror=alert(1)><script>alert(1);touch marker;$(touch marker)`touch marker`'
HOSTILE = (
    SCRIPT,
    "</title></h3></p></a></td><script>alert(1)",
    "</script></style><img src=x onerror=alert(1)>",
    "</text></svg></details><b>",
    "' onload='alert(1)",
    '" onclick="alert(1)',
    "javascript:alert(1)",
    "<!--",
    "]]><svg onload=alert(1)>",
    "&lt;script&gt;alert(1)",
)


class Structure(HTMLParser):
    """What a browser makes of a page: tags with their attributes, text, and what would be run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.code: list[str] = []  # scripts and styles
        self._in_code = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        self._in_code = tag in ("script", "style") and dict(attrs).get("type") != "application/json"

    def handle_endtag(self, tag: str) -> None:
        """Take note that code has ended."""
        self._in_code = False

    def handle_data(self, data: str) -> None:
        """Take note of text."""
        if self._in_code:
            self.code.append(data)
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        """Take note of a comment as if it were a tag."""
        self.tags.append((f"comment {data}", ()))


def assert_same_structure(hostile: str, harmless: str) -> None:
    """Check that a page is built, runs and leads like another one."""
    one, other = Structure(hostile), Structure(harmless)
    assert one.tags == other.tags
    assert_same_code(one, other)


def assert_same_code(one: Structure, other: Structure) -> None:
    """Check that nothing else runs, and that links lead to the same places or the page's images.

    The numbers of tags may differ: curves have them.
    """
    assert len(other.tags) > 2
    assert set(one.tags) == set(other.tags)
    assert one.code == other.code
    places, others = set(one.addresses), set(other.addresses)
    images = {address for address in places if address.startswith("images/")}
    assert places - images <= others
    assert not set("".join(images)) & set("<>\"' \\:")


IMAGE = torch.zeros(1, 3, 8, 8)


def harmless_like(names: Sequence[str]) -> list[str]:
    """Return other names of the same lengths, since pages cut what is long."""
    return [f"{number}{'a' * len(name)}"[: len(name)] for number, name in enumerate(names)]


def results_page(folder: Path, names: Sequence[str], labels: Sequence[str]) -> str:
    """Write a page of results as test.py does."""
    page = HTML(folder, f"Experiment = {names[0]}, Phase = test, Epoch = latest")
    for name in names:
        save_images(page, dict.fromkeys(labels, IMAGE), [f"in/{name}.png"])
    page.save()
    return (folder / "index.html").read_text(encoding="utf-8")


def as_files(names: Sequence[str]) -> list[str]:
    """Return what of the names can be part of a file's name."""
    return [name.replace("/", "") for name in names]


@needs_any_name
def test_no_name_of_an_image_and_no_label_becomes_markup_on_the_results_page(
    tmp_path: Path, count: Count
) -> None:
    names, labels = [*NAMES, *as_files(HOSTILE)], as_files(HOSTILE)
    hostile = results_page(tmp_path / "hostile", names, ["fake"])
    assert_same_structure(hostile, results_page(tmp_path / "0", harmless_like(names), ["fake"]))
    hostile = results_page(tmp_path / "labels", ["a"], labels)
    assert_same_structure(hostile, results_page(tmp_path / "1", ["a"], harmless_like(labels)))
    count("security: hostile names and labels on pages", len(names) + len(labels))


def training_page(folder: Path, title: str, losses: Sequence[str], labels: Sequence[str]) -> str:
    """Write a page of training with images and curves."""
    sink = PageSink(folder, f"Experiment name = {title}", 64)
    image = np.zeros((8, 8, 3), np.uint8)
    for images in (1, 2):
        sink.scalars(LogStep(1, images), dict.fromkeys(losses, 0.5))
    sink.images(LogStep(1), dict.fromkeys(labels, image))
    sink.close()
    return (folder / "index.html").read_text(encoding="utf-8")


def test_no_name_of_a_run_and_no_label_becomes_markup_on_the_training_page(
    tmp_path: Path, count: Count
) -> None:
    labels = as_files(HOSTILE)
    losses, plain = harmless_like(HOSTILE), harmless_like(labels)
    harmless = training_page(tmp_path / "harmless", "run", losses, plain)
    hostile = training_page(tmp_path / "labels", "run", HOSTILE, labels)
    assert_same_structure(hostile, harmless)
    for number, name in enumerate(HOSTILE):
        page = training_page(tmp_path / str(number), name, losses, plain)
        assert_same_structure(page, harmless)
        assert name in Structure(page).text
    count("security: hostile names and labels on pages", len(labels) + 2 * len(HOSTILE))


def test_a_run_with_a_hostile_name_trains_and_tests_without_harm(
    world: Path, tmp_path: Path, count: Count
) -> None:
    name = SCRIPT.replace("/", "")
    pages = {}
    for run in (name, "harmless"):
        folder = tmp_path / "folder"
        with writes() as written:
            trained = (
                train(folder, world / "pairs", "pix2pix", "--name", run, "--seed", "7").parent / run
            )
            run_test(folder, world / "pairs", "pix2pix", "--name", run)
        assert outside(written, folder) == []
        results = folder / "results" / run / "test_latest"
        pages[run] = [
            (path / "index.html").read_text(encoding="utf-8") for path in (trained / "web", results)
        ]
    for hostile, harmless in zip(pages[name], pages["harmless"], strict=True):
        assert_same_code(Structure(hostile), Structure(harmless))
        assert name in Structure(hostile).text
    assert not list(tmp_path.rglob("marker"))
    count("security: hostile names and labels on pages")


# ---- paths --------------------------------------------------------------------------------------

ESCAPES = (
    ("--name", "../run"),
    ("--name", "a/../../run"),
    ("--name", "a/.."),
    ("--name", ".."),
    ("--name", "."),
    ("--name", "./"),
    ("--name", ""),
    ("--name", "{T}/elsewhere/run"),
    ("--name", "/"),
    ("--name", "..\\run"),
    ("--name", "a\\..\\..\\run"),
    ("--name", "\\run"),
    ("--name", "C:\\run"),
    ("--name", "C:/run"),
    ("--name", "nul\0"),
    ("--suffix", "/../../../run"),
    ("--suffix", "\\..\\..\\run"),
    ("--epoch", "../other/latest"),
    ("--epoch", "..\\latest"),
    ("--epoch", "{T}/x"),
    ("--epoch", "nul\0"),
    ("--phase", "../x"),
    ("--phase", ".."),
    ("--phase", "{T}/x"),
    ("--phase", "x\\..\\..\\y"),
    ("--model_suffix", "/../../other/latest_net_G"),
    ("--model_suffix", "\\..\\x"),
    ("--load_iter", "../1"),
    ("--checkpoints_dir", "nul\0"),
    ("--results_dir", "nul\0"),
    ("--dataroot", "nul\0"),
    ("--model", "../../{T}/evil"),
    ("--model", "{T}/evil"),
    ("--model", "..evil"),
    ("--model", "os.path"),
    ("--model", "networks.resnet"),
    ("--model", "evil\0"),
    ("--model", ""),
    ("--dataset_mode", "../../{T}/evil"),
    ("--dataset_mode", "{T}/evil"),
    ("--dataset_mode", "os.path"),
    ("--dataset_mode", "evil\0"),
    ("--dataset_mode", ""),
)
ONLY_TEST = ("--model_suffix", "--results_dir")
ATTEMPTS = [("test", *escape) for escape in ESCAPES]
ATTEMPTS += [("train", *escape) for escape in ESCAPES if escape[0] not in ONLY_TEST]


@pytest.mark.parametrize(("script", "option", "value"), ATTEMPTS)
def test_no_name_leads_to_another_folder(
    world: Path,
    tmp_path: Path,
    count: Count,
    capsys: pytest.CaptureFixture[str],
    script: str,
    option: str,
    value: str,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for kind in ("model", "dataset"):  # what must not be imported
        plugin = f"import os\nos.mkdir({str(tmp_path / 'marker')!r})\n"
        (tmp_path / f"evil_{kind}.py").write_text(plugin)
    before = tree(tmp_path)
    value = value.format(T=tmp_path)
    argv = [
        "--dataroot",
        str(world / "pairs"),
        *SMALL.split(),
        "--name",
        "run",
        f"{option}={value}",
    ]
    main = train_script.main if script == "train" else test_script.main
    with writes() as written, pytest.raises(SystemExit) as stopped:
        run_command(lambda: main(argv))
    assert stopped.value.code == 2
    assert outside(written) == []
    assert tree(tmp_path) == before
    said = capsys.readouterr().err.partition("error: ")[2]
    named = {"--suffix": "--name", "--model": "No model", "--dataset_mode": "No dataset"}
    assert named.get(option, option) in said
    count("security: paths that lead elsewhere, refused")


@pytest.mark.parametrize(
    "name", ["exp/run1", "a/b/c/", "./run", "..run", "run..", "a:b", "x y", "-"]
)
def test_names_that_stay_inside_are_accepted(world: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    with writes() as written:
        train(folder, world / "pairs", "pix2pix", f"--name={name}", "--no_html")
    assert (folder / "checkpoints" / name / "latest_net_G.pth").is_file()
    assert outside(written, folder) == []


def test_a_runs_folder_may_be_a_link_to_another_disk(world: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run").symlink_to(disk)
    train(tmp_path, world / "pairs", "pix2pix", "--no_html")
    assert (disk / "latest_net_G.pth").is_file()


# ---- archives -----------------------------------------------------------------------------------

Member = tuple[str, bytes, str]  # name, kind (of tarfile), content or where a link leads
FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def through_a_name_too_long() -> list[Member]:
    """Lead outside by a path of which Python before 3.11.13 cannot tell where it ends.

    CVE-2025-4517: what is longer than 4096 bytes is taken as it stands, links in it unresolved.
    """
    folder, members = "", []
    for letter in "abcdefghijklmnop":
        members += [(f"{folder}{'d' * 247}", tarfile.DIRTYPE, "")]
        members += [(f"{folder}{letter}", LINK, "d" * 247)]
        folder += f"{'d' * 247}/"
    last = "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/" + "l" * 254
    members += [(last, LINK, "../" * 16), ("escape", LINK, f"{last}/../elsewhere")]
    return [*members, ("escape/evil.txt", FILE, "evil")]


TARS: dict[str, list[Member]] = {
    "upwards": [("../evil.txt", FILE, "evil")],
    "upwards inside": [("a/../../evil.txt", FILE, "evil")],
    "whole path": [("{T}/elsewhere/evil.txt", FILE, "evil")],
    "link to a whole path": [("x", LINK, "{T}/elsewhere"), ("x/evil.txt", FILE, "evil")],
    "link upwards": [("x", LINK, "../elsewhere"), ("x/evil.txt", FILE, "evil")],
    "link to a file": [("x", LINK, "../elsewhere/secret"), ("x", FILE, "evil")],
    "two links": [("a/x", LINK, ".."), ("y", LINK, "a/x/.."), ("y/evil.txt", FILE, "evil")],
    "hard link": [("x", HARD, "../elsewhere/secret"), ("x", FILE, "evil")],
    "hard link to a whole path": [("x", HARD, "{T}/elsewhere/secret"), ("x", FILE, "evil")],
    "device": [("x.png", tarfile.CHRTYPE, "")],
    "pipe": [("x.png", tarfile.FIFOTYPE, "")],
    "a name too long": through_a_name_too_long(),
}


def write_tar(path: Path, members: Sequence[Member], top: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name.format(T=top))
            member.type, member.mode = kind, 0o6777  # whoever runs it would be its owner
            if kind == FILE:
                member.size = len(content)
            elif kind in (LINK, HARD):
                member.linkname = content.format(T=top)
            tar.addfile(member, io.BytesIO(content.encode()) if kind == FILE else None)


def assert_contained(tmp_path: Path, archive: Path) -> None:
    """Unpack, and check that nothing came to lie outside, or leads there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    before = tree(tmp_path)
    with pytest.raises(UserError) as caught:
        unpack(archive, folder)
    assert archive.name in str(caught.value)
    after = {
        path: what for path, what in tree(tmp_path).items() if not path.startswith("unpacked/")
    }
    assert after == before
    assert (tmp_path / "elsewhere" / "secret").stat().st_nlink == 1
    for path in folder.rglob("*"):
        assert path.resolve().is_relative_to(folder)


@pytest.mark.parametrize("case", TARS)
def test_a_tar_file_that_leads_elsewhere_is_refused(
    tmp_path: Path, count: Count, case: str
) -> None:
    archive = tmp_path / "evil.tar.gz"
    write_tar(archive, TARS[case], tmp_path)
    assert_contained(tmp_path, archive)
    count("security: archives that lead elsewhere, refused")


ZIPS = ("../evil.txt", "a/../../evil.txt", "{T}/elsewhere/evil.txt", "/evil.txt")


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_file_that_leads_elsewhere_is_refused(
    tmp_path: Path, count: Count, name: str
) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(name.format(T=tmp_path), "evil")
    assert_contained(tmp_path, archive)
    count("security: archives that lead elsewhere, refused")


def test_a_link_in_a_zip_file_is_unpacked_as_a_file(tmp_path: Path) -> None:
    archive, folder = tmp_path / "links.zip", tmp_path / "unpacked"
    with zipfile.ZipFile(archive, "w") as zipped:
        link = zipfile.ZipInfo("x")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "../elsewhere")
    unpack(archive, folder)
    assert not (folder / "x").is_symlink()
    assert (folder / "x").read_text() == "../elsewhere"


def test_links_that_stay_inside_are_unpacked_and_no_file_gets_the_owners_rights(
    tmp_path: Path,
) -> None:
    archive, folder = tmp_path / "good.tar.gz", tmp_path / "unpacked"
    write_tar(archive, [("a/1.jpg", FILE, "one"), ("b.jpg", LINK, "a/1.jpg")], tmp_path)
    unpack(archive, folder)
    assert (folder / "b.jpg").read_text() == "one"
    assert not (folder / "a/1.jpg").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
