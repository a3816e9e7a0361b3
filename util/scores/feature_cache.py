"""Feature vectors kept between runs, found again by what they were computed from."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from util.base.log import warn
from util.storage.files import replacing

CHECKSUM = 32  # bytes


def default_folder() -> Path:
    """Return where caches go on this machine: below $XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "cyclegan-pix2pix" / "features"


def key_of(*parts: str) -> str:
    """Return the key of a vector: a digest of everything that decides its numbers."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


class FeatureCache:
    """A folder of vectors, one small file each, which several processes may share.

    A file holds a checksum, then the vector as little-endian 32-bit floats. One that is damaged
    counts as missing. A folder that cannot be written is warned of once, and done without. Without
    a folder nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> Tensor | None:
        """Return a vector (d,), float32, on the CPU; None if there is none, or not a whole one."""
        content = b""
        with suppress(OSError):
            if self.folder is not None:
                content = (self.folder / key[:2] / key[2:]).read_bytes()
        checksum, payload = content[:CHECKSUM], content[CHECKSUM:]
        if not payload or checksum != _checksum(key, payload):
            return None
        return torch.from_numpy(np.frombuffer(payload, "<f4").astype(np.float32))

    def put(self, key: str, vector: Tensor) -> None:
        """Keep a vector (d,)."""
        if self.folder is None:
            return
        payload = vector.detach().cpu().numpy().astype("<f4").tobytes()
        file = self.folder / key[:2] / key[2:]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary:
                temporary.write_bytes(_checksum(key, payload) + payload)
        except OSError as error:
            warn(f"features are not kept: {file.parent}: {error.strerror or error}.")
            self.folder = None


def _checksum(key: str, payload: bytes) -> bytes:
    """Return a digest that also tells a file that was renamed."""
    return hashlib.sha256(key.encode() + payload).digest()
