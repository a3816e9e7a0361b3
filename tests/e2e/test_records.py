"""The records of a run: train.py alone writes them, and whoever reads them finds them."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from options.test_options import TestOptions
from tests.support import commands
from tests.support.commands import ROOT, imported, names, script

Capture = pytest.CaptureFixture[str]

DECIDED = ("--direction", "BtoA", "--norm", "instance", "--lr", "0.001", "--batch_size", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> Path:
    """Return the folder of a finished run whose options are none of the defaults."""
    folder = tmp_path_factory.mktemp("trained")
    return commands.train(folder, pairs, "pix2pix", *DECIDED, "--no_html")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of it in checkpoints/run."""
    commands.copy_run(trained, tmp_path)
    return tmp_path / "checkpoints" / "run"


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.iterdir()) if path.is_file()}


def go_on(run: Path, *more: str) -> None:
    script("train", ["--name", run.name, "--checkpoints_dir", str(run.parent), "--continue_train",
                     *more])  # fmt: skip


# ---- who writes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["train", "test", "val"])
def test_testing_adds_its_own_record_and_changes_nothing(
    run: Path, tmp_path: Path, pairs: Path, phase: str, capsys: Capture
) -> None:
    before = contents(run)
    data = tmp_path / "data"
    shutil.copytree(pairs / "test", data / phase)
    commands.test(tmp_path, data, "pix2pix", "--phase", phase)
    after = contents(run)
    name = "test_train" if phase == "train" else phase  # as in the original, but for train
    assert after.keys() - before.keys() == {f"{name}_opt.json", f"{name}_opt.txt"}
    assert {file: after[file] for file in before} == before
    capsys.readouterr()
    go_on(run)
    said = capsys.readouterr().out
    assert "Nothing left to do: epoch 1 of 1 is done" in said
    assert json.loads((run / "train_opt.json").read_text())["lr"] == 0.001


def test_a_test_of_the_phase_that_was_trained_on_keeps_its_record_elsewhere(
    tmp_path: Path, pairs: Path
) -> None:
    data = Path(shutil.copytree(pairs / "train", tmp_path / "data" / "trainval")).parent
    run = commands.train(tmp_path, data, "pix2pix", *DECIDED, "--phase", "trainval", "--no_html")
    before = contents(run)
    assert {"train_opt.json", "train_opt.txt", "trainval_opt.json", "trainval_opt.txt"} <= (
        before.keys()
    )
    commands.test(tmp_path, data, "pix2pix", "--phase", "trainval")
    after = contents(run)
    assert {file: after[file] for file in before} == before
    assert "test_trainval_opt.txt" in after


def test_a_script_that_only_parses_writes_no_training_record(run: Path) -> None:
    before = contents(run)
    argv = ["--name", "run", "--checkpoints_dir", str(run.parent), "--dataroot", "X"]
    TestOptions().parse([*argv, "--gpu_ids", "-1", "--phase", "train"])
    after = contents(run)
    assert {file: after[file] for file in before} == before


@pytest.mark.slow
def test_evaluate_changes_nothing_but_its_tests_record(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)
    monkeypatch.chdir(tmp_path)
    with imported(ROOT / "scripts" / "evaluate.py") as evaluate:
        argv = ["--name", "run", "--checkpoints_dir", str(run.parent), "--phase", "train"]
        evaluate.main([*argv, "--crop_size", "32", "--gpu_ids", "-1", "--no_cache"])
    after = contents(run)
    assert {file: after[file] for file in before} == before
    assert "test_train_opt.txt" in after


