"""Documents are true: commands have these options, links lead somewhere, tables are up to date."""

import re
import subprocess
import sys
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest

from models import find_model_using_name
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.support.commands import imported
from tests.support.documents import HEADING, blocks, commands, documents, read, simple_commands
from tests.support.paths import ROOT, tracked_files
from util.base.errors import UserError

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`(python [\w/]+\.py[^`]*)`")
TO_FILL_IN = ("NAME", "RUN", "...")
COPIES = ("sharpen", "first_try", "mine")  # plugins that readers are to make


def programs() -> list[tuple[str, list[str]]]:
    """Return which scripts every document runs: their names and what follows."""
    found = []
    for name in documents():
        scripts = [block.text for block in blocks(name) if block.kind == "bash"]
        texts = [command for script in scripts for command in commands(script)]
        for text in [*texts, *INLINE.findall(read(name))]:
            for words in simple_commands(text):
                script = words[1:] if words[0] in ("python", "bash") else words
                if words[0] in ("torchrun", "sbatch"):  # options of its own come first
                    script = list(dropwhile(lambda word: not word.endswith((".py", ".sh")), words))
                if script and script[0].endswith((".py", ".sh")):
                    found.append((name, script))
    return found


def test_there_are_many_commands_to_try() -> None:
    assert len(programs()) > 100


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (d, w)
        for d, w in programs()
        if w[0] in ("train.py", "test.py")
        and not any("$" in word for word in w)
        and not {*w} & {*TO_FILL_IN}
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_commands_of_training_and_testing_are_understood(
    document: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the files: options exist, values have the right types, rules are kept."""
    if not {*words}.isdisjoint(COPIES):
        pytest.skip("a plugin that the reader makes")
    if "--help" in words:
        words = [word for word in words if word != "--help"] + ["--dataroot", "x"]
    monkeypatch.chdir(tmp_path)
    options: Any = TrainOptions() if words[0] == "train.py" else TestOptions()
    arguments = words[1:] if "--dataroot" in words else [*words[1:], "--dataroot", "x"]
    arguments = [word for word in arguments if word != "--continue_train"]
    opt = options.parse([*arguments, "--gpu_ids", "-1"], quiet=True)
    find_model_using_name(opt.model)


@pytest.mark.parametrize(
    ("document", "words"),
    [(d, w) for d, w in programs() if w[0] not in ("train.py", "test.py")],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_other_commands_have_these_options(document: str, words: list[str]) -> None:
    script = ROOT / words[0]
    assert script.is_file(), f"{document}: {words[0]}"
    text = script.read_text(encoding="utf-8")
    if script.suffix == ".sh":
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        return
    options = TestOptions()
    options.gather_options(["--dataroot", "x"])
    of_test = options.parser._option_string_actions  # which evaluate.py passes on
    own = words[1 : words.index("--")] if "--" in words else words[1:]  # the rest is train.py's
    for word in own:
        if word.startswith("--"):
            known = (
                f'"{word}"' in text
                or f'"{word[2:]}"' in text
                or (words[0] == "scripts/evaluate.py" and word in of_test)
            )
            assert known, f"{document}: {words[0]} has no {word}"


@pytest.mark.parametrize("document", documents())
def test_links_lead_to_files_and_headings_that_there_are(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        if not file.exists() or anchor and anchor not in anchors(file):
            broken.append(target)
    assert broken == []


def anchors(file: Path) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    headings = HEADING.findall(file.read_text(encoding="utf-8"))
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain}


def test_the_table_of_options_is_up_to_date() -> None:
    with imported(ROOT / "scripts" / "document_options.py") as loaded:
        module: Any = loaded
        module.main(["--check"])
        text = module.FILE.read_text(encoding="utf-8")
        module.FILE = Path("nowhere")
        with pytest.raises(UserError, match=r"Run python scripts/document_options\.py"):
            module.main(["--check"])
    for option in ("--lambda_identity", "--val_freq", "--num_test", "--model_suffix"):
        assert f"| `{option}` |" in text


def test_the_dockerfile_is_sound() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the linter comes for Linux")
    command = [Path(sys.executable).parent / "hadolint", ROOT / "docs" / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_site_has_every_document() -> None:
    """mkdocs.yml lists those in docs, and no others."""
    listed = re.findall(r"^  - .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


# ---- the original's files -----------------------------------------------------------------

SAID_TO_BE_MISSING = (
    "scripts/edges/batch_hed.py",
    "scripts/edges/PostprocessHED.m", "scripts/eval_cityscapes/download_fcn8s.sh",
    "scripts/eval_cityscapes/util.py", "scripts/eval_cityscapes/caffemodel/deploy.prototxt",
)  # fmt: skip


def test_each_file_of_the_original_is_here_or_said_to_be_missing() -> None:
    tracked = set(tracked_files())
    names = (ROOT / "tests" / "unit" / "original_files.txt").read_text().split()
    assert len(names) > 60
    assert [name for name in names if name not in tracked] == []
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    assert [name for name in SAID_TO_BE_MISSING if f"`{name}`" not in text] == []
