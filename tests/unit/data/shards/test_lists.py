"""Which shards there are: folders, indices, lists and ranges, here and on the web."""

import json
from pathlib import Path

import pytest

from data.shards.lists import Shard, expand, find_shards, index_text, is_one_list, read_index
from tests.support.shards import write
from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.base.errors import UserError


def test_ranges_in_braces_keep_their_width_and_stand_for_every_combination() -> None:
    assert expand("s-{098..101}.tar") == ["s-098.tar", "s-099.tar", "s-100.tar", "s-101.tar"]
    assert expand("{a,b}/{1..2}") == ["a/1", "a/2", "b/1", "b/2"]
    assert expand("{plain}.tar") == ["{plain}.tar"]
    with pytest.raises(UserError, match=r"\{3\.\.1\} has no numbers"):
        expand("s-{3..1}.tar")


def test_what_is_found_in_a_folder_in_the_order_of_precedence(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert find_shards(root, "train") == []
    for name in (
        "train-01.tar",
        "train-00.tar",
        "trainA-00.tar",
        "train-hard-00.tar",
        "train-.tar",
    ):
        write(tmp_path / name, b"")
    assert [shard.where for shard in find_shards(root, "train")] == [
        f"{root}/train-00.tar",
        f"{root}/train-01.tar",
    ]
    write(tmp_path / "train" / "x.tar", b"")
    assert find_shards(root, "train") == [Shard(f"{root}/train/x.tar")]
    text = "# shards\nhttp://example.org/{7..8}.tar\n\nbeside-{0..1}.tar\n"
    write(tmp_path / "train.txt", text.encode())
    assert [shard.where for shard in find_shards(root, "train")] == [
        "http://example.org/7.tar",
        "http://example.org/8.tar",
        f"{root}/beside-0.tar",
        f"{root}/beside-1.tar",
    ]
    index = index_text([Shard("a.tar", 3, 10240), Shard("https://example.org/b.tar")], "train")
    write(tmp_path / "train.json", index.encode())
    found = [Shard(f"{root}/a.tar", 3, 10240), Shard("https://example.org/b.tar")]
    assert find_shards(root, "train") == found
    assert find_shards(f"{root}/train.json", "whatever") == found


def test_shards_may_say_how_many_they_are(tmp_path: Path) -> None:
    names = [f"train-{number:05d}-of-00002.tar" for number in range(2)]
    for name in names:
        write(tmp_path / name, b"")
    assert [shard.where for shard in find_shards(str(tmp_path), "train")] == [
        f"{tmp_path}/{name}" for name in names
    ]


def test_an_index_on_the_web_and_what_is_not_there(server: Server) -> None:
    index = json.dumps({"shardlist": [{"url": "x/0.tar", "nsamples": 7}]})
    server.files = {"train.json": index.encode(), "bad.json": b"[1]", "l.txt": b"a-{0..1}.tar"}
    root = server.url.rstrip("/")
    assert find_shards(root, "train") == [Shard(f"{root}/x/0.tar", 7)]
    assert find_shards(server.url, "val") == []
    assert find_shards(f"{root}/l.txt", "val") == [Shard(f"{root}/a-{n}.tar") for n in (0, 1)]
    with pytest.raises(UserError, match=r"bad\.json is no index of shards"):
        find_shards(root, "bad")
    with pytest.raises(UserError, match="answers 404"):
        find_shards(f"{root}/none.json", "train")


@pytest.mark.parametrize("text", ["{", '{"shardlist": 3}', '{"shardlist": [{"nsamples": 1}]}'])
def test_what_is_no_index_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match=r"^some/index\.json is no index of shards"):
        list(read_index(text, "some/index.json"))


def test_what_names_shards_itself_is_told_from_a_folder() -> None:
    for root in ("a.json", "a.txt", "x.tar", "https://e.org/{00..99}.tar", "{a,b}"):
        assert is_one_list(root)
    for root in ("a", "https://e.org/tar", "datasets/{plain}"):
        assert not is_one_list(root)
