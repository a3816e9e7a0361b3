"""Trained generators for other programs: ONNX, torch.export, safetensors.

What is exported is made of torch's own layers and treats each image by itself, as test.py does:
batch norm without `--eval` takes the statistics of each image, dropout is off. Images are
(N, C, H, W) in [-1, 1], or uint8, which is brought there and back inside.
"""

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from models.architectures.fast.batch_norm import BatchNorm2d
from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.layers import BuiltInNetwork, ReflectionPad2d
from models.architectures.synchronised import SyncBatchNorm2d
from models.inference.generator import Generator, build_network
from models.inference.padding import Sides
from util.base.errors import UserError
from util.base.torch_private import sides_of_one_are_no_special_case
from util.images.ranges import WHITE, to_network
from util.storage.files import replacing

LARGEST_DIFFERENCE = 1e-4  # between an exported file and the network, in [-1, 1]
LEAST_SIDE = 64  # of images to compare: norms of a few pixels magnify what is rounded
MIDDLE = WHITE / 2
OPTIONS = "options"  # the name under which files hold what built the network, as JSON

Run = Callable[[Tensor], Tensor]
# Our layers, which are faster where torch does not take them apart, and what they are in torch.
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    Conv2d: nn.Conv2d,
    ConvTranspose2d: nn.ConvTranspose2d,
    InstanceNorm2d: nn.InstanceNorm2d,
    ReflectionPad2d: nn.ReflectionPad2d,
    **dict.fromkeys((BatchNorm2d, SyncBatchNorm2d), nn.BatchNorm2d),
}


@dataclass(frozen=True)
class Export:
    """What is to be exported: a generator, for uint8 or for values in [-1, 1]."""

    generator: Generator
    uint8: bool = False

    @property
    def sides(self) -> Sides:
        """Return which sides the network takes."""
        return Sides(self.generator.divisor, self.generator.shortest_side)

    def notes(self) -> dict[str, str]:
        """Return what files tell about themselves."""
        described = self.generator.describe()
        told = {name: str(described[name]) for name in ("name", "epoch", "direction")}
        values = f"uint8, 0 to {WHITE}" if self.uint8 else "-1 to 1"
        ranges = [
            "" if each is None else str(each) for each in self.generator.trained.value_ranges()
        ]
        sides = f"multiples of {self.sides.divisor}, from {self.sides.above(1)}"
        options = json.dumps(self.generator.trained.options())
        told |= {"value_range": json.dumps(ranges)}  # of files: what -1 and 1 are, in and out
        return {**told, "values": values, "sides": sides, OPTIONS: options}

    def program(self) -> ExportedProgram:
        """Return the network as torch.export takes it apart, for any batch, height and width.

        Raises:
            UserError: it cannot be taken apart.
        """
        sides, channels = self.sides, self.generator.input_nc
        least = sides.above(1) // sides.divisor
        height, width = (
            sides.divisor * Dim(name, min=least) for name in ("height_part", "width_part")
        )
        batch = Dim("batch", min=1)
        # An example's sides must differ, or they are taken for one.
        shape = 2, channels, (least + 1) * sides.divisor, (least + 2) * sides.divisor
        example = torch.zeros(shape, dtype=torch.uint8 if self.uint8 else torch.float32)
        network = _Exported(plain_copy(self.generator.module), uint8=self.uint8)
        try:
            with _quietly(), sides_of_one_are_no_special_case():
                return torch.export.export(
                    network, (example,), dynamic_shapes=({0: batch, 2: height, 3: width},)
                )
        except Exception as error:  # whatever a network of others does
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"torch.export cannot take this network ({type(self.generator.module).__name__}) "
                f"apart: {reason}. Export its weights with --format safetensors."
            ) from error


class _Exported(nn.Module):
    """A network, with what comes before and after it where images are uint8."""

    def __init__(self, net: nn.Module, *, uint8: bool) -> None:
        super().__init__()
        self.net, self.uint8 = net, uint8

    def forward(self, image: Tensor) -> Tensor:
        """Translate images."""
        if not self.uint8:
            return self.net(image)
        made = self.net(image.float() / MIDDLE - 1)
        return ((made + 1) * MIDDLE).clamp(0, WHITE).to(torch.uint8)  # truncated, as in test.py


