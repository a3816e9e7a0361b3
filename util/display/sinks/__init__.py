"""Where losses and images go: each destination is a sink, all speak one protocol."""

from util.display.sinks.base import LogStep as LogStep
from util.display.sinks.base import Sink as Sink
from util.display.sinks.base import deliver as deliver
