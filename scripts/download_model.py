"""Download a generator that was published with CycleGAN or pix2pix.

    python scripts/download_model.py                    # which there are
    python scripts/download_model.py horse2zebra
    python test.py --name horse2zebra_pretrained --dataroot ./my_horses

It becomes checkpoints/NAME_pretrained/latest_net_G.pth (or below --dir), with a file beside it that
tells test.py what it was trained as. A download that broke off goes on where it stopped. The first
SHA-256 of each file is kept in SHA256SUMS; another one later is an error. Exit status: 0 there; 1
not, and why; 2 the command was wrong.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.commands import parser_of
from util.base.errors import UserError, run_command, suggest
from util.base.log import say
from util.get_data import download_with_bar
from util.storage.downloads import check_digest
from util.storage.files import write_text
from util.storage.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
BASE_URLS = {
    "cyclegan": "https://efrosgans.eecs.berkeley.edu/cyclegan/pretrained_models/",
    "pix2pix": "https://efrosgans.eecs.berkeley.edu/pix2pix/models-pytorch/",
}
NETWORKS: dict[str, dict[str, Any]] = {  # what the generators of each are
    "cyclegan": {"model": "test", "netG": "resnet_9blocks", "norm": "instance", "no_dropout": True},
    "pix2pix": {"model": "pix2pix", "dataset_mode": "aligned", "netG": "unet_256", "norm": "batch",
                "no_dropout": False},
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A generator, and on which data set it was trained in which direction."""

    technique: str
    data_set: str
    direction: str  # AtoB or BtoA


def _of(technique: str, **models: str) -> dict[str, Published]:
    """Read `name="data_set AtoB"`."""
    return {name: Published(technique, *text.split()) for name, text in models.items()}


CYCLEGAN = _of(
    "cyclegan",
    apple2orange="apple2orange AtoB",
    orange2apple="apple2orange BtoA",
    summer2winter_yosemite="summer2winter_yosemite AtoB",
    winter2summer_yosemite="summer2winter_yosemite BtoA",
    horse2zebra="horse2zebra AtoB",
    zebra2horse="horse2zebra BtoA",
    monet2photo="monet2photo AtoB",
    style_monet="monet2photo BtoA",
    style_cezanne="cezanne2photo BtoA",
    style_ukiyoe="ukiyoe2photo BtoA",
    style_vangogh="vangogh2photo BtoA",
    sat2map="maps AtoB",
    map2sat="maps BtoA",
    cityscapes_photo2label="cityscapes AtoB",
    cityscapes_label2photo="cityscapes BtoA",
    facades_photo2label="facades AtoB",
    facades_label2photo="facades BtoA",
    iphone2dslr_flower="iphone2dslr_flower AtoB",
)
PIX2PIX = _of(
    "pix2pix",
    edges2shoes="edges2shoes AtoB",
    sat2map="maps AtoB",
    map2sat="maps BtoA",
    facades_label2photo="facades BtoA",
    day2night="night2day BtoA",
)
MODELS = {"cyclegan": CYCLEGAN, "pix2pix": PIX2PIX}


def main(argv: Sequence[str] | None = None) -> None:
    """Download as the command line says."""
    args = parse(argv)
    model = find(args.name, args.technique)
    run = RunFolder(args.dir, f"{args.name}_pretrained")
    file = run.network_file("latest", "G")
    if file.is_file():
        say(f"{file} exists already; delete it to download it again.")
    else:
        url = args.base_url or BASE_URLS[model.technique]
        if args.http:
            url = url.replace("https://", "http://", 1)
        url = f"{url.rstrip('/')}/{args.name}.pth"
        say(f"downloading {url}")
        fetched = file.with_name(f"{model.technique}_{args.name}.pth")
        download_with_bar(url, fetched)
        try:
            check_network(fetched)
            say(f"SHA-256: {check_digest(fetched, fetched.name)}")
        except UserError:
            fetched.unlink()
            raise
        fetched.replace(file)
    write_text(run.options_json(), json.dumps(facts(model), indent=2) + "\n")
    say(f"Model saved at: {file}\nTranslate images with:\n  {command(args, model)}")


def check_network(file: Path) -> None:
    """Raise a CheckpointError if that is no network."""
    from util.storage.checkpoint import load_state_dict  # PyTorch, which takes seconds

    load_state_dict(file)


def facts(model: Published) -> dict[str, Any]:
    """Return what test.py takes from the options of a training run."""
    channels = {"input_nc": 3, "output_nc": 3}
    return {"direction": model.direction, **channels, **NETWORKS[model.technique]}


def command(args: argparse.Namespace, model: Published) -> str:
    """Return how to test the model on the data set that it was trained on."""
    folder = f"datasets/{model.data_set}"
    if model.technique == "cyclegan":
        folder += "/testA" if model.direction == "AtoB" else "/testB"
    words = ["python test.py", f"--dataroot {folder}", f"--name {args.name}_pretrained"]
    if args.dir != ROOT / "checkpoints":
        words.append(f"--checkpoints_dir {args.dir}")
    return " ".join(words)


def find(name: str, technique: str | None) -> Published:
    """Return the model that is meant.

    Raises:
        UserError: there is none of that name, or two.
    """
    models = {key: MODELS[key] for key in ([technique] if technique else MODELS)}
    found = [names[name] for names in models.values() if name in names]
    if not found:
        known = sorted({model for names in models.values() for model in names})
        raise UserError(f"No model {name!r}. {suggest(name, known)}")
    if len(found) > 1:
        raise UserError(
            f"There are two models {name}: --technique cyclegan or --technique pix2pix?"
        )
    return found[0]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says; without a name, list what there is."""
    parser = parser_of(__doc__)
    parser.add_argument("name", metavar="NAME", nargs="?", help="which model")
    text = "with which it was published; needed for names that both have"
    parser.add_argument("--technique", choices=MODELS, help=text)
    where = ROOT / "checkpoints"
    parser.add_argument(
        "--dir", type=Path, default=where, help="as --checkpoints_dir (%(default)s)"
    )
    parser.add_argument("--base-url", metavar="URL", help="a mirror: where the files are")
    parser.add_argument("--http", action="store_true", help="do without encryption")
    args = parser.parse_args(argv)
    if args.name is None:
        parser.exit(2, f"Which model?\n{table(args.technique)}")
    return args


def table(technique: str | None) -> str:
    """List the models of a technique, or of both."""
    lines: list[str] = []
    for name in [technique] if technique else MODELS:
        lines.append(f"{name}:")
        lines += [f"  {model:<24}from {of.data_set}, {of.direction}"
                  for model, of in MODELS[name].items()]  # fmt: skip
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(run_command(main))
