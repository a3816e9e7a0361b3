"""Measure comparisons of image files: read, batch, look up, compute."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import groupby, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.system import usable_cores
from util.display.progress_bar import progress_bar
from util.images.pixels import stored_values
from util.images.ranges import three_channels, to_unit
from util.images.transforms import Resize, size_of
from util.processes.parts import by_first, go_on, of_all, own_items, own_pace
from util.scores.comparisons import OF_GROUPS, OF_PAIRS, OF_SETS, Comparison, NamedImage
from util.scores.distances import bootstrap_interval, frechet_distance, kernel_distance
from util.scores.feature_cache import FeatureCache, key_of
from util.scores.images import METRICS, mean_over_images
from util.scores.networks import Identity, Inception, Lpips, load_inception, load_lpips
from util.scores.opening import Opener

AT_ONCE = {"cuda": 16, "cpu": 4}  # images in a batch
THREADS = min(8, usable_cores())  # that read images
FULL_RANK = 2048  # images that FID's covariances need
CONFIDENT = 1.96  # standard errors on both sides hold 95% of a normal distribution
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Score:
    """One number, and how certain it is."""

    value: float  # the mean over images, or the distance of the sets
    low: float | None = None  # ends of the 95% interval, None if there is none
    high: float | None = None
    interval: str = "none"  # how the interval was found
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Result:
    """The scores of one comparison, by metric."""

    comparison: Comparison
    scores: dict[str, Score] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # why there is none, and what to do
    notes: list[str] = field(default_factory=list)
    per_image: dict[str, Tensor] = field(default_factory=dict)  # (N,), a value for every pair


class _Pair(NamedTuple):
    """Two images of one shape, as `Opener.values` returns them, and a key of their content."""

    real: Tensor
    fake: Tensor
    key: str


@dataclass
class Scorer:
    """Measure comparisons; networks are loaded when they are first needed.

    Of several processes each looks at its part of the images, and all find the same.
    """

    files: Opener
    cache: FeatureCache  # has features, and LPIPS of pairs
    device: torch.device
    inception_weights: str | None = None  # files; None: the published ones in torch's cache
    lpips_weights: str | None = None
    lpips_net: str = "alex"
    resize: bool = False  # bring generated images to the size of the real ones
    kid_subset_size: int | None = None  # None: see `kernel_distance`
    identities: dict[str, Identity] = field(default_factory=dict)  # of the networks used, by use

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
        """Measure those of the metrics that make sense, as far as their networks are there."""
        result = Result(comparison, notes=list(comparison.notes))
        wanted = [name for name in names if name in comparison.metrics]
        self._score_pairs(result, [name for name in wanted if name in OF_PAIRS])
        self._score_sets(result, [name for name in wanted if name in OF_SETS])
        for name in wanted:
            if name in OF_GROUPS:
                self._score_groups(result, name)
        return result

    def _score_pairs(self, result: Result, names: list[str]) -> None:
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        if "LPIPS" in found and (reason := _trouble_anywhere(lambda: self.lpips)):
            result.missing["LPIPS"] = reason
            del found["LPIPS"]
        if not found:
            return
        files = list(zip(result.comparison.real, result.comparison.fake, strict=True))
        missing: dict[str, str] = {}
        own = own_items(files, self._at_once)
        with own_pace(), progress_bar("comparing", len(own)) as bar:
            for batch in self._batches(self._load_pair, own, _kind):
                go_on()
                self._measure_batch(batch, found, missing)
                bar.update(len(batch))
        for each in reversed(of_all([missing])):  # what the first one says counts
            result.missing |= each
        for name in [name for name in names if name not in result.missing]:
            values = result.per_image[name] = torch.cat(of_all(found[name]))
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
            metric = METRICS[name]
            if metric.measure is None:
                values += self._perceptual(batch)
            else:
                values.append(metric.of_each(*self._stacked(batch)).cpu())

    def _load_pair(self, files: tuple[NamedImage, NamedImage]) -> _Pair:
        real, fake = (self.files.values(image.path) for image in files)
        sizes = [f"{image.shape[2]}x{image.shape[1]}" for image in (real, fake)]
        channels, resized = {len(real), len(fake)}, ""
        if len(channels) > 1:
            raise UserError(
                f"{files[0].path} has {len(real)} channels, but {files[1].path} has {len(fake)}."
            )
        if sizes[0] != sizes[1]:
            if not self.resize:
                raise UserError(
                    f"{files[0].path} is {sizes[0]}, but {files[1].path} is {sizes[1]}. --resize "
                    "brings generated images to the size of the real ones, which changes scores."
                )
            fake, resized = stored_values(Resize(*size_of(real))(fake)), "bicubic"
        contents = [self.files.content_of(image.path) for image in files]
        return _Pair(real, fake, key_of(*contents, resized))

    def _perceptual(self, batch: list[_Pair]) -> list[Tensor]:
        """Return LPIPS of each pair, (1,), from the cache where it is known."""
        identity = self.lpips.identity
        keys = [key_of("lpips", identity.network, identity.sha256, pair.key) for pair in batch]
        found = {key: value for key in keys if (value := self.cache.get(key)) is not None}
        new = {key: pair for key, pair in zip(keys, batch, strict=True) if key not in found}
        if new:
            seen = (three_channels(images) for images in self._stacked(list(new.values())))
            computed = self.lpips(*seen).split(1)
            for key, value in zip(new, computed, strict=True):
                self.cache.put(key, value)
                found[key] = value
        return [found[key] for key in keys]

    def _stacked(self, batch: list[_Pair]) -> tuple[Tensor, Tensor]:
        """Return the generated and the real images, (N, C, H, W) in [0, 1]."""
        fake = torch.stack([pair.fake for pair in batch]).to(self.device)
        real = torch.stack([pair.real for pair in batch]).to(self.device)
        return to_unit(fake), to_unit(real)

    def _score_sets(self, result: Result, names: list[str]) -> None:
        if not names:
            return
        if reason := _trouble_anywhere(lambda: self.inception):
            result.missing |= dict.fromkeys(names, reason)
            return
        real, fake = result.comparison.real, result.comparison.fake
        sizes = self.inception.sizes(self.files.shown(fake[0].path).size)
        features = self._features([image.path for image in (*real, *fake)], sizes)
        of_real, of_fake = features.split([len(real), len(fake)])
        for name in names:
            found = by_first(partial(self._distance, name, of_real, of_fake))
            if isinstance(found, Score):
                result.scores[name] = found
            else:
                result.missing[name] = found
        fewer = min(len(real), len(fake))
        if "FID" in result.scores and fewer < FULL_RANK:
            result.notes.append(
                f"FID of only {fewer} images is too high, the more so the fewer there are: "
                "compare it only with FIDs of as many. KID has no such bias."
            )

    def _distance(self, name: str, real: Tensor, fake: Tensor) -> Score | str:
        """Return FID or KID; why there is none if there are too few images."""
        try:
            if name == "FID":
                none = "none: the FID of resampled images is higher"
                return Score(frechet_distance(real, fake), interval=none)
            kid = kernel_distance(real, fake, subset_size=self.kid_subset_size)
        except UserError as error:
            return str(error)
        reach = CONFIDENT * kid.standard_error
        how = f"{CONFIDENT} standard errors, from {kid.subsets} subsets of {kid.subset_size}"
        return Score(kid.mean, kid.mean - reach, kid.mean + reach, how, asdict(kid))

    def _features(self, paths: list[str], sizes: list[tuple[int, int]]) -> Tensor:
        """Return the features of images, (N, 2048), from the cache where they are known.

        Images are brought to all the `sizes` first.
        """
        look_up = partial(self._look_up, sizes=sizes)
        rows: list[Tensor] = []
        own = own_items(paths, self._at_once)
        with own_pace(), progress_bar("features", len(own)) as bar:
            for batch in self._batches(look_up, own, lambda item: item[1].shape):
                go_on()
                found = [values for _, values in batch]
                if found[0].dim() > 1:  # images
                    found = list(self.inception(torch.stack(found)))
                    for (key, _), features in zip(batch, found, strict=True):
                        self.cache.put(key, features)
                rows += found
                bar.update(len(batch))
        return torch.cat(of_all([torch.stack(rows)] if rows else []))

    def _look_up(self, path: str, sizes: list[tuple[int, int]]) -> tuple[str, Tensor]:
        """Return the key of an image's features, and these, or the image if they are not known."""
        identity = self.inception.identity
        ways = (f"{width}x{height}" for width, height in sizes)
        content = self.files.content_of(path)
        key = key_of("inception", identity.network, identity.sha256, content, *ways)
        if (features := self.cache.get(key)) is not None:
            return key, features
        image = self.files.shown(path)
        for size in sizes:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return key, as_tensor(image)

    def _score_groups(self, result: Result, name: str) -> None:
        """Measure how different the images of each group are, one group after the other."""
        groups = result.comparison.groups
        if min(map(len, groups)) < 2:
            result.missing[name] = (
                "It compares several outputs of the same image; here is only one. Models that can "
                "make more have an option for it, as --num_outs_per_domain 10 of test.py."
            )
            return
        first = as_tensor(self.files.shown(groups[0][0].path))
        if reason := _trouble_anywhere(lambda: self.lpips.check(first)):
            result.missing[name] = reason
            return
        values = result.per_image[name] = torch.cat(self._diversity(groups))
        result.scores[name] = _mean_score(values)

    def _diversity(self, groups: Sequence[Sequence[NamedImage]]) -> list[Tensor]:
        """Return the mean distance of the images of each group, (1,)."""
        values, own = [], own_items(groups)
        with own_pace(), progress_bar("diversity", len(own)) as bar:
            for key, found in read_ahead(self._load_group, own):
                go_on()
                if found.dim() > 1:  # images
                    found = self.lpips.among(to_unit(found.to(self.device)))
                    self.cache.put(key, found)
                values.append(found)
                bar.update(1)
        return of_all(values)

    def _load_group(self, group: Sequence[NamedImage]) -> tuple[str, Tensor]:
        """Return the key of a group, and its value, or the images if that is not known."""
        identity = self.lpips.identity
        contents = [self.files.content_of(image.path) for image in group]
        key = key_of("lpips among", identity.network, identity.sha256, *contents)
        if (known := self.cache.get(key)) is not None:
            return key, known
        images = [self.files.shown(image.path) for image in group]
        if len({image.size for image in images}) > 1:
            names = ", ".join(image.path for image in group[:2])
            raise UserError(f"{names}, ...: outputs of one image must be of one size. Test anew.")
        return key, torch.stack([as_tensor(image) for image in images])

    def _batches(
        self, load: Callable[[S], T], items: Iterable[S], shape: Callable[[T], Any]
    ) -> Iterator[list[T]]:
        """Load items, some at once, and gather neighbours of equal shape among these."""
        loaded = read_ahead(load, items)
        while some := list(islice(loaded, self._at_once)):
            yield from (list(alike) for _, alike in groupby(some, shape))

    @property
    def _at_once(self) -> int:
        return AT_ONCE.get(self.device.type, 1)


def _kind(pair: _Pair) -> tuple[Any, ...]:
    """Return what pairs must share to be measured together."""
    return pair.real.shape, pair.real.dtype, pair.fake.dtype


def _trouble(attempt: Callable[[], object]) -> str | None:
    """Return what keeps a network from being used; None if nothing does."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return None


def _trouble_anywhere(attempt: Callable[[], object]) -> str | None:
    """Return what keeps a network from being used in this process, or in another one."""
    return next(filter(None, of_all([_trouble(attempt)])), None)


def _mean_score(values: Tensor) -> Score:
    low, high = bootstrap_interval(values) or (None, None)
    how = "none" if low is None else "bootstrap over images"
    details = {"images": float(len(values)), "infinite": float(values.isinf().sum())}
    return Score(mean_over_images(values), low, high, how, details)


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
