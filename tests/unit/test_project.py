"""The files that describe the project agree with it and with each other."""

import ast
import re
import tomllib

import pytest

from tests.support.paths import ROOT, tracked_files


def documents() -> dict[str, str]:
    names = [name for name in tracked_files() if re.fullmatch(r"README\.md|docs/.*\.md", name)]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    return {name: text.partition("## Files of the original")[0] for name, text in texts.items()}


def test_the_documents_name_files_that_exist() -> None:
    rooms = ("", "options", "models", "data", "util")
    named = {
        (document, path)
        for document, text in documents().items()
        for path in re.findall(r"[`(]([\w./]+\.(?:py|sh|md))[`)]", text)
    }
    assert len(named) > 100
    missing = [
        (document, path)
        for document, path in sorted(named)
        if not any((ROOT / room / path).is_file() for room in rooms)
        and not (ROOT / document).parent.joinpath(path).is_file()
    ]
    assert missing == []


def test_how_much_memory_is_told_in_one_place() -> None:
    """Beside the command that measures it: elsewhere such numbers went out of date."""
    files = {name for name in tracked_files() if name.endswith((".py", ".md"))}
    files -= {"docs/performance.md", "tests/unit/test_project.py"}
    number = re.compile(r"(half|a third|a quarter|0\.\d+) (of )?the memory")
    told = {name for name in files if number.search((ROOT / name).read_text(encoding="utf-8"))}
    assert told == set()


def requirement_names(lines: list[str]) -> dict[str, str]:
    found = (re.match(r"([A-Za-z0-9_-]+)([<>=][^;# ]*)", line.strip()) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_the_overview_names_every_source_file() -> None:
    overview = (ROOT / "docs/overview.md").read_text(encoding="utf-8")
    sources = [
        name
        for name in tracked_files()
        if re.fullmatch(r"(options|models|data|util|scripts|datasets)/.*\.(py|sh)", name)
        and not name.endswith("__init__.py")
    ]
    missing = [name for name in sources if f"{name.partition('/')[2]}`" not in overview]
    assert sources
    assert missing == []


def test_requirements_txt_and_environment_yml_ask_for_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = requirement_names(project["dependencies"])
    pip = requirement_names((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    conda_lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    conda = requirement_names([line.strip().removeprefix("- ") for line in conda_lines])
    conda["torch"] = conda.pop("pytorch")  # conda-forge's name
    del conda["python"]
    # Without a marker for the interpreter, visdom 0.2.4 would break plain pip on Python 3.11.
    wanted["visdom"] = pip["visdom"] = conda["visdom"] = "checked by hand"
    assert pip == wanted
    assert conda == wanted


def imports_of(name: str) -> set[str]:
    """Return the packages and modules that a file imports, without what is inside them."""
    nodes = list(ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {module.partition(".")[0] for module in found}


def test_nothing_that_others_import_imports_a_command() -> None:
    """import-linter knows packages alone, not single files such as train.py."""
    commands = {"train", "test", "scripts", "benchmark", "datasets", "tests"}
    files = [
        name for name in tracked_files() if re.match(r"(options|models|data|util)/.*py$", name)
    ]
    assert len(files) > 50
    assert {name: found for name in files if (found := imports_of(name) & commands)} == {}


@pytest.mark.parametrize("folder", ["datasets", "scripts"])
def test_tool_folders_are_not_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_ci_runs_the_command_of_the_readme_and_nothing_else() -> None:
    commands = [
        line
        for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(commands) == 1
    assert commands[0] in readme
