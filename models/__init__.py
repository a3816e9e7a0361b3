"""Models, found by name: `--model NAME` uses `NameModel` of `models/NAME_model.py`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from models.base_model import BaseModel
from models.inference.generator import load_generator as load_generator
from util.base.log import say
from util.base.plugins import find_plugin


def find_model_using_name(model_name: str) -> type[BaseModel]:
    """Return the class that the convention assigns to `model_name`; UserError if none."""
    return find_plugin(model_name, package="models", kind="model", base=BaseModel)


def get_option_setter(model_name: str) -> Callable[[ArgumentParser, bool], ArgumentParser]:
    """Return the function by which a model adds its options."""
    return find_model_using_name(model_name).modify_commandline_options


def create_model(opt: Namespace) -> BaseModel:
    """Create the model that the options name."""
    model = find_model_using_name(opt.model)(opt)
    say(f"model [{type(model).__name__}] was created")
    return model
