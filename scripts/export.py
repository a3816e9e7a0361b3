"""Export a trained generator for other programs: ONNX, torch.export or safetensors.

    python scripts/export.py --name facades --format onnx
    python scripts/export.py --name horse2zebra --direction BtoA --format torch_export --uint8
    python scripts/export.py --name maps --epoch best --format safetensors --output maps.safetensors

The file takes any number of images, of any sides that the network takes. It is run on several
sizes, and refused if it differs from the network by more than 0.0001. docs/export.md tells how to
use it. ONNX and safetensors need packages: uv sync --extra export. Exit status: 0 written; 1 not,
and why; 2 the command was wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.log import tell_of_loading
from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing torch takes a while
    tell_of_loading()

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models import load_generator
from models.inference.exporting import FORMATS, LARGEST_DIFFERENCE, Export, write_export
from util.base.commands import parser_of
from util.base.errors import UserError, run_command
from util.base.log import link_to, say


def main(argv: Sequence[str] | None = None) -> None:
    """Export what the command line (or `argv`) names."""
    args = parse(argv)
    kind = FORMATS[args.format]
    kind.require_packages()
    generator = load_generator(
        args.name,
        device="cpu",
        epoch=args.epoch,
        direction=args.direction,
        checkpoints_dir=args.checkpoints_dir,
        eval=args.eval,
    )
    trained = generator.trained
    say(f"exporting {trained.file}")
    if args.uint8 and any(trained.value_ranges()):
        raise UserError(
            f"--uint8: {args.name} was trained with --value_range, for other values than 0 to 255. "
            "Leave it out: the file then takes -1 to 1, and tells the range."
        )
    tell_what_is_left_out(generator.module)
    default = f"{Path(trained.name).name}_{trained.label}{kind.suffix}"
    path = args.output or Path(default)
    if path.exists() and not args.force:
        raise UserError(f"{path} is there already. Give --force to replace it, or --output FILE.")
    for difference in write_export(Export(generator, args.uint8), kind, path):
        shape = "x".join(map(str, difference.shape))
        say(f"  {shape}: largest difference {difference.largest:.1e}")
    say(f"Wrote {link_to(path)}: it gives what the network gives, within {LARGEST_DIFFERENCE:g}.")


def tell_what_is_left_out(net: nn.Module) -> None:
    """Say in what an exported network is not what test.py runs."""
    training = [layer for layer in net.modules() if layer.training]
    if any(isinstance(layer, nn.Dropout) for layer in training):
        say("Dropout is left out: what is exported makes the same of an image every time.")
    if any(isinstance(layer, _BatchNorm) for layer in training):
        say("Batch norm takes the statistics of each image, as in test.py; --eval: of training.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--name", required=True, help="a run, a folder of checkpoints, or a .pth file")
    add("--format", required=True, choices=FORMATS, help="kind of file")
    add("--output", type=Path, metavar="FILE", help="the file (NAME_EPOCH with the usual ending)")
    add("--checkpoints_dir", default="./checkpoints", help="where runs are (./checkpoints)")
    add("--epoch", default="latest", help="which save: latest, best or a number (latest)")
    add("--direction", choices=("AtoB", "BtoA"), help="of a CycleGAN (as it was trained)")
    add("--eval", action="store_true", help="batch norm with the statistics of training")
    add("--uint8", action="store_true", help="images are 0 to 255 in the file, not -1 to 1")
    add("--force", action="store_true", help="replace a file that is there")
    args = parser.parse_args(argv)
    if args.uint8 and args.format == "safetensors":
        parser.error("--uint8 cannot work with --format safetensors, which holds weights alone.")
    suffix = FORMATS[args.format].suffix
    if args.output and args.output.suffix != suffix:
        parser.error(f"--output {args.output}: files of --format {args.format} end in {suffix}.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
