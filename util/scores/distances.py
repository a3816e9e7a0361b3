"""Distances between two sets of feature vectors, and how certain a mean is.

Sets are (N, d) and (M, d), of 2 vectors or more each: with fewer, a UserError says so.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from util.base.errors import UserError

SUBSETS = 100  # of KID
SUBSET_SIZE = 1000
DRAWS = 2000  # of the bootstrap
AT_ONCE = 2**22  # numbers drawn at once: bounds the memory


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared Frechet distance of the Gaussians with the sets' means and covariances.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)): Heusel et al., "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017, equation 6. With
    features of Inception it is the FID. Covariances divide by N - 1.

    With X, Y the centred features over the roots of N - 1, S_a = X'X and S_b = Y'Y, the trace of
    the root is the sum of the singular values of XY': no root of a matrix is taken, so singular
    covariances (fewer vectors than dimensions) lose no digits. Triangular factors in place of X
    and Y keep that matrix small.
    """
    _check(a, b)
    a, b = a.double(), b.double()
    means = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    scaled = [(x - x.mean(dim=0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    roots = [torch.linalg.qr(x, mode="r").R for x in scaled]
    traces = sum(root.square().sum() for root in roots)
    cross = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return max(float(means + traces - 2 * cross), 0.0)  # equal sets may give -1e-12


def squared_mmd(a: Tensor, b: Tensor) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy; it may be negative.

    Gretton et al., "A kernel two-sample test", JMLR 13, 2012, equation 3, with the kernel
    k(x, y) = (x.y / d + 1)^3. With features of Inception it is the KID: Binkowski et al.,
    "Demystifying MMD GANs", ICLR 2018, section 4.
    """
    _check(a, b)
    a, b = a.double(), b.double()
    return _within(a) + _within(b) - 2 * float(_kernel(a, b).mean())


def _within(x: Tensor) -> float:
    """Return the mean of the kernel over all pairs of different vectors of one set."""
    kernel = _kernel(x, x)
    return float(kernel.sum() - kernel.diagonal().sum()) / (len(x) * (len(x) - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


@dataclass(frozen=True)
class KernelDistance:
    """The KID as papers report it: over random subsets."""

    mean: float
    deviation: float  # over the subsets, which papers print after a ±
    standard_error: float  # of the mean, as an estimate for other images of the same kinds
    subsets: int  # how many
    subset_size: int  # vectors from each set in each of them


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = SUBSETS, subset_size: int | None = None, seed: int = 0
) -> KernelDistance:
    """Estimate the squared maximum mean discrepancy of two sets from random subsets.

    The estimate is unbiased for any size of the subsets. Subsets are drawn without replacement.
    Their squared deviation, times m / (n - m) for m of n vectors, is the variance of the estimate
    from all n (the delete-d jackknife: Shao and Wu, Annals of Statistics 17(3), 1989); with sets
    of unequal sizes n is the smaller one. This errs on the side of caution there, and for sets
    that hardly differ: by up to 60% in simulations.

    The size is by default 1000 as in papers, or half the smaller set, which needs 4 vectors.
    """
    _check(a, b)
    smaller = min(len(a), len(b))
    size = subset_size or max(2, min(SUBSET_SIZE, smaller // 2))
    if not 2 <= size < smaller:
        raise UserError(
            f"KID compares subsets of {size} images, but there are only {smaller}. Subsets need "
            "2 images or more, and fewer than there are: then their scatter tells the error."
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = ([_some(x, size, generator) for x in (a, b)] for _ in range(subsets))
    found = torch.tensor([squared_mmd(*pair) for pair in drawn], dtype=torch.float64)
    deviation = float(found.std(correction=0))
    error = deviation * math.sqrt(size / (smaller - size))
    return KernelDistance(float(found.mean()), deviation, error, subsets, size)


def _some(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(features), generator=generator)[:count]
    return features[chosen.to(features.device)]


def _check(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"Features are (N, d) and (M, d), not {a.shape} and {b.shape}.")
    if min(len(a), len(b)) < 2:
        raise UserError(
            f"There are {len(a)} and {len(b)} images: FID and KID need 2 or more on each side."
        )


def bootstrap_interval(values: Tensor, *, seed: int = 0) -> tuple[float, float] | None:
    """Return a 95% interval for the mean over images, from resampling them with replacement.

    The percentile interval: Efron and Tibshirani, "An introduction to the bootstrap", 1993,
    chapter 13. Infinite values are left out, as `mean_over_images` does; fewer than 2 others
    have no interval: None.
    """
    values = values[~values.isinf()].double().cpu()
    count = len(values)
    if count < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, AT_ONCE // count)
    means: list[Tensor] = []
    for first in range(0, DRAWS, at_once):
        shape = (min(at_once, DRAWS - first), count)
        means.append(values[torch.randint(count, shape, generator=generator)].mean(dim=1))
    low, high = torch.cat(means).quantile(values.new_tensor([0.025, 0.975])).tolist()
    return low, high
