"""Measure comparisons of image files: read, batch, look up, compute."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.system import usable_cores
from util.display.progress_bar import progress_bar
from util.images.ranges import to_unit
from util.scores.comparisons import OF_PAIRS, OF_SETS, Comparison, NamedImage, digest_of
from util.scores.distances import bootstrap_interval, frechet_distance, kernel_distance
from util.scores.feature_cache import FeatureCache, key_of
from util.scores.images import METRICS, mean_over_images
from util.scores.networks import Identity, Inception, Lpips, load_inception, load_lpips

AT_ONCE = {"cuda": 16, "cpu": 4}  # images in a batch
THREADS = min(8, usable_cores())  # that read images
FULL_RANK = 2048  # images that FID's covariances need
CONFIDENT = 1.96  # standard errors on both sides hold 95% of a normal distribution
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Score:
    """One number, and how certain it is.

    Attributes:
        value: the mean over images, or the distance of the sets.
        low: lower end of the 95% interval, None if there is none.
        high: upper end.
        interval: how the interval was found.
        details: what else is known.
    """

    value: float
    low: float | None = None
    high: float | None = None
    interval: str = "none"
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Result:
    """The scores of one comparison.

    Attributes:
        comparison: what was compared.
        scores: by metric.
        missing: why other metrics have none, and what to do.
        notes: what to keep in mind.
        per_image: values of every pair by metric, (N,) each.
    """

    comparison: Comparison
    scores: dict[str, Score] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    per_image: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pair:
    """Two images of one size, (3, H, W) uint8, and a key of their content."""

    real: Tensor
    fake: Tensor
    key: str


@dataclass(frozen=True)
class _Row:
    """The features (d,) of an image, or else the image (3, H, W) uint8; and their key."""

    key: str
    features: Tensor | None
    image: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return what the images of a batch have in common."""
        return () if self.image is None else tuple(self.image.shape)


