"""What several processes would reach where nobody has measured: computed, not measured.

    python scripts/benchmark/scaling.py
    python scripts/benchmark/scaling.py --step 0.05 --images 4

The first tables divide the time of a step by itself and all that is exchanged, one after the other.
Gradients go round a ring: each link carries 2 (N - 1) / N of their bytes. Of the images that come
out of the pools half are drawn, and 1 - 1 / N of these come from another process. Then there are
messages of a few bytes. Each hop of a message takes its latency besides. The slowest link counts.

The next lets a step last as long as the slowest of N processes needs. The last lets processes fail:
what was computed since the last save is lost, and so is the time to start again.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.results import quantity

GIGABIT = 1e9 / 8  # bytes
MESSAGES = 2  # with gradients: one for each optimiser
POOLS = 2
DRAWN = 0.5  # of the images that come out of a pool
SMALL_MESSAGES = 2  # the agreement before a batch, the losses after it
ENOUGH = 0.9  # efficiency that is asked for


@dataclass(frozen=True)
class Link:
    """The slowest connection in a ring of processes: bytes a second, seconds for a hop."""

    name: str
    speed: float
    latency: float


NVLINK = Link("NVLink, 300 GB/s", 300e9, 5e-6)
PCIE = Link("PCIe, 20 GB/s", 20e9, 10e-6)
ETHERNET = [Link(f"Ethernet, {n} Gb/s", n * GIGABIT, 30e-6) for n in (1, 10, 25, 100)]
INFINIBAND = Link("InfiniBand, 400 Gb/s a GPU", 400 * GIGABIT, 5e-6)
PLACES = [  # processes, and the slowest link between them
    (8, NVLINK),
    (8, PCIE),
    *((2, link) for link in ETHERNET),
    *((64, link) for link in ETHERNET),
    (64, INFINIBAND),
    (1000, INFINIBAND),
]


@dataclass(frozen=True)
class Load:
    """What a process computes in a step, and sends."""

    step: float  # seconds
    gradients: float  # bytes
    pools: float  # bytes of the images that it gets from the pools

    def exchange(self, processes: int, link: Link) -> float:
        """Return the seconds of a step in which a process exchanges instead of computing."""
        return self._bytes(processes) / link.speed + self._latency(processes, link)

    def efficiency(self, processes: int, link: Link) -> float:
        """Return which part of its time a process computes."""
        return self.step / (self.step + self.exchange(processes, link))

    def speed_needed(self, processes: int, link: Link) -> float:
        """Return the bytes a second at which it computes 90% of its time; inf: at none."""
        left = self.step * (1 / ENOUGH - 1) - self._latency(processes, link)
        return self._bytes(processes) / left if left > 0 else math.inf

    def _bytes(self, processes: int) -> float:
        others = (processes - 1) / processes
        return 2 * others * self.gradients + DRAWN * others * self.pools

    def _latency(self, processes: int, link: Link) -> float:
        hops = 2 * MESSAGES * (processes - 1)
        # Each process hands images straight to those that they are for, all at once.
        images = POOLS if self.pools else 0
        small = 2 * SMALL_MESSAGES * math.ceil(math.log2(processes))
        return link.latency * (hops + images + small)


IMAGE = 2 * 3 * 256 * 256 * 4  # bytes for both pools of cycle_gan
GRADIENTS = 113.1e6  # bytes of cycle_gan
LOADS = {  # docs/performance.md says where the steps come from
    "GPU, 1 image, 7 ms": Load(0.007, GRADIENTS, IMAGE),
    "GPU, 8 images, 32 ms": Load(0.032, GRADIENTS, 8 * IMAGE),
    "core, 1 image, 10.2 s": Load(10.2, GRADIENTS, IMAGE),
}
VARIED = "GPU, 8 images, 32 ms"


def slowest(processes: int, sigma: float, steps: int = 2000, seed: int = 0) -> float:
    """Return how long steps last, as a multiple of one process's mean, if each waits for all.

    Their times are lognormal: `sigma` is the standard deviation of the logarithm.
    """
    random = np.random.default_rng(seed)
    times = random.lognormal(-(sigma**2) / 2, sigma, (steps, processes))  # of mean 1
    return float(times.max(axis=1).mean())


@dataclass(frozen=True)
class Failures:
    """What failing costs a run: all in seconds."""

    between: float  # on average, of the whole run
    save: float  # in which a save holds up training
    restart: float

    @property
    def best_interval(self) -> float:
        """Return the time between saves that loses least (Young 1974; Daly 2006, higher order)."""
        if self.save >= 2 * self.between:
            return self.between
        ratio = math.sqrt(self.save / (2 * self.between))
        young = math.sqrt(2 * self.save * self.between)
        return young * (1 + ratio / 3 + ratio**2 / 9) - self.save

    def simulate(self, interval: float, hours: float, seed: int = 0) -> float:
        """Return which part of a long time is useful, with saves at this interval."""
        random = np.random.default_rng(seed)
        useful = now = 0.0
        while now < 3600 * hours:
            lasts = float(random.exponential(self.between))
            useful += interval * (lasts // (interval + self.save))
            now += lasts + self.restart
        return useful / now


# ---- tables -----------------------------------------------------------------------------------


def exchange_table(loads: Mapping[str, Load]) -> Iterator[str]:
    """Yield the lines of a table: efficiency, and from which bandwidth on it is 90%."""
    heads = [f"{name} | 90% from" for name in loads]
    yield f"| processes | slowest link | {' | '.join(heads)} |"
    yield f"|---|---{'|---' * 2 * len(loads)}|"
    for processes, link in PLACES:
        cells = []
        for load in loads.values():
            needed = load.speed_needed(processes, link) / GIGABIT
            limit = f"{quantity(needed, 'Gb/s')}" if needed < math.inf else "none"
            cells.append(f"{load.efficiency(processes, link):.0%} | {limit}")
        yield f"| {processes} | {link.name} | {' | '.join(cells)} |"


def variant_table(load: Load) -> Iterator[str]:
    """Yield the lines of a table: what would change the efficiency of one load."""
    compressed = replace(load, gradients=load.gradients / 2)
    own_pools = replace(load, pools=0)
    yield "| processes | slowest link | as it is | `--dist_compress bf16` | own pools |"
    yield "|---|---|---|---|---|"
    for processes, link in PLACES:
        if processes > 2:
            ways = (load, compressed, own_pools)
            cells = [f"{each.efficiency(processes, link):.0%}" for each in ways]
            yield f"| {processes} | {link.name} | {' | '.join(cells)} |"


def straggler_table() -> Iterator[str]:
    """Yield the lines of a table: what waiting for the slowest leaves of the speed."""
    sigmas = (0.01, 0.02, 0.05, 0.1, 0.2)
    yield f"| processes | {' | '.join(f'sigma {sigma:g}' for sigma in sigmas)} |"
    yield "|---" * (1 + len(sigmas)) + "|"
    for processes in (2, 8, 64, 1000):
        cells = [f"{1 / slowest(processes, sigma):.0%}" for sigma in sigmas]
        yield f"| {processes} | {' | '.join(cells)} |"


def restart_table(processes: int) -> Iterator[str]:
    """Yield the lines of a table: saves at the best interval, and what they leave."""
    yield "| hours between failures of one process | of the run | save | best interval | useful |"
    yield "|---|---|---|---|---|"
    for hours in (5_000, 50_000):
        for save in (0.1, 10.0):
            failures = Failures(3600 * hours / processes, save, restart=120)
            interval = failures.best_interval
            useful = failures.simulate(interval, hours=100 * hours / processes)
            yield (
                f"| {hours} | {hours / processes:g} | {save:g} s | {interval / 60:.1f} min | "
                f"{useful:.1%} |"
            )


def tables(loads: Mapping[str, Load], varied: Load) -> dict[str, Iterator[str]]:
    """Return the lines of all tables, by their titles."""
    return {
        "Exchanging": exchange_table(loads),
        "What would change it": variant_table(varied),
        "Waiting for the slowest": straggler_table(),
        "Restarts of 1000 processes": restart_table(1000),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Compute how far several processes scale.")
    parser.add_argument("--step", type=float, help="seconds of a step of cycle_gan, if known")
    parser.add_argument("--images", type=int, default=1, help="images of a process in it (1)")
    args = parser.parse_args()
    loads, varied = LOADS, LOADS[VARIED]
    if args.step:
        varied = Load(args.step, GRADIENTS, args.images * IMAGE)
        loads = {f"{args.images} images, {quantity(args.step, 's')}": varied}
    for title, lines in tables(loads, varied).items():
        print(f"\n{title}\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
