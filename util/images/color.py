"""sRGB to CIE L*a*b* and back, for the 2 degree observer and illuminant D65.

Source: IEC 61966-2-1 (sRGB, its transfer curve and primaries), CIE 15 (L*a*b*).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
D65_WHITE = np.array([0.95047, 1.0, 1.08883])  # XYZ, Y = 1


def rgb2lab(rgb: NDArray[Any]) -> Array:
    """Convert sRGB (..., 3), uint8 or floating point in [0, 1], to L*a*b* (..., 3) in float64.

    L is in [0, 100], a and b are within about [-110, 110].
    """
    encoded = rgb / 255.0 if rgb.dtype == np.uint8 else rgb.astype(np.float64)
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    xyz = linear @ XYZ_FROM_RGB.T / D65_WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def lab2rgb(lab: NDArray[Any]) -> Array:
    """Convert L*a*b* (..., 3) to sRGB (..., 3) in [0, 1], float64; what lies outside is clipped."""
    lab = lab.astype(np.float64)
    y = (lab[..., 0] + 16.0) / 116.0
    x = lab[..., 1] / 500.0 + y
    z = np.maximum(y - lab[..., 2] / 200.0, 0.0)
    f = np.stack([x, y, z], axis=-1)
    xyz = np.where(f > 0.2068966, f**3, (f - 16.0 / 116.0) / 7.787) * D65_WHITE
    linear = xyz @ RGB_FROM_XYZ.T
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.clip(np.where(linear > 0.0031308, curve, linear * 12.92), 0.0, 1.0)
