"""Plugin discovery."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import data
import models
from util.base.errors import UserError
from util.base.plugins import declares, find_plugin

Plugin = Callable[[str, str], None]


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Make a package of plugins; return a function that adds a file to it."""
    folder = tmp_path / "zoo_of_plugins"
    folder.mkdir()
    (folder / "__init__.py").write_text("class Animal: pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def add(file: str, source: str) -> None:
        (folder / file).write_text(f"from zoo_of_plugins import Animal\n{source}\n")
        importlib.invalidate_caches()

    yield add
    for name in [name for name in sys.modules if name.startswith("zoo_of_plugins")]:
        del sys.modules[name]


def find(name: str) -> type[Any]:
    base = importlib.import_module("zoo_of_plugins").Animal
    return find_plugin(name, package="zoo_of_plugins", kind="animal", base=base)


def test_the_class_is_found_by_the_name_of_the_file(zoo: Plugin) -> None:
    zoo("cat_animal.py", "class CatAnimal(Animal): pass")
    assert find("cat").__name__ == "CatAnimal"


@pytest.mark.parametrize("class_name", ["BigCatAnimal", "BIGCATAnimal", "bigcatanimal"])
def test_the_case_of_the_class_does_not_matter(zoo: Plugin, class_name: str) -> None:
    zoo("big_cat_animal.py", f"class {class_name}(Animal): pass")
    assert find("big_cat").__name__ == class_name


def test_other_classes_in_the_file_are_not_taken(zoo: Plugin) -> None:
    others = "class Cat: pass\nclass DogAnimal(Animal): pass\n"
    zoo("cat_animal.py", f"{others}class CatAnimal(DogAnimal): pass")
    assert find("cat").__name__ == "CatAnimal"


def test_only_the_plugin_asked_for_is_imported(zoo: Plugin) -> None:
    zoo("cat_animal.py", "class CatAnimal(Animal): pass")
    zoo("dog_animal.py", "raise RuntimeError('imported without need')")
    find("cat")


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others(zoo: Plugin) -> None:
    zoo("cat_animal.py", "class CatAnimal(Animal): pass")
    zoo("dog_animal.py", "class DogAnimal(Animal): pass")
    zoo("base_animal.py", "")
    zoo("cage.py", "")
    with pytest.raises(UserError) as caught:
        find("cta")
    message = str(caught.value)
    assert "No animal called 'cta': zoo_of_plugins/cta_animal.py does not exist." in message
    assert "Did you mean 'cat'?" in message
    assert "Available: cat, dog." in message


def test_a_name_like_no_other_gets_no_guess(zoo: Plugin) -> None:
    zoo("cat_animal.py", "class CatAnimal(Animal): pass")
    with pytest.raises(UserError) as caught:
        find("xyzzy")
    assert "Did you mean" not in str(caught.value)
    assert "Available: cat." in str(caught.value)


def test_a_file_without_the_class_says_what_it_should_be_called(zoo: Plugin) -> None:
    zoo("big_cat_animal.py", "class TigerAnimal(Animal): pass")
    with pytest.raises(UserError) as caught:
        find("big_cat")
    assert "zoo_of_plugins.big_cat_animal defines no subclass of Animal" in str(caught.value)
    assert "'bigcatanimal'" in str(caught.value)
    assert "It defines TigerAnimal. Rename a class" in str(caught.value)


def test_a_class_of_the_right_name_must_derive_from_the_base(zoo: Plugin) -> None:
    zoo("cat_animal.py", "class CatAnimal: pass")
    with pytest.raises(UserError, match="defines no subclass of Animal"):
        find("cat")


@pytest.mark.parametrize("error", ["ImportError", "SyntaxError", "ValueError", "AttributeError"])
def test_a_plugins_own_error_surfaces_as_itself(zoo: Plugin, error: str) -> None:
    zoo("cat_animal.py", f"raise {error}('of the plugin')")
    with pytest.raises(Exception, match="of the plugin") as caught:
        find("cat")
    assert caught.type.__name__ == error


@pytest.mark.parametrize(
    "statement",
    [
        "import no_such_package_here",
        "import zoo_of_plugins.no_such_module",
        "from zoo_of_plugins import no_such_name",
        "from . import no_such_name",
        "from .no_such_module import x",
    ],
)
def test_a_plugins_own_missing_import_surfaces(zoo: Plugin, statement: str) -> None:
    zoo("cat_animal.py", statement)
    with pytest.raises(ImportError, match="no_such_"):
        find("cat")


@pytest.mark.parametrize("name", ["a.b", "../x", "/etc/x", "", ".", "..", "a/b", "cat_animal"])
def test_names_that_are_no_plugin_are_refused(zoo: Plugin, name: str) -> None:
    zoo("cat_animal.py", "class CatAnimal(Animal): pass")
    with pytest.raises(UserError, match=r"Available: cat\."):
        find(name)


# ---- the two packages that use it --------------------------------------------------------------


def test_unknown_model_names_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'pix2pix'\?"):
        models.create_model(argparse.Namespace(model="pixpix"))


def test_unknown_dataset_names_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'aligned'\?.* Available: aligned, "):
        data.find_dataset_using_name("alined")


@pytest.mark.parametrize("name", ["base", "a.b", "../x", "", "networks.x", "networks"])
def test_names_that_are_no_model_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"Available: colorization, |defines no subclass"):
        models.find_model_using_name(name)


@pytest.mark.parametrize("name", ["base", "a.b", "../x", ""])
def test_names_that_are_no_dataset_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"Available: aligned, |defines no subclass"):
        data.find_dataset_using_name(name)


def test_a_models_own_missing_import_surfaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_model.py").write_text("import no_such_package_here\n")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_package_here"):
        models.create_model(argparse.Namespace(model="needy"))


def test_a_derived_class_does_not_inherit_what_a_class_says_of_itself() -> None:
    class Own(models.find_model_using_name("pix2pix")):  # type: ignore[misc]
        """Its forward pass may do anything."""

    for name in ("cycle_gan", "pix2pix", "test"):
        assert declares(models.find_model_using_name(name), "batch_independent")
    assert Own.batch_independent
    assert not declares(Own, "batch_independent")


@pytest.mark.parametrize("value", [1, "yes", lambda self: True])
def test_a_trait_is_declared_by_true_alone(value: object) -> None:
    assert not declares(type("Own", (), {"batch_independent": value}), "batch_independent")
    assert declares(type("Own", (), {"batch_independent": True}), "batch_independent")
