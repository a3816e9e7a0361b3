"""StarGAN v2 through the real commands: training, going on, and the ways to test it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from tests.support.commands import draw, loss_lines, names, scene, script, size
from util.base.errors import UserError
from util.images import animation

DOMAINS = ("cat", "dog", "wild")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    for phase, count in (("train", 3), ("val", 1), ("test", 2)):
        for domain in DOMAINS:
            for number in range(count):
                draw(folder / phase / domain / f"{domain}{number}.png", scene(number, 32))
    return folder


def small(root: Path, folder: Path, *more: str) -> list[str]:
    argv = ["--dataroot", str(root), "--name", "run", "--checkpoints_dir", str(folder)]
    return [*argv, "--gpu_ids", "-1", "--num_threads", "0", *more]


def training(root: Path, folder: Path, *more: str) -> list[str]:
    argv = small(root, folder, "--model", "stargan_v2", "--crop_size", "16", "--ngf", "1")
    argv += ["--ndf", "1", "--batch_size", "2", "--seed", "3", "--display_id", "-1"]
    return [*argv, "--total_steps", "4", "--val_steps", "2", "--print_freq", "1", *more]


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    # Images are shown from the third step on, by averages that have taken a step.
    script("train", training(root, folder, "--tensorboard", "--display_freq", "3"))
    return folder


def test(root: Path, trained: Path, folder: Path, *more: str) -> Path:
    argv = small(root, trained, "--results_dir", str(folder), "--num_test", "2", *more)
    script("test", argv)
    return folder / "run" / "test_latest"


test.__test__ = False  # type: ignore[attr-defined] # for pytest: not a test


def test_a_run_leaves_networks_averages_losses_and_a_page(trained: Path) -> None:
    run = trained / "run"
    nets = [f"latest_net_{net}.pth" for net in ("D", "E", "E_ema", "F", "F_ema", "G", "G_ema")]
    assert names(run, "latest_net_*.pth") == nets
    lines = loss_lines((run / "loss_log.txt").read_text())
    assert len(lines) == 4
    kinds = [f"{net}_{kind}" for net in "DG" for kind in ("latent", "ref")]
    assert all(any(loss.startswith(kind) for loss in lines[0][2]) for kind in kinds)
    shown = names(run / "web" / "images", "epoch001_*.png")
    labels = ("source", "reference", "fake_latent", "fake_reference", "fake_trained", "sheet")
    for label in labels:
        assert f"epoch001_{label}.png" in shown
    # Two sources and three domains: beside a column of references, rows of styles.
    width, height = size(run / "web" / "images" / "epoch001_sheet.png")
    assert width > 3 * 16
    assert height > (1 + 3 + 2) * 16
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert {f"images/{label}" for label in labels} <= {*events.Tags()["images"]}


def test_a_latent_test_makes_an_image_of_every_domain_and_sheets(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    folder = test(root, trained, tmp_path)
    labels = ["source", *(f"fake_{domain}" for domain in DOMAINS)]
    images = {f"cat{number}_{label}.png" for number in (0, 1) for label in labels}
    sheets = {f"sheet_{domain}.png" for domain in DOMAINS}
    assert {*names(folder / "images")} == images | sheets
    width, height = size(folder / "images" / "sheet_cat.png")
    assert width == 2 * 16 + 2  # two sources
    assert height > 9 * 16  # a label, the sources, eight styles
    page = (folder / "index.html").read_text()
    assert page.index("sheet_cat.png") < page.index("cat0_source.png")
    assert "2 inputs" in page


def test_outputs_of_a_test_repeat_and_do_not_depend_on_other_images(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    first = test(root, trained, tmp_path / "1") / "images"
    second = test(root, trained, tmp_path / "2", "--num_test", "1", "--sheet_size", "0") / "images"
    assert names(second) == [
        f"cat0_{x}.png" for x in ("fake_cat", "fake_dog", "fake_wild", "source")
    ]
    for name in names(second):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    calm = test(root, trained, tmp_path / "3", "--psi", "0") / "images"
    assert (calm / "sheet_dog.png").read_bytes() != (first / "sheet_dog.png").read_bytes()
    sheet = Image.open(calm / "sheet_dog.png")
    rows = [sheet.crop((0, y, 34, y + 16)).tobytes() for y in range(sheet.height - 16, 60, -18)]
    assert len({*rows}) == 1  # all styles are the mean


def test_references_give_their_styles(root: Path, trained: Path, tmp_path: Path) -> None:
    argv = ["--mode", "reference", "--num_outs_per_domain", "2"]
    images = test(root, trained, tmp_path, *argv) / "images"
    for domain in DOMAINS:
        for number in ("01", "02"):
            assert {
                f"cat0_reference_{domain}_{number}.png",
                f"cat0_fake_{domain}_{number}.png",
            } <= {*names(images)}
    assert size(images / "sheet_dog.png")[0] == 3 * 16 + 2 * 2  # references stand at the left


@pytest.mark.parametrize("ending", ["webp", "gif", "mp4"])
def test_interpolation_is_an_animation(
    ending: str, root: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = root / "test" / "cat" / "cat0.png"
    argv = ["--mode", "interpolate", "--src_dir", str(one), "--animation", ending]
    folder = test(root, trained, tmp_path, *argv)
    assert "are not of this test" not in capsys.readouterr().out
    file = folder / "images" / f"sheet_wild.{ending}"
    page = (folder / "index.html").read_text()
    if ending == "mp4":
        assert file.stat().st_size > 1000
        assert 'href="images/sheet_wild.mp4"' in page
        assert 'src="images/sheet_wild.png"' in page
        return
    assert f'src="images/sheet_wild.{ending}"' in page
    with Image.open(file) as moving:
        frames = getattr(moving, "n_frames", 1)
        assert frames > 5 or ending == "webp"  # equal ones are joined, which WebP blurs into
        assert moving.size[0] >= 16


def test_a_single_image_may_be_the_reference_of_every_domain(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    one = tmp_path / "one.png"
    draw(one, scene(99, 32))
    argv = ["--mode", "reference", "--ref_dir", str(one), "--src_dir", str(one)]
    images = test(root, trained, tmp_path / "results", *argv) / "images"
    same = [(images / f"one_reference_{domain}.png").read_bytes() for domain in DOMAINS]
    assert len({*same}) == 1
    fakes = [(images / f"one_fake_{domain}.png").read_bytes() for domain in DOMAINS]
    assert len({*fakes}) == 3  # each by the head of its domain


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--w_hpf", "1"], "--w_hpf 1 takes edges from the source"),
        (["--crop_size", "48"], "must be a power of two, 16 or more, not 48"),
        (["--num_domains", "5"], "--num_domains 5, but there are 3 domains"),
        (["--w_hpf", "1", "--masks", "nowhere:f"], "--masks nowhere:f names no function"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_mistakes_are_told(
    more: Sequence[str], said: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((UserError, SystemExit)) as caught:
        script("train", training(root, tmp_path, *more))
    assert said in str(caught.value) + capsys.readouterr().err


def test_what_writes_mp4_is_looked_for_before_anything_is_translated(
    root: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(animation, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        test(root, trained, tmp_path, "--mode", "interpolate", "--animation", "mp4")
    assert "--animation mp4: MP4 needs the package av" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--num_outs_per_domain", "0"], "--num_outs_per_domain 0 makes no image"),
        (["--psi", "nan"], "--psi nan is not between 0"),
        (["--mode", "nosuch"], "invalid choice: 'nosuch'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_mistakes_of_a_test_are_told(
    more: Sequence[str], said: str, root: Path, trained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit):
        test(root, trained, tmp_path, *more)
    assert said in capsys.readouterr().err


def test_edges_of_the_source_are_kept_where_a_function_of_ones_own_says(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_masks.py").write_text(
        "import torch\n\ndef all_of_it(images):\n"
        "    mask = torch.ones(len(images), 1, *images.shape[2:])\n    return mask, mask\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    argv = ["--w_hpf", "1", "--masks", "my_masks:all_of_it", "--crop_size", "32"]
    script("train", training(root, tmp_path / "runs", *argv, "--total_steps", "1"))
    folder = test(root, tmp_path / "runs", tmp_path / "results")
    assert size(folder / "images" / "cat0_fake_dog.png") == (32, 32)
