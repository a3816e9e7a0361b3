"""scripts/evaluate.py: which images it takes, what it prints, and how it ends."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.support.commands import ROOT, draw, imported, scene, start, train
from tests.support.commands import script as run_script
from util.scores import scorer
from util.scores.comparisons import OUTPUTS_FILE, PAIRS_FILE
from util.scores.networks import Identity

SCRIPT = ROOT / "scripts" / "evaluate.py"
BILINEAR = Image.Resampling.BILINEAR


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Return the script as a module."""
    with imported(SCRIPT) as module:
        yield module


class Evaluate:
    """Run the script in this process."""

    def __init__(
        self, script: ModuleType, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        self.script = script
        self.capsys = capsys
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Return the exit status, and what was printed on standard output and error."""
        cache = ["--cache", self.folder / "cache"]
        given = [*arguments, *([] if "--no_cache" in arguments else cache)]
        status = 0
        try:
            self.script.main([str(argument) for argument in given])
        except SystemExit as stopped:
            status = int(str(stopped.code))
        return status, *self.capsys.readouterr()

    def report(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        """Return the exit status, and what --json writes."""
        file = self.folder / "report.json"
        status, _, _ = self(*arguments, "--json", file)
        return status, json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture
def evaluate(
    script: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Evaluate:
    """Return a function that runs the script, with no weights in torch's cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return Evaluate(script, capsys, tmp_path)


class Averages:
    """In place of Inception: the mean and the deviation of the colours."""

    def __init__(self, weights: str = "averages") -> None:
        self.identity = Identity("averages", "averages.pth", weights, published=False)
        self.seen = 0

    def sizes(self, generated: tuple[int, int]) -> list[tuple[int, int]]:
        """Take images as they are."""
        return []

    def __call__(self, batch: Tensor) -> Tensor:
        """Return (N, 6)."""
        assert batch.dtype == torch.uint8
        self.seen += len(batch)
        pixels = batch.float().flatten(2) / 255
        return torch.cat([pixels.mean(dim=2), pixels.std(dim=2)], dim=1)


class Distances:
    """In place of LPIPS: twice the mean difference."""

    def __init__(self) -> None:
        self.identity = Identity("distances", "distances.pth", "distances", published=True)
        self.seen = 0

    def check(self, images: Tensor) -> None:
        """Take all images."""

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (N,)."""
        self.seen += len(a)
        return 2 * (a - b).abs().mean(dim=(1, 2, 3)).float()

    def among(self, images: Tensor) -> Tensor:
        """Return (1,)."""
        pairs = list(combinations(images, 2))
        return self(*map(torch.stack, zip(*pairs, strict=True))).mean().view(1)


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch) -> Averages:
    """Put a stand-in where Inception is loaded."""
    net = Averages()
    monkeypatch.setattr(scorer, "load_inception", lambda file, device: net)
    return net


@pytest.fixture
def lpips(monkeypatch: pytest.MonkeyPatch) -> Distances:
    """Put a stand-in where LPIPS is loaded."""
    distances = Distances()
    monkeypatch.setattr(scorer, "load_lpips", lambda file, device, net: distances)
    return distances


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return folders of 6 real images, and of 6 like them but darker by 51 of 255."""
    real, fake = tmp_path / "real", tmp_path / "fake"
    for number in range(6):
        image = np.asarray(scene(number)).clip(51)
        draw(real / f"{number}.png", Image.fromarray(image))
        draw(fake / f"{number}.png", Image.fromarray(image - 51))
    return real, fake


def results(folder: Path, labels: dict[str, int], count: int = 5) -> Path:
    """Write images under test.py's names: for each label the seed of its first one."""
    for label, seed in labels.items():
        for number in range(count):
            draw(folder / "images" / f"p{number}_{label}.png", scene(seed + number))
    (folder / "index.html").write_text("a page")
    return folder


def titles(report: dict[str, Any]) -> list[str]:
    return [one["title"].partition(" in ")[0] for one in report["comparisons"]]


# ---- several runs -------------------------------------------------------------------------


@pytest.fixture
def two_runs(tmp_path: Path) -> list[Path]:
    """Return results of two runs, of which the second has made what it should."""
    folders = []
    for run, seed in (("a_1", 9), ("b", 0)):
        folder = results(tmp_path / "results" / run / "test_latest", {"real_B": 0, "fake_B": seed})
        (folder / "pairs.json").write_text('{"fake_B": "real_B"}')
        folders.append(folder)
    return folders


def test_several_runs_stand_in_one_table(evaluate: Evaluate, two_runs: list[Path]) -> None:
    scores = [evaluate.report(folder)[1]["comparisons"][0]["scores"] for folder in two_runs]
    said = evaluate(*two_runs, "--table", "markdown")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines()]
    assert rows[0] == ["run", "L1 ↓", "PSNR ↑", "SSIM ↑"]
    assert rows[1] == ["---", "---:", "---:", "---:"]
    worse = scores[0]["L1"]
    ends = f"{worse['low']:.4f} to {worse['high']:.4f}"
    assert rows[2][:2] == ["a_1", f"{worse['value']:.4f} ({ends})"]
    assert rows[3][0] == "b"
    assert rows[3][1].startswith("**0.0000**")
    assert rows[3][2].startswith("**inf**")

    latex = evaluate(*two_runs, "--table", "latex", "--metrics", "L1,SSIM")[1].splitlines()
    assert latex[0] == r"\begin{tabular}{lrr}"
    assert latex[2] == r"run & L1 $\downarrow$ & SSIM $\uparrow$ \\"
    assert latex[4].startswith(r"a\_1 & 0.")
    assert latex[5].startswith(r"b & \textbf{0.0000} (0.0000--0.0000) & \textbf{1.0000}")
    assert latex[-1] == r"\end{tabular}"


