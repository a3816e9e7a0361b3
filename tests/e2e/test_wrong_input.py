"""Wrong input through the whole commands: one message, status 1 or 2, no traceback."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_script
import train as train_script
from util.base.errors import run_command

TRAIN = (
    "--gpu_ids -1 --num_threads 0 --display_id -1 --ngf 4 --ndf 4 --netG resnet_6blocks "
    "--norm instance --n_epochs 1 --n_epochs_decay 0 --load_size 40 --crop_size 32"
)
CHANNELS = ("It has 3 channels, but 4 are wanted.",)
UNPAIRED = "--dataroot {W}/unpaired "
PAIRS = "--dataroot {W}/pairs --model pix2pix "
TESTED = "--dataroot {W}/unpaired/testA --name run "
SIZES = "--dataroot {W}/sizes --model pix2pix --preprocess none --batch_size 2"


def draw(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


class Payload:
    """Would make a marker if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make good and bad folders, a good run and bad checkpoints."""
    root = tmp_path_factory.mktemp("world")
    for side in ("trainA", "trainB", "testA", "testB"):
        draw(root / "unpaired" / side / "0.png", 40, 40)
        draw(root / "unpaired" / side / "1.png", 40, 40)
    draw(root / "pairs/train/0.png", 80, 40)
    draw(root / "sizes/train/0.png", 80, 40)
    draw(root / "sizes/train/1.png", 96, 48)
    draw(root / "odd/train/0.png", 81, 40)
    draw(root / "one_side/trainA/0.png", 40, 40)
    (root / "one_side/trainB").mkdir()
    draw(root / "small/trainA/0.png", 20, 20)
    draw(root / "small/trainB/0.png", 20, 20)
    draw(root / "tiny/0.png", 3, 3)
    draw(root / "broken/train/0.jpg", 80, 40)
    whole = (root / "broken/train/0.jpg").read_bytes()
    (root / "broken/train/0.jpg").write_bytes(whole[: len(whole) // 2])
    for name, content in (("text/train/0.jpg", "hello"), ("zero/train/0.png", ""), *FILES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "nothing").mkdir()

    folder = root / "checkpoints"
    argv = [word.format(W=root) for word in f"{UNPAIRED} {TRAIN} --name run".split()]
    argv += ["--checkpoints_dir", str(folder)]
    train_script.main(argv)
    (folder / "folder" / "latest_net_G.pth").mkdir(parents=True)
    for name in ("cut_off", "text", "foreign", "evil"):
        (folder / name).mkdir()
    good = (folder / "run/latest_net_G_A.pth").read_bytes()
    (folder / "cut_off/latest_net_G.pth").write_bytes(good[: len(good) // 2])
    (folder / "text/latest_net_G.pth").write_text("hello")
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "foreign/latest_net_G.pth")  # noqa: TID251
    torch.save({"a": Payload(root / "EVIL")}, folder / "evil/latest_net_G.pth")  # noqa: TID251
    return root


FILES = (("file", "x"), ("list.txt", "missing.png\n"))
# (script, arguments, status, parts of the message)
CASES: list[tuple[str, str, int, tuple[str, ...]]] = [
    # folders
    ("train", "--dataroot {W}/nowhere", 1, ("trainA is not a valid directory", "does not exist")),
    ("train", "--dataroot {W}/nothing", 1, ("with nothing in it", "trainB/*.jpg")),
    ("train", "--dataroot {W}/file", 1, ("is a file, but neither an image",)),
    ("train", "--dataroot {W}/list.txt", 1, ("is one file, but", "trainA.txt and trainB.txt")),
    ("train", PAIRS + "--dataroot {W}/list.txt", 1, ("line 1: {W}/missing.png", "relative to")),
    ("train", "--dataroot {W}/one_side", 1, ("no images in {W}/one_side/trainB",)),
    (
        "train",
        "--dataroot {W}/pairs",
        1,
        ("unaligned expects", "If these are pairs, give --model pix"),
    ),
    ("train", "--dataroot {W}/unpaired/trainA", 1, ("Did you mean --dataroot {W}/unpaired?",)),
    ("train", PAIRS + "--dataroot {W}/pairs/train", 1, ("mean --dataroot {W}/pairs?",)),
    ("train", "--dataroot {W}", 1, ("Did you mean --dataroot {W}/one_side?",)),
    ("train", "--dataroot {W}/nothing --model pix2pix", 1, ("aligned expects", "left half")),
    ("test", "--dataroot {W}/nowhere --name run", 1, ("is not a valid directory",)),
    ("test", "--dataroot {W}/small --name run --model pix2pix", 1, ("test is not a valid",)),
    # images
    ("train", "--dataroot {W}/text --model pix2pix", 1, ("0.jpg is not an image", "PNG")),
    ("train", "--dataroot {W}/broken --model pix2pix", 1, ("0.jpg cannot be read", "truncated")),
    ("train", "--dataroot {W}/zero --model pix2pix", 1, ("0.png is not an image",)),
    ("train", "--dataroot {W}/small --preprocess crop", 1, ("0.png", "too small for --crop_size")),
    ("test", TESTED + "--preprocess crop --crop_size 64", 1, ("0.png", "40x40", "--crop_size 64")),
    ("train", "--dataroot {W}/odd --model pix2pix --preprocess scale_width", 1, ("equally wide",)),
    # sizes that networks cannot take
    (
        "test",
        "--dataroot {W}/tiny --name run --preprocess none",
        1,
        ("tiny/0.png: An image of 4x4",),
    ),
    ("train", PAIRS + "--crop_size 64", 1, ("--crop_size 64 is larger than --load_size 40",)),
    ("train", PAIRS + "--netG unet_128", 1, ("multiples of 128", "32x32", "resnet_9blocks of 4")),
    ("train", PAIRS + "--netG unet_256 --preprocess none", 1, ("multiples of 256", "40x40")),
    ("train", UNPAIRED + "--crop_size 16 --load_size 16", 1, ("16x16 is too small for this disc",)),
    ("train", UNPAIRED + "--netD n_layers --n_layers_D 6", 1, ("32x32", "--n_layers_D")),
    ("train", UNPAIRED + "--crop_size 4 --load_size 4 --netD pixel", 1, ("4x4", "5 pixels")),
    ("train", UNPAIRED + "--preprocess crop --crop_size 30", 1, ("multiple of 4",)),
    ("train", UNPAIRED + "--input_nc 1", 1, ("--lambda_identity 0.5", "Give --lambda_identity 0")),
    ("train", UNPAIRED + "--input_nc 4 --lambda_identity 0", 1, CHANNELS),
    ("train", UNPAIRED + "--output_nc 4 --lambda_identity 0", 1, CHANNELS),
    ("train", PAIRS + "--input_nc 4", 1, (*CHANNELS, "--input_nc 3")),
    ("train", PAIRS + "--output_nc 4", 1, (*CHANNELS, "--output_nc")),
    ("train", SIZES, 1, ("several sizes", "3x40x40", "1.png", "--batch_size 1", "Nothing had")),
    ("train", SIZES + " --num_threads 2", 1, ("several sizes", "3x40x40", "1.png")),
    # names
    ("train", UNPAIRED + "--model pix2pxi", 2, ("Did you mean 'pix2pix'?", "Available:")),
    ("train", UNPAIRED + "--model ../x", 2, ("No model called '../x'",)),
    ("train", UNPAIRED + "--model base", 2, ("no subclass of BaseModel",)),
    ("train", UNPAIRED + "--dataset_mode nosuch", 2, ("No dataset called 'nosuch'", "aligned")),
    ("train", UNPAIRED + "--model test", 2, ("cannot be used during training",)),
    ("train", UNPAIRED + "--direction atob", 2, ("Did you mean 'AtoB'?",)),
    ("train", UNPAIRED + "--preprocess foo", 2, ("--preprocess foo is not known", "none")),
    ("train", UNPAIRED + "--lr_policy bogus", 2, ("linear, step, plateau, cosine",)),
    ("train", UNPAIRED + "--gan_mode hinge", 2, ("lsgan, vanilla, wgangp",)),
    ("train", UNPAIRED + "--init_type uniform", 2, ("--init_type uniform is not known",)),
    ("train", UNPAIRED + "--netG unet_265", 2, ("Did you mean 'unet_256'?",)),
    ("train", UNPAIRED + "--netD patch", 2, ("basic, n_layers, pixel",)),
    ("train", UNPAIRED + "--norm group", 2, ("batch, syncbatch, instance, none",)),
    # numbers
    ("train", UNPAIRED + "--batch_size 0", 2, ("--batch_size 0 cannot work", "1 or more")),
    ("train", UNPAIRED + "--batch_size -2", 2, ("--batch_size -2 cannot work",)),
    ("train", UNPAIRED + "--ngf 0", 2, ("--ngf 0 cannot work",)),
    ("train", UNPAIRED + "--init_gain nan", 1, ("--init_gain nan cannot work", "0 or more")),
    ("train", UNPAIRED + "--load_size 3000000000", 2, ("cannot work", "below 2**31")),
    ("train", UNPAIRED + "--print_freq 0", 2, ("--print_freq 0 cannot work",)),
    ("train", UNPAIRED + "--save_epoch_freq 0", 2, ("--save_epoch_freq 0 cannot work",)),
    ("train", UNPAIRED + "--num_threads -1", 2, ("--num_threads -1 cannot work", "0 or more")),
    ("train", UNPAIRED + "--lr -1", 2, ("--lr -1.0 cannot work",)),
    ("train", UNPAIRED + "--lr inf", 2, ("--lr inf cannot work: it must be finite",)),
    ("train", UNPAIRED + "--lr nan", 2, ("--lr nan cannot work",)),
    ("train", UNPAIRED + "--lambda_A nan", 2, ("--lambda_A nan cannot work: it must be finite",)),
    ("train", PAIRS + "--lambda_L1=-inf", 2, ("--lambda_L1 -inf cannot work",)),
    ("train", UNPAIRED + "--init_gain inf", 1, ("--init_gain inf cannot work", "finite")),
    ("train", UNPAIRED + "--beta1 1.5", 2, ("--beta1 1.5 cannot work", "below 1")),
    ("train", UNPAIRED + "--max_dataset_size 0", 2, ("--max_dataset_size 0 cannot work",)),
    ("train", UNPAIRED + "--crop_size 0", 2, ("--crop_size 0 cannot work",)),
    ("train", UNPAIRED + "--lr abc", 2, ("invalid float value: 'abc'",)),
    ("train", UNPAIRED + "--epoch_count 9", 2, ("after the last epoch, 1", "Raise --n_epochs")),
    ("train", UNPAIRED + "--gpu_ids 7", 2, ("there is no GPU 7",)),
    ("train", UNPAIRED + "--gpu_ids a", 2, ("is no list of numbers",)),
    ("test", TESTED + "--crop_size 0", 2, ("error: --crop_size 0 cannot work",)),
    ("test", TESTED + "--num_test 0", 2, ("--num_test 0 cannot work",)),
    ("test", TESTED + "--visuals real,fake_C", 1, ("--visuals fake_C", "real, fake")),
    ("test", TESTED + "--test_norm x", 2, ("invalid choice: 'x'",)),
    ("train", UNPAIRED + "--epoch_size -1", 2, ("--epoch_size -1 cannot work",)),
    ("train", UNPAIRED + "--jitter 0.2", 2, ("--jitter 0.2 cannot work: give four numbers",)),
    ("train", UNPAIRED + "--jitter 1,1,1,.6", 2, ("hue from 0 (0.5 at most)",)),
    ("train", UNPAIRED + "--jitter 1,1,0,0 --output_nc 4", 2, ("--output_nc 4", "3 channels")),
    ("train", PAIRS + "--jitter 1,1,1,0 --input_nc 1", 2, ("no saturation and hue",)),
    ("test", TESTED + "--aspect_ratio 0", 2, ("--aspect_ratio 0.0 cannot work", "above 0")),
    ("train", UNPAIRED + "--display_id 1 --display_port 70000", 1, ("70000 is no address",)),
    # contradictions
    ("train", UNPAIRED + "--continue_train --pretrained x", 2, ("contradict each other",)),
    ("train", UNPAIRED + "--epoch_size 3 --serial_batches", 2, ("same in every epoch",)),
    ("train", UNPAIRED + "--total_steps 9 --val_steps 2 --epoch_size 3", 2, ("--val_steps 2",)),
    ("train", UNPAIRED + "--jitter_both", 2, ("--jitter_both needs --jitter",)),
    ("train", UNPAIRED + "--start_visdom", 2, ("--start_visdom and --display_id -1",)),
    ("train", UNPAIRED + "--model template --dataset_mode single", 1, ("no B",)),
    ("train", UNPAIRED + "--dataset_mode single", 1, ("needs images of both domains", "no B")),
    ("train", UNPAIRED + "--model colorization --direction BtoA", 1, ("L into ab",)),
    # the command line itself
    ("train", UNPAIRED + "--bogus 3", 2, ("unrecognized arguments: --bogus 3",)),
    ("train", UNPAIRED + "--n_ep 3", 2, ("ambiguous option: --n_ep",)),
    ("train", "--name x", 2, ("are required: --dataroot",)),
    ("train", UNPAIRED + "--suffix {{nosuch}}", 2, ("cannot be filled in", "{{model}}")),
    ("test", TESTED + "--lambda_A 3", 2, ("unrecognized arguments: --lambda_A 3",)),
    # checkpoints
    ("train", UNPAIRED + "--pretrained nothing", 1, ("neither a file, nor a folder, nor a run",)),
    ("train", UNPAIRED + "--pretrained {W}/file", 1, ("cannot be read as a checkpoint",)),
    ("train", UNPAIRED + "--continue_train --name new", 1, ("does not exist", "--name")),
    ("test", TESTED + "--name new", 1, ("latest_net_G.pth does not exist",)),
    ("test", TESTED + "--epoch 77", 1, ("77_net_G.pth does not exist", "latest_net_G_A.pth")),
    ("test", TESTED + "--load_iter 5", 1, ("iter_5_net_G.pth does not exist",)),
    (
        "test",
        TESTED + "--netG unet_128",
        1,
        ("is --netG resnet_6blocks", "ask for --netG unet_128"),
    ),
    ("test", TESTED + "--ngf 8", 1, ("does not fit", "--ngf 4", "--ngf 8")),
    ("test", TESTED + "--name cut_off", 1, ("cannot be read as a checkpoint",)),
    ("test", TESTED + "--name text", 1, ("cannot be read as a checkpoint",)),
    ("test", TESTED + "--name folder", 1, ("latest_net_G.pth is no plain file", "Move it away")),
    ("test", TESTED + "--name foreign", 1, ("does not fit", "is missing")),
    ("test", TESTED + "--name evil", 1, ("could run code",)),
    # places that cannot be written
    ("test", TESTED + "--results_dir {W}/file", 1, ("Check the path, your rights",)),
    ("train", UNPAIRED + "--checkpoints_dir {W}/file", 1, ("Check the path, your rights",)),
]


@pytest.mark.parametrize(("script", "arguments", "status", "parts"), CASES, ids=lambda x: str(x))
def test_wrong_input_ends_with_one_message(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    script: str,
    arguments: str,
    status: int,
    parts: tuple[str, ...],
) -> None:
    argv = [word.format(W=world) for word in arguments.split()]
    if "--checkpoints_dir" not in argv:
        argv += ["--checkpoints_dir", str(world / "checkpoints")]
    if script == "train":
        argv = [*TRAIN.split(), "--name", "try", *argv]
        main = train_script.main
    else:
        argv = ["--gpu_ids", "-1", "--results_dir", str(tmp_path / "results"), *argv]
        main = test_script.main
    try:
        got = run_command(lambda: main(argv))
    except SystemExit as stopped:
        got = int(str(stopped.code))
    said = capsys.readouterr().err
    assert got == status, said
    for part in parts:
        assert part.format(W=world) in said
    assert "Traceback" not in said
    assert not (world / "EVIL").exists()
    assert not list(world.rglob("*.tmp-*"))
    shutil.rmtree(world / "checkpoints/try", ignore_errors=True)


def test_all_problems_of_the_options_are_reported_at_once(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = "--batch_size 0 --direction x --netG y --lr -2 --suffix {z}"
    with pytest.raises(SystemExit):
        train_script.main(["--dataroot", str(world), *argv.split()])
    said = capsys.readouterr().err
    for part in ("--batch_size 0", "--direction x", "--netG y", "--lr -2", "--suffix {z}"):
        assert part in said
