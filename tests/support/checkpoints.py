"""Checkpoints for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.storage.checkpoint import FileSet


def save_set(files: Mapping[Path, object]) -> None:
    """Write checkpoints of one save as training does."""
    with FileSet() as written:
        for path, state in files.items():
            written.add(path, state)


def save_state(state: object, path: str | Path) -> None:
    """Write one checkpoint."""
    save_set({Path(path): state})


def save_untrained_inception(path: Path) -> None:
    """Write random weights of the network that FID and KID are measured with."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            """Stay as it is."""

    nothing = path.with_name("nothing.pth")
    save_state({}, nothing)
    net = Untrained("any", ["2048"], feature_extractor_weights_path=str(nothing))
    save_state(net.state_dict(), path)