class Scorer:
    """Measure comparisons; networks are loaded when they are first needed.

    Args:
        read: opens an image file as 8-bit RGB.
        cache: for features, and for LPIPS of pairs.
        device: where to compute.
        inception_weights: file for FID and KID; None: the published ones in torch's cache.
        lpips_weights: file for LPIPS, likewise.
        lpips_net: backbone of LPIPS.
        resize: bring generated images to the size of the real ones.
        kid_subset_size: None: see `kernel_distance`.

    Attributes:
        identities: the networks that were used, by what they were used for.
    """

    def __init__(
        self,
        read: Callable[[str], Image.Image],
        *,
        cache: FeatureCache,
        device: torch.device | str = "cpu",
        inception_weights: str | Path | None = None,
        lpips_weights: str | Path | None = None,
        lpips_net: str = "alex",
        resize: bool = False,
        kid_subset_size: int | None = None,
    ) -> None:
        self.read = read
        self.cache = cache
        self.device = torch.device(device)
        self.at_once = AT_ONCE.get(self.device.type, 1)
        self.inception_weights = inception_weights
        self.lpips_weights = lpips_weights
        self.lpips_net = lpips_net
        self.resize = resize
        self.kid_subset_size = kid_subset_size
        self.identities: dict[str, Identity] = {}

    @cached_property
    def inception(self) -> Inception:
        """Return the network of FID and KID."""
        net = load_inception(self.inception_weights, self.device)
        self.identities["FID, KID"] = net.identity
        return net

    @cached_property
    def lpips(self) -> Lpips:
        """Return the network of LPIPS."""
        net = load_lpips(self.lpips_weights, self.device, net=self.lpips_net)
        self.identities["LPIPS"] = net.identity
        return net

    def score(self, comparison: Comparison, names: Iterable[str] = METRICS) -> Result:
        """Measure those of the metrics that make sense, as far as their networks are there.

        Raises:
            UserError: images that cannot be read, or pairs of different sizes.
        """
        result = Result(comparison, notes=list(comparison.notes))
        wanted = [name for name in names if name in comparison.metrics]
        self._score_pairs(result, [name for name in wanted if name in OF_PAIRS])
        self._score_sets(result, [name for name in wanted if name in OF_SETS])
        return result

    # ---- pairs

    def _score_pairs(self, result: Result, names: list[str]) -> None:
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        if "LPIPS" in found and (reason := _trouble(lambda: self.lpips)):
            result.missing["LPIPS"] = reason
            del found["LPIPS"]
        if not found:
            return
        files = list(zip(result.comparison.real, result.comparison.fake, strict=True))
        with progress_bar("comparing", len(files)) as bar:
            images = read_ahead(self._load_pair, files)
            for batch in batches(images, lambda pair: pair.real.shape, self.at_once):
                self._measure_batch(batch, found, result.missing)
                bar.update(len(batch))
        for name, parts in found.items():
            values = result.per_image[name] = torch.cat(parts)
            result.scores[name] = _mean_score(values)
            if equal := int(values.isinf().sum()):
                result.notes.append(
                    f"{name} is infinite for {equal} images that equal theirs exactly; the mean "
                    "leaves them out."
                )

    def _measure_batch(
        self, batch: list[_Pair], found: dict[str, list[Tensor]], missing: dict[str, str]
    ) -> None:
        """Add each metric's values of a batch; LPIPS is given up at the first small image."""
        if "LPIPS" in found and (reason := _trouble(lambda: self.lpips.check(batch[0].real))):
            missing["LPIPS"] = reason
            del found["LPIPS"]
        for name, values in found.items():
            values.append(self._measure(name, batch))

    def _load_pair(self, files: tuple[NamedImage, NamedImage]) -> _Pair:
        real, fake = (self.read(image.path) for image in files)
        resized = ""
        if real.size != fake.size:
            if not self.resize:
                sizes = [f"{width}x{height}" for width, height in (real.size, fake.size)]
                raise UserError(
                    f"{files[0].path} is {sizes[0]}, but {files[1].path} is {sizes[1]}. --resize "
                    "brings generated images to the size of the real ones, which changes scores."
                )
            fake, resized = fake.resize(real.size, Image.Resampling.BICUBIC), "bicubic"
        key = key_of(*(digest_of(image.path) for image in files), resized)
        return _Pair(as_tensor(real), as_tensor(fake), key)

    def _measure(self, name: str, batch: list[_Pair]) -> Tensor:
        """Return one metric's values of a batch, (N,)."""
        if name == "LPIPS":
            return self._perceptual(batch)
        measure = METRICS[name].measure
        assert measure is not None  # only what needs a network has none
        return measure(*self._stacked(batch)).cpu()

    def _perceptual(self, batch: list[_Pair]) -> Tensor:
        """Return LPIPS of a batch, from the cache where it is known."""
        identity = self.lpips.identity
        keys = [key_of("lpips", identity.network, identity.sha256, pair.key) for pair in batch]
        known = [self.cache.get(key) for key in keys]
        new = [at for at, value in enumerate(known) if value is None]
        if new:
            values = self.lpips(*self._stacked([batch[at] for at in new]))
            for at, value in zip(new, values.split(1), strict=True):
                known[at] = value
                self.cache.put(keys[at], value)
        return torch.cat([value for value in known if value is not None])

    def _stacked(self, batch: list[_Pair]) -> tuple[Tensor, Tensor]:
        """Return the generated and the real images, (N, 3, H, W) in [0, 1]."""
        fake = torch.stack([pair.fake for pair in batch]).to(self.device)
        real = torch.stack([pair.real for pair in batch]).to(self.device)
        return to_unit(fake), to_unit(real)

    # ---- sets

    def _score_sets(self, result: Result, names: list[str]) -> None:
        if not names:
            return
        if reason := _trouble(lambda: self.inception):
            result.missing |= dict.fromkeys(names, reason)
            return
        real, fake = result.comparison.real, result.comparison.fake
        features = self._features([image.path for image in (*real, *fake)])
        of_real, of_fake = features.split([len(real), len(fake)])
        for name in names:
            try:
                result.scores[name] = self._distance(name, of_real, of_fake)
            except UserError as error:  # too few images
                result.missing[name] = str(error)
        fewer = min(len(real), len(fake))
        if "FID" in result.scores and fewer < FULL_RANK:
            result.notes.append(
                f"FID of only {fewer} images is too high, the more so the fewer there are: "
                "compare it only with FIDs of as many. KID has no such bias."
            )

    def _distance(self, name: str, real: Tensor, fake: Tensor) -> Score:
        if name == "FID":
            none = "none: the FID of resampled images is higher"
            return Score(frechet_distance(real, fake), interval=none)
        kid = kernel_distance(real, fake, subset_size=self.kid_subset_size)
        reach = CONFIDENT * kid.standard_error
        how = f"{CONFIDENT} standard errors, from {kid.subsets} subsets of {kid.subset_size}"
        return Score(kid.mean, kid.mean - reach, kid.mean + reach, how, asdict(kid))

    def _features(self, paths: list[str]) -> Tensor:
        """Return the features of images, (N, 2048)."""
        rows: list[Tensor] = []
        with progress_bar("features", len(paths)) as bar:
            items = read_ahead(self._look_up, paths)
            for batch in batches(items, lambda row: row.shape, self.at_once):
                rows += self._completed(batch)
                bar.update(len(batch))
        return torch.stack(rows)

    def _look_up(self, path: str) -> _Row:
        identity = self.inception.identity
        key = key_of("inception", identity.network, identity.sha256, digest_of(path))
        features = self.cache.get(key)
        return _Row(key, features, as_tensor(self.read(path)) if features is None else None)

    def _completed(self, batch: list[_Row]) -> list[Tensor]:
        images = [row.image for row in batch if row.image is not None]
        if not images:
            return [row.features for row in batch if row.features is not None]
        computed = list(self.inception(torch.stack(images)))
        for row, features in zip(batch, computed, strict=True):
            self.cache.put(row.key, features)
        return computed


def _trouble(attempt: Callable[[], object]) -> str | None:
    """Return what keeps a network from being used; None if nothing does."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return None


def _mean_score(values: Tensor) -> Score:
    low, high = bootstrap_interval(values) or (None, None)
    how = "none" if low is None else "bootstrap over images"
    details = {"images": float(len(values)), "infinite": float(values.isinf().sum())}
    return Score(mean_over_images(values), low, high, how, details)


# ---- reading ------------------------------------------------------------------------------


def as_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def read_ahead(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Apply a function in threads, in order; only a few results wait at a time."""
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batches(items: Iterable[T], shape: Callable[[T], Any], most: int) -> Iterator[list[T]]:
    """Gather neighbours of equal shape, `most` at most."""
    for _, group in groupby(items, shape):
        batch: list[T] = []
        for item in group:
            batch.append(item)
            if len(batch) == most:
                yield batch
                batch = []
        if batch:
            yield batch
