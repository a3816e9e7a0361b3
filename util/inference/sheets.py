"""What a model makes of all images of a test together: sheets and animations."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from util.base.new_options import new_option
from util.base.plugins import own_method
from util.images.animation import write_animation
from util.images.writing import save_image

SECONDS = 0.1  # for which a frame is shown


def add_sheets(opt: Namespace, model: object, webpage: Any) -> None:
    """Write what the model's `sheets()` yields beside the page, and put it at its top.

    It yields names with one image each, (H, W, 3) of stored values, or with a list of them, the
    frames of an animation. `webpage` is a page of util/html.py.
    """
    folder = Path(webpage.get_image_dir())
    names, files, links = [], [], []
    with torch.no_grad():
        for name, made in _sheets_of(model):
            file = _write(folder, f"sheet_{name}", made, new_option(opt, "animation"))
            names.append(name)
            links.append(file)
            files.append(f"sheet_{name}.png" if Path(file).suffix == ".mp4" else file)
    if files:
        webpage.add_header("sheets")
        width = max(opt.display_winsize, 3 * opt.display_winsize // len(files))
        webpage.add_images(files, names, links, width=width)
        getattr(webpage, "show_last_first", lambda: None)()  # not every fork's page can


def kept_for_sheets(model: object) -> Any:
    """Return what a model keeps for its sheets, of the images of this process; None if nothing."""
    method = own_method(model, "kept_for_sheets", arguments=0)
    return None if method is None else method()


def keep_for_sheets(model: object, kept: Any) -> None:
    """Let a model keep for its sheets what it has kept in another process."""
    if kept is not None:
        model.keep_for_sheets(kept)  # type: ignore[attr-defined]


def _sheets_of(model: object) -> Iterator[tuple[str, Any]]:
    """Yield the model's sheets; a method of that name may also be a plugin's own business."""
    method = own_method(model, "sheets", arguments=0)
    found = None if method is None else method()
    for item in found if isinstance(found, Iterable) else ():
        match item:
            case (str() as name, np.ndarray() as made):
                yield name, made
            case (str() as name, [np.ndarray(), *_] as made):
                yield name, made
            case _:
                return


def _write(folder: Path, name: str, made: Any, animation: str) -> str:
    """Write an image, or an animation, and return its file name."""
    if not isinstance(made, list):
        save_image(made, folder / f"{name}.png")
        return f"{name}.png"
    frames = [Image.fromarray(np.asarray(frame)) for frame in made]
    if animation == "mp4":  # for the page, which links it to the animation
        save_image(np.asarray(frames[-1]), folder / f"{name}.png")
    write_animation(folder / f"{name}.{animation}", frames, SECONDS)
    return f"{name}.{animation}"
