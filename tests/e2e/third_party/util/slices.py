# ruff: noqa
# fmt: off
"""What a fork puts beside the files of util: reading volumes, without nibabel."""
import gzip
import struct
import numpy as np

TYPES = {2: np.uint8, 4: np.int16, 16: np.float32, 64: np.float64}


def read_nifti(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rb") as f:
        content = f.read()
    assert struct.unpack_from("<i", content, 0)[0] == 348, path
    dim = struct.unpack_from("<8h", content, 40)
    kind = TYPES[struct.unpack_from("<h", content, 70)[0]]
    start = int(struct.unpack_from("<f", content, 108)[0])
    shape = dim[1:dim[0] + 1]
    return np.frombuffer(content, kind, int(np.prod(shape)), start).reshape(shape, order="F")


def to_range(image, low, high):
    """To [-1, 1], what is outside is cut off."""
    return np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 2 - 1
