"""Losses and images for Weights & Biases; its package is imported when a sink is made."""

import inspect
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from util.base.errors import UserError
from util.base.log import say, warn
from util.display.sinks.base import EpochRecord, ImageArray, LogStep, Sink, import_for
from util.display.sinks.epochs import flat
from util.images.ranges import for_display
from util.images.writing import as_pillow
from util.storage.files import write_text
from util.storage.run_folder import RunFolder

PACKAGE = {"wandb": "init"}
RUN_ID_FILE = RunFolder("").wandb_id.name
START_SECONDS = 30.0  # to reach the server; wandb itself waits for 90


class WandbSink(Sink):
    """Send losses and images to a run of Weights & Biases.

    `WANDB_MODE` decides between online, offline and disabled. Nobody is ever asked for a key:
    without one, and when the server cannot be reached at the start, the run is kept below
    `folder` to be uploaded later. An online run's id is kept in `folder` too unless `keep_id` is
    false, so that a training that is continued (`resume`) goes on in the same run. A run that is
    active already, for instance a sweep's, is used as it is.
    """

    images_every = "display_freq"

    def __init__(
        self,
        project: str,
        name: str,
        config: Mapping[str, Any],
        folder: str | Path,
        *,
        resume: bool = False,
        keep_id: bool = True,
    ) -> None:
        self._id_file = Path(folder) / RUN_ID_FILE
        self._keep_id = keep_id
        (self._wandb,) = import_for("--use_wandb", PACKAGE)
        self._own = self._wandb.run is None
        self._run: Any = self._wandb.run
        self._goes_on = False  # an earlier run
        self._has_up_to = 0  # images, until which that has everything
        if self._own:
            Path(folder).mkdir(parents=True, exist_ok=True)
            common = {
                "project": project,
                "name": name,
                "config": {key: _plain(value) for key, value in config.items()},
                "dir": os.environ.get("WANDB_DIR", str(folder)),
            }
            self._run = self._start(common, resume)

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Log losses."""
        self._log(when, {name: float(value) for name, value in losses.items()})

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Log images under their labels."""
        made = self._wandb.Image
        logged = {
            label: made(as_pillow(for_display(image)), caption=label)
            for label, image in images.items()
        }
        self._log(when, logged)

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Log an epoch's numbers, and what was made of the first validation image."""
        when = LogStep(record["epoch"], total_images=record["total_iters"])
        self._log(when, flat(record))
        if samples and "val" in record:
            self.images(when, {f"validation/{label}": image for label, image in samples[0].items()})

    def go_on_after(self, when: LogStep) -> None:
        """Report nothing twice: wandb cannot take back what came after an earlier save."""
        known = int(self._run.summary.get("total_iters", 0)) if self._goes_on else 0
        if when.total_images and known > when.total_images:
            self._has_up_to = known
            say(f"wandb has this run up to image {known}: it gets what comes after that.")

    def _log(self, when: LogStep, values: Mapping[str, Any]) -> None:
        if when.total_images is None or when.total_images > self._has_up_to:
            self._run.log({**values, **_axes(when)})

    def close(self) -> None:
        """Finish the run: what is left is sent."""
        if self._own:
            self._own = False
            self._run.finish()

    def _start(self, common: Mapping[str, Any], resume: bool) -> Any:
        wandb = self._wandb
        try:
            if wandb.setup().settings.mode in ("offline", "dryrun", "disabled"):
                return wandb.init(**common)
            run, problem = self._start_online(common, resume)
            if run is not None:
                return run
            # For all of wandb, or its telemetry still looks for the server and waits at the end.
            wandb.setup(settings=wandb.Settings(mode="offline"))
            # A new run with an id of its own: uploading it must not replace an earlier one.
            run = wandb.init(**common, mode="offline")
        except (wandb.Error, ValueError) as error:  # ValueError: a setting it does not know
            raise UserError(
                f"wandb cannot start this run: {_one_line(error)} Check --wandb_project_name and "
                "the WANDB_ variables of the environment, or leave --use_wandb out."
            ) from error
        kept = f"wandb sync {shlex.quote(str(Path(run.dir).parent))}"
        warn(f"{problem}, so this run is kept offline. To upload it: wandb login; {kept}")
        return run

    def _start_online(self, common: Mapping[str, Any], resume: bool) -> tuple[Any | None, str]:
        """Return a run, or None and why there is none."""
        wandb = self._wandb
        remembered = resume and self._id_file.is_file()
        known = self._id_file.read_text(encoding="utf-8").strip() if remembered else None
        patience = float(os.environ.get("WANDB_INIT_TIMEOUT", START_SECONDS))
        try:
            if not _has_credentials(wandb):
                return None, "wandb is not logged in"
            settings = wandb.Settings(init_timeout=patience)
            self._goes_on = known is not None
            allowed = "allow" if known else None
            run = wandb.init(**common, id=known, resume=allowed, settings=settings)
        except wandb.Error as error:
            return None, f"wandb did not start ({_one_line(error)})"
        if self._keep_id:
            write_text(self._id_file, f"{run.id}\n")
        return run, ""


def active_run() -> Any:
    """Return the run that is active, None without one; none is started."""
    (wandb,) = import_for("--use_wandb", PACKAGE)
    return wandb.run


def log_to_active_run(images: Mapping[str, ImageArray]) -> None:
    """Log images to the run that is active, if there is one."""
    if active_run() is not None:
        WandbSink("", "", {}, ".").images(LogStep(0), images)


def _has_credentials(wandb: ModuleType) -> bool:
    """Look for a key without asking for one."""
    if "prompt" in inspect.signature(wandb.login).parameters:  # wandb 0.31 and later
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)


def _axes(when: LogStep) -> dict[str, float]:
    axes: dict[str, float] = {"epoch": when.epoch + when.fraction, "iters": when.images}
    return axes if when.total_images is None else axes | {"total_iters": when.total_images}


def _plain(value: Any) -> Any:
    """Keep what JSON knows; spell out anything else."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
