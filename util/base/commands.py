"""Command lines for people to copy, whatever their folders and runs are called."""

import shlex
from collections.abc import Mapping

# What the commands take by themselves.
DEFAULTS = {"checkpoints_dir": "./checkpoints", "epoch": "latest", "load_iter": "0"}


def command(script: str, options: Mapping[str, object], *words: str) -> str:
    """Return the command line that runs a script with these options, but for defaults, and words.

    >>> command("test.py", {"name": "-x", "dataroot": "my images", "epoch": "latest"}, "--eval")
    "python test.py --name=-x --dataroot 'my images' --eval"
    """
    given = {name: str(value) for name, value in options.items()}
    flags = [
        word
        for name, value in given.items()
        if value != DEFAULTS.get(name)
        for word in ([f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value])
    ]
    return shlex.join(["python", script, *flags, *words])


def as_argument(path: str) -> str:
    """Return a path that no command takes for an option."""
    return f"./{path}" if path.startswith("-") else path
