"""Where losses and pictures go: each destination is a sink, all speak one protocol."""

from util.display.sinks.base import LogStep, Sink, deliver

__all__ = ["LogStep", "Sink", "deliver"]