def plain_copy(net: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU, of torch's layers, that treats each image alone."""
    copied = copy.deepcopy(net).cpu().requires_grad_(False)
    for module in copied.modules():
        for name, layer in module.named_children():
            setattr(module, name, _plain(layer))
    inside: nn.Module | None = getattr(
        copied, "model", None
    )  # which does not ask how large images are
    return inside if isinstance(copied, BuiltInNetwork) and inside is not None else copied


def _plain(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Dropout):
        return nn.Identity()
    if isinstance(layer, nn.BatchNorm2d) and layer.training:
        alone = nn.InstanceNorm2d(layer.num_features, eps=layer.eps, affine=True)
        alone.weight, alone.bias = layer.weight, layer.bias
        return alone.requires_grad_(False)
    if type(layer) in PLAIN:
        layer.__class__ = PLAIN[type(layer)]
    return layer


# ---- formats -----------------------------------------------------------------------------


class Format(NamedTuple):
    """A kind of file: what it needs, how it is written, and how it is run again."""

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[Export, Path], None]
    load: Callable[[Path], Run]

    def require_packages(self) -> None:
        """Raise a UserError unless the packages are installed."""
        if missing := [name for name in self.packages if find_spec(name) is None]:
            raise UserError(
                f"This format needs {', '.join(missing)}, not installed here. Install what "
                "exporting needs: pip install onnx onnxruntime onnxscript safetensors (or uv sync "
                "--extra export)."
            )


def _write_onnx(export: Export, path: Path) -> None:
    with _quietly():
        program = torch.onnx.export(export.program(), output_names=["translated"], verbose=False)
    assert program is not None
    program.model.metadata_props.update(export.notes())
    program.save(path)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {image.name: x.numpy()})[0])


def _write_program(export: Export, path: Path) -> None:
    program = export.program()
    program.example_inputs = None  # which would be most of the file
    torch.export.save(program, path, extra_files={OPTIONS: json.dumps(export.notes())})


def _load_program(path: Path) -> Run:
    return torch.export.load(path).module()


def _write_weights(export: Export, path: Path) -> None:
    from safetensors.torch import save

    state = {key: value.cpu() for key, value in export.generator.module.state_dict().items()}
    is_eval = json.dumps(not export.generator.module.training)
    path.write_bytes(save(state, metadata={**export.notes(), "eval": is_eval}))


def _load_weights(path: Path) -> Run:
    """Build the network anew, from nothing but the file."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        notes = file.metadata()
        net = build_network(json.loads(notes[OPTIONS]))
        net.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    return _one_by_one(net.train(not json.loads(notes["eval"])))


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "onnxscript"), _write_onnx, _load_onnx),
    "torch_export": Format(".pt2", (), _write_program, _load_program),
    "safetensors": Format(".safetensors", ("safetensors",), _write_weights, _load_weights),
}


# ---- writing, and running what was written -----------------------------------------------


class Difference(NamedTuple):
    """How far an exported file is from the network for images of one shape, in [-1, 1]."""

    shape: tuple[int, ...]
    largest: float


def write_export(export: Export, kind: Format, path: Path) -> Iterator[Difference]:
    """Write a file and run it; yield how far it is from the network for each size of images.

    The file gets its name when all differences have been taken, and are small enough.

    Raises:
        UserError: a difference is too large, or the network cannot be exported.
    """
    kind.require_packages()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        kind.write(export, temporary)
        run = kind.load(temporary)
        for difference in _differences(export, run):
            yield difference
            if not difference.largest <= LARGEST_DIFFERENCE:  # nor NaN
                raise UserError(
                    f"What was exported differs from the network by {difference.largest:.1e}, more "
                    f"than {LARGEST_DIFFERENCE:g}, so {path} was not written. Try another "
                    "--format, or other versions of torch and onnxruntime."
                )


def _differences(export: Export, run: Run) -> Iterator[Difference]:
    sides, network = export.sides, _one_by_one(export.generator.module)
    for count, *more in ((1, 0, 0), (1, 1, 0), (3, 0, 2)):
        height, width = (sides.above(LEAST_SIDE) + each * sides.divisor for each in more)
        shape = count, export.generator.input_nc, height, width
        stored = torch.randint(WHITE + 1, shape, generator=torch.Generator().manual_seed(count))
        stored = stored.to(torch.uint8)
        expected = network(to_network(stored).to(export.generator.device)).cpu()
        with torch.no_grad():
            made = run(stored if export.uint8 else to_network(stored))
        yield Difference(shape, _largest_difference(made, expected))


def _largest_difference(made: Tensor, expected: Tensor) -> float:
    """Return the largest difference in [-1, 1]; a level stands for all values that end up in it."""
    if made.dtype != torch.uint8:
        return float((made - expected).abs().max())
    values, levels = (expected.double() + 1) * MIDDLE, made.double()
    outside = torch.maximum(levels - values, values - levels - 1).clamp(min=0)
    outside[(made == WHITE) & (values >= WHITE)] = 0
    return float(outside.max()) / MIDDLE


def _one_by_one(net: nn.Module) -> Run:
    """Return what translates each image by itself, without dropout."""
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([net(image) for image in x.split(1)])

    return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Let nobody be told what torch's exporters say to their developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
