"""Where losses and pictures go: each destination is a sink, all speak one protocol."""

from util.display.sinks.base import Moment, Sink, deliver

__all__ = ["Moment", "Sink", "deliver"]
