"""Images of an earlier test: only those that its page listed are removed."""

from pathlib import Path

import pytest

from util.inference.earlier_results import clear_away, images_on_page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of results with images, inside a folder with another one."""
    results = tmp_path / "results"
    for name in ("a b&c_fake.png", "x/1_fake.png", "new_fake.png", "Case_fake.png", "mine.png"):
        file = results / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "outside.png").write_text("not a result")
    return results


def page(folder: Path, *sources: str) -> None:
    rows = "".join(f'<img style="width:9px" src="images/{source}">' for source in sources)
    (folder / "index.html").write_text(f"<html>{rows}</html>")


def left(folder: Path) -> list[str]:
    images = folder / "images"
    return sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))


def test_only_what_the_earlier_page_listed_is_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page(folder, "a%20b%26c_fake.png", "x/1_fake.png", "new_fake.png", "../../outside.png")
    earlier = images_on_page(str(folder))
    assert {"a b&c_fake.png", "x/1_fake.png"} < earlier
    page(folder, "new_fake.png", "case_fake.png")
    clear_away(str(folder), earlier, read=[])
    assert left(folder) == ["Case_fake.png", "mine.png", "new_fake.png"]
    assert (folder.parent / "outside.png").exists()
    said = capsys.readouterr().out
    assert "2 images of an earlier test were removed" in said
    assert "1 files in" in said


def test_what_the_test_has_read_stays(folder: Path) -> None:
    page(folder, "x/1_fake.png", "mine.png")
    earlier = images_on_page(str(folder))
    page(folder, "new_fake.png")
    clear_away(str(folder), earlier, read=[str(folder / "images" / "x" / "1_fake.png")])
    assert "x/1_fake.png" in left(folder)
    assert "mine.png" not in left(folder)


def test_a_page_of_another_kind_removes_nothing(folder: Path) -> None:
    page(folder, "mine.png")
    earlier = images_on_page(str(folder))
    (folder / "index.html").write_text("a page of somebody else")
    clear_away(str(folder), earlier, read=[])
    assert len(left(folder)) == 5


def test_without_a_page_nothing_is_listed(tmp_path: Path) -> None:
    assert images_on_page(str(tmp_path)) == set()
