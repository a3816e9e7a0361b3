"""What the files of a run are called: names that other people's scripts know."""

from pathlib import Path

import pytest

from util.storage.run_folder import RunFolder, iteration_label, label_of, option_for


@pytest.mark.parametrize(
    ("load_iter", "epoch", "label"),
    [(0, "latest", "latest"), (0, 7, "7"), (0, "best", "best"), (500, "latest", "iter_500")],
)
def test_load_iter_comes_before_epoch(load_iter: int, epoch: int | str, label: str) -> None:
    assert label_of(load_iter, epoch) == label


@pytest.mark.parametrize("label", ["latest", "7", "best", iteration_label(20)])
def test_the_option_for_a_label_means_that_label(label: str) -> None:
    option = option_for(label)
    meant = label_of(int(option.get("load_iter", 0)), option.get("epoch", "latest"))
    assert meant == label


def test_the_files_have_the_names_of_the_reference(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "maps")
    named = [
        run.network_file("latest", "G_A"),
        run.network_file(5, "D"),
        run.options_text(),
        run.options_text("test"),
        run.loss_log,
        run.web,
        run.web_images,
    ]
    assert [path.relative_to(tmp_path).as_posix() for path in named] == [
        "maps/latest_net_G_A.pth",
        "maps/5_net_D.pth",
        "maps/train_opt.txt",
        "maps/test_opt.txt",
        "maps/loss_log.txt",
        "maps/web",
        "maps/web/images",
    ]


def test_the_files_of_ours_have_the_names_of_earlier_versions(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "maps")
    named = [run.state_file("iter_3"), run.options_json(), run.losses, run.metrics, run.lock]
    assert [path.name for path in named] == [
        "iter_3_state.pth", "train_opt.json", "losses.jsonl", "metrics.jsonl", ".lock",
    ]  # fmt: skip
    assert (run.tensorboard.name, run.visdom.name) == ("tensorboard", "visdom")


def test_a_file_of_a_save_is_found_by_its_short_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    file = run.network_file("iter_8", "G")
    assert run.average_file(file).name == "iter_8_net_G_ema.pth"
    assert run.short_name(file, "iter_8") == "net_G.pth"
    assert run.file_of("iter_8", "net_G.pth") == file


def test_files_of_a_network_are_found_under_every_label(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("2_net_G.pth", "latest_net_G.pth", "latest_net_G_ema.pth", "latest_state.pth"):
        (tmp_path / name).touch()
    (tmp_path / ".99-0.tmp-latest_net_G.pth").touch()  # of a process that was killed
    assert [file.name for file in run.network_files("G")] == ["2_net_G.pth", "latest_net_G.pth"]
    assert len(run.network_files()) == 3
    (tmp_path / "1_net_[x].pth").touch()
    assert [file.name for file in run.network_files("[x]")] == ["1_net_[x].pth"]


def test_saves_before_are_given_newest_first_with_states_in_front(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("1_net_G.pth", "10_net_G.pth", "10_state.pth", "11_net_G.pth", "iter_2_net_G.pth"):
        (tmp_path / name).touch()
    (tmp_path / "10_net_G_ema.pth").touch()
    before = [[file.name for file in files] for files in run.saves_before("11")]
    assert before == [["10_state.pth", "10_net_G_ema.pth", "10_net_G.pth"], ["1_net_G.pth"]]
    assert run.saves_before("latest") == []


def test_labels_are_in_the_order_of_training(tmp_path: Path) -> None:
    for label in ("iter_20", "10", "latest", "9", "best", "iter_3"):
        (tmp_path / f"{label}_net_G_A.pth").touch()
        (tmp_path / f"{label}_state.pth").touch()
    run = RunFolder(tmp_path)
    assert run.labels() == ["best", "latest", "9", "10", "iter_3", "iter_20"]
    assert run.has_files_of("9")
    assert not run.has_files_of("1")


def test_contents_are_what_commands_leave_and_nothing_of_other_people(tmp_path: Path) -> None:
    ours = ["loss_log.txt", "metrics.jsonl", "7_ema.pth", "7_net_G.pth", "best_state.pth"]
    ours += ["test_opt.txt", "train_opt.json", "opt.txt"]
    for name in [*ours, "vgg.pth", "notes.txt", ".9.tmp-7_net_G.pth", ".lock"]:
        (tmp_path / name).touch()
    for folder in ("web", "before-2026-01-01_00-00-00", "run2"):
        (tmp_path / folder).mkdir()
    found = {path.name for path in RunFolder(tmp_path).contents()}
    assert found == {*ours, "web"}
