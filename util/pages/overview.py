"""What the training page tells about a run."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "numpy", "pillow")


def overview(options: dict[str, str], images: int) -> dict[str, dict[str, str]]:
    """Return sections of names and texts.

    Args:
        options: those that differ from their defaults.
        images: in an epoch.
    """
    return {
        "Options that differ from their defaults": options,
        "Data": {"images in an epoch": f"{images:,}"},
        "Versions": {"python": platform.python_version()}
        | {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # from a checkout of its own
        return "unknown"
