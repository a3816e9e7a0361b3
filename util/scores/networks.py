"""The networks that scores are measured with: Inception for FID and KID, LPIPS.

Architectures come from torch-fidelity and lpips (the extra `metrics`), trained weights from files.
Nothing is downloaded, and no code in a file is run. What is missing or broken is a UserError.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from util.base.errors import UserError
from util.images.ranges import to_unit
from util.storage.checkpoint import load_state


class Published(NamedTuple):
    """The trained weights that papers' numbers are measured with."""

    url: str
    megabytes: int

    @property
    def file(self) -> str:
        """Return the file's name."""
        return self.url.rpartition("/")[2]

    @property
    def digits(self) -> str:
        """Return what its SHA-256 begins with: the end of its name."""
        return self.file.removesuffix(".pth").rpartition("-")[2]


IMAGENET_INCEPTION = Published(
    "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth", 109
)
INCEPTION = Published(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    96,
)
BACKBONES = {
    "alex": Published("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", 244),
    "vgg": Published("https://download.pytorch.org/models/vgg16-397923af.pth", 553),
    "squeeze": Published("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", 5),
}
INCEPTION_SIDE = 299  # pixels that Inception takes
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALLEST_SIDE = {"alex": 31, "vgg": 16, "squeeze": 17}  # pixels that the backbones can take


@dataclass(frozen=True)
class Identity:
    """Which network scores were measured with: part of every result."""

    network: str  # architecture and library, with its version
    file: str  # name of the file of weights
    sha256: str
    published: bool  # whether these are the weights that papers use
    remark: str = ""  # what to keep in mind


@dataclass(frozen=True)
class Inception:
    """Inception v3 of 2015 as FID and KID use it: 2048 features after the last pooling.

    Images are resized to 299 x 299 in the network, as TensorFlow 1 did.
    """

    net: nn.Module
    identity: Identity
    device: torch.device

    def sizes(self, generated: tuple[int, int]) -> list[tuple[int, int]]:
        """Return to which sizes images are brought beforehand, one after the other.

        `generated` is the size of generated images, width and height.
        """
        return []

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (N, 2048), float32 on the CPU, of images (N, 3, H, W), uint8 RGB."""
        return _finite(self.net(images.to(self.device))[0], self.identity)


class ImageNetInception(Inception):
    """torchvision's Inception v3, which classifies ImageNet: some papers take it for FID.

    Real images are brought to the size of generated ones, then all to 299 x 299.
    """

    def sizes(self, generated: tuple[int, int]) -> list[tuple[int, int]]:
        """Return that of generated images, and the network's."""
        return [generated, (INCEPTION_SIDE, INCEPTION_SIDE)]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (N, 2048), as above."""
        x, side = to_unit(images.to(self.device)), INCEPTION_SIDE
        if x.shape[2:] != (side, side):  # of somebody who did not ask for `sizes`
            x = nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
        scaled = [
            x.new_tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        ]
        return _finite(self.net((x - scaled[0]) / scaled[1]), self.identity)


@dataclass(frozen=True)
class Lpips:
    """LPIPS 0.1: Zhang et al., "The unreasonable effectiveness of deep features", CVPR 2018."""

    net: Any  # of lpips: `scaling_layer`, `net` and `lins` are its parts
    identity: Identity
    device: torch.device
    smallest: int  # pixels of the shortest side that images may have

    def check(self, images: Tensor) -> None:
        """Raise a UserError if images (..., H, W) are too small for the network."""
        height, width = images.shape[-2:]
        if min(height, width) < self.smallest:
            raise UserError(
                f"{self.identity.network} takes images of {self.smallest}x{self.smallest} and "
                f"more; there is one of {width}x{height}."
            )

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the perceptual distance of each pair of RGB images, 0 for equal ones.

        Shapes:
            a, b: (N, 3, H, W), values in [0, 1], on any device
            result: (N,), float32 on the CPU
        """
        self.check(a)
        a, b = (2 * x.to(self.device, torch.float32) - 1 for x in (a, b))
        return _finite(self.net(a, b).flatten(), self.identity)

    @torch.no_grad()
    def among(self, images: Tensor) -> Tensor:
        """Return the mean distance of all pairs among RGB images, on the CPU.

        Each image goes through the network once, not once for each pair.

        Shapes:
            images: (N, 3, H, W), values in [0, 1], N at least 2
            result: (1,), float32
        """
        self.check(images)
        x = self.net.scaling_layer(2 * images.to(self.device, torch.float32) - 1)
        total = x.new_zeros(len(x), len(x))
        for maps, weigh in zip(self.net.net(x), self.net.lins, strict=True):
            maps = _of_length_one(maps)
            for i in range(len(maps) - 1):
                apart = weigh((maps[i + 1 :] - maps[i]).square())  # (N - i - 1, 1, h, w)
                total[i, i + 1 :] += apart.mean(dim=(1, 2, 3))
        pairs = len(x) * (len(x) - 1) / 2
        return _finite(total.sum().view(1) / pairs, self.identity)


