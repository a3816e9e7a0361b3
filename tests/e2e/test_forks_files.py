"""A fork's files lie over ours: those of the original's names replace them, others do no harm."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import ROOT, names, start
from tests.support.tiers import some

pytestmark = pytest.mark.slow

FORK = Path(__file__).parent / "forks_files"
ROOMS = ("models", "data", "util", "options")
FACES = ("visualizer", "html", "image_pool", "util", "get_data")
# What lay at the tops of our rooms before it moved into packages.
ONCE_AT_THE_TOP = {
    "models": "layout losses options precision pretrained schedulers speed steps",
    "data": "cache checks loader pictures transforms",
    "options": "continuing parser recovery rules",
    "util": "batching best checkpoint color commit cores curve epoch_record errors files health "
            "light_start log meters metrics picture_writer plugins png progress progress_bar "
            "results resume rng run_lock saver stop_signals validation visdom_server",
}  # fmt: skip
ORIGINALS = {
    "models": {"base_model", "networks"},
    "data": {"base_dataset", "image_folder"},
    "options": {"base_options", "train_options", "test_options"},
    "util": set(FACES),
}
STUB = 'raise AssertionError(f"{__file__} is a fork\'s: nothing of ours imports it")\n'
SMALL = ("--netG", "resnet_6blocks", "--ngf", "2", "--num_threads", "0", "--gpu_ids", "-1",
         "--crop_size", "32", "--name", "run")  # fmt: skip
TRAINING = ("--load_size", "36", "--ndf", "2", "--display_id", "-1", "--n_epochs", "1",
            "--n_epochs_decay", "1", "--print_freq", "1", "--display_freq", "2")  # fmt: skip

MakeTree = Callable[[], Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Return a function that copies the program: what git knows of it, or would."""

    def make() -> Path:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "train.py", "test.py",
             *ROOMS],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                place = tmp_path / "tree" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place)
        return tmp_path / "tree"

    return make


def drop(tree: Path, *files: str) -> None:
    """Put files of the fork into the tree."""
    for file in files:
        shutil.copy(FORK / file, tree / file)


def command(tree: Path, name: str, dataroot: Path, model: str, *more: str) -> str:
    """Run train.py or test.py of the tree; return what it printed."""
    argv = ["--dataroot", str(dataroot), "--model", model, *SMALL, *more]
    return output_of(start([f"{name}.py", *argv], tree))


