"""What readers of the documents have besides the checkout: images, networks, runs of before."""

import io
import re
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from models.architectures import stargan_v2
from models.networks import define_G
from tests.support.checkpoints import save_state, save_untrained_inception
from tests.support.commands import draw, imported, scene
from tests.support.documents import simple_commands
from tests.support.paths import ROOT
from tests.support.reader import Reader
from util.scores.networks import INCEPTION

SIDE = 256  # pixels
CITYSCAPES = ROOT / "scripts" / "eval_cityscapes" / "cityscapes.py"

# ---- images -------------------------------------------------------------------------------


def draw_pairs(root: Path) -> None:
    """Draw pairs for all phases; tests are called as those of the facades."""
    for phase, names in {"train": "123", "val": "1", "test": ("1", "17")}.items():
        for name in names:
            both = Image.new("RGB", (2 * SIDE, SIDE))
            both.paste(scene(int(name), SIDE), (0, 0))
            both.paste(scene(int(name), SIDE, outlined=True), (SIDE, 0))
            draw(root / phase / f"{name}.jpg", both)


def draw_domains(root: Path) -> None:
    """Draw two domains for training and testing."""
    for phase in ("train", "test"):
        draw_images(root / f"{phase}A")
        draw_images(root / f"{phase}B", outlined=True)


def draw_animals(root: Path) -> None:
    """Draw folders of domains for all phases."""
    for phase in ("train", "val", "test"):
        draw_images(root / phase / "cat")
        draw_images(root / phase / "dog", outlined=True)


def write_masks(file: Path) -> None:
    """Write a function that takes edges from everywhere."""
    file.write_text("def of_faces(images):\n    everywhere = images[:, :1] * 0 + 1\n"
                    "    return everywhere, everywhere\n")  # fmt: skip


def save_stargan(file: Path) -> None:
    """Save untrained networks as the published ones are."""
    nets = {
        "generator": stargan_v2.Generator(64, w_hpf=0, ngf=2),
        "mapping_network": stargan_v2.MappingNetwork(num_domains=3),
        "style_encoder": stargan_v2.StyleEncoder(64, num_domains=3, ndf=2),
    }
    save_state({name: net.state_dict() for name, net in nets.items()}, file)


def draw_phases(root: Path) -> None:
    """Draw images for training and testing."""
    draw_images(root / "train")
    draw_images(root / "test")


def draw_images(root: Path, *, outlined: bool = False) -> None:
    """Draw three images."""
    for number in range(3):
        draw(root / f"{number}.jpg", scene(number, SIDE, outlined=outlined))


def draw_cityscapes(root: Path) -> None:
    """Draw what both archives of Cityscapes hold, of two scenes."""
    ending = {"gtFine": "gtFine_color", "leftImg8bit": "leftImg8bit"}[root.name]
    for phase in ("train", "val"):
        draw(root / phase / "ulm" / f"ulm_000000_{ending}.png", scene(0, SIDE))


