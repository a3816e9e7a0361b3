"""What is in a tar file: samples, and where it is damaged."""

import io
import tarfile
from pathlib import Path

import pytest

from data.shards.tar import read_contents
from tests.support.shards import tar_bytes, write


def test_files_of_one_key_are_a_sample_and_sides_are_told_apart(tmp_path: Path) -> None:
    files = {
        "x.y/1.a.PNG": b"a", "x.y/1.b.jpg": b"bb", "x.y/1.json": b"{}", "._x.y/._1.png": b"mac",
        "x.y/2.png": b"whole", "x.y/2.mask.png": b"m", "x.y/3.txt": b"no image", "README": b"?",
        "z.b.npy": b"npy",
    }  # fmt: skip
    contents = read_contents(write(tmp_path / "s.tar", tar_bytes(files)))
    assert contents.problem == ""
    assert [sample.key for sample in contents.samples] == ["x.y/1", "x.y/2", "x.y/3", "z"]
    one, two, three, four = contents.samples
    assert [member.name for member in one.pair()] == ["x.y/1.a.PNG", "x.y/1.b.jpg"]
    assert [member.name for member in two.pair()] == ["x.y/2.png"]
    assert three.pair() == four.pair() == []
    assert one.image("b") == one.images["b"]
    assert two.image("b") == two.images[""]
    assert four.image("a") is None


def test_images_of_other_names_are_neither_a_side_nor_the_whole(tmp_path: Path) -> None:
    files = dict.fromkeys(
        ("1.input.png", "1.target.png", "2.depth.png", "2.jpg", "3.a.png", "3.a.b.png", "3.b.png",
         "f/4.a.x.png", "f/4.txt"), b"",
    )  # fmt: skip
    one, two, three, four = read_contents(write(tmp_path / "s.tar", tar_bytes(files))).samples
    assert one.pair() == four.pair() == []
    assert one.image("a") is four.image("a") is None
    assert one.names() == "Its images are called 1.input.png, 1.target.png."
    assert four.names() == "Its images are called 4.a.x.png."
    assert [member.name for member in two.pair()] == ["2.jpg"]
    assert two.image("b") == two.images[""]
    assert [member.name for member in three.pair()] == ["3.a.png", "3.b.png"]


def test_bytes_are_where_they_are_said_to_be_whatever_the_kind_of_tar(tmp_path: Path) -> None:
    long = "d" * 90 + "/" + "ü" * 80 + ".png"
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = long if kind != tarfile.USTAR_FORMAT else "short.png"
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
            tar.addfile(tarfile.TarInfo("empty.png"))
            member = tarfile.TarInfo(name)
            member.size = 700
            tar.addfile(member, io.BytesIO(b"x" * 700))
        path = write(tmp_path / "s.tar", buffer.getvalue())
        (_, sample) = read_contents(path).samples
        found = sample.images[""]
        assert found.name == name
        assert buffer.getvalue()[found.offset : found.offset + found.size] == b"x" * 700


@pytest.mark.parametrize(
    ("damage", "left", "problem"),
    [
        (lambda tar: tar[: 3 * 1024 + 600], 3, "breaks off inside 3.png"),
        (lambda tar: tar[: 2 * 1024 + 200], 2, "what follows 1.png"),
        (lambda tar: tar[: 3 * 1024], 3, "breaks off behind 2.png, without the zeros that end"),
        (lambda tar: tar[: 4 * 1024 + 511], 4, "breaks off behind 3.png, without the zeros"),
        (lambda tar: tar[:1024] + b"#" * 512 + tar[1536:], 1, "what follows 0.png"),
        (lambda tar: tar[:1024] + b"9" + tar[1025:], 1, "what follows 0.png"),
        (lambda tar: b"#" * len(tar), 0, "no sound tar file"),
        (lambda tar: b"", 0, "no sound tar file"),
        (lambda tar: b"\x1f\x8b" + tar, 0, "no sound tar file"),
    ],
)
def test_a_damaged_shard_gives_what_is_before_the_damage_and_says_where_it_is(
    damage: object, left: int, problem: str, tmp_path: Path
) -> None:
    assert callable(damage)
    whole = tar_bytes({f"{n}.png": bytes(400) for n in range(4)})
    contents = read_contents(write(tmp_path / "s.tar", damage(whole)))
    assert [sample.key for sample in contents.samples] == [str(n) for n in range(left)]
    assert problem in contents.problem


def test_files_of_one_key_in_two_places_are_told(tmp_path: Path) -> None:
    files = dict.fromkeys(("1.a.png", "2.a.png", "x/1.b.png", "1.b.png", "3.png"), b"")
    contents = read_contents(write(tmp_path / "s.tar", tar_bytes(files)))
    assert [sample.key for sample in contents.samples] == ["1", "2", "x/1"]
    assert contents.problem == "1.b.png stands apart from other files of that key"


def test_a_single_block_of_zeros_is_an_end(tmp_path: Path) -> None:
    whole = tar_bytes({f"{n}.png": b"x" for n in range(4)})
    contents = read_contents(write(tmp_path / "s.tar", whole[: 4 * 1024 + 512]))
    assert (len(contents.samples), contents.problem) == (4, "")
