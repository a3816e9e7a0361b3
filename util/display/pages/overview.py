"""What the training page tells about a run."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "numpy", "pillow")


def overview(
    options: Mapping[str, str], images: int, to_validate: int
) -> dict[str, dict[str, str]]:
    """Return sections of names and texts.

    Args:
        options: those that differ from their defaults.
        images: in an epoch.
        to_validate: images to validate on, 0 for none.
    """
    data = {"images in an epoch": f"{images:,}"}
    if to_validate:
        data["images to validate on"] = f"{to_validate:,}"
    return {
        "Options that differ from their defaults": dict(options),
        "Data": data,
        "Versions": {"python": platform.python_version()}
        | {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # from a checkout of its own
        return "unknown"