def _of_length_one(maps: Tensor) -> Tensor:
    """Divide the features (N, C, h, w) of each place by their length, as LPIPS does."""
    return maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _finite(values: Tensor, identity: Identity) -> Tensor:
    values = values.float().cpu()
    if not values.isfinite().all():
        raise UserError(f"{identity.file} gives values that are not finite. Use other weights.")
    return values


def load_inception(file: str | Path | None = None, device: str | torch.device = "cpu") -> Inception:
    """Build Inception with the weights of a file, or those in torch's cache.

    The file tells which of the two it is.
    """
    _require("torch-fidelity", "torch_fidelity", "FID and KID need")
    from torch_fidelity import FeatureExtractorInceptionV3

    path = find_weights(file, INCEPTION, "--inception_weights")
    with path.open("rb") as opened:
        state = load_state(path, file=opened)  # raises if it would run code; the library does not
        if isinstance(state, dict) and "AuxLogits.fc.weight" in state:
            return _of_imagenet(path, state, opened, device)
        opened.seek(0)
        with _refusing_other_weights(path):
            net = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=opened
            )
        name = "Inception v3 (2015), features 2048"
        identity = _identify(name, "torch-fidelity", path, opened, INCEPTION)
    return Inception(net.to(device).eval(), identity, torch.device(device))


def _of_imagenet(
    path: Path, state: dict[str, Tensor], file: BufferedReader, device: str | torch.device
) -> ImageNetInception:
    _require("torchvision", "torchvision", "torchvision's Inception needs")
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False)
    with _refusing_other_weights(path):
        net.load_state_dict(state)
    net.fc = nn.Identity()  # features, not classes
    name = "Inception v3 (ImageNet), features 2048"
    identity = _identify(name, "torchvision", path, file, IMAGENET_INCEPTION)
    remark = (
        "this is torchvision's Inception, trained on ImageNet: FID and KID are on another scale "
        "than the usual ones."
    )
    identity = replace(identity, remark=remark)
    return ImageNetInception(net.to(device).eval(), identity, torch.device(device))


def load_lpips(
    file: str | Path | None = None, device: str | torch.device = "cpu", *, net: str = "alex"
) -> Lpips:
    """Build LPIPS; the package has its linear layers, a file or torch's cache its backbone."""
    _require("lpips", "lpips", "LPIPS needs")
    import lpips

    path = find_weights(file, BACKBONES[net], "--lpips_weights")
    with path.open("rb") as opened:
        state = load_state(path, file=opened)
        identity = _identify(f"LPIPS 0.1 on {net}", "lpips", path, opened, BACKBONES[net])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it builds the backbone with an old argument's name
        measure = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # lpips calls `slice2.3.weight` what torchvision calls `features.3.weight`, and so on.
    with _refusing_other_weights(path):
        names = {key: f"features.{key.partition('.')[2]}" for key in measure.net.state_dict()}
        measure.net.load_state_dict({key: state[name] for key, name in names.items()})
    return Lpips(measure.to(device).eval(), identity, torch.device(device), SMALLEST_SIDE[net])


@contextmanager
def _refusing_other_weights(path: Path) -> Iterator[None]:
    """Say what is wrong with a file whose weights do not fit."""
    try:
        yield
    except (RuntimeError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"{path} holds other weights than those of this network: {reason} ... "
            "Check which file you gave."
        ) from error


def _require(package: str, module: str, needed: str) -> None:
    """Complain if an optional package is not installed; an error inside it surfaces as itself."""
    try:
        __import__(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UserError(
            f"{needed} the package {package}: uv sync --extra metrics, or pip install {package}."
        ) from None


def find_weights(file: str | Path | None, published: Published, option: str) -> Path:
    """Return the file of weights: the one given, or else the published one in torch's cache."""
    if file is not None:
        if not Path(file).is_file():
            raise UserError(f"{option} {file}: there is no such file. Check the path.")
        return Path(file)
    cached = Path(torch.hub.get_dir(), "checkpoints", published.file)
    if not cached.is_file():
        raise UserError(f"Get {published.url} ({published.megabytes} MB) for {option} FILE.")
    return cached


def _identify(
    name: str, package: str, path: Path, file: BufferedReader, published: Published
) -> Identity:
    with suppress(PackageNotFoundError):  # a copy of its folder
        package = f"{package} {version(package)}"
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    of_papers = digest.startswith(published.digits)
    return Identity(f"{name}, {package}", path.name, digest, of_papers)