def output_of(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr
    return done.stdout


def stub_names(room: str, tree: Path) -> set[str]:
    """Return the names that our modules and packages below a room have, or had at its top."""
    below = [path for path in (tree / room).rglob("*") if path.suffix in (".py", "")]
    have = {path.stem for path in below if "__" not in str(path.relative_to(tree))}
    plugins = {name for name in have if name.endswith(("_model", "_dataset"))}
    return (have | set(ONCE_AT_THE_TOP[room].split())) - ORIGINALS[room] - plugins


# ---- files of other names -------------------------------------------------------------------


def test_files_under_names_of_our_parts_harm_no_command(make_tree: MakeTree, pairs: Path) -> None:
    tree = make_tree()
    stubs = [
        tree / room / f"{name}.py" for room in ROOMS for name in sorted(stub_names(room, tree))
    ]
    assert len(stubs) > 100
    assert tree / "models" / "losses.py" in stubs
    assert tree / "util" / "display.py" in stubs  # beside the package of that name
    for stub in stubs:
        assert not stub.exists(), f"{stub.relative_to(tree)} may be replaced by a fork's"
        stub.write_text(STUB)
    command(tree, "train", pairs, "pix2pix", *TRAINING)
    command(tree, "train", pairs, "pix2pix", *TRAINING, "--continue_train", "--n_epochs", "2")
    command(tree, "test", pairs, "pix2pix")
    assert names(tree / "checkpoints/run", "latest_*") == [
        *["latest_net_D.pth", "latest_net_G.pth", "latest_state.pth"]
    ]
    for name in ("train", "test"):
        assert "--dataroot" in output_of(start([f"{name}.py", "--help"], tree))


# ---- files of the original's names ----------------------------------------------------------


def test_all_of_a_forks_util_serves_train_and_test(make_tree: MakeTree, unpaired: Path) -> None:
    tree = make_tree()
    drop(tree, *[f"util/{face}.py" for face in FACES])
    out = command(tree, "train", unpaired, "cycle_gan", *TRAINING, "--pool_size", "2")
    log = (tree / "checkpoints/run/loss_log.txt").read_text()
    assert [line for line in out.splitlines() if line.startswith("fork")] == log.splitlines()
    assert [line.split()[2:4] for line in log.splitlines()] == [
        [epoch, images] for epoch in "12" for images in "123"
    ]
    page = (tree / "checkpoints/run/web/index.html").read_text()
    assert "<title>fork: fork run</title>" in page
    assert "fork epoch 2" in page
    assert "epoch002_real_A.png" in names(tree / "checkpoints/run/web/images")

    more = ("--continue_train", "--n_epochs", "2", "--pool_size", "2")
    again = command(tree, "train", unpaired, "cycle_gan", *TRAINING, *more)
    assert "Continuing from " in again  # with the pools' images
    assert (tree / "checkpoints/run/loss_log.txt").read_text().count("fork prints 3") == 3

    command(tree, "test", unpaired, "cycle_gan")
    results = tree / "results/run/test_latest"
    assert "fork a0" in (results / "index.html").read_text()
    assert len(names(results / "images")) == 2 * 6


@pytest.mark.slow
@pytest.mark.parametrize("face", some(["visualizer", "html", "util"]))
def test_one_of_a_forks_files_serves_train_and_test(
    make_tree: MakeTree, pairs: Path, face: str
) -> None:
    tree = make_tree()
    drop(tree, f"util/{face}.py")
    out = command(tree, "train", pairs, "pix2pix", *TRAINING)
    assert (f"fork prints 2 {3}" in out) == (face == "visualizer")
    assert ("epoch: 2, iters: 3," in out) == (face != "visualizer")
    web = tree / "checkpoints/run/web"
    assert len(names(web / "images", "*.png")) == 2 * 3
    assert ("fork epoch" in (web / "index.html").read_text()) == (face == "visualizer")

    command(tree, "test", pairs, "pix2pix")
    results = tree / "results/run/test_latest"
    page = (results / "index.html").read_text()
    assert names(results / "images") == [
        f"p{number}_{label}.png" for number in (0, 1) for label in ("fake_B", "real_A", "real_B")
    ]
    assert ("fork p0" in page) == (face == "visualizer")
    assert ("<title>fork: " in page) == (face == "html")
    assert ("mean PSNR" in page) == (face != "html")


def test_a_forks_networks_serve_its_model_and_the_built_in_ones(
    make_tree: MakeTree, pairs: Path, unpaired: Path
) -> None:
    tree = make_tree()
    drop(tree, "models/networks.py", "models/forked_model.py")
    aligned = ("--dataset_mode", "aligned", "--norm", "instance")
    out = command(tree, "train", pairs, "forked", *TRAINING, *aligned)
    assert "learning rate 0.0002000 -> 0.0001000" in out  # its own schedule
    command(tree, "test", pairs, "forked", *aligned)
    for model, root in some([("cycle_gan", unpaired), ("pix2pix", pairs)]):
        command(tree, "train", root, model, *TRAINING)
        command(tree, "test", root, model)
        state = start(
            ["-c", "import sys, torch; print(*torch.load(sys.argv[1], weights_only=True))",
             tree / "checkpoints/run" / f"latest_net_{'G' if root == pairs else 'G_A'}.pth"],
            tree,
        )  # fmt: skip
        assert "fork.0.weight" in output_of(state)


def test_the_stand_ins_are_not_ours() -> None:
    """The stand-ins have nothing that only ours have."""
    for face, ours in (
        ("visualizer", "sinks"),
        ("html", "add_scores"),
        ("image_pool", "_exchange"),
    ):
        assert ours not in (FORK / "util" / f"{face}.py").read_text()
        assert ours in (ROOT / "util" / f"{face}.py").read_text()
