"""Every command of README and the documents runs, in order, as a reader would run it.

Each document gets a copy of the checkout. What readers have besides it is in
`tests/support/belongings.py`; docs/tutorial.md has a test of its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.belongings import prepare, published
from tests.support.documents import Block, blocks, commands, documents
from tests.support.reader import Reader
from tests.support.tiers import LONG, some
from tests.support.web_server import Server
from tests.support.web_server import server as server

# Options that make commands small. They stand before those of the document, which win.
SMALL = "--ngf 2 --ndf 2 --max_dataset_size 2 --print_freq 1"
FIRST = {  # by what follows `python`
    "train.py *--continue_train --total_steps*": "--print_freq 1",
    "train.py *--model stargan_v2*": f"{SMALL} --crop_size 64 --batch_size 1 --total_steps 1",
    # A run that is continued goes on to another epoch, as if it had been stopped before that.
    "train.py *--continue_train*": f"{SMALL} --n_epochs 2 --n_epochs_decay 0",
    "train.py *--total_steps*": SMALL,
    "train.py *": f"{SMALL} --n_epochs 1 --n_epochs_decay 0",
    "datasets/make_demo_dataset.py *": "--train 2 --val 1 --test 1",
    "*datasets/download.py *": "--base-url {url}",
    "*scripts/download_model.py *": "--base-url {url}",
}
# Numbers of epochs and runs that the documents themselves give, and what is tried instead.
SHORTER = {
    "--n_epochs_decay 150": "--n_epochs_decay 1",
    "--total_steps 100000 --val_steps 5000": "--total_steps 3 --val_steps 2",
    "--total_steps 200 --val_steps 50": "--total_steps 2 --val_steps 1",
    "--total_steps 300": "--total_steps 3",
    "--epoch_count 101": "--epoch_count 2",
    "--n_epochs 6 --n_epochs_decay 3": "--n_epochs 1 --n_epochs_decay 0",
    "--n_epochs 5 --n_epochs_decay 5": "--n_epochs 1 --n_epochs_decay 0",
    "for seed in 1 2 3 4 5": "for seed in 1 2",
}
# What cannot be run here, by an expression for `document: command`, and why not.
NOT_RUN = {
    r": .*scripts/ci\.sh": "runs all tests, this one among them",
    r"docs/README_\w+\.md: .*scripts/demo\.py": "takes minutes; run for README.md",
    r": python scripts/test_before_push\.py": "tests/e2e/test_shell_scripts.py runs it",
    r": tensorboard ": "serves until it is stopped",
    r": python scripts/show\.py ": "serves until it is stopped; test_show.py asks it",
    r": python train\.py .*--gpu_ids 0,1,2,3": "there are no GPUs",
    r": torchrun --nnodes=2 ": "needs two machines",
    r": sbatch ": "there is no Slurm; test_cluster_jobs.py runs the scripts",
    r": kubectl ": "there is no Kubernetes; test_cluster_jobs.py reads the file",
    r": (time seq .*)?curl ": "asks scripts/show.py, which does not run here",
    r": docker ": "there is no Docker",
    r": git worktree ": "the copy has no history",
    r": python scripts/measure_steps\.py ": "takes minutes; test_measure_steps.py runs it",
    r": python scripts/bench\.py ": "takes an hour, and needs another checkout",
}
# Commands that end with another status than 0, and why.
STATUS = {
    r"python datasets/download\.py +#": 2,  # a list; a program that forgot the name should know
}
# Warnings that a reader meets, and why they speak of no mistake.
WARNINGS = {
    "^warning: visdom at .* cannot be used now": "no server runs here",
    "^warning: .*_pretrained: networks without losses": "downloaded ones lie among the runs",
    "^warning: Images are as large as they are here": "--preprocess none asks for that",
}
# Files that commands leave, by expressions for both.
LEFT = {
    r"train\.py .*--name (\w+)(?!\S)": r"checkpoints/\1/web/index.html",
    r"test\.py .*--name (\w+)(?!\S)": r"results/\1/test_*/index.html",
    r"--(?:output|output_dir|fold_AB|json) (\S+)": r"\1",
    r"# (\w+\.png)$": r"\1",
}


def followed() -> list[str]:
    """Return the documents that have commands, README.md first."""
    found = [name for name in documents() if any(b.kind == "bash" for b in blocks(name))]
    found.remove("docs/tutorial.md")
    return sorted(found, key=lambda name: name != "README.md")


def reason(document: str, command: str) -> str | None:
    """Return why a command is not run, if it is not."""
    line = f"{document}: {command}"
    return next((why for words, why in NOT_RUN.items() if re.search(words, line)), None)


def test_what_is_said_not_to_run_is_in_the_documents() -> None:
    everything = [
        f"{document}: {command}"
        for document in followed()
        for block in blocks(document)
        for command in commands(block.text)
    ]
    for words in NOT_RUN:
        assert any(re.search(words, line) for line in everything), words
    for words in (*map(re.escape, SHORTER), *STATUS):
        assert re.search(words, re.sub(r"\\\n +", "", "\n".join(everything))), words


@pytest.fixture
def reader(server: Server, tmp_path: Path) -> Reader:
    server.files = published(tmp_path / "published")
    first = {words: options.format(url=server.url) for words, options in FIRST.items()}
    return Reader(tmp_path, first)


def parts(document: str) -> Iterator[Block]:
    """Yield what is tried of a document: all of it, if there is time."""
    for block in blocks(document):
        if block.kind == "bash" and (LONG or block.heading == "Train and test"):
            yield block
            if not LONG:
                return


@pytest.mark.slow
@pytest.mark.parametrize("document", some(followed()))
def test_commands_of_documents_run(document: str, reader: Reader) -> None:
    for block in parts(document):
        for command in commands(block.text):
            if reason(document, command) is None:
                follow(reader, command)


def follow(reader: Reader, command: str) -> None:
    """Do what a reader does: have what it needs, run it, go on if all is well."""
    for words, fewer in SHORTER.items():
        command = command.replace(words, fewer)
    for earlier in prepare(reader, command):
        follow(reader, earlier)
    done = reader.run(command)
    said = f"{command}\n{done.stdout}\n{done.stderr}"
    status = next((number for words, number in STATUS.items() if re.match(words, command)), 0)
    assert done.returncode == status, said
    assert "Traceback" not in done.stderr, said
    warned = re.findall(r"^warning: .*$", done.stderr, re.MULTILINE)
    assert [line for line in warned if not any(re.search(w, line) for w in WARNINGS)] == [], said
    for words, file in LEFT.items():
        if match := re.search(words, command):
            assert list(reader.checkout.glob(match.expand(file))), said
    rename_copies(reader, command)


def rename_copies(reader: Reader, command: str) -> None:
    """Rename the class of a copied template as the comment beside the command says."""
    if match := re.match(r"cp \S+ (\S+_(?:model|dataset)\.py) +# class (\w+)$", command):
        file = reader.checkout / match[1]
        text = re.sub(r"class Template\w+", f"class {match[2]}", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
