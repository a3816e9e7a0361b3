"""What the training page tells about a run."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version


def overview(
    options: Mapping[str, str], images: int, to_validate: int
) -> dict[str, dict[str, str]]:
    """Return sections of names and texts; `images` counts those of an epoch."""
    data = {"images in an epoch": f"{images:,}"}
    if to_validate:
        data["images to validate on"] = f"{to_validate:,}"
    versions = {package: _version(package) for package in ("torch", "numpy", "pillow")}
    return {
        "Options that differ from their defaults": dict(options),
        "Data": data,
        "Versions": {"python": platform.python_version()} | versions,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # from a checkout of its own
        return "unknown"
