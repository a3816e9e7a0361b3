"""The names of all that a run keeps in its folder, `<checkpoints_dir>/<name>`.

A save has a label: the number of an epoch, `latest`, `best`, or `iter_<images>`. Its files begin
with it.
"""

import re
from glob import escape
from pathlib import Path

ITERATION = "iter_"
AVERAGE = "_ema"
NUMBERED = re.compile(rf"({ITERATION})?(\d+)_(net_.+|state)\.pth")
SAVED = re.compile(rf"(latest|best|({ITERATION})?\d+)_.+\.pth")  # what plugins save too


def label_of(load_iter: int, epoch: int | str) -> str:
    """Return the label of the save that `--load_iter` and `--epoch` mean."""
    return iteration_label(load_iter) if load_iter > 0 else str(epoch)


def iteration_label(images: int) -> str:
    """Return the label of a save that is counted in images, with `--save_by_iter`."""
    return f"{ITERATION}{images}"


def is_numbered(label: str) -> bool:
    """Tell whether a label counts epochs or images."""
    return label.removeprefix(ITERATION).isdecimal()


def option_for(label: str) -> dict[str, str]:
    """Return the option that means this label; none for `latest`, the default."""
    if label.startswith(ITERATION):
        return {"load_iter": label.removeprefix(ITERATION)}
    return {} if label == "latest" else {"epoch": label}


class RunFolder:
    """Name the files of one run; nothing is written.

    Who writes them:

    | files | written by |
    |---|---|
    | `<label>_*.pth`, logs, `web`, `tensorboard`, `visdom`, `wandb_run_id.txt` | train.py alone |
    | `train_opt.*`, and `<phase>_opt.*` of training | train.py alone |
    | `test_opt.*`, and `<phase>_opt.*` unless it is one of those above | test.py |
    | `wandb` | train.py and test.py, with `--use_wandb` |
    | `before-<date>`, where an earlier run of this name went | train.py alone |
    """

    def __init__(self, checkpoints_dir: str | Path, name: str = "") -> None:
        """Take the folder of the run `name`; without a name it is the first path itself."""
        self.path = Path(checkpoints_dir, name)
        self.lock = self.path / ".lock"  # of the process that trains here
        self.moving = self.path / ".moving"  # an earlier run on its way to `before-<date>`
        self.loss_log = self.path / "loss_log.txt"  # as the reference writes it
        self.losses = self.path / "losses.jsonl"  # one moment a line
        self.metrics = self.path / "metrics.jsonl"  # one epoch a line
        self.last_words = self.path / "stopped.txt"  # why, and how to go on
        self.web = self.path / "web"
        self.web_images = self.web / "images"
        self.tensorboard = self.path / "tensorboard"
        self.visdom = self.path / "visdom"  # of a server that the run started
        self.wandb = self.path / "wandb"  # as that package calls it
        self.wandb_id = self.path / "wandb_run_id.txt"
        self.oldest_options = self.path / "opt.txt"  # as the reference wrote it until 2018

    def __str__(self) -> str:
        return str(self.path)

    def network_file(self, label: int | str, net: str) -> Path:
        """Return where a network is saved; `net` is its name in `model_names`."""
        return self.path / f"{label}_net_{net}.pth"

    @staticmethod
    def average_file(network: Path) -> Path:
        """Return where the averages of a network's weights (`--ema`) are saved: beside its file."""
        return network.with_name(f"{network.stem}{AVERAGE}{network.suffix}")

    def network_files(self, net: str | None = None) -> list[Path]:
        """Return the files of a network, or of all, that there are under any label."""
        name = "*" if net is None else escape(net)
        return sorted(self.path.glob(f"[!.]*_net_{name}.pth"))  # with a dot they are unfinished

    def state_file(self, label: int | str) -> Path:
        """Return where the rest of a save is kept: all but the networks."""
        return self.path / f"{label}_state.pth"

    def short_name(self, file: Path, label: int | str) -> str:
        """Return the name of a file of a save without its label, as a state calls it."""
        return file.name.removeprefix(f"{label}_")

    def file_of(self, label: int | str, short_name: str) -> Path:
        """Return the file of a save that a state calls by its name without the label."""
        return self.path / f"{label}_{short_name}"

    def saves_before(self, label: str) -> list[list[Path]]:
        """Return the files of each numbered save before this one, newest first, states in front.

        Epochs stand before epochs, counts of images before counts of images; nothing is before a
        label without a number.
        """
        current = NUMBERED.fullmatch(self.state_file(label).name)
        if current is None:
            return []
        saves: dict[int, list[Path]] = {}
        for file in sorted(self.path.iterdir(), reverse=True):  # "state" comes after "net"
            match = NUMBERED.fullmatch(file.name)
            if match and match[1] == current[1] and int(match[2]) < int(current[2]):
                saves.setdefault(int(match[2]), []).append(file)
        return [saves[number] for number in sorted(saves, reverse=True)]

    def labels(self) -> list[str]:
        """Return the labels of all saves: `best` and `latest`, epochs, counts of images."""
        names = {file.name.partition("_net_")[0] for file in self.network_files()}

        def place(label: str) -> tuple[int, int, str]:
            number = label.removeprefix(ITERATION)
            if not number.isdecimal():
                return 0, 0, label
            return (1 if number == label else 2), int(number), label

        return sorted(names, key=place)

    def has_files_of(self, label: str) -> bool:
        """Tell whether there is anything of a save, networks or what a plugin saves too."""
        return any(self.path.glob(f"{escape(label)}_*.pth"))

    def contents(self) -> list[Path]:
        """Return all that commands have left here; other files, and other runs, are people's."""
        logs = (
            self.loss_log,
            self.losses,
            self.metrics,
            self.last_words,
            self.wandb_id,
            self.oldest_options,
        )
        folders = self.web, self.tensorboard, self.visdom, self.wandb
        return [
            *(path for path in (*logs, *folders) if path.exists()),
            *(file for file in sorted(self.path.glob("*.pth")) if SAVED.fullmatch(file.name)),
            *sorted(self.path.glob("[!.]*_opt.txt")),
            *sorted(self.path.glob("[!.]*_opt.json")),
        ]

    def options_text(self, phase: str = "train") -> Path:
        """Return where the options of a phase are saved as text, as the reference does."""
        return self.path / f"{phase}_opt.txt"

    def options_json(self, phase: str = "train") -> Path:
        """Return where the options of a phase are saved for programs."""
        return self.path / f"{phase}_opt.json"
