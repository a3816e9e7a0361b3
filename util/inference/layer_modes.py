"""How layers compute that compute otherwise in training: norms with statistics, and dropout."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from util.base.log import warn
from util.base.new_options import new_option


class LayerModes(NamedTuple):
    """What `--eval` decides for all layers, and options for each kind."""

    norm: str  # batch or running: where statistics come from
    dropout: str  # on or off
    given: frozenset[str] = frozenset()  # what has an option of its own

    @classmethod
    def of(cls, opt: Namespace) -> Self:
        """Return what the options of test.py say."""
        norm, dropout = (new_option(opt, f"test_{kind}") for kind in ("norm", "dropout"))
        found = {"norm": norm, "dropout": dropout}
        given = frozenset(kind for kind, value in found.items() if value)
        usual = ("running", "off") if opt.eval else ("batch", "on")
        return cls(norm or usual[0], dropout or usual[1], given)

    def given_by(self, kind: str) -> str:
        """Say which option decides this, for a sentence about `batch` or `on`."""
        return (
            f"with --test_{kind} {getattr(self, kind)}" if kind in self.given else "without --eval"
        )

    def switch(self, nets: Mapping[str, nn.Module]) -> None:
        """Switch the layers whose kind is `given`; say so if no network has such a layer."""
        layers = [layer for net in nets.values() for layer in net.modules()]
        norms = [each for each in layers if isinstance(each, _NormBase) and _keeps_statistics(each)]
        dropouts = [each for each in layers if isinstance(each, _DropoutNd)]
        if "norm" in self.given:
            _train(norms, self.norm == "batch", f"--test_norm {self.norm}", "no batch norm")
        if "dropout" in self.given:
            _train(dropouts, self.dropout == "on", f"--test_dropout {self.dropout}", "no dropout")


def _keeps_statistics(norm: _NormBase) -> bool:
    return norm.running_mean is not None  # instance norm usually keeps none


def _train(layers: Sequence[nn.Module], training: bool, option: str, lacking: str) -> None:
    for layer in layers:
        layer.train(training)
    if not layers:
        warn(f"{option} does nothing: the networks have {lacking}.")