def draw_streets(root: Path) -> None:
    """Draw pairs of photographs and labels in Cityscapes' colours."""
    with imported(CITYSCAPES) as cityscapes:
        road, sky = cityscapes.CLASSES["road"], cityscapes.CLASSES["sky"]
    for phase in ("train", "test"):
        both = Image.new("RGB", (2 * SIDE, SIDE), road)
        both.paste(sky, (SIDE, 0, 2 * SIDE, SIDE // 2))
        both.paste(scene(0, SIDE), (0, 0))
        draw(root / phase / "0.png", both)


def save_segmentation(file: Path) -> None:
    """Save a network that gives scores to 19 classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript will go one day
        torch.jit.script(nn.Conv2d(3, 19, 1)).save(str(file))


def save_weights(file: Path) -> None:
    """Save random weights for FID and KID, where those that were downloaded lie."""
    if not file.exists():
        file.parent.mkdir(parents=True)
        save_untrained_inception(file)


BELONGINGS: dict[str, Callable[[Path], None]] = {
    "./datasets/facades": draw_pairs,
    "./datasets/maps": draw_domains,
    "./datasets/horse2zebra": draw_domains,
    "./datasets/photos": draw_phases,
    "./datasets/cityscapes": draw_streets,
    "./datasets/unsorted": draw_domains,
    "./datasets/animals": draw_animals,
    "./datasets/afhq": draw_animals,
    "./datasets/celeba_hq": draw_animals,
    "./my_horses": draw_images,
    "./my_cats": draw_images,
    "100000_nets_ema.ckpt": save_stargan,
    "my_masks": lambda file: write_masks(file.with_suffix(".py")),
    "./photos": draw_phases,
    "./labels": draw_phases,
    "./gtFine": draw_cityscapes,
    "./leftImg8bit": draw_cityscapes,
    "REAL": draw_images,
    "FAKE": draw_images,
    "fcn.pt": save_segmentation,
}
MADE_BY = {"./datasets/cityscapes": "prepare_cityscapes_dataset.py"}  # not drawn for that one

# ---- runs of before -----------------------------------------------------------------------

FACADES = "./datasets/facades --model pix2pix --direction BtoA"
RUNS = {  # a name, and the folder of its data with what else it was trained with
    "maps_cyclegan": "./datasets/maps --model cycle_gan",
    r"facades(_2)?|(fp32|bf16)_\d": FACADES,
    "cityscapes": "./datasets/cityscapes --model pix2pix --direction BtoA",
}
DOWNLOADED = {"horse2zebra_pretrained": "bash scripts/download_cyclegan_model.sh horse2zebra"}
OF_RESULTS = ("scripts/make_figure.py", "scripts/compare_pages.py")
OF_RUNS = ("scripts/plot_losses.py", "scripts/compare_runs.py", "scripts/make_progress.py")


def prepare(reader: Reader, command: str) -> Iterator[str]:
    """Draw what a command reads; yield the commands that train and test what it speaks of."""
    for path, make in BELONGINGS.items():
        target = reader.checkout / path
        made_now = path in MADE_BY and MADE_BY[path] in command
        if mentions(command, path) and not made_now and not target.exists():
            make(target)
    if mentions(command, "REAL") or "--diverse" in command:
        save_weights(reader.home / ".cache" / "torch" / "hub" / "checkpoints" / INCEPTION.file)
    if "../old/" in command:
        yield from begin_elsewhere(reader)
    for name in names_of_runs(command):
        yield from make_run(reader, name)
        tested = command.startswith(tuple(f"python {script}" for script in OF_RESULTS))
        if tested or f"results/{name}/" in command:
            yield from make_results(reader, name)


def mentions(command: str, path: str) -> bool:
    """Tell whether a path, or one below it, stands in a command."""
    return re.search(rf"(?<![\w./]){re.escape(path)}(?!\w)", command) is not None


def names_of_runs(command: str) -> Iterator[str]:
    """Yield the names of the runs that a command expects to be there."""
    for words in simple_commands(command):
        yield from re.findall(r"results/(\w+)/", " ".join(words))
        options = dict(zip(words, words[1:], strict=False))
        begins = "train.py" in words and "--continue_train" not in words
        for option in ("--pretrained",) if begins else ("--name",):
            if option in options:
                yield options[option]
        if len(words) > 1 and words[1] in OF_RESULTS + OF_RUNS:
            yield from words[2:]


def data_of(name: str) -> str | None:
    """Return with what a run was trained, if it is one that documents speak of."""
    return next((text for names, text in RUNS.items() if re.fullmatch(names, name)), None)


def make_run(reader: Reader, name: str) -> Iterator[str]:
    """Yield the command that makes a run, unless it is there."""
    places = (reader.checkout, reader.checkout.parent / "old")
    if any((place / "checkpoints" / name).exists() for place in places):
        return
    if name in DOWNLOADED:
        yield DOWNLOADED[name]
    elif data := data_of(name):
        yield f"python train.py --dataroot {data} --name {name}"


def make_results(reader: Reader, name: str) -> Iterator[str]:
    """Yield the command that tests a run, unless that has been done."""
    data = data_of(name)
    if data and not (reader.checkout / "results" / name / "test_latest").exists():
        yield f"python test.py --dataroot {data} --name {name}"


def begin_elsewhere(reader: Reader) -> Iterator[str]:
    """Leave beside the checkout one of the original framework, with plugins and a run."""
    old = reader.checkout.parent / "old"
    if old.exists():
        return
    for kind in ("model", "dataset"):
        folder = "models" if kind == "model" else "data"
        (old / folder).mkdir(parents=True)
        text = (ROOT / folder / f"template_{kind}.py").read_text(encoding="utf-8")
        mine = text.replace("class Template", "class Mine")
        (old / folder / f"mine_{kind}.py").write_text(mine, encoding="utf-8")
    yield from make_run(reader, "maps_cyclegan")
    run = old / "checkpoints" / "maps_cyclegan"
    shutil.move(reader.checkout / "checkpoints" / "maps_cyclegan", run)
    (reader.checkout / "checkpoints").rmdir()
    for file in run.iterdir():
        if file.is_file() and not file.match("*_net_*.pth") and file.name != "train_opt.txt":
            file.unlink()


# ---- what is published --------------------------------------------------------------------


def published(folder: Path) -> dict[str, bytes]:
    """Return small files as they are published, by name; they are made in an empty folder."""
    draw_pairs(folder / "facades")
    draw_domains(folder / "horse2zebra")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder / "facades", "facades")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for file in sorted((folder / "horse2zebra").rglob("*.jpg")):
            archive.write(file, file.relative_to(folder))
    horses = define_G(3, 3, 2, "resnet_9blocks", "instance")
    facades = define_G(3, 3, 2, "unet_256", "batch", use_dropout=True)
    return {
        "facades.tar.gz": packed.getvalue(),
        "horse2zebra.zip": zipped.getvalue(),
        "horse2zebra.pth": network_file(horses, folder / "network.pth"),
        "facades_label2photo.pth": network_file(facades, folder / "network.pth"),
    }


def network_file(network: nn.Module, file: Path) -> bytes:
    """Return what a file of a network holds."""
    save_state(network.state_dict(), file)
    return file.read_bytes()
