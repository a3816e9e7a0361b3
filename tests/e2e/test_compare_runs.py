"""scripts/compare_runs.py: what it compares, what it says, and how it ends."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.commands import ROOT, imported
from util.base.errors import run_command

SCRIPT = ROOT / "scripts" / "compare_runs.py"
RECORD = {"total_iters": 4, "lr": {}, "seconds": 1.0, "images_per_second": 4.0, "memory_mib": 9.0}

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Return the script as a module."""
    with imported(SCRIPT) as module:
        yield module


@pytest.fixture
def compare(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Return a function that runs the script on runs in a folder of its own."""

    def call(*arguments: str) -> tuple[int, str, str]:
        argv = [*arguments, "--checkpoints_dir", str(tmp_path)]
        try:
            status = run_command(lambda: script.main(argv))
        except SystemExit as stopped:
            status = int(str(stopped.code))
        return status, *capsys.readouterr()

    return call


def write_run(folder: Path, name: str, validations: Sequence[dict[str, float | None]]) -> str:
    """Write the metrics of a run with these validations, an epoch each, and return its name."""
    (folder / name).mkdir()
    lines = [
        json.dumps({"epoch": epoch, **RECORD, "train": {}, **({"val": val} if val else {})})
        for epoch, val in enumerate(validations, 1)
    ]
    (folder / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return name


def write_runs(folder: Path, group: str, values: Sequence[float]) -> list[str]:
    """Write one run for each value of L1, and return their names."""
    return [
        write_run(folder, f"{group}_{number}", [{"L1": 9.0, "SSIM": 0.5}, {"L1": l1, "SSIM": 0.5}])
        for number, l1 in enumerate(values)
    ]


def test_pairs_are_compared_not_means_alone(compare: Compare, tmp_path: Path) -> None:
    """The seeds differ by much, the two ways of training by little, but always."""
    first = write_runs(tmp_path, "a", [1.0, 2.0, 3.0])
    second = write_runs(tmp_path, "b", [1.01, 2.02, 3.03])
    status, out, _ = compare("--first", *first, "--second", *second)
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("L1")).split()
    # differences of 0.01, 0.02 and 0.03: mean 0.02, deviation 0.01, error 0.01 / sqrt(3)
    assert row[1:6] == ["2.0000", "2.0200", "+0.0200", "+1.0%", "0.0058"]
    assert "may be chance" in out  # with three pairs 4.3 standard errors may be
    for number, l1 in ((3, 4.0), (4, 5.0), (5, 6.0)):
        first.append(write_run(tmp_path, f"a_{number}", [{"L1": l1, "SSIM": 0.5}]))
        second.append(write_run(tmp_path, f"b_{number}", [{"L1": l1 + 0.02, "SSIM": 0.5}]))
    _, out, _ = compare("--first", *first, "--second", *second)
    assert [line.split()[0] for line in out.splitlines() if "more than chance" in line] == ["L1"]
    ssim = next(line for line in out.splitlines() if line.startswith("SSIM"))
    assert ssim.split()[1:5] == ["0.5000", "0.5000", "+0.0000", "+0.0%"]
    assert "may be chance" in ssim


@pytest.mark.parametrize(
    ("second", "within", "status"),
    [
        ([1.1, 0.9], "3", 0),  # chance, and nothing on the average
        ([1.01, 1.0101], "3", 1),  # within, but not chance
        ([1.5, 0.9], "3", 1),  # chance, but far
        ([1.5, 0.9], "30", 0),
    ],
)
def test_within_decides_the_status(
    second: list[float], within: str, status: int, compare: Compare, tmp_path: Path
) -> None:
    runs = write_runs(tmp_path, "a", [1.0, 1.0]), write_runs(tmp_path, "b", second)
    found = compare("--first", *runs[0], "--second", *runs[1], "--within", within)
    assert found[0] == status
    assert ("Differs by more than chance" in found[1]) == bool(status)


def test_means_of_the_last_validations(compare: Compare, tmp_path: Path) -> None:
    runs = write_runs(tmp_path, "a", [1.0, 1.0, 4.0, 2.0])
    _, out, _ = compare(
        "--first", *runs[:2], "--second", *runs[2:], "--last", "2", "--metrics", "L1"
    )
    assert out.splitlines()[-1].split()[:3] == ["L1", "5.0000", "6.0000"]
    assert "SSIM" not in out


def test_epochs_without_validation_do_not_count(compare: Compare, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_run(tmp_path, name, [{"L1": 1.0}, {}])
    status, out, _ = compare("--first", "a", "b", "--second", "c", "d")
    assert status == 0
    assert "may be chance" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--first", "a_0", "--second", "a_1"], 2, "Give two pairs or more"),
        (["--first", "a_0", "a_1", "--second", "a_1"], 2, "names 2 runs and --second 1"),
        (["--first", "a_0", "a_1", "--second", "a_1", "a_0", "--last", "0"], 2, "--last 0"),
        (["--first", "a_0", "a_1", "--second", "a_1", "a_9"], 1, "a_9 has no metrics.jsonl"),
        (
            ["--first", "a_0", "a_1", "--second", "a_1", "folder"],
            1,
            "Available: a_0, a_1, less, nan.",
        ),
        (["--first", "a_0", "a_1", "--second", "a_1", "a_0", "--last", "3"], 1, "2 validations"),
        (["--first", "a_0", "a_1", "--second", "a_1", "nan"], 1, "L1 is not finite"),
        (["--first", "a_0", "a_1", "--second", "a_1", "less"], 1, "1 of 4 runs have no SSIM"),
        (
            ["--first", "a_0", "a_1", "--second", "a_1", "a_0", "--metrics", "FID"],
            1,
            "4 of 4 runs have no FID",
        ),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], status: int, message: str, compare: Compare, tmp_path: Path
) -> None:
    write_runs(tmp_path, "a", [1.0, 2.0])
    write_run(tmp_path, "nan", [{"L1": 1.0, "SSIM": 0.5}, {"L1": None, "SSIM": 0.5}])
    write_run(tmp_path, "less", [{"L1": 1.0}])
    (tmp_path / "folder" / "metrics.jsonl").mkdir(parents=True)
    found = compare(*arguments)
    assert found[0] == status
    assert message in found[2]


def test_without_any_run_none_is_offered(compare: Compare, tmp_path: Path) -> None:
    status, _, said = compare("--first", "x", "y", "--second", "x", "y")
    assert (status, said.count("error:")) == (1, 1)
    assert said.endswith(f"if there are validation images. Nor has any run in {tmp_path}.\n")