def test_a_name_that_is_no_run_leaves_no_folder(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        commands.test(tmp_path, pairs, "pix2pix")
    assert not (tmp_path / "checkpoints").exists()


# ---- who reads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [True, False], ids=["now", "before"])
def test_a_run_of_another_phase_is_tested_and_continued_as_it_was_trained(
    tmp_path: Path, pairs: Path, capsys: Capture, ours: bool
) -> None:
    data = Path(shutil.copytree(pairs / "train", tmp_path / "data" / "trainval")).parent
    more = ("--phase", "trainval", "--no_html", "--n_epochs", "2", "--lr_policy", "step")
    run = commands.train(tmp_path, data, "pix2pix", *DECIDED, *more)
    if not ours:  # as earlier versions and the original left it
        for name in names(run, "train_opt.*"):
            (run / name).unlink()
    opt = recovered(run, "--model pix2pix")
    assert (opt["direction"], opt["norm"], opt["no_dropout"]) == ("BtoA", "instance", False)
    capsys.readouterr()
    go_on(run, "--n_epochs", "3")
    assert "learning rate 0.0010000 -> 0.0010000" in capsys.readouterr().out
    saved = json.loads((run / "train_opt.json").read_text())
    assert (saved["lr"], saved["batch_size"], saved["phase"]) == (0.001, 2, "trainval")


OLD = """------------ Options -------------
align_data: True
batchSize: 1
identity: 0.5
input_nc: 3
isTrain: True
lambda_A: 100.0
model: pix2pix
niter: 200
no_lsgan: True
norm: batch
ngf: 2
output_nc: 3
resize_or_crop: {empty}
use_dropout: {dropout}
which_direction: BtoA
which_model_netG: resnet_6blocks
-------------- End ----------------
"""


@pytest.mark.parametrize("file", ["opt.txt", "train_opt.txt"])
@pytest.mark.parametrize("dropout", [True, False])
def test_option_files_from_before_2019_are_understood(
    tmp_path: Path, file: str, dropout: bool, capsys: Capture
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / file).write_text(OLD.format(dropout=dropout, empty=""))
    opt = recovered(run, "--model pix2pix")
    assert [opt[name] for name in ("direction", "netG", "norm", "ngf", "no_dropout")] == [
        "BtoA", "resnet_6blocks", "batch", 2, not dropout
    ]  # fmt: skip
    assert f"Taken from {run / file}: netG resnet_6blocks" in capsys.readouterr().out


def test_evaluate_takes_the_model_of_an_old_record(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "opt.txt").write_text(f"{OLD.format(dropout=False, empty='')}dataroot: D\n")
    with imported(ROOT / "scripts" / "evaluate.py") as evaluate:
        args, others = evaluate.parse(["--name", "run", "--checkpoints_dir", str(tmp_path)])
        argv = evaluate.test_arguments(args, others)
    for name, value in {"model": "pix2pix", "dataset_mode": "aligned", "dataroot": "D"}.items():
        assert argv[argv.index(f"--{name}") + 1] == value


def recovered(run: Path, arguments: str) -> dict[str, object]:
    argv = f"--dataroot X --gpu_ids -1 --checkpoints_dir '{run.parent}' --name {run.name}"
    return vars(TestOptions().parse(shlex.split(f"{argv} {arguments}"), quiet=True))


# ---- what is not there ---------------------------------------------------------------------------


def test_a_run_that_is_not_there_is_named_with_those_that_are(run: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        go_on(run.with_name("rum"))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"{run.with_name('rum')} does not exist. Did you mean 'run'? Available: run." in said
    assert "--dataroot is" not in said
    assert "are required" not in said
    assert names(run.parent, "*/.lock") == []
    assert not run.with_name("rum").exists()


@pytest.mark.parametrize("more", [("--epoch", "77"), ("--load_iter", "5")])
def test_a_save_that_is_not_there_is_named_with_those_that_are(
    run: Path, more: tuple[str, str], capsys: Capture
) -> None:
    for path in run.glob("*_state.pth"):  # else the data set would be known
        path.unlink()
    with pytest.raises(SystemExit):
        go_on(run, *more)
    label = {"77": "77", "5": "iter_5"}[more[1]]
    assert f"{run} has no save {label}: it has latest, 1." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (("--name", "rum"), "rum does not exist. Did you mean 'run'? Available: run."),
        (("--name", "run", "--epoch", "77"), "run has no save 77: it has latest, 1."),
        (("--name", "run", "--load_iter", "5"), "run has no save iter_5: it has latest, 1."),
    ],
    ids=["name", "epoch", "iteration"],
)
def test_evaluate_names_what_is_not_there(
    run: Path, argv: tuple[str, ...], wanted: str, capsys: Capture
) -> None:
    with (
        imported(ROOT / "scripts" / "evaluate.py") as evaluate,
        pytest.raises(ValueError, match="it has|Available") as caught,
    ):
        evaluate.main([*argv, "--checkpoints_dir", str(run.parent), "--gpu_ids", "-1"])
    assert wanted in str(caught.value)
    assert capsys.readouterr().out == ""


# ---- options that are made for --continue_train --------------------------------------------------


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (("--epoch", "400"), "--epoch 400 does nothing without --continue_train"),
        (("--load_iter", "400"), "--load_iter 400 does nothing without --continue_train"),
        (("--epoch_count", "2", "--n_epochs", "2"), "fresh networks begin with that epoch of 2"),
        (("--epoch", "latest"), ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_they_mean_in_a_run_that_begins_is_said(
    tmp_path: Path, pairs: Path, more: tuple[str, ...], wanted: str, capsys: Capture
) -> None:
    commands.train(tmp_path, pairs, "pix2pix", "--max_dataset_size", "1", "--no_html", *more)
    lines = [line for line in capsys.readouterr().out.splitlines() if "--continue_train" in line]
    assert len(lines) == bool(wanted)
    assert wanted in "".join(lines)
