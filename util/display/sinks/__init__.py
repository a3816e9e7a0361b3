"""Where losses and images go: each destination is a sink, all speak one protocol."""

from util.display.sinks.base import LogStep, Sink, deliver

__all__ = ["LogStep", "Sink", "deliver"]