def test_what_makes_no_table_is_refused(evaluate: Evaluate, two_runs: list[Path]) -> None:
    status, _, said = evaluate("--name", "run", "--table", "markdown")
    assert (status, "give those, not --name" in said) == (2, True)
    (two_runs[0] / "pairs.json").unlink()
    with pytest.raises(ValueError, match="Some of these results are pairs, others are not"):
        evaluate(*two_runs, "--table", "markdown", "--metrics", "L1")


# ---- scores -------------------------------------------------------------------------------


@pytest.mark.usefixtures("inception", "lpips")
def test_pairs_have_all_scores_with_intervals(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    status, report = evaluate.report(*two_folders, "--paired")
    (one,) = report["comparisons"]
    assert status == 0
    assert list(one["scores"]) == ["L1", "PSNR", "SSIM", "LPIPS", "FID", "KID"]
    assert one["scores"]["L1"]["value"] == pytest.approx(0.2)
    assert one["scores"]["PSNR"]["value"] == pytest.approx(-20 * math.log10(0.2))
    assert one["scores"]["LPIPS"]["value"] == pytest.approx(0.4)
    # means differ by 0.2 in three colours, deviations by nothing
    assert one["scores"]["FID"]["value"] == pytest.approx(3 * 0.04, rel=1e-4)
    for name in ("L1", "PSNR", "SSIM", "LPIPS", "KID"):
        score = one["scores"][name]
        assert score["low"] <= score["value"] <= score["high"]
    assert one["scores"]["FID"]["low"] is None
    assert one["scores"]["FID"]["interval"].startswith("none")
    assert [image["name"] for image in one["images"]] == list("012345")
    assert one["images"][0]["L1"] == pytest.approx(0.2)
    assert report["weights"]["LPIPS"]["sha256"] == "distances"
    assert report["weights"]["FID, KID"]["file"] == "averages.pth"


@pytest.mark.usefixtures("inception", "lpips")
def test_the_table_is_aligned_and_tells_directions_and_weights(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    status, said, _ = evaluate(*two_folders, "--paired")
    table = [line for line in said.splitlines() if line.startswith("  ")][:7]
    assert status == 0
    assert table[0].split() == ["metric", "value", "95%", "interval", "better", "unit"]
    better = table[0].index("better")
    directions = {line.split()[0]: line[better:].split()[0] for line in table[1:]}
    assert directions == {
        "L1": "lower", "PSNR": "higher", "SSIM": "higher",
        "LPIPS": "lower", "FID": "lower", "KID": "lower",
    }  # fmt: skip
    assert re.search(r"PSNR +13\.98 .* dB$", said, re.MULTILINE)
    assert "averages.pth, sha256 averages" in said
    assert said.count("not the published weights") == 1  # of the two networks, one is published
    assert "FID of only 6 images is too high" in said


@pytest.mark.usefixtures("inception")
def test_sets_have_fid_and_kid_alone(evaluate: Evaluate, two_folders: tuple[Path, Path]) -> None:
    (two_folders[1] / "0.png").rename(two_folders[1] / "other.png")
    status, report = evaluate.report(*two_folders)
    (one,) = report["comparisons"]
    assert status == 0
    assert list(one["scores"]) == ["FID", "KID"]
    assert not any("--paired" in note for note in one["notes"])


@pytest.mark.usefixtures("inception")
def test_sets_with_equal_names_are_told_of_paired(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    assert "--paired adds L1" in evaluate(*two_folders)[1]


def test_equal_images_have_an_infinite_psnr_which_the_mean_leaves_out(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    real, fake = two_folders
    (fake / "0.png").write_bytes((real / "0.png").read_bytes())
    _, report = evaluate.report(real, fake, "--paired", "--metrics", "psnr")
    (one,) = report["comparisons"]
    assert one["scores"]["PSNR"]["value"] == pytest.approx(-20 * math.log10(0.2))
    assert one["images"][0]["PSNR"] is None
    assert "infinite for 1 images" in one["notes"][0]


def test_a_folder_equals_itself(evaluate: Evaluate, two_folders: tuple[Path, Path]) -> None:
    real, _ = two_folders
    status, report = evaluate.report(real, real, "--paired", "--metrics", "L1,PSNR,SSIM")
    scores = report["comparisons"][0]["scores"]
    assert status == 0
    assert [scores[name]["value"] for name in ("L1", "PSNR", "SSIM")] == [0, None, 1]


# ---- which images -----------------------------------------------------------------------


@pytest.mark.usefixtures("inception")
def test_results_of_pairs_are_matched_by_their_names(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = results(tmp_path / "r", {"real_A": 0, "fake_B": 10, "real_B": 20})
    status, report = evaluate.report(folder, "--paired", "--metrics", "L1")
    assert status == 0
    assert titles(report) == ["fake_B against real_B"]
    fake, real = (np.asarray(scene(seed)).astype(float) for seed in (10, 20))
    first = report["comparisons"][0]["images"][0]
    assert first == {"name": "p0", "L1": pytest.approx(np.abs(fake - real).mean() / 255)}


def test_results_that_test_py_knows_to_be_pairs_need_no_paired(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    folder = results(tmp_path / "r", {"real_A": 0, "fake_B": 10, "real_B": 20})
    (folder / PAIRS_FILE).write_text('{"fake_B": "real_B"}')
    status, report = evaluate.report(folder, "--metrics", "L1")
    assert (status, titles(report)) == (0, ["fake_B against real_B"])
    assert report == evaluate.report(folder, "--metrics", "L1", "--paired")[1]
    (folder / "index.html").unlink()  # as if the test had been stopped
    assert report == evaluate.report(folder, "--metrics", "L1")[1]


@pytest.mark.usefixtures("inception")
def test_results_of_unpaired_data_are_sets_and_ways_there_and_back(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    labels = {"real_A": 0, "fake_B": 10, "rec_A": 30, "real_B": 20, "fake_A": 40, "rec_B": 50}
    folder = results(tmp_path / "r", labels)
    draw(folder / "images" / "p1_real_B.png", scene(20))  # as p0: the domain began anew
    status, report = evaluate.report(folder)
    assert status == 0
    assert titles(report) == [
        "fake_B against real_B",
        "fake_A against real_A",
        "rec_A (there and back) against real_A",
        "rec_B (there and back) against real_B",
    ]
    first, _, there_and_back, _ = report["comparisons"]
    assert (first["generated"], first["real"]) == (5, 4)
    assert "1 of the real images is there twice: it counts once" in first["notes"][0]
    assert list(there_and_back["scores"]) == ["L1", "PSNR", "SSIM"]
    _, report = evaluate.report(folder, "--side", "A")
    assert titles(report) == ["fake_A against real_A", "rec_A (there and back) against real_A"]
    _, report = evaluate.report(folder, "--metrics", "L1")
    assert len(report["comparisons"]) == 2


def test_results_of_colorization_are_compared_in_rgb(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = results(tmp_path / "r", {"real_A": 0, "real_B_rgb": 10, "fake_B_rgb": 20})
    _, report = evaluate.report(folder, "--paired", "--metrics", "SSIM")
    assert titles(report) == ["fake_B against real_B"]


def test_generated_results_find_partners_in_a_plain_folder(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    folder = results(tmp_path / "r", {"real": 0, "fake": 10})
    for number in range(1, 5):
        draw(tmp_path / "true" / f"p{number}.bmp", scene(20 + number))
    status, report = evaluate.report(tmp_path / "true", folder, "--paired", "--metrics", "L1")
    (one,) = report["comparisons"]
    assert status == 0
    assert [image["name"] for image in one["images"]] == ["p1", "p2", "p3", "p4"]
    assert [Path(path).name for path in one["without_partner"]] == ["p0_fake.png"]
    assert "left out" in evaluate(tmp_path / "true", folder, "--paired")[1]


def test_folders_in_folders_keep_their_names(evaluate: Evaluate, tmp_path: Path) -> None:
    for folder in ("real/x", "real/y", "fake/x", "fake/y"):
        draw(tmp_path / folder / "1.png", scene(len(folder)))
    status, report = evaluate.report(
        tmp_path / "real", tmp_path / "fake", "--paired", "--metrics", "L1"
    )
    assert status == 0
    assert [one["name"] for one in report["comparisons"][0]["images"]] == ["x/1", "y/1"]


def test_sizes_that_differ_need_resize(evaluate: Evaluate, two_folders: tuple[Path, Path]) -> None:
    real, fake = two_folders
    draw(fake / "3.png", scene(3, side=20))
    command: list[str | Path] = [real, fake, "--paired", "--metrics", "L1"]
    with pytest.raises(ValueError, match=r"3.png is 40x40, but .*3.png is 20x20. --resize"):
        evaluate(*command)
    assert evaluate(*command, "--resize")[0] == 0


@pytest.mark.usefixtures("inception")
def test_sets_may_be_of_many_sizes(evaluate: Evaluate, tmp_path: Path) -> None:
    for number, side in enumerate((20, 20, 33, 20, 41)):
        draw(tmp_path / "a" / f"{number}.png", scene(number, side=side))
        draw(tmp_path / "b" / f"{number}.png", scene(9 + number, side=side + 1))
    status, report = evaluate.report(tmp_path / "a", tmp_path / "b")
    assert status == 0
    assert report["comparisons"][0]["missing"] == {}


# ---- what cannot be done ------------------------------------------------------------------


def test_missing_weights_leave_the_other_scores(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    status, said, errors = evaluate(*two_folders, "--paired")
    assert status == 0
    assert re.search(r"^  SSIM ", said, re.MULTILINE)
    assert "not computed: LPIPS. Get https://" in said
    assert "not computed: FID, KID. Get https://" in said
    assert errors == ""


@pytest.mark.parametrize("name", ["FID", "lpips", "L1,KID"])
def test_a_score_that_was_asked_for_and_is_missing_is_status_1(
    evaluate: Evaluate, two_folders: tuple[Path, Path], name: str
) -> None:
    status, said, _ = evaluate(*two_folders, "--paired", "--metrics", name)
    assert status == 1
    assert "not computed" in said
    assert ("L1 " in said) == ("L1" in name)


def test_sets_without_weights_have_no_score_at_all(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    status, said, _ = evaluate(*two_folders)
    assert status == 1
    assert "not computed: FID, KID" in said


def test_weights_that_were_given_in_vain_are_status_1(
    evaluate: Evaluate, two_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torch_fidelity")
    gone = tmp_path / "gone.pth"
    status, said, _ = evaluate(*two_folders, "--paired", "--inception_weights", gone)
    assert status == 1
    assert f"--inception_weights {gone}: there is no such file" in said


def test_remarks_are_made_once(evaluate: Evaluate, tmp_path: Path) -> None:
    labels = {"real_A": 0, "fake_B": 10, "rec_A": 30, "real_B": 20, "fake_A": 40, "rec_B": 50}
    _, said, _ = evaluate(results(tmp_path / "r", labels))
    assert said.count("not computed: FID, KID") == 1
    assert said.count("not computed: LPIPS") == 1


@pytest.mark.usefixtures("inception")
def test_too_few_images_for_kid_leave_fid(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = results(tmp_path / "r", {"fake_B": 10, "real_B": 20}, count=2)
    status, said, _ = evaluate(folder)
    assert status == 0
    assert re.search(r"^  FID ", said, re.MULTILINE)
    assert "not computed: KID. KID compares subsets of 2 images, but there are only 2" in said


def test_metrics_of_pairs_say_that_sets_are_none(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match="L1 compares images one by one.*--paired"):
        evaluate(*two_folders, "--metrics", "L1,FID")


def test_a_broken_image_is_named(evaluate: Evaluate, two_folders: tuple[Path, Path]) -> None:
    broken = two_folders[1] / "4.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ValueError, match=re.escape(str(broken))):
        evaluate(*two_folders, "--paired")


def test_names_without_partners_are_shown(evaluate: Evaluate, tmp_path: Path) -> None:
    draw(tmp_path / "a" / "one.png", scene(1))
    draw(tmp_path / "b" / "two.png", scene(2))
    with pytest.raises(ValueError, match="real ones are called one, the generated ones two"):
        evaluate(tmp_path / "a", tmp_path / "b", "--paired")


def test_a_name_that_is_there_twice_is_an_error(
    evaluate: Evaluate, two_folders: tuple[Path, Path]
) -> None:
    draw(two_folders[0] / "4.bmp", scene(4))
    with pytest.raises(ValueError, match=r"4\.bmp, .*4\.png share their names"):
        evaluate(*two_folders, "--paired")


def test_results_of_several_tests_are_not_scored_together(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    for epoch in ("latest", "5"):
        results(tmp_path / "run" / f"test_{epoch}", {"fake_B": 0, "real_B": 10})
    with pytest.raises(ValueError, match=r"several tests \(test_5, test_latest\).*run/test_5"):
        evaluate(tmp_path / "run")


def test_the_name_of_a_run_in_the_place_of_a_folder_is_explained(
    evaluate: Evaluate, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    with pytest.raises(ValueError, match="no folder run. .* To test the run .*: --name run"):
        evaluate("run")


def test_results_without_true_images_are_explained(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = results(tmp_path / "r", {"real": 0, "fake": 10})
    with pytest.raises(ValueError, match="only x_fake, x_real. Give two folders"):
        evaluate(folder)


def test_a_side_that_is_not_there_is_an_error(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = results(tmp_path / "r", {"fake_B": 0})
    draw(tmp_path / "true" / "p0.png", scene(1))
    with pytest.raises(ValueError, match="no images called x_fake_A"):
        evaluate(tmp_path / "true", folder, "--side", "A")


@pytest.mark.parametrize("missing", ["gone", "empty"])
def test_folders_without_images_are_named(
    evaluate: Evaluate, two_folders: tuple[Path, Path], tmp_path: Path, missing: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=missing):
        evaluate(two_folders[0], tmp_path / missing)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give two folders"),
        (["a", "b", "c"], "give two folders"),
        (["--name", ""], "--name is empty"),
        (["a", "b", "--metrics", "L1,FIT"], "Did you mean 'FID'"),
        (["a", "b", "--modle", "x"], "no option --modle"),
        (["a", "b", "--json", "no/such/folder/x.json"], "Make it first"),
        (["a", "b", "--gpu_ids", "cpu"], "-1 for the CPU"),
        (["a", "b", "--kid_subset_size", "1"], "2 or more"),
        (["a", "b", "--diverse", "c"], "--diverse takes one folder"),
        (["a", "--diverse", "c", "--paired"], "leave --paired and --side out"),
    ],
)
def test_wrong_commands_are_status_2(evaluate: Evaluate, arguments: list[str], words: str) -> None:
    status, _, errors = evaluate(*arguments)
    assert status == 2
    assert words in errors


# ---- the cache ----------------------------------------------------------------------------


def test_features_are_computed_once_for_the_same_content(
    evaluate: Evaluate,
    two_folders: tuple[Path, Path],
    inception: Averages,
    lpips: Distances,
) -> None:
    command: list[str | Path] = [*two_folders, "--paired"]
    _, first = evaluate.report(*command)
    assert (inception.seen, lpips.seen) == (12, 6)
    for path in two_folders[0].iterdir():
        os.utime(path, (0, 0))  # only the content counts
    _, again = evaluate.report(*command)
    assert (inception.seen, lpips.seen) == (12, 6)
    assert again == first
    draw(two_folders[1] / "2.png", scene(77))
    evaluate(*command)
    assert (inception.seen, lpips.seen) == (13, 7)
    inception.identity = Identity("averages", "averages.pth", "other weights", published=False)
    evaluate(*command)
    assert (inception.seen, lpips.seen) == (25, 7)
    evaluate(*command, "--no_cache")
    assert (inception.seen, lpips.seen) == (37, 13)


def test_damaged_features_are_computed_again(
    evaluate: Evaluate, two_folders: tuple[Path, Path], inception: Averages, tmp_path: Path
) -> None:
    _, first = evaluate.report(*two_folders)
    entries = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(entries) == 12
    for path in entries[:3]:
        path.write_bytes(path.read_bytes()[:-1])
    _, again = evaluate.report(*two_folders)
    assert inception.seen == 15
    assert again == first


# ---- generating ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of checkpoints with a pix2pix run in it."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder, pairs, "pix2pix", "--direction", "BtoA")
    return folder / "checkpoints"


@pytest.fixture
def in_process(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let the script's test.py run in this process; return its command lines."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
        assert command[:2] == [sys.executable, str(ROOT / "test.py")]
        commands.append(command[2:])
        run_script("test", command[2:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", run)
    return commands


def test_a_run_is_translated_and_scored_by_its_name(
    evaluate: Evaluate, trained: Path, in_process: list[list[str]], tmp_path: Path
) -> None:
    old = tmp_path / "results" / "run" / "test_latest" / "images"
    for label in ("fake_B", "real_B"):
        draw(old / f"older_{label}.png", scene(0))
    arguments: list[str | Path] = ["--name", "run", "--checkpoints_dir", trained, "--gpu_ids", "-1"]
    status, report = evaluate.report(
        *arguments, "--results_dir", tmp_path / "results", "--crop_size", "32"
    )
    (one,) = report["comparisons"]
    assert status == 0
    (command,) = in_process
    assert int(command[command.index("--num_test") + 1]) > 50  # what test.py does by itself
    assert one["paired"]
    assert [image["name"] for image in one["images"]] == ["p0", "p1"]
    fake, real = (
        np.asarray(Image.open(old / f"p0_{label}.png")).astype(float)
        for label in ("fake_B", "real_B")
    )
    assert real.shape == (32, 32, 3)
    assert one["images"][0]["L1"] == pytest.approx(np.abs(fake - real).mean() / 255, rel=1e-5)


@pytest.mark.usefixtures("in_process")
def test_a_model_with_other_labels_is_scored_by_the_pairs_it_is_validated_with(
    evaluate: Evaluate, pairs: Path, tmp_path: Path
) -> None:
    train(tmp_path, pairs, "template")
    results = tmp_path / "results" / "run" / "test_latest"
    status, report = evaluate.report(
        *("--name", "run", "--checkpoints_dir", tmp_path / "checkpoints", "--gpu_ids", "-1"),
        *("--results_dir", tmp_path / "results", "--crop_size", "32"),
    )
    (one,) = report["comparisons"]
    assert status == 0
    assert one["title"].startswith("output against data_B")
    assert [image["name"] for image in one["images"]] == ["p0", "p1"]
    made, real = (
        np.asarray(Image.open(results / "images" / f"p1_{label}.png")).astype(float)
        for label in ("output", "data_B")
    )
    assert one["images"][1]["L1"] == pytest.approx(np.abs(made - real).mean() / 255, rel=1e-5)
    assert 'data-score="PSNR"' in (results / "index.html").read_text()
    assert evaluate.report(results)[1]["comparisons"][0]["scores"] == one["scores"]
    (results / "pairs.json").write_text("[1]")
    with pytest.raises(ValueError, match="pairs.json does not say which images are pairs"):
        evaluate(results)


@pytest.mark.usefixtures("in_process")
def test_a_run_tested_without_targets_is_explained(
    evaluate: Evaluate, trained: Path, pairs: Path, tmp_path: Path
) -> None:
    arguments: list[str | Path] = ["--name", "run", "--checkpoints_dir", trained, "--gpu_ids", "-1"]
    arguments += [
        "--model",
        "test",
        "--dataroot",
        pairs / "test",
        "--results_dir",
        tmp_path / "results",
    ]
    with pytest.raises(ValueError, match="no generated images with true ones beside them"):
        evaluate(*arguments, "--crop_size", "32")


@pytest.mark.slow
def test_the_command_itself(trained: Path, pairs: Path, tmp_path: Path) -> None:
    arguments = ["--name", "run", "--checkpoints_dir", str(trained), "--crop_size", "32"]
    finished = start([SCRIPT, *arguments, "--json", "scores.json"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("$ python test.py --name run ")
    assert "2 pairs" in finished.stdout
    report = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert report["comparisons"][0]["scores"]["SSIM"]["value"] < 1
    finished = start([SCRIPT, "results/run/test_latest", "--metrics", "L1"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    two: list[str | Path] = [pairs / "test", "results/run/test_latest"]
    finished = start([SCRIPT, *two, "--metrics", "L1"], tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: --metrics L1 compares images one by one")
    finished = start([SCRIPT, *arguments, "--epoch", "nine"], tmp_path)
    assert finished.returncode == 1
    assert "has no save nine: it has latest, 1." in finished.stderr
    assert "Traceback" not in finished.stderr


# ---- several domains ----------------------------------------------------------------------

DOMAINS = ("cat", "dog", "wild")
K = 3  # outputs of each image for each domain


@pytest.fixture
def diverse(tmp_path: Path) -> tuple[Path, Path]:
    """Return results for three domains, darker by 20 for each output, and real images of them."""
    real, folder = tmp_path / "train", tmp_path / "results" / "run" / "test_latest"
    outputs: dict[str, dict[str, list[list[str]]]] = {}
    for number, source in enumerate(DOMAINS):
        for image in range(4):
            draw(real / source / f"{image}.png", scene(10 * number + image))
        for target in DOMAINS:
            groups = outputs.setdefault(source, {}).setdefault(target, [])
            for image in range(2):
                pixels = np.asarray(scene(50 + image)).clip(80)
                names = [f"{source}{image}_fake_{target}_{k}.png" for k in range(K)]
                for k, name in enumerate(names):
                    draw(folder / "images" / name, Image.fromarray(pixels - 20 * k))
                groups.append(names)
    (folder / OUTPUTS_FILE).write_text(json.dumps(outputs))
    return folder, real


@pytest.mark.usefixtures("inception", "lpips")
def test_each_pair_of_domains_is_scored_and_so_are_the_means(
    evaluate: Evaluate, diverse: tuple[Path, Path]
) -> None:
    folder, real = diverse
    status, report = evaluate.report(folder, "--diverse", real)
    assert status == 0
    *pairs, whole = report["comparisons"]
    wanted = [f"{a} to {b}" for a in DOMAINS for b in DOMAINS if a != b]
    assert [one["title"] for one in pairs] == wanted
    assert all((one["generated"], one["real"]) == (2 * K, 4) for one in pairs)
    for one in pairs:  # differences are 20, 20 and 40 of 255
        assert one["scores"]["DIVERSITY"]["value"] == pytest.approx(2 * 80 / 3 / 255, rel=1e-5)
        assert [image["name"] for image in one["images"]] == [f"{one['title'].split()[0]}{i}_fake_"
            f"{one['title'].split()[-1]}_0" for i in range(2)]  # fmt: skip
    for name in ("FID", "KID", "DIVERSITY"):
        mean = sum(one["scores"][name]["value"] for one in pairs) / 6
        assert whole["scores"][name]["value"] == pytest.approx(mean)
    assert (whole["generated"], whole["real"]) == (6 * 2 * K, 12)


@pytest.mark.usefixtures("inception", "lpips")
def test_fid_is_that_of_all_outputs_against_the_real_images_of_the_target(
    evaluate: Evaluate, diverse: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, real = diverse
    made = tmp_path / "made"
    made.mkdir()
    for file in (folder / "images").glob("cat*_fake_dog_*.png"):
        shutil.copy(file, made)
    _, report = evaluate.report(real / "dog", made)
    alone = report["comparisons"][0]["scores"]["FID"]["value"]
    _, report = evaluate.report(folder, "--diverse", real, "--metrics", "FID")
    assert report["comparisons"][0]["title"] == "cat to dog"
    assert report["comparisons"][0]["scores"]["FID"]["value"] == pytest.approx(alone)
    assert set(report["comparisons"][0]["scores"]) == {"FID"}


@pytest.mark.usefixtures("inception", "lpips")
def test_the_table_has_a_row_for_each_pair_or_of_several_runs_for_their_means(
    evaluate: Evaluate, diverse: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, real = diverse
    _, said, _ = evaluate(folder, "--diverse", real, "--table", "markdown")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert (rows[2], rows[-1], len(rows)) == ("cat to dog", "mean of 6 pairs of domains", 9)
    assert "**" not in said
    other = tmp_path / "results" / "other" / "test_latest"
    shutil.copytree(folder, other)
    _, said, _ = evaluate(folder, other, "--diverse", real, "--table", "markdown")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["run", "other"]


def test_inception_may_ask_for_sizes_that_images_go_through(
    evaluate: Evaluate, tmp_path: Path, inception: Averages, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        draw(tmp_path / "real" / f"{number}.png", scene(number, 60))
        draw(tmp_path / "fake" / f"{number}.png", scene(number, 30))
    first, inside = scene(1, 60).resize((30, 30), BILINEAR).resize((50, 50), BILINEAR), []
    monkeypatch.setattr(inception, "sizes", lambda generated: [generated, (50, 50)])
    monkeypatch.setattr(
        Averages, "__call__", lambda _, batch: inside.append(batch) or batch[:, 0, 0]
    )
    evaluate(tmp_path / "real", tmp_path / "fake", "--metrics", "FID")
    found = torch.cat(inside)
    assert found.shape == (8, 3, 50, 50)
    assert torch.equal(found[1], scorer.as_tensor(first))
    evaluate(tmp_path / "real", tmp_path / "real", "--metrics", "FID")  # other sizes: anew
    assert sum(map(len, inside)) >= 8 + 4


def test_diversity_is_kept_and_needs_several_outputs(
    evaluate: Evaluate, diverse: tuple[Path, Path], lpips: Distances
) -> None:
    folder, real = diverse
    arguments: list[str | Path] = [folder, "--diverse", real, "--metrics", "DIVERSITY"]
    evaluate(*arguments)
    seen = lpips.seen
    assert seen == 2 * 3  # three pairs in each group; only two groups differ
    evaluate(*arguments)
    assert lpips.seen == seen
    outputs = json.loads((folder / OUTPUTS_FILE).read_text())
    outputs["cat"]["dog"] = [group[:1] for group in outputs["cat"]["dog"]]
    (folder / OUTPUTS_FILE).write_text(json.dumps(outputs))
    status, said, _ = evaluate(*arguments)
    assert status == 1
    assert "not computed: DIVERSITY. It compares several outputs of the same image" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no outputs.json, which test.py writes"),
        ("[1]", "does not say what was made of what"),
        ('{"cat": {"dog": [[1]]}}', "does not say what was made of what"),
        ('{"cat": {"cat": [["a.png"]]}}', "has outputs for no other domain"),
        ('{"cat": {"fox": [["a.png"]]}}', "There is no folder .*fox"),
        ('{"cat": {"dog": [["gone.png"]]}}', "gone.png"),
    ],
)
@pytest.mark.usefixtures("inception")
def test_outputs_that_cannot_be_scored_are_explained(
    evaluate: Evaluate, diverse: tuple[Path, Path], content: str | None, said: str
) -> None:
    folder, real = diverse
    file = folder / OUTPUTS_FILE
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises((ValueError, OSError), match=said):
        evaluate(folder, "--diverse", real)


@pytest.mark.usefixtures("inception")
def test_a_run_may_be_translated_first(
    evaluate: Evaluate, diverse: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = diverse
    translated = str(folder / "images"), list[str]()
    monkeypatch.setattr(evaluate.script, "translated", lambda args, others: translated)
    status, report = evaluate.report("--name", "run", "--diverse", real, "--metrics", "FID")
    assert (status, len(report["comparisons"])) == (0, 7)


def test_metrics_of_pairs_say_what_diversity_is_called(
    evaluate: Evaluate, diverse: tuple[Path, Path], two_folders: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match="--metrics LPIPS compares pairs; .* called DIVERSITY"):
        evaluate(diverse[0], "--diverse", diverse[1], "--metrics", "FID,LPIPS")
    with pytest.raises(ValueError, match="--metrics DIVERSITY compares outputs .* see --diverse"):
        evaluate(*two_folders, "--metrics", "DIVERSITY")


def test_outputs_for_several_domains_ask_for_diverse(
    evaluate: Evaluate, diverse: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match="--diverse REAL compares them with real ones"):
        evaluate(diverse[0])
